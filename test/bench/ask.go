package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/test/testbed"
)

// asker asks an address for hosts, from the client host, on connections that it
// keeps.
type asker struct {
	address netip.Addr
	client  *http.Client
}

func (b *bench) newAsker(a netip.Addr) *asker {
	target := netip.AddrPortFrom(a, 80).String()
	return &asker{a, &http.Client{Timeout: patience, Transport: &http.Transport{
		MaxIdleConnsPerHost: 256,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return b.cluster.Dial(ctx, testbed.Client, network, target)
		},
	}}}
}

// answer is what came back; pod is who answered, if a backend did.
type answer struct {
	status int
	pod    string
}

// What may be waited for.
func served(a answer) bool  { return a.status == http.StatusOK }
func unknown(a answer) bool { return a.status == http.StatusNotFound }

func (a *asker) ask(ctx context.Context, host string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address.String()+"/", nil)
	if err != nil {
		return answer{}, err
	}
	request.Host = host
	response, err := a.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	got := answer{status: response.StatusCode}
	if served(got) {
		var said struct {
			Pod string `json:"pod"`
		}
		err = json.NewDecoder(response.Body).Decode(&said)
		got.pod = said.Pod
	}
	// A connection is kept only when the answer was read to its end.
	if err == nil {
		err = discard(response.Body)
	}
	if err != nil {
		return got, fmt.Errorf("reading the answer for %s: %w", host, err)
	}
	return got, nil
}

const (
	// askEvery is the pause between questions of somebody who waits; it is the
	// precision of what waits.
	askEvery = 2 * time.Millisecond
	// waitAtMost is when waiting for an answer ends.
	waitAtMost = 2 * time.Minute
)

// wait is how a wait for an answer ended, and how many answers on the way were
// none that anybody should get.
type wait struct {
	at     time.Time
	failed int
}

// until asks again and again until the answer is the wanted one. Not to be known
// is no failure; to be known and not served is.
func (a *asker) until(ctx context.Context, host string, wanted func(answer) bool) (w wait, err error) {
	var got answer
	for start := time.Now(); time.Since(start) < waitAtMost; {
		got, err = a.ask(ctx, host)
		w.at = time.Now()
		switch {
		case err == nil && wanted(got):
			return w, nil
		case err != nil || !served(got) && !unknown(got):
			w.failed++
		}
		if err := sleep(ctx, askEvery); err != nil {
			return w, err
		}
	}
	return w, errors.Join(fmt.Errorf("waiting %s for the right answer for %s: the last was %+v", waitAtMost, host, got), err)
}

// load asks for hosts in turn at a fixed pace, whether or not earlier questions
// were answered.
type load struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	took   []time.Duration
	failed int
	why    string // the first failure
}

// startLoad asks every so often.
func (a *asker) startLoad(ctx context.Context, every time.Duration, hosts ...string) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		var running sync.WaitGroup
		defer running.Wait()
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				// What has begun is finished also when the load ends, so that
				// ending it is not taken for a failure.
				running.Go(func() { l.one(context.WithoutCancel(ctx), a, hosts[i%len(hosts)]) })
			}
		}
	}()
	return l
}

func (l *load) one(ctx context.Context, a *asker, host string) {
	start := time.Now()
	got, err := a.ask(ctx, host)
	l.note(time.Since(start), got, err)
}

func (l *load) note(took time.Duration, got answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, took)
	if err == nil && served(got) {
		return
	}
	if l.failed++; l.why == "" {
		l.why = fmt.Sprintf("status %d, %v", got.status, err)
	}
}

// stop ends the load and waits for the last answer.
func (l *load) stop() {
	l.cancel()
	<-l.done
}

// rows are what the load saw.
func (l *load) rows(what string) []row {
	const name = "requests meanwhile"
	failed := row{
		what: fmt.Sprintf("%s: of %d %s, failed", what, len(l.took), name), figure: float64(l.failed), unit: "requests", aim: atMost(0), runs: 1,
	}
	if l.why != "" {
		failed.what += " (the first: " + l.why + ")"
	}
	ms := milliseconds(l.took)
	return []row{
		failed,
		{what: what + ": " + name + ", p99", figure: percentile(ms, 99), unit: "ms", runs: len(ms)},
		{what: what + ": " + name + ", max", figure: percentile(ms, 100), unit: "ms", runs: len(ms)},
	}
}

func milliseconds(all []time.Duration) []float64 {
	out := slices.Grow([]float64(nil), len(all))
	for _, s := range seconds(all) {
		out = append(out, s*1000)
	}
	return out
}

// lagRows are the rows mean, p50, p99 and max in milliseconds, the aim being the
// mean's.
func lagRows(what string, all []time.Duration, ofMean aim) []row {
	ms := milliseconds(all)
	out := []row{{what: what + ", mean", figure: mean(ms), unit: "ms", aim: ofMean, runs: len(ms)}}
	for _, p := range []struct {
		name string
		of   float64
	}{{"p50", 50}, {"p99", 99}, {"max", 100}} {
		out = append(out, row{what: what + ", " + p.name, figure: percentile(ms, p.of), unit: "ms", runs: len(ms)})
	}
	return out
}

// add counts what another load saw, which has ended, as this one's.
func (l *load) add(other *load) {
	l.took, l.failed = append(l.took, other.took...), l.failed+other.failed
	if l.why == "" {
		l.why = other.why
	}
}
