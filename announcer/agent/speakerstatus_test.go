package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer/members"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// selfLedger keeps the SpeakerStatuses that were written.
type selfLedger struct {
	mu     sync.Mutex
	broken bool
	wrote  []v1alpha1.SpeakerStatusStatus
	at     []time.Time
}

type selfClient struct {
	client.Client
	ledger *selfLedger
}

func (c selfClient) Status() client.SubResourceWriter { return selfStatus{ledger: c.ledger} }

// Get finds an object that goes with no Node.
func (c selfClient) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return nil
}

type selfStatus struct {
	client.SubResourceWriter
	ledger *selfLedger
}

// Patch may fail although the write has arrived.
func (c selfStatus) Patch(_ context.Context, o client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
	data, err := p.Data(o)
	if err != nil {
		return fmt.Errorf("reading a patch: %w", err)
	}
	var got v1alpha1.SpeakerStatus
	if err := json.Unmarshal(data, &got); err != nil {
		return fmt.Errorf("reading a patch: %w", err)
	}
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	c.ledger.wrote, c.ledger.at = append(c.ledger.wrote, got.Status), append(c.ledger.at, time.Now())
	if c.ledger.broken {
		return errors.New("the connection broke")
	}
	return nil
}

func (l *selfLedger) writes() (n int, last string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n = len(l.wrote); n > 0 {
		last = l.wrote[n-1].Members.Summary
	}
	return n, last
}

// startSelfWriter lets a writer run until the test ends.
func startSelfWriter(t *testing.T) (*selfWriter, *selfLedger) {
	t.Helper()
	l := &selfLedger{}
	w := newSelfWriter(&Config{Log: logr.Discard(), Clock: clock.RealClock{}, Node: "node1", Client: selfClient{ledger: l}})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	w.start(ctx, &wg)
	return w, l
}

func TestSpeakerStatusIsWrittenWhenAChangeLasts(t *testing.T) {
	full, short := members.Stats{Alive: 3, Expected: 3}, members.Stats{Alive: 2, Expected: 3, Missing: []string{"node2"}}
	for _, c := range []struct {
		what   string
		do     func(w *selfWriter, l *selfLedger)
		writes int
		last   string
	}{
		{"nothing happens", func(*selfWriter, *selfLedger) {}, 0, "3 of 3"},
		{"a speaker is away for a moment", func(w *selfWriter, _ *selfLedger) {
			w.setWork(1, short)
			time.Sleep(800 * time.Millisecond)
			w.setWork(1, full)
		}, 0, "3 of 3"},
		{"it is away again just when that would be written", func(w *selfWriter, _ *selfLedger) {
			w.setWork(1, short)
			time.Sleep(800 * time.Millisecond)
			w.setWork(1, full)
			time.Sleep(selfEvery - time.Second)
			w.setWork(1, short)
			time.Sleep(800 * time.Millisecond)
			w.setWork(1, full)
		}, 0, "3 of 3"},
		{"it stays away", func(w *selfWriter, _ *selfLedger) { w.setWork(1, short) }, 1, "2 of 3"},
		{"what is announced goes on changing", func(w *selfWriter, _ *selfLedger) {
			for n := range 100 {
				w.setWork(n, short)
				time.Sleep(600 * time.Millisecond)
			}
		}, 4, "2 of 3"},
		{"a write arrives and its answer does not", func(w *selfWriter, l *selfLedger) {
			l.mu.Lock()
			l.broken = true
			l.mu.Unlock()
			w.setWork(1, short)
			time.Sleep(selfEvery + time.Millisecond)
			l.mu.Lock()
			l.broken = false
			l.mu.Unlock()
			w.setWork(1, full)
		}, 2, "3 of 3"},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, l := startSelfWriter(t)
				w.setWork(1, full)
				time.Sleep(time.Minute)
				if n, last := l.writes(); n != 1 || last != "3 of 3" {
					t.Fatalf("%d writes at the start, the last says %q", n, last)
				}
				c.do(w, l)
				time.Sleep(time.Minute)
				if n, last := l.writes(); n != 1+c.writes || last != c.last {
					t.Errorf("%d writes, want %d; the last says %q, want %q", n-1, c.writes, last, c.last)
				}
			})
		})
	}
}
