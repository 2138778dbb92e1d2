package controllers

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/service"
)

// speak writes the status of an Address as a speaker does: it moves the
// resourceVersion, and nothing that the ledger reads.
func (w *world) speak(ip string, n int) {
	w.t.Helper()
	body := fmt.Sprintf(`{"status":{"layer2":{"node":"node%d","since":"2026-01-01T00:00:00Z"}}}`, n)
	o := &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: ip}}
	if err := w.c.Status().Patch(w.ctx(), o, client.RawPatch("application/merge-patch+json", []byte(body)), client.FieldOwner("speaker")); err != nil {
		w.t.Fatal(err)
	}
}

// reserve makes an Address as the ledger keeps one, and gives what was written.
func (w *world) reserve(ip string) *v1alpha1.Address {
	w.t.Helper()
	o := &v1alpha1.Address{
		ObjectMeta: metav1.ObjectMeta{Name: ip, Finalizers: []string{v1alpha1.AddressFinalizer, "example.com/other"}},
		Spec: v1alpha1.AddressSpec{Address: ip, Pool: "public", State: v1alpha1.AddressBound, Holders: []v1alpha1.AddressHolder{{
			HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: w.ns, Name: "a"}, State: v1alpha1.AddressBound,
		}}},
	}
	if err := w.c.Create(w.ctx(), o); err != nil {
		w.t.Fatal(err)
	}
	return o
}

func (w *world) newLedger(c client.Client) *Ledger {
	return NewLedger(c, c, clock.RealClock{}, noop.NewTracerProvider().Tracer(""), nil, LedgerHooks{
		Wake: func([]allocator.Key) {}, Used: func([]string) {}, Retry: func([]netip.Addr) {},
	})
}

// emptied is an Address after its holder has gone.
func emptied(o *v1alpha1.Address) *v1alpha1.Address {
	o = o.DeepCopy()
	o.Spec.Holders, o.Spec.State = nil, v1alpha1.AddressRetained
	setFinalizer(o, false)
	return o
}

func TestUpdateDespiteStatusWrites(t *testing.T) {
	w := newWorld(t)
	from := w.reserve("192.0.2.10")
	w.speak("192.0.2.10", 1)
	answer, err := w.newLedger(w.c).update(w.ctx(), from, emptied(from))
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Spec.Holders) > 0 || strings.Join(answer.Finalizers, " ") != "example.com/other" {
		t.Errorf("the Address is %+v with finalizers %v", answer.Spec, answer.Finalizers)
	}
	if l := answer.Status.Layer2; l == nil || l.Node != "node1" {
		t.Errorf("the speaker's status is lost: %+v", answer.Status)
	}
}

func TestUpdateFromAnOlderState(t *testing.T) {
	for name, change := range map[string]func(w *world, o *v1alpha1.Address) error{
		"another holder": func(w *world, o *v1alpha1.Address) error {
			o.Spec.Holders[0].Name = "b"
			return w.c.Update(w.ctx(), o)
		},
		"a reservation": func(w *world, o *v1alpha1.Address) error {
			o.Spec.ReservedFor = &v1alpha1.HolderReference{Kind: "Service", Namespace: w.ns, Name: "b"}
			return w.c.Update(w.ctx(), o)
		},
		"a finalizer less": func(w *world, o *v1alpha1.Address) error {
			o.Finalizers = o.Finalizers[:1]
			return w.c.Update(w.ctx(), o)
		},
		"no finalizer": func(w *world, o *v1alpha1.Address) error {
			o.Finalizers = nil
			return w.c.Update(w.ctx(), o)
		},
		"a deletion begun": func(w *world, o *v1alpha1.Address) error { return w.c.Delete(w.ctx(), o) },
		"made anew": func(w *world, o *v1alpha1.Address) error {
			finalizers := o.Finalizers
			o.Finalizers = nil
			err := errors.Join(w.c.Update(w.ctx(), o), w.c.Delete(w.ctx(), o))
			o.ObjectMeta = metav1.ObjectMeta{Name: o.Name, Finalizers: finalizers}
			return errors.Join(err, w.c.Create(w.ctx(), o))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			from := w.reserve("192.0.2.10")
			if err := change(w, from.DeepCopy()); err != nil {
				t.Fatal(err)
			}
			now := w.address("192.0.2.10")
			if _, err := w.newLedger(w.c).update(w.ctx(), from, emptied(from)); !apierrors.IsConflict(err) {
				t.Errorf("an update from an older state: %v", err)
			}
			if after := w.address("192.0.2.10"); after.ResourceVersion != now.ResourceVersion {
				t.Errorf("it was written: %+v", after)
			}
		})
	}
}

