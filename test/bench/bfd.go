package main

import (
	"context"
	"fmt"
	"strconv"
)

// bfdPart has sessions of BFD run while all cores are busy: for an hour with other programs, and for ten minutes with
// what the process of the sessions does itself, too.
func bfdPart(ctx context.Context, b *bench) ([]row, error) {
	var rows []row
	for _, run := range []struct {
		garbage string
		seconds int
	}{{"little", b.pick(3600, 5)}, {"much", b.pick(600, 5)}} {
		pattern := "^BenchmarkBusy$/^garbage=" + run.garbage + "$"
		results, err := goBench(ctx, "./announcer/bfd", pattern, "-benchtime", strconv.Itoa(run.seconds)+"x", "-timeout", "90m")
		if err != nil {
			return rows, err
		}
		rows = append(rows, bfdRows(results, run.seconds)...)
	}
	return rows, nil
}

func bfdRows(results []result, seconds int) []row {
	var rows []row
	for _, r := range results {
		sessions := int(r.median("sessions"))
		who := fmt.Sprintf("%d sessions of 3 x 100 ms for %d s, %.0f %% of all cores busy", sessions, seconds, r.median("%busy"))
		if parameters(r.name)["garbage"] == "much" {
			who += ", also with garbage of their own process"
		}
		rows = append(
			rows,
			row{what: who + ": false alarms", figure: r.median("alarms"), unit: "alarms", aim: atMost(0), runs: sessions},
			row{what: who + ": the longest time between two packets", figure: r.median("longest-gap-ms"), unit: "ms", runs: sessions},
		)
	}
	return rows
}
