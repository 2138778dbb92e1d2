package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// shown are the addresses in a Gateway's status.
func (w *world) shown(name string) []string {
	w.t.Helper()
	gw := &gatewayv1.Gateway{}
	if err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: name}, gw); err != nil {
		w.t.Fatal(err)
	}
	return shownBy(gw)
}

func shownBy(gw *gatewayv1.Gateway) (out []string) {
	for _, a := range gw.Status.Addresses {
		out = append(out, a.Value)
	}
	return out
}

// gatewayHas waits until a Gateway says that it has what it asks for, and that this
// is exactly this address.
func (w *world) gatewayHas(name, want string) *gatewayv1.Gateway {
	w.t.Helper()
	var gw *gatewayv1.Gateway
	w.eventually("Gateway "+name+" has "+want, func() error {
		if got := w.shown(name); !slices.Equal(got, []string{want}) {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
	gw = w.says(name, "AddressesAssigned", metav1.ConditionTrue, gatewayv1.GatewayReasonAddressesAssigned)
	if got := shownBy(gw); !slices.Equal(got, []string{want}) {
		w.t.Fatalf("Gateway %s has %v, want %s", name, got, want)
	}
	return gw
}

// gatewayWaits waits until a Gateway says that there is no address for it.
func (w *world) gatewayWaits(name string) {
	w.t.Helper()
	gw := w.says(name, gatewayv1.GatewayConditionProgrammed, metav1.ConditionFalse, gatewayv1.GatewayReasonAddressNotAssigned)
	if got := shownBy(gw); len(got) > 0 {
		w.t.Fatalf("Gateway %s waits, and has %v", name, got)
	}
}

// agree waits until what Gateways show is what the ledger has for them.
func (w *world) agree(names ...string) {
	w.t.Helper()
	w.eventually("ledger and statuses agree", func() error {
		for _, name := range names {
			if held, shown := w.heldBy(name), w.shown(name); !slices.Equal(held, shown) {
				return fmt.Errorf("%s shows %v and holds %v", name, shown, held)
			}
		}
		return nil
	})
}

func fixed(value string) gatewayv1.GatewaySpecAddress {
	return gatewayv1.GatewaySpecAddress{Type: new(gatewayv1.IPAddressType), Value: value}
}

// TestPoolEditsKeepAddressesAndDrainingMoves for Gateways.
func TestPoolEditsKeepAddressesOfGatewaysAndDrainingMoves(t *testing.T) {
	w := newWorld(t)
	p := w.pool("old", nil, "192.0.2.10-192.0.2.20")
	serve, _ := w.withGateways()
	w.start(serve)
	class := w.class()
	w.create(w.newGateway("auto", class))
	w.gatewayHas("auto", "192.0.2.10")
	w.create(w.with("asked", class, fixed("192.0.2.15")))
	w.gatewayHas("asked", "192.0.2.15")
	w.editPool(p, func() { p.Spec.Addresses = []v1alpha1.AddressRange{"198.51.100.0/28"} })
	w.create(w.newGateway("later", class))
	w.gatewayHas("later", "198.51.100.0")
	w.gatewayHas("auto", "192.0.2.10")
	w.gatewayHas("asked", "192.0.2.15")
	w.editPool(p, func() { p.Spec.Addresses = []v1alpha1.AddressRange{"192.0.2.10-192.0.2.20"} })
	w.gatewayHas("later", "198.51.100.0")
	w.pool("new", nil, "203.0.113.0/24")
	w.editPool(p, func() { p.Spec.Draining = true })
	w.eventually("both that asked for nothing move", func() error {
		both := slices.Sorted(slices.Values(append(w.shown("auto"), w.shown("later")...)))
		if !slices.Equal(both, []string{"203.0.113.0", "203.0.113.1"}) {
			return fmt.Errorf("they have %v", both)
		}
		return nil
	})
	w.gatewayHas("asked", "192.0.2.15")
	w.addressIs("192.0.2.10", v1alpha1.AddressRetained)
	w.delete(p)
	w.create(w.newGateway("last", class))
	w.gatewayHas("last", "203.0.113.2")
	w.gatewayHas("asked", "192.0.2.15")
	w.agree("auto", "asked", "later", "last")
}

// TestExhaustionAndRecovery for Gateways: those that wait say so, and an address
// that is freed is the concern of the one that gets it.
func TestExhaustionAndRecoveryOfGateways(t *testing.T) {
	w := newWorld(t)
	w.pool("tiny", nil, "192.0.2.10-192.0.2.11")
	serve, _ := w.withGateways()
	r := w.start(serve)
	class := w.class()
	w.create(w.newGateway("a", class))
	w.gatewayHas("a", "192.0.2.10")
	w.create(w.newGateway("b", class))
	w.gatewayHas("b", "192.0.2.11")
	var waiting []string
	for i := range 5 {
		waiting = append(waiting, fmt.Sprintf("waits%d", i))
		w.create(w.newGateway(waiting[i], class))
	}
	for _, name := range waiting {
		w.gatewayWaits(name)
	}
	w.poolCondition("tiny", v1alpha1.PoolExhausted, "True", "NoAddressLeft")
	before := w.settled(r)
	w.delete(w.newGateway("a", class))
	served := ""
	w.eventually("one of those that wait is served", func() error {
		for _, name := range waiting {
			if len(w.shown(name)) > 0 {
				served = name
				return nil
			}
		}
		return fmt.Errorf("none is")
	})
	w.gatewayHas(served, "192.0.2.10")
	w.gatewayHas("b", "192.0.2.11")
	for request, n := range w.settled(r) {
		for _, name := range waiting {
			if name != served && strings.HasSuffix(request, "/gateways/"+name+"/status") && n > before[request] {
				t.Errorf("%s got nothing, and %d writes: %s", name, n-before[request], request)
			}
		}
	}
	w.agree(append(waiting, "b")...)
}

// Gateways keep addresses and conditions through a restart while the pool is full,
// and through one during which the pool was edited: neither those that wait nor one
// that came while nobody led takes what they have.
func TestGatewaysKeepAddressesThroughRestartsWithAFullPool(t *testing.T) {
	w := newWorld(t)
	p := w.pool("tiny", nil, "192.0.2.10-192.0.2.11")
	serve, _ := w.withGateways()
	r := w.start(serve)
	class := w.class()
	w.create(w.newGateway("first", class))
	w.gatewayHas("first", "192.0.2.10")
	w.create(w.newGateway("second", class))
	w.gatewayHas("second", "192.0.2.11")
	w.create(w.newGateway("waits", class))
	w.gatewayWaits("waits")
	said := map[string][]metav1.Condition{}
	states := func(name string) []metav1.Condition {
		gw := &gatewayv1.Gateway{}
		if err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: name}, gw); err != nil {
			t.Fatal(err)
		}
		return gw.Status.Conditions
	}
	w.settled(r)
	for _, name := range []string{"first", "second", "waits"} {
		said[name] = states(name)
	}
	r.stop()
	w.create(w.newGateway("came-meanwhile", class))
	w.service("service-meanwhile")
	again, _ := w.withGateways()
	r = w.start(again)
	w.gatewayWaits("came-meanwhile")
	written := w.settled(r)
	for name, before := range said {
		if after := states(name); !slices.Equal(before, after) {
			t.Errorf("%s said %+v before the restart, and says %+v", name, before, after)
		}
		for request, n := range written {
			if strings.Contains(request, "/gateways/"+name+"/") {
				t.Errorf("%s: %d writes by a restart: %s", name, n, request)
			}
		}
	}
	w.gatewayHas("first", "192.0.2.10")
	w.gatewayHas("second", "192.0.2.11")
	r.stop()
	// What "first" has is of no pool any more, and there is room for one.
	if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(p), p); err != nil {
		t.Fatal(err)
	}
	p.Spec.Addresses = []v1alpha1.AddressRange{"192.0.2.11-192.0.2.12"}
	if err := w.c.Update(w.ctx(), p); err != nil {
		t.Fatal(err)
	}
	last, _ := w.withGateways()
	w.start(last)
	w.eventually("one of those that wait gets what is free", func() error {
		if o := w.address("192.0.2.12"); o == nil || o.Spec.State != v1alpha1.AddressBound {
			return fmt.Errorf("192.0.2.12 is %+v", o)
		}
		return nil
	})
	w.gatewayHas("first", "192.0.2.10")
	w.gatewayHas("second", "192.0.2.11")
	w.agree("first", "second", "waits", "came-meanwhile")
}
