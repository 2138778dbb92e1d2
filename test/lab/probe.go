package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Answer is what an echo pod said.
type Answer struct {
	Pod, Namespace, Client string
}

// Get fetches http://address:port/ from a host, on a connection of its own.
func (l *Lab) Get(ctx context.Context, host string, address netip.Addr, port uint16) (Answer, error) {
	target := netip.AddrPortFrom(address, port).String()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return l.Cluster.Dial(ctx, host, network, target)
		},
	}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+target+"/", nil)
	if err != nil {
		return Answer{}, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return Answer{}, fmt.Errorf("reading the answer of %s: %w", target, err)
	}
	var said struct {
		Pod       string `json:"pod"`
		Namespace string `json:"namespace"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return Answer{}, fmt.Errorf("%s answered %s with %q: %w", target, response.Status, body, err)
	}
	return Answer{Pod: said.Pod, Namespace: said.Namespace}, nil
}

// AwaitAnswer waits until the address answers from a host. A try that gets no answer takes its time and costs nothing, so
// the next one follows at once: of three tries, all may come to the one pod of three whose node is gone.
func (l *Lab) AwaitAnswer(ctx context.Context, host string, address netip.Addr, port uint16) (Answer, error) {
	var answer Answer
	err := await(ctx, 30*time.Second, fmt.Sprintf("%s to answer %s", netip.AddrPortFrom(address, port), host), 0, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		var err error
		answer, err = l.Get(ctx, host, address, port)
		return err
	})
	return answer, err
}

// Try is one new connection of a Probe.
type Try struct {
	Start time.Time
	Took  time.Duration
	Err   error
	Pod   string
	// Connected: the connection was made. What breaks after that can be one that was under way when its address moved to
	// another node, which knows nothing of it.
	Connected bool
}

// Probe opens new connections to an address all the time, from the client host.
type Probe struct {
	mu     sync.Mutex
	tries  []Try
	cancel context.CancelFunc
	done   chan struct{}
}

// StartProbe tries every interval, each try with its own connection and
// timeout, and does not wait for one before it starts the next.
func (l *Lab) StartProbe(ctx context.Context, host string, address netip.Addr, port uint16, interval, timeout time.Duration) *Probe {
	ctx, cancel := context.WithCancel(ctx)
	p := &Probe{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		atPace(ctx, interval, timeout, func(ctx context.Context) { p.try(ctx, l, host, address, port) })
	}()
	return p
}

// atPace does something at a fixed pace until the context ends, whether or not what began earlier has ended, and
// returns when all has. What has begun may take as long as the timeout also when the context has ended meanwhile, so
// that the end is not taken for a failure.
func atPace(ctx context.Context, interval, timeout time.Duration, do func(context.Context)) {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			running.Go(func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
				defer cancel()
				do(ctx)
			})
		}
	}
}

func (p *Probe) try(ctx context.Context, l *Lab, host string, address netip.Addr, port uint16) {
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	start := time.Now()
	answer, err := l.Get(ctx, host, address, port)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tries = append(p.tries, Try{Start: start, Took: time.Since(start), Err: err, Pod: answer.Pod, Connected: connected.Load() || made(err)})
}

// made tells of a connection that failed whether it had been made. A reset may follow the other side's answer before we have
// seen that one: connecting fails with ECONNRESET then, and with ECONNREFUSED where the reset is the answer.
func made(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

// Stop ends the probe and returns all tries.
func (p *Probe) Stop() []Try {
	p.cancel()
	<-p.done
	return p.Tries()
}

// Tries are the tries that have ended so far.
func (p *Probe) Tries() []Try {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Try(nil), p.tries...)
}

// Failed are the tries that got no answer.
func Failed(tries []Try) []Try {
	var failed []Try
	for _, t := range tries {
		if t.Err != nil {
			failed = append(failed, t)
		}
	}
	return failed
}

// Broken are the tries whose connection was made and then broke.
func Broken(tries []Try) []Try {
	return slices.DeleteFunc(Failed(tries), func(t Try) bool { return !t.Connected })
}

// ServedAgain is when the first try that was started at or after the cut got
// its answer, after the cut; false if none did.
func ServedAgain(tries []Try, cut time.Time) (time.Duration, bool) {
	first, found := time.Duration(0), false
	for _, t := range tries {
		if t.Err != nil || t.Start.Before(cut) {
			continue
		}
		if end := t.Start.Add(t.Took).Sub(cut); !found || end < first {
			first, found = end, true
		}
	}
	return first, found
}
