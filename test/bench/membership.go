package main

import (
	"context"
	"fmt"
	"strings"
)

// detectionAims are the 99th percentiles to reach, in seconds, by the number of
// speakers.
var detectionAims = map[string]aim{"3": atMost(1), "150": atMost(2)}

// membershipPart measures gossip alone: all speakers in one process, cut off one
// after the other.
func membershipPart(ctx context.Context, b *bench) ([]row, error) {
	var rows []row
	for _, m := range membershipRuns(b.quick) {
		results, err := goBench(ctx, "./announcer/members", m.pattern, "-benchtime", fmt.Sprintf("%dx", m.cuts))
		if err != nil {
			return rows, err
		}
		rows = append(rows, membershipRows(results, m.cuts)...)
	}
	return rows, nil
}

type membershipRun struct {
	pattern string
	cuts    int
}

// membershipRuns are few where there are many speakers: one cut of 150 takes most
// of a minute.
func membershipRuns(quick bool) []membershipRun {
	if quick {
		return []membershipRun{{"^BenchmarkDetection$/^speakers=3$", 3}}
	}
	return []membershipRun{{"^BenchmarkDetection$/^speakers=3$", 30}, {"^BenchmarkDetection$/^speakers=(50|150)$", 10}}
}

func membershipRows(results []result, cuts int) []row {
	var rows []row
	for _, r := range results {
		of := parameters(r.name)
		who := of["speakers"] + " speakers"
		if of["busy"] == "true" {
			who += ", all cores busy"
		}
		rows = append(
			rows,
			row{what: who + ": until all know that one is cut off, p50", figure: r.median("detect-p50-ms") / 1e3, unit: "s", runs: cuts},
			row{what: who + ": until all know that one is cut off, p99", figure: r.median("detect-p99-ms") / 1e3, unit: "s", aim: detectionAims[of["speakers"]], runs: cuts},
			row{what: who + ": until all are one again, p99", figure: r.median("heal-p99-ms") / 1e3, unit: "s", runs: cuts},
			row{what: who + ": false alarms acted upon", figure: r.median("alarms"), unit: "alarms", aim: atMost(0), runs: cuts},
			row{what: who + ": suspected wrongly by gossip, and cleared", figure: r.median("suspected"), unit: "suspicions", runs: cuts},
		)
	}
	return rows
}

// parameters reads "Name/a=1/b=x".
func parameters(name string) map[string]string {
	out := map[string]string{}
	for _, p := range strings.Split(name, "/") {
		if k, v, ok := strings.Cut(p, "="); ok {
			out[k] = v
		}
	}
	return out
}
