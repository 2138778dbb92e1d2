package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/test/lab"
)

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, c := range []struct {
		values []float64
		p      float64
		want   float64
	}{
		{[]float64{7}, 50, 7},
		{[]float64{7}, 99, 7},
		{[]float64{3, 1, 2}, 50, 2},
		{[]float64{4, 3, 1, 2}, 50, 2},
		{[]float64{3, 1, 2}, 99, 3},
		{[]float64{3, 1, 2}, 0, 1},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 100, 100},
	} {
		if got := percentile(c.values, c.p); got != c.want {
			t.Errorf("percentile %v of %v is %v, want %v", c.p, c.values, got, c.want)
		}
	}
	if got := percentile(nil, 50); !math.IsNaN(got) {
		t.Errorf("the median of nothing is %v", got)
	}
}

// The nearest rank: at least p percent of the values do not exceed it, and of no
// smaller value is that true.
func TestPercentileIsNearestRank(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 1, 200).Draw(t, "values")
		p := float64(rapid.IntRange(1, 100).Draw(t, "p"))
		before := slices.Clone(values)
		got := percentile(values, p)
		if !slices.Equal(before, values) {
			t.Fatal("the values were changed")
		}
		share := func(limit float64) float64 {
			n := 0
			for _, v := range values {
				if v <= limit {
					n++
				}
			}
			return float64(n)
		}
		need := p / 100 * float64(len(values))
		if !slices.Contains(values, got) || share(got) < need-1e-9 {
			t.Fatalf("%v: %v of %d values do not exceed it", got, share(got), len(values))
		}
		for _, v := range values {
			if v < got && share(v) >= need+1e-9 {
				t.Fatalf("%v is smaller than %v and enough", v, got)
			}
		}
	})
}

func TestRate(t *testing.T) {
	at := time.Unix(1000, 0)
	if got := rate(30, at, at.Add(3*time.Second)); got != 10 {
		t.Errorf("30 in 3 s are %v/s", got)
	}
	for _, got := range []float64{rate(0, at, at.Add(time.Second)), rate(3, at, at)} {
		if !math.IsNaN(got) {
			t.Errorf("nothing, or no time, gives %v", got)
		}
	}
}

func TestNumber(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 20: "20", 0.5: "0.5", 0.61234: "0.612", 12.345: "12.3", 123.45: "123", 999.6: "1000", 12345.6: "12346", 0.000123456: "0.000123", -1.2345: "-1.23",
	} {
		if got := number(f); got != want {
			t.Errorf("%v is written %q, want %q", f, got, want)
		}
	}
	if got := number(math.NaN()); got != "not measured" {
		t.Errorf("NaN is written %q", got)
	}
}

func TestAim(t *testing.T) {
	for _, c := range []struct {
		aim    aim
		figure float64
		want   string
	}{
		{atMost(1), 1, "at most 1"},
		{atMost(1), 1.01, "at most 1: **missed**"},
		{atMost(0), 0, "at most 0"},
		{atLeast(80), 80, "at least 80"},
		{atLeast(80), 79.9, "at least 80: **missed**"},
		{atLeast(80), math.NaN(), "at least 80: **missed**"},
		{aim{}, 5, "beside"},
	} {
		if got := (row{figure: c.figure, aim: c.aim, beside: "beside"}).comparison(); got != c.want {
			t.Errorf("%v of %+v: %q, want %q", c.figure, c.aim, got, c.want)
		}
	}
}

func TestReport(t *testing.T) {
	r := report{machine: machine{cpu: "Some CPU", cores: 2, memoryKiB: 24 << 20, kernel: "6.1", goVersion: "go1", commit: "abc", date: time.Unix(0, 0).UTC()}}
	one := part{name: "one", about: "things"}
	two := part{name: "two", about: "other things"}
	r.parts = append(r.parts, measured{one, []row{{what: "a | b", figure: 1.5, unit: "s", aim: atMost(1), runs: 3}}, 90 * time.Second})
	if err := r.failed(); err != nil {
		t.Errorf("nothing failed, but: %v", err)
	}
	r.parts = append(r.parts, measured{two, []row{{what: "c", err: errors.New("went\nwrong")}}, time.Second})
	text := r.markdown([]part{one, two}, "")
	for _, want := range []string{
		"## one\n\nMeasured: things. Some CPU, 2 cores, 24 GiB, Linux 6.1, go1; 1970-01-01, commit abc. Took 1m30s.\n\n| what |",
		`| a \| b | 1.5 | s | at most 1: **missed** | 3 |`,
		"## two\n",
		"| c | **failed** | | went wrong | |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if err := r.failed(); err == nil || !strings.Contains(err.Error(), "two: went") {
		t.Errorf("the failed part is not named: %v", err)
	}
}

// Parts that a run leaves out stay as an earlier run measured them.
func TestReportKeepsOtherParts(t *testing.T) {
	all := []part{{name: "one"}, {name: "two"}, {name: "three"}}
	figure := func(p part, f float64) measured {
		return measured{part: p, rows: []row{{what: p.name, figure: f, runs: 1}}}
	}
	first := (&report{parts: []measured{figure(all[0], 1), figure(all[1], 2)}}).markdown(all, "")
	both := (&report{parts: []measured{figure(all[1], 22), figure(all[2], 3)}}).markdown(all, first)
	want := (&report{parts: []measured{figure(all[0], 1), figure(all[1], 22), figure(all[2], 3)}}).markdown(all, "")
	if both != want {
		t.Errorf("got\n%s\nwant\n%s", both, want)
	}
	if again := (&report{}).markdown(all, both); again != both {
		t.Errorf("a run of nothing changes the table from\n%s\nto\n%s", both, again)
	}
}

