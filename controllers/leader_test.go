package controllers

import (
	"context"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/service"
)

func elected(namespace string) func(*Options, *manager.Options) {
	return func(_ *Options, m *manager.Options) {
		m.LeaderElection, m.LeaderElectionID, m.LeaderElectionNamespace = true, "fairlead-controller", namespace
	}
}

func TestAStandbyTakesOver(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	first := w.start(elected(w.ns))
	w.recovered(first)
	second := w.start(elected(w.ns))
	w.service("a")
	w.has("a", "192.0.2.10")
	select {
	case <-second.shell.ready:
		t.Fatal("the standby works beside the leader")
	default:
	}
	first.stop()
	w.recovered(second)
	w.service("b")
	w.has("b", "192.0.2.11")
	w.has("a", "192.0.2.10")
	if writes := second.statusWrites(w.ns, "a"); writes != 0 {
		t.Errorf("the new leader wrote the status of a Service that has its address %d times", writes)
	}
	w.invariants()
}

// A cache that is late shows Services as they were: what is decided on it must
// neither take an address back nor write a status over a newer one.
func TestALateCacheDoesNoHarm(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	r := w.start()
	w.service("a")
	old := w.has("a", "192.0.2.10")
	w.edit("a", annotate("fairlead.dev/addresses", "192.0.2.15"))
	w.has("a", "192.0.2.15")
	w.settled(r)
	before := r.statusWrites(w.ns, "a")
	// What a worker with the old object in its hands does.
	if _, err := r.shell.serve(context.Background(), old); err != nil {
		if _, quietErr := r.shell.orLater(time.Time{}, err); quietErr != nil {
			t.Fatal(err)
		}
	}
	r.shell.services.add(requestFor(w.ns, "a"))
	w.has("a", "192.0.2.15")
	w.condition("a", service.ConditionAddress, "True", service.ReasonAssigned)
	w.invariants()
	if n := r.statusWrites(w.ns, "a") - before; n > 1 {
		t.Errorf("%d status writes", n)
	}
	// What the cache shows of an Address that is gone, or older, is passed over.
	a := w.address("192.0.2.15")
	stale := a.DeepCopy()
	stale.ResourceVersion, stale.Spec.Holders = "1", nil
	if err := r.shell.ledger.Observe(context.Background(), entryAddress(t, stale), stale); err != nil {
		t.Fatal(err)
	}
	if got := r.shell.ledger.Held(service.KeyOf(old)); len(got) != 1 || got[0].String() != "192.0.2.15" {
		t.Errorf("after a late event the Service holds %v", got)
	}
}
