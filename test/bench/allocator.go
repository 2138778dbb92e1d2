package main

import (
	"context"
	"slices"
	"strings"
)

// told says how the table puts a benchmark's figure: which unit of it, in which
// unit that is written, and by what it is divided for that.
type told struct {
	name, unit string
	what, as   string
	divide     float64
	aim        aim
}

var allocatorFigures = []told{
	{"OneByOne", "ns/op", "20,000 addresses one by one from an empty /16", "ms", 1e6, atMost(20)},
	{"Roll", "ns/op", "looking up and noting 20,000 holders, a part of that", "ms", 1e6, aim{}},
	{"Fullness/first1%", "ns/address", "an address while a /16 is nearly empty", "µs", 1e3, aim{}},
	{"Fullness/last1%", "ns/address", "an address while a /16 is nearly full", "µs", 1e3, aim{}},
	{"Exhausted/automatic", "ns/op", "a refusal: the /16 is exhausted", "µs", 1e3, aim{}},
	{"Exhausted/taken", "ns/op", "a refusal: the address is taken", "µs", 1e3, aim{}},
	{"IPv6", "ns/address", "an address of a million from an IPv6 /64", "µs", 1e3, aim{}},
	{"ManyPools", "ns/op", "an address where 999 pools of 1000 are full", "µs", 1e3, aim{}},
	{"Explicit", "ns/address", "a requested address of 100,000", "µs", 1e3, aim{}},
	{"Rebuild", "ns/op", "rebuilding the books of 100,000 addresses", "ms", 1e6, aim{}},
	{"Memory", "B/address", "memory of the books for an address", "bytes", 1, aim{}},
}

func allocatorPart(ctx context.Context, b *bench) ([]row, error) {
	count, benchtime := "5", "1s"
	if b.quick {
		count, benchtime = "1", "100ms"
	}
	results, err := goBench(ctx, "./allocator", ".", "-count", count, "-benchtime", benchtime)
	if err != nil {
		return nil, err
	}
	return allocatorRows(results), nil
}

// allocatorRows writes the known benchmarks in words and the others as Go does.
func allocatorRows(results []result) []row {
	rows := toldRows(results, allocatorFigures)
	rows = append(rows, fullness(results)...)
	for _, r := range results {
		known := slices.ContainsFunc(allocatorFigures, func(f told) bool { return f.name == r.name && r.runs(f.unit) > 0 })
		if !known && r.runs("ns/op") > 0 {
			rows = append(rows, row{what: "benchmark " + strings.ReplaceAll(r.name, "_", " "), figure: r.median("ns/op") / 1e3, unit: "µs", runs: r.runs("ns/op")})
		}
	}
	return rows
}

// toldRows writes in words what is told of benchmarks, in the order of the figures.
func toldRows(results []result, figures []told) []row {
	by := map[string]result{}
	for _, r := range results {
		by[r.name] = r
	}
	var rows []row
	for _, f := range figures {
		if r := by[f.name]; r.runs(f.unit) > 0 {
			rows = append(rows, row{what: f.what, figure: r.median(f.unit) / f.divide, unit: f.as, aim: f.aim, runs: r.runs(f.unit)})
		}
	}
	return rows
}

// fullness compares the last addresses of a pool with the first.
func fullness(results []result) []row {
	var first, last *result
	for i, r := range results {
		switch r.name {
		case "Fullness/first1%":
			first = &results[i]
		case "Fullness/last1%":
			last = &results[i]
		}
	}
	const unit = "ns/address"
	if first == nil || last == nil || first.runs(unit) == 0 || last.runs(unit) == 0 {
		return nil
	}
	return []row{{
		what: "the last 1 % of a /16 against the first 1 %, per address", figure: last.median(unit) / first.median(unit), unit: "times",
		beside: "1: no dearer as a pool fills", runs: last.runs(unit),
	}}
}
