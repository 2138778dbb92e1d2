package main

import (
	"strings"
	"testing"
	"time"
)

const goBenchOutput = `goos: linux
goarch: amd64
pkg: github.com/fairlead/fairlead/allocator
BenchmarkOneByOne-2             	     100	  12000000 ns/op	       600.0 ns/address
BenchmarkOneByOne-2             	     100	  14000000 ns/op	       700.0 ns/address
BenchmarkOneByOne-2             	     100	  13000000 ns/op	       650.0 ns/address
BenchmarkFullness/first1%-2     	    1000	     10000 ns/op	       200.0 ns/address
BenchmarkFullness/last1%-2      	    1000	     10000 ns/op	       250.0 ns/address
BenchmarkNew/with-dash          	    1000	      2000 ns/op
Benchmark  is what we do
BenchmarkBroken-2  	 x 	 1 ns/op
BenchmarkDetection/speakers=150/busy=true-2 	 30 	 900 detect-p50-ms	 1800 detect-p99-ms	 300 heal-p99-ms	 4 suspected	 0 alarms	 5 ns/op
PASS
ok  	github.com/fairlead/fairlead/allocator	4.2s
`

func TestReadGoBench(t *testing.T) {
	results := readGoBench([]byte(goBenchOutput))
	var names []string
	for _, r := range results {
		names = append(names, r.name)
	}
	want := "OneByOne Fullness/first1% Fullness/last1% New/with-dash Detection/speakers=150/busy=true"
	if got := strings.Join(names, " "); got != want {
		t.Fatalf("read %q, want %q", got, want)
	}
	if m, n := results[0].median("ns/op"), results[0].runs("ns/op"); m != 13e6 || n != 3 {
		t.Errorf("median %v of %d", m, n)
	}
}

func FuzzReadGoBench(f *testing.F) {
	f.Add([]byte(goBenchOutput))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, r := range readGoBench(text) {
			if r.name == "" || len(r.values) == 0 {
				t.Errorf("an empty result: %+v", r)
			}
		}
	})
}

func TestAllocatorRows(t *testing.T) {
	rows := allocatorRows(readGoBench([]byte(goBenchOutput)))
	find := func(what string) row {
		for _, r := range rows {
			if strings.Contains(r.what, what) {
				return r
			}
		}
		t.Fatalf("no row says %q: %+v", what, rows)
		return row{}
	}
	if r := find("one by one"); r.figure != 13 || r.unit != "ms" || r.runs != 3 || !r.aim.met(r.figure) {
		t.Errorf("got %+v", r)
	}
	if r := find("against the first"); r.figure != 1.25 {
		t.Errorf("got %+v", r)
	}
	if r := find("benchmark New/with-dash"); r.figure != 2 {
		t.Errorf("a benchmark without words: %+v", r)
	}
}