func TestChoose(t *testing.T) {
	all := []part{{name: "a"}, {name: "b"}, {name: "ab"}}
	got, err := choose(all, "^a")
	if err != nil || len(got) != 2 || got[0].name != "a" || got[1].name != "ab" {
		t.Errorf("chose %v, %v", got, err)
	}
	for _, bad := range []string{"(", "z"} {
		if _, err := choose(all, bad); err == nil {
			t.Errorf("--only %q gives no error", bad)
		}
	}
}

// A part that fails leaves a row that says so, beside the figures it has.
func TestMeasureKeepsWhatAFailedPartHas(t *testing.T) {
	b := &bench{began: time.Now()}
	got := b.measure(t.Context(), part{name: "p", about: "things", run: func(context.Context, *bench) ([]row, error) {
		return []row{{what: "x", figure: 1}}, errors.New("no more")
	}})
	if rows := got.rows; len(rows) != 2 || rows[0].what != "x" || rows[1].err == nil {
		t.Errorf("got %+v", got.rows)
	}
}

func TestInParallel(t *testing.T) {
	var mu sync.Mutex
	seen := map[int]int{}
	if err := inParallel(t.Context(), 4, 3, 50, func(_ context.Context, i int) error {
		mu.Lock()
		defer mu.Unlock()
		seen[i]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := 3; i < 50; i++ {
		if seen[i] != 1 {
			t.Errorf("%d was done %d times", i, seen[i])
		}
	}
	if len(seen) != 47 {
		t.Errorf("%d numbers were done, want 47", len(seen))
	}
	wrong := errors.New("wrong")
	if err := inParallel(t.Context(), 4, 0, 1000, func(context.Context, int) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("the error was lost: %v", err)
	}
}

func TestReadCPUTime(t *testing.T) {
	for stat, want := range map[string]time.Duration{
		"42 (a b) c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 8 0 12345 0 0":        2 * time.Second,
		"1 (fairlead-speake) R 1 42 42 0 -1 4194560 100 0 0 0 1 0 7 7 20 0 8 0 12345 0 0\n": 10 * time.Millisecond,
	} {
		if got, err := readCPUTime(stat); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", stat, got, err, want)
		}
	}
	for _, bad := range []string{"", "1 (x) S 1 2", "1 x S 1 42 42 0 -1 4194560 100 0 0 0 1 0 7", "1 (x) S 1 42 42 0 -1 4194560 100 0 0 0 a 0 7"} {
		if _, err := readCPUTime(bad); err == nil {
			t.Errorf("%q is taken for a stat", bad)
		}
	}
}

func FuzzReadCPUTime(f *testing.F) {
	f.Add("42 (a b) c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 8 0 12345 0 0")
	f.Fuzz(func(t *testing.T, stat string) {
		if d, err := readCPUTime(stat); err != nil && d != 0 {
			t.Errorf("%q gives %v beside the error %v", stat, d, err)
		}
	})
}

func TestProc(t *testing.T) {
	const status = "Name:\tfairlead-speaker\nVmRSS:\t   49152 kB\nVmRSSX: 1 kB\n"
	if got, err := kibibytes(keyed(status, "VmRSS")); err != nil || got != 49152 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "12", "x kB", "12 MB"} {
		if _, err := kibibytes(bad); err == nil {
			t.Errorf("%q is taken for a size", bad)
		}
	}
}

func TestUsage(t *testing.T) {
	before := usage{1: {working, 10, time.Second}, 2: {speaker, 20, 5 * time.Second}, 3: {speaker, 30, time.Second}}
	after := usage{1: {working, 11, 3 * time.Second}, 2: {speaker, 21, 6 * time.Second}, 3: {speaker, 31, 4 * time.Second}, 4: {standingBy, 9, time.Second}}
	if got := after.memory(speaker); got != 31 {
		t.Errorf("the largest speaker has %v", got)
	}
	// A process that came later has used everything since.
	for role, want := range map[string]time.Duration{working: 2 * time.Second, speaker: 3 * time.Second, standingBy: time.Second} {
		if got := after.cpuSince(before, role); got != want {
			t.Errorf("%s used %v, want %v", role, got, want)
		}
	}
}

func TestCutCountsOnlyLaterTries(t *testing.T) {
	at := time.Unix(1000, 0)
	var c cut
	c.count([]lab.Try{
		{Start: at.Add(-time.Millisecond), Err: errors.New("before")},
		{Start: at},
		{Start: at.Add(time.Second), Err: errors.New("after")},
	}, at)
	if c.tried != 2 || c.failed != 1 {
		t.Errorf("%d of %d failed, want 1 of 2", c.failed, c.tried)
	}
}

func TestRawAddressesAreDistinctAndInThePool(t *testing.T) {
	seen := map[string]bool{}
	for i := range 5000 {
		a := rawAddress(i).String()
		if seen[a] || !strings.HasPrefix(a, "198.18.") {
			t.Fatalf("address %d is %s", i, a)
		}
		seen[a] = true
	}
}
