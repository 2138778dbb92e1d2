package main

import (
	"context"
	"fmt"
	"strconv"
)

// bfdPart has sessions of BFD run for so many seconds while all cores are busy: with other pods, and with as much garbage
// of their process' parent as the benchmark's name says.
func bfdPart(garbage string, seconds int) func(context.Context, *bench) ([]row, error) {
	return func(ctx context.Context, b *bench) ([]row, error) {
		n := b.pick(seconds, 5)
		results, err := goBench(ctx, "./announcer/bfd/apart", "^BenchmarkBusy$/^garbage="+garbage+"$", "-benchtime", strconv.Itoa(n)+"x", "-timeout", "90m")
		if err != nil {
			return nil, err
		}
		return bfdRows(results, n), nil
	}
}

func bfdRows(results []result, seconds int) []row {
	var rows []row
	for _, r := range results {
		sessions := int(r.median("sessions"))
		who := fmt.Sprintf("%d sessions of 3 x 100 ms for %d s, %.0f %% of all cores busy", sessions, seconds, r.median("%busy"))
		if parameters(r.name)["garbage"] == "much" {
			who += ", also with garbage of the process that has started theirs"
		}
		rows = append(
			rows,
			row{what: who + ": false alarms", figure: r.median("alarms"), unit: "alarms", aim: atMost(0), runs: sessions},
			row{what: who + ": the longest time between two packets", figure: r.median("longest-gap-ms"), unit: "ms", runs: sessions},
		)
	}
	return rows
}

// bfdCostPart is what the process of BFD costs.
func bfdCostPart(ctx context.Context, b *bench) ([]row, error) {
	n := b.pick(30, 2)
	results, err := goBench(ctx, "./announcer/bfd/apart", "^BenchmarkSessions$", "-benchtime", strconv.Itoa(n)+"x")
	if err != nil {
		return nil, err
	}
	return bfdCostRows(results), nil
}

func bfdCostRows(results []result) []row {
	var rows []row
	for _, r := range results {
		who := parameters(r.name)["sessions"] + " sessions of 3 x 100 ms: "
		rows = append(
			rows,
			row{what: who + "CPU for a session and second", figure: r.median("cpu-us/session/s"), unit: "us", runs: r.runs("cpu-us/session/s")},
			row{what: who + "memory of the process (RSS, without its program)", figure: r.median("MiB"), unit: "MiB", runs: r.runs("MiB")},
		)
	}
	return rows
}