func TestUpdateFromNoFinalizer(t *testing.T) {
	w := newWorld(t)
	from := w.reserve("192.0.2.10")
	from.Finalizers = nil
	if err := w.c.Update(w.ctx(), from); err != nil {
		t.Fatal(err)
	}
	to := from.DeepCopy()
	setFinalizer(to, true)
	answer, err := w.newLedger(w.c).update(w.ctx(), from, to)
	if err != nil || !hasFinalizer(answer) {
		t.Fatalf("finalizers %v, %v", answer.Finalizers, err)
	}
	if _, err := w.newLedger(w.c).update(w.ctx(), from, to); !apierrors.IsConflict(err) {
		t.Errorf("a second update from there being none: %v", err)
	}
}

func TestUpdateThatIsInvalidIsNoConflict(t *testing.T) {
	w := newWorld(t)
	from := w.reserve("192.0.2.10")
	to := from.DeepCopy()
	to.Spec.Address = "192.0.2.11"
	if _, err := w.newLedger(w.c).update(w.ctx(), from, to); !apierrors.IsInvalid(err) || apierrors.IsConflict(err) {
		t.Errorf("the error is %v", err)
	}
}

// answers counts how the API server answered to writes of Addresses.
type answers struct {
	mu   sync.Mutex
	made map[string]int // "VERB code"
}

func (a *answers) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		res, err := next.RoundTrip(req)
		if err == nil && strings.Contains(req.URL.Path, "/addresses/") && !strings.HasSuffix(req.URL.Path, "/status") {
			a.mu.Lock()
			a.made[fmt.Sprintf("%s %d", req.Method, res.StatusCode)]++
			a.mu.Unlock()
		}
		return res, err
	})
}

// A holder goes; before its Address is updated, a speaker writes, each time.
func TestReleasesWhileSpeakersWrite(t *testing.T) {
	w := newWorld(t)
	const n = 50
	counted := &answers{made: map[string]int{}}
	cfg := Unlimited(apiServer)
	cfg.Wrap(counted.wrap)
	c, err := client.New(cfg, client.Options{Scheme: w.c.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	l := w.newLedger(c)
	l.Configure([]allocator.Pool{{
		Name: "public", AutoAssign: true, ReuseDelay: time.Hour, Retain: time.Hour,
		Ranges: []allocator.Range{{From: netip.MustParseAddr("192.0.2.10"), To: netip.MustParseAddr("192.0.2.99")}},
	}}, nil, nil)
	for i := range n {
		key := allocator.Key{Kind: service.KindService, Namespace: w.ns, Name: fmt.Sprint("s", i)}
		d, err := l.Decide(w.ctx(), allocator.Claim{Key: key, Families: []allocator.Family{allocator.IPv4}, Ports: []allocator.Port{{Protocol: "TCP", Port: 80}}})
		if err != nil || len(d.Addresses) != 1 {
			t.Fatalf("%+v, %v", d, err)
		}
		w.speak(d.Addresses[0].Address.String(), i)
		if err := l.Release(w.ctx(), key); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(counted.made); got != fmt.Sprintf("map[PATCH 200:%d]", n) {
		t.Errorf("releasing %d addresses took %s", n, got)
	}
}
