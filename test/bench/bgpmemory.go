package main

import (
	"context"
	"fmt"
)

var memoryFigures = []told{
	{"Memory/peers=1", "B/route", "5000 routes announced to one peer: held for a route", "bytes", 1, aim{}},
	{"Memory/peers=3", "B/route", "5000 routes announced to 3 peers: held for a route and a peer", "bytes", 1, aim{}},
	{"Memory/peers=10", "B/route", "5000 routes announced to 10 peers: held for a route and a peer", "bytes", 1, aim{}},
	{"Received/prefixes=10000", "B/prefix", "10,000 prefixes that one peer has sent, the default limit: held for each, to count them", "bytes", 1, aim{}},
	{"Received/prefixes=100000", "B/prefix", "100,000 prefixes that one peer has sent: held for each, to count them", "bytes", 1, aim{}},
	{"Received/prefixes=1000000", "B/prefix", "1,000,000 prefixes that one peer has sent: held for each, to count them", "bytes", 1, aim{}},
}

// bgpMemoryPart is what a speaker holds for routes that it announces and for prefixes that peers send.
func bgpMemoryPart(ctx context.Context, b *bench) ([]row, error) {
	count := fmt.Sprint(b.pick(5, 1))
	results, err := goBench(ctx, "./announcer/bgp", "^Benchmark(Memory|Received)$", "-benchtime", "1x", "-count", count)
	if err != nil {
		return nil, err
	}
	rows := toldRows(results, memoryFigures)
	if len(rows) != len(memoryFigures) {
		return rows, fmt.Errorf("the benchmarks say %d of %d figures", len(rows), len(memoryFigures))
	}
	return rows, nil
}