func TestMemoryRows(t *testing.T) {
	rows := toldRows(readGoBench([]byte(`
BenchmarkReceived/prefixes=10000-2 	 1 	 29565714 ns/op	 29.5 B/prefix	 288.7 KiB
BenchmarkMemory/peers=10-2 	 1 	 208643340 ns/op	 103.5 B/route	 5039 KiB
BenchmarkMemory/peers=10-2 	 1 	 208643340 ns/op	 103.0 B/route	 5039 KiB
BenchmarkMemory/peers=10-2 	 1 	 208643340 ns/op	 104.0 B/route	 5039 KiB
BenchmarkMemory/peers=99-2 	 1 	 208643340 ns/op	 104.0 B/route	 5039 KiB
`)), memoryFigures)
	if len(rows) != 2 {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	if r := rows[0]; !strings.HasPrefix(r.what, "5000 routes announced to 10 peers") || r.figure != 103.5 || r.unit != "bytes" || r.runs != 3 {
		t.Errorf("got %+v", r)
	}
	if r := rows[1]; !strings.HasPrefix(r.what, "10,000 prefixes that one peer has sent") || r.figure != 29.5 || r.runs != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestMembershipRows(t *testing.T) {
	results := readGoBench([]byte(goBenchOutput))
	rows := membershipRows(results[len(results)-1:], 30)
	want := []struct {
		what   string
		figure float64
	}{{"p50", 0.9}, {"p99", 1.8}, {"all are one again", 0.3}, {"acted upon", 0}, {"suspected", 4}}
	if len(rows) != len(want) {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	for i, w := range want {
		r := rows[i]
		if !strings.HasPrefix(r.what, "150 speakers, all cores busy: ") || !strings.Contains(r.what, w.what) || r.figure != w.figure || r.runs != 30 {
			t.Errorf("row %d is %+v, want %+v", i, r, w)
		}
	}
	if !rows[1].aim.met(2) || rows[1].aim.met(2.1) {
		t.Errorf("the aim at 150 speakers is %v", rows[1].aim)
	}
}

func TestBFDRows(t *testing.T) {
	rows := bfdRows(readGoBench([]byte(`
BenchmarkBusy/garbage=little-2 	 3600 	 1000200 ns/op	 100.0 %busy	 1 alarms	 131.5 longest-gap-ms	 40 sessions
BenchmarkBusy/garbage=much-2 	 3600 	 1000200 ns/op	 100.0 %busy	 0 alarms	 231.5 longest-gap-ms	 40 sessions
`)), 3600)
	if len(rows) != 4 {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	const who = "40 sessions of 3 x 100 ms for 3600 s, 100 % of all cores busy"
	if r := rows[0]; r.what != who+": false alarms" || r.figure != 1 || r.aim.met(r.figure) || !r.aim.met(0) {
		t.Errorf("got %+v", r)
	}
	if r := rows[3]; r.what != who+", also with garbage of the process that has started theirs: the longest time between two packets" || r.figure != 231.5 || r.unit != "ms" {
		t.Errorf("got %+v", r)
	}
}

func TestBFDCostRows(t *testing.T) {
	rows := bfdCostRows(readGoBench([]byte("BenchmarkSessions/sessions=200-2 \t 30 \t 1000200 ns/op \t 9.5 MiB \t 310.5 cpu-us/session/s\n")))
	if len(rows) != 2 || rows[0].figure != 310.5 || rows[1].figure != 9.5 || rows[1].what != "200 sessions of 3 x 100 ms: memory of the process (RSS, without its program)" {
		t.Errorf("got %+v", rows)
	}
}

const auditText = `{"auditID":"1","verb":"patch","user":{"username":"system:serviceaccount:fairlead-system:fairlead-controller"},"objectRef":{"resource":"services","subresource":"status"},"requestReceivedTimestamp":"2026-11-23T12:00:01.000000Z"}
{"auditID":"2","verb":"watch","user":{"username":"system:serviceaccount:fairlead-system:fairlead-speaker"},"objectRef":{"resource":"addresses"},"requestReceivedTimestamp":"2026-11-23T12:00:02.000000Z"}
{"auditID":"2","verb":"watch","user":{"username":"system:serviceaccount:fairlead-system:fairlead-speaker"},"objectRef":{"resource":"addresses"},"requestReceivedTimestamp":"2026-11-23T12:00:02.000000Z"}
{"auditID":"3","verb":"update","user":{"username":"system:serviceaccount:fairlead-system:fairlead-controller"},"objectRef":{"resource":"leases"},"requestReceivedTimestamp":"2026-11-23T12:00:03.000000Z"}
{"auditID":"4","verb":"create","user":{"username":"system:serviceaccount:fairlead-system:fairlead-controller"},"objectRef":{"resource":"events"},"requestReceivedTimestamp":"2026-11-23T12:00:04.000000Z"}
{"auditID":"5","verb":"get","user":{"username":"x"},"requestReceivedTimestamp":"2026-11-23T12:00:05.000000Z"}
{"auditID":"6","verb":"pa`

func TestReadAudit(t *testing.T) {
	from := time.Date(2026, 11, 23, 12, 0, 2, 0, time.UTC)
	got, err := readAudit(strings.NewReader(auditText), from)
	if err != nil {
		t.Fatal(err)
	}
	reads, writes, leases := sorted(got)
	if len(reads) != 2 || len(writes) != 1 || len(leases) != 1 {
		t.Errorf("%d reads, %d writes, %d of leases", len(reads), len(writes), len(leases))
	}
	if s, want := tally(got), "1 controller create events, 1 controller update leases, 1 speaker watch addresses, 1 x get "; s != want {
		t.Errorf("the tally is %q, want %q", s, want)
	}
	all, err := readAudit(strings.NewReader(auditText), time.Time{})
	if err != nil || len(all) != 5 || all[0].what() != "services/status" {
		t.Errorf("got %+v, %v", all, err)
	}
	if _, err := readAudit(strings.NewReader("no JSON\n"), from); err == nil {
		t.Error("a line that is no JSON gives no error")
	}
}

func FuzzReadAudit(f *testing.F) {
	f.Add([]byte(auditText))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := readAudit(strings.NewReader(string(text)), time.Time{})
		if err != nil && got != nil {
			t.Error("requests beside an error")
		}
		sorted(got)
		tally(got)
	})
}
