package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// ledgerOfOne is an API server with one Address. Writes take their time to
// arrive, and every speaker hears of them later than the others.
type ledgerOfOne struct {
	mu      sync.Mutex
	rng     *rand.Rand
	object  v1alpha1.Address
	version int
	writes  int
	watches []*lateCache
}

func (l *ledgerOfOne) pause() {
	l.mu.Lock()
	d := time.Duration(l.rng.IntN(400)) * time.Millisecond
	l.mu.Unlock()
	time.Sleep(d)
}

func (l *ledgerOfOne) apply(data []byte) error {
	var body applied
	if err := json.Unmarshal(data, &body); err != nil {
		return fmt.Errorf("reading what is applied: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := body.Metadata.ResourceVersion; v != "" && v != l.object.ResourceVersion {
		return apierrors.NewConflict(schema.GroupResource{Resource: "addresses"}, body.Metadata.Name, nil)
	}
	l.writes++
	l.version++
	l.object.ResourceVersion = strconv.Itoa(l.version)
	l.object.Status = v1alpha1.AddressStatus{Announced: body.Status.Announced, Layer2: body.Status.Layer2, Conditions: body.Status.Conditions}
	for _, w := range l.watches {
		w.changes <- l.object.DeepCopy()
	}
	return nil
}

// lateCache is what one speaker has heard.
type lateCache struct {
	cache.Cache
	changes chan *v1alpha1.Address
	mu      sync.Mutex
	object  *v1alpha1.Address
}

func (c *lateCache) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.object.DeepCopyInto(into.(*v1alpha1.Address))
	return nil
}

type slowClient struct {
	client.Client
	ledger *ledgerOfOne
}

func (c slowClient) Status() client.SubResourceWriter { return slowStatus{ledger: c.ledger} }

type slowStatus struct {
	client.SubResourceWriter
	ledger *ledgerOfOne
}

func (c slowStatus) Patch(_ context.Context, o client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
	data, err := p.Data(o)
	if err != nil {
		return fmt.Errorf("reading a patch: %w", err)
	}
	c.ledger.pause()
	err = c.ledger.apply(data)
	c.ledger.pause()
	return err
}

// writer is the status writer of a node, with a cache of its own.
func (l *ledgerOfOne) writer(ctx context.Context, wg *sync.WaitGroup, node string) *statusWriter {
	c := &lateCache{changes: make(chan *v1alpha1.Address, 1000), object: l.object.DeepCopy()}
	l.watches = append(l.watches, c)
	w := newStatusWriter(&Config{
		Log: logr.Discard(), Clock: clock.RealClock{}, Node: node, Cache: c, StatusRate: 100, StatusWorkers: 2,
		Client: slowClient{ledger: l},
	}, newMetrics())
	w.start(ctx, wg)
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			select {
			case <-ctx.Done():
				return
			case o := <-c.changes:
				l.pause()
				c.mu.Lock()
				c.object = o
				c.mu.Unlock()
				w.observed(o)
			}
		}
	}()
	return w
}

// Two speakers change their minds at times of their own, over caches that lag
// and writes that arrive late. Once they agree on who announces, the status
// does, and nothing more is written.
func TestTheStatusEndsUpRightWhateverOvertakesWhat(t *testing.T) {
	ip := netip.MustParseAddr("172.30.0.1")
	for seed := range uint64(150) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { race(t, ip, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func race(t *testing.T, ip netip.Addr, rng *rand.Rand) {
	l := &ledgerOfOne{rng: rng}
	l.object.Name = v1alpha1.AddressName(ip)
	l.object.ResourceVersion = "0"
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	nodes := []string{"node1", "node2"}
	writers := []*statusWriter{l.writer(ctx, &wg, nodes[0]), l.writer(ctx, &wg, nodes[1])}
	begun := time.Now()
	believe := func(n int, owner string) {
		switch owner {
		case nodes[n]:
			writers[n].want(ip, standing{node: nodes[n], protocol: "ARP", since: begun, interfaces: []string{"eth0"}})
		case "":
			writers[n].clear(ip, announcer.Decision{Reason: announcer.NoReadyEndpoint, Message: "no ready endpoint"})
		default:
			writers[n].leave(ip)
		}
	}
	draw := func(n int) int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return rng.IntN(n)
	}
	owners := []string{"node1", "node2", ""}
	final := owners[draw(3)]
	var minds sync.WaitGroup
	for n := range writers {
		var beliefs []string
		for range draw(5) {
			beliefs = append(beliefs, owners[draw(3)])
		}
		minds.Go(func() {
			for _, owner := range append(beliefs, final) {
				believe(n, owner)
				time.Sleep(time.Duration(draw(600)) * time.Millisecond)
			}
		})
	}
	minds.Wait()
	time.Sleep(time.Minute)
	l.mu.Lock()
	writes, status := l.writes, l.object.Status.DeepCopy()
	l.mu.Unlock()
	switch {
	case final == "" && status.Layer2 != nil:
		t.Errorf("nobody announces, and the status names %s", status.Layer2.Node)
	case final != "" && (status.Layer2 == nil || status.Layer2.Node != final || status.Announced != final+" L2" || !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.AddressAnnounced)):
		t.Errorf("%s announces, and the status is %+v", final, status)
	}
	time.Sleep(10 * time.Minute)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writes != writes {
		t.Errorf("%d writes although nothing changed any more", l.writes-writes)
	}
}

// What a look at the status that came early has put right, and a late write made
// wrong again, is put right once more.
func TestTheStatusIsPutRightAfterAnEarlyLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ip := netip.MustParseAddr("172.30.0.1")
		l := &ledgerOfOne{rng: rand.New(rand.NewPCG(1, 1))}
		l.object.Name, l.object.ResourceVersion = v1alpha1.AddressName(ip), "0"
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		w := l.writer(ctx, &wg, "node1")
		w.clear(ip, announcer.Decision{Reason: announcer.NoReadyEndpoint, Message: "no ready endpoint"})
		for n := range 3 {
			if n == 1 { // as after a write that failed
				w.queue.AddAfter(ip, 800*time.Millisecond)
			}
			late := `{"metadata":{"name":"` + l.object.Name + `"},"status":{"announced":"node1 L2","layer2":{"node":"node1"}}}`
			if err := l.apply([]byte(late)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		time.Sleep(rewriteWait)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.object.Status.Layer2 != nil {
			t.Errorf("nobody announces, and the status names %s", l.object.Status.Layer2.Node)
		}
	})
}
