package main

import (
	"math"
	"slices"
	"time"
)

// percentile is the smallest value that at least p percent do not exceed
// (nearest rank); of fewer than 100 values the 99th is the largest. NaN if there
// are none.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func median(values []float64) float64 { return percentile(values, 50) }

// mean is NaN if there are no values.
func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func seconds(all []time.Duration) []float64 {
	out := make([]float64, len(all))
	for i, d := range all {
		out[i] = d.Seconds()
	}
	return out
}

// spread are the rows p50, p99 and max of times, the aim being the p99's.
func spread(what string, all []time.Duration, p99 aim) []row {
	s := seconds(all)
	return []row{
		{what: what + ", p50", figure: percentile(s, 50), unit: "s", runs: len(s)},
		{what: what + ", p99", figure: percentile(s, 99), unit: "s", runs: len(s), aim: p99},
		{what: what + ", max", figure: percentile(s, 100), unit: "s", runs: len(s)},
	}
}

// rate is how many of n things came in a second between two times.
func rate(n int, from, to time.Time) float64 {
	d := to.Sub(from).Seconds()
	if n == 0 || d <= 0 {
		return math.NaN()
	}
	return float64(n) / d
}
