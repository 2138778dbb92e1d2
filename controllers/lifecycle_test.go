package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/service"
)

// statusIs writes the status of a Service as another controller would.
func (w *world) statusIs(name, manager string, addresses ...string) {
	w.t.Helper()
	s := w.get(name)
	s.Status.LoadBalancer.Ingress = nil
	for _, ip := range addresses {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
	}
	if err := w.c.Status().Update(w.ctx(), s, client.FieldOwner(manager)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) delete(o client.Object) {
	w.t.Helper()
	if err := w.c.Delete(w.ctx(), o); err != nil {
		w.t.Fatal(err)
	}
}

func TestStatusesOfAnEarlierControllerAreAdoptedFirst(t *testing.T) {
	w := newWorld(t)
	w.service("old")
	w.statusIs("old", "metallb", "192.0.2.10") // the lowest, which a new one would get
	w.service("older")
	w.statusIs("older", "metallb", "192.0.2.12")
	w.service("new")
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	w.start()
	w.has("new", "192.0.2.11")
	w.addressIs("192.0.2.10", v1alpha1.AddressBound, "old")
	w.addressIs("192.0.2.12", v1alpha1.AddressBound, "older")
	w.has("old", "192.0.2.10")
	w.has("older", "192.0.2.12")
}

func TestStatusesAreAdoptedWhenTheirPoolAppears(t *testing.T) {
	w := newWorld(t)
	w.service("new")
	w.service("old")
	w.statusIs("old", "metallb", "192.0.2.10")
	w.start()
	w.condition("new", service.ConditionAddress, "False", "")
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	w.has("new", "192.0.2.11")
	w.has("old", "192.0.2.10")
	w.addressIs("192.0.2.10", v1alpha1.AddressBound, "old")
}

func TestLostLedgerIsRebuiltFromStatuses(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	r := w.start()
	w.service("a")
	w.has("a", "192.0.2.10")
	w.service("b")
	w.has("b", "192.0.2.11")
	r.stop()
	for _, ip := range []string{"192.0.2.10", "192.0.2.11"} {
		a := w.address(ip)
		a.Finalizers = nil
		if err := w.c.Update(w.ctx(), a); err != nil {
			t.Fatal(err)
		}
		w.delete(a)
	}
	w.service("c")
	w.start()
	w.has("c", "192.0.2.12")
	w.addressIs("192.0.2.10", v1alpha1.AddressBound, "a")
	w.addressIs("192.0.2.11", v1alpha1.AddressBound, "b")
	w.invariants()
}

func TestChangesWhileTheControllerWasDown(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	first := w.start()
	for i, name := range []string{"deleted", "retyped", "rewished", "kept"} {
		w.service(name)
		w.has(name, fmt.Sprintf("192.0.2.%d", 10+i))
	}
	w.settled(first)
	first.stop()
	w.delete(w.get("deleted"))
	w.edit("retyped", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })
	w.edit("rewished", annotate(v1alpha1.AnnotationAddresses, "192.0.2.19"))
	w.start()
	w.has("rewished", "192.0.2.19")
	w.has("kept", "192.0.2.13")
	w.addressIs("192.0.2.10", v1alpha1.AddressRetained)
	w.addressIs("192.0.2.11", v1alpha1.AddressRetained)
	w.addressIs("192.0.2.12", v1alpha1.AddressRetained)
	w.eventually("the Service of another type is clean", func() error {
		if s := w.get("retyped"); len(s.Status.LoadBalancer.Ingress)+len(s.Status.Conditions) > 0 {
			return fmt.Errorf("its status is %+v", s.Status)
		}
		return nil
	})
	w.invariants()
}

func TestEntriesAndConditionsOfOthersSurvive(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	s := w.service("mixed")
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{Hostname: "lb.example.com"}, {IP: "203.0.113.9", Ports: []corev1.PortStatus{{Port: 80, Protocol: corev1.ProtocolTCP}}}}
	s.Status.Conditions = []metav1.Condition{{Type: "example.com/Theirs", Status: "True", Reason: "Because", Message: "it is", LastTransitionTime: metav1.Now()}}
	if err := w.c.Status().Update(w.ctx(), s, client.FieldOwner("other")); err != nil {
		t.Fatal(err)
	}
	theirs := w.get("mixed").Status.DeepCopy()
	w.start()
	w.eventually("our entry is there beside theirs", func() error {
		got := ips(w.get("mixed"))
		if !slices.Contains(got, "192.0.2.10") || !slices.Contains(got, "203.0.113.9") || len(got) != 3 {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
	w.edit("mixed", func(s *corev1.Service) { s.Spec.LoadBalancerClass = nil; s.Spec.Type = corev1.ServiceTypeLoadBalancer })
	got := w.get("mixed")
	for i, in := range theirs.LoadBalancer.Ingress {
		if !slices.ContainsFunc(got.Status.LoadBalancer.Ingress, func(o corev1.LoadBalancerIngress) bool {
			return o.Hostname == in.Hostname && o.IP == in.IP && len(o.Ports) == len(in.Ports)
		}) {
			t.Errorf("entry %d of the other controller is gone: %+v", i, got.Status.LoadBalancer.Ingress)
		}
	}
	if !slices.ContainsFunc(got.Status.Conditions, func(c metav1.Condition) bool { return c == theirs.Conditions[0] }) {
		t.Errorf("the condition of the other controller is gone: %+v", got.Status.Conditions)
	}
}

func TestOtherClassesAreNotTouched(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	r := w.start(func(o *Options, _ *manager.Options) {
		o.Service = service.Config{Default: false, StatusClasses: []string{"example.com/theirs"}}
	})
	w.service("none")
	w.service("other", func(s *corev1.Service) { s.Spec.LoadBalancerClass = ptr.To("example.com/other") })
	w.service("theirs", func(s *corev1.Service) { s.Spec.LoadBalancerClass = ptr.To("example.com/theirs") })
	w.service("ours", func(s *corev1.Service) { s.Spec.LoadBalancerClass = ptr.To(v1alpha1.LoadBalancerClass) })
	w.has("ours", "192.0.2.10")
	w.statusIs("theirs", "them", "192.0.2.15")
	w.addressIs("192.0.2.15", v1alpha1.AddressBound, "theirs")
	w.settled(r)
	for _, name := range []string{"none", "other", "theirs"} {
		if n := r.statusWrites(w.ns, name); n != 0 {
			t.Errorf("%d status writes of %s", n, name)
		}
	}
	w.statusIs("theirs", "them")
	w.addressIs("192.0.2.15", v1alpha1.AddressRetained)
}

// An address that another controller wrote, and that the Service may not have, is told
// of once, since its controller says that all is well.
func TestAddressOfAnotherControllerIsRefusedAloud(t *testing.T) {
	w := newWorld(t)
	w.pool("public", func(p *v1alpha1.IPAddressPool) {
		p.Spec.ServiceAllocation = &v1alpha1.ServiceAllocation{Namespaces: []string{"elsewhere"}}
	}, "192.0.2.10-192.0.2.20")
	r := w.start(func(o *Options, _ *manager.Options) {
		o.Service = service.Config{StatusClasses: []string{"example.com/theirs"}}
	})
	w.service("theirs", func(s *corev1.Service) { s.Spec.LoadBalancerClass = ptr.To("example.com/theirs") })
	w.statusIs("theirs", "them", "192.0.2.15")
	w.told("Service", "theirs", "PoolNotAdmitted",
		"192.0.2.15, which the controller of class example.com/theirs wrote, is not announced. Pool public, asked for by status.loadBalancer.ingress, does not admit")
	w.edit("theirs", func(s *corev1.Service) { s.Labels = map[string]string{"touched": "yes"} })
	w.settled(r)
	if n := r.statusWrites(w.ns, "theirs"); n != 0 {
		t.Errorf("%d status writes", n)
	}
	var all eventsv1.EventList
	if err := w.c.List(w.ctx(), &all, client.InNamespace(w.ns)); err != nil {
		t.Fatal(err)
	}
	if len(all.Items) != 1 {
		t.Errorf("%d Events, want one", len(all.Items))
	}
}

// A Service that goes back to the controller that it was adopted from keeps its
// address in the status, and in the ledger the address stays reserved for it. One
// that was never adopted loses what we gave it.
func TestAdoptedServicesGoBackWithTheirAddresses(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	kept := &v1alpha1.Address{
		ObjectMeta: metav1.ObjectMeta{Name: "192.0.2.15", Annotations: map[string]string{v1alpha1.AnnotationAdopted: "metallb"}},
		Spec:       v1alpha1.AddressSpec{Address: "192.0.2.15", ReservedFor: &v1alpha1.HolderReference{Kind: "Service", Namespace: w.ns, Name: "adopted"}},
	}
	if err := w.c.Create(w.ctx(), kept); err != nil {
		t.Fatal(err)
	}
	w.service("adopted")
	w.statusIs("adopted", "controller", "192.0.2.15")
	r := w.start()
	w.addressIs("192.0.2.15", v1alpha1.AddressBound, "adopted")
	w.service("given")
	given := w.has("given", "192.0.2.10")
	r.stop()
	w.start(func(o *Options, _ *manager.Options) { o.Service.Default = false })
	w.addressIs("192.0.2.15", v1alpha1.AddressReserved)
	w.addressIs(given.Status.LoadBalancer.Ingress[0].IP, v1alpha1.AddressRetained)
	w.has("given")
	w.has("adopted", "192.0.2.15")
}

func TestRecreatedServiceGetsItsAddressBack(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	w.start()
	w.service("a")
	w.has("a", "192.0.2.10")
	w.service("b")
	w.has("b", "192.0.2.11")
	w.delete(w.get("a"))
	w.addressIs("192.0.2.10", v1alpha1.AddressRetained)
	w.service("c")
	w.has("c", "192.0.2.12")
	w.service("a")
	w.has("a", "192.0.2.10")
}

func TestRetentionEnds(t *testing.T) {
	w := newWorld(t)
	short := &metav1.Duration{Duration: 2 * time.Second}
	w.pool("public", func(p *v1alpha1.IPAddressPool) { p.Spec.Retain, p.Spec.ReuseDelay = short, short }, "192.0.2.10-192.0.2.20")
	w.start()
	w.service("a")
	w.has("a", "192.0.2.10")
	w.delete(w.get("a"))
	w.addressIs("192.0.2.10", v1alpha1.AddressRetained)
	w.eventually("the Address is gone", func() error {
		if w.address("192.0.2.10") != nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
}

func TestPoolEditsKeepAddressesAndDrainingMoves(t *testing.T) {
	w := newWorld(t)
	p := w.pool("old", nil, "192.0.2.10-192.0.2.20")
	w.start()
	w.service("auto")
	w.has("auto", "192.0.2.10")
	w.service("asked", annotate(v1alpha1.AnnotationAddresses, "192.0.2.15"))
	w.has("asked", "192.0.2.15")
	set := func(change func()) { t.Helper(); w.editPool(p, change) }
	set(func() { p.Spec.Addresses = []v1alpha1.AddressRange{"198.51.100.0/28"} })
	w.service("later")
	w.has("later", "198.51.100.0")
	w.has("auto", "192.0.2.10")
	w.has("asked", "192.0.2.15")
	set(func() { p.Spec.Addresses = []v1alpha1.AddressRange{"192.0.2.10-192.0.2.20"} })
	w.pool("new", nil, "203.0.113.0/24")
	set(func() { p.Spec.Draining = true })
	// Whoever asked for nothing goes, also the one whose address the last edit
	// took out of the pool again; in which order they go is not said.
	w.eventually("both that asked for nothing move", func() error {
		both := slices.Sorted(slices.Values(append(ips(w.get("auto")), ips(w.get("later"))...)))
		if !slices.Equal(both, []string{"203.0.113.0", "203.0.113.1"}) {
			return fmt.Errorf("they have %v", both)
		}
		return nil
	})
	w.has("asked", "192.0.2.15")
	w.addressIs("192.0.2.10", v1alpha1.AddressRetained)
	w.delete(p)
	w.service("last")
	w.eventually("a new Service is served from the other pool", func() error {
		if got := ips(w.get("last")); len(got) != 1 || !strings.HasPrefix(got[0], "203.0.113.") {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
	w.has("asked", "192.0.2.15")
	w.invariants()
}

// editPool changes a pool, and waits until the controller has seen it: pools and
// what asks for addresses are watched apart, and what is made now could be seen
// first.
func (w *world) editPool(p *v1alpha1.IPAddressPool, change func()) {
	w.t.Helper()
	w.eventually("the pool is edited", func() error {
		if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		change()
		return w.c.Update(w.ctx(), p)
	})
	w.eventually("the edit is seen", func() error {
		if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		if p.Status.ObservedGeneration != p.Generation {
			return fmt.Errorf("the status is of generation %d, the pool of %d", p.Status.ObservedGeneration, p.Generation)
		}
		return nil
	})
}

func TestExhaustionAndRecovery(t *testing.T) {
	w := newWorld(t)
	w.pool("tiny", nil, "192.0.2.10-192.0.2.11")
	r := w.start()
	w.service("a")
	w.has("a", "192.0.2.10")
	w.service("b")
	w.has("b", "192.0.2.11")
	for i := range 10 {
		w.service(fmt.Sprintf("waits%d", i))
	}
	for i := range 10 {
		w.condition(fmt.Sprintf("waits%d", i), service.ConditionAddress, "False", "PoolExhausted")
	}
	w.poolCondition("tiny", v1alpha1.PoolExhausted, "True", "NoAddressLeft")
	before := w.settled(r)
	w.delete(w.get("a"))
	var served string
	w.eventually("one of those that wait is served", func() error {
		for i := range 10 {
			if got := ips(w.get(fmt.Sprintf("waits%d", i))); len(got) > 0 {
				served = got[0]
				return nil
			}
		}
		return fmt.Errorf("none is")
	})
	if served != "192.0.2.10" {
		t.Errorf("it got %s", served)
	}
	after := w.settled(r)
	writes := 0
	for k, n := range after {
		if strings.Contains(k, "/services/waits") {
			writes += n - before[k]
		}
	}
	if writes != 1 {
		t.Errorf("one freed address caused %d status writes", writes)
	}
}

func (w *world) poolCondition(name, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	w.t.Helper()
	var found metav1.Condition
	w.eventually(fmt.Sprintf("pool %s has %s=%s %s", name, kind, status, reason), func() error {
		var p v1alpha1.IPAddressPool
		if err := w.c.Get(w.ctx(), client.ObjectKey{Name: name}, &p); err != nil {
			return err
		}
		for _, c := range p.Status.Conditions {
			if c.Type == kind && c.Status == status && c.Reason == reason {
				found = c
				return nil
			}
		}
		return fmt.Errorf("it has %+v", p.Status)
	})
	return found
}

func TestPoolStatus(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.pool("big", nil, "2001:db8::/64", "192.0.2.0/24")
	w.pool("younger", nil, "192.0.2.128-192.0.3.10")
	w.pool("reversed", nil, "198.51.100.20-198.51.100.10", "198.51.100.30/32")
	w.pool("selective", func(p *v1alpha1.IPAddressPool) {
		p.Spec.ServiceAllocation = &v1alpha1.ServiceAllocation{ServiceSelectors: []metav1.LabelSelector{{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near", Values: []string{"b"}}},
		}}}
	}, "203.0.113.0/28")
	if err := w.c.Create(w.ctx(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}, Spec: corev1.NodeSpec{PodCIDR: "10.244.1.0/24", PodCIDRs: []string{"10.244.1.0/24"}}}); err != nil {
		t.Fatal(err)
	}
	w.pool("pods", nil, "10.244.0.0/16")
	w.pool("vips", nil, "10.96.0.0/24")
	w.poolCondition("big", v1alpha1.PoolReady, "True", "InUse")
	if c := w.poolCondition("younger", v1alpha1.PoolOverlapping, "True", "Overlapping"); !strings.Contains(c.Message, "big") {
		t.Errorf("message is %q", c.Message)
	}
	w.poolCondition("big", v1alpha1.PoolOverlapping, "False", "NoOverlap")
	if c := w.poolCondition("reversed", v1alpha1.PoolReady, "False", "InvalidSpec"); !strings.Contains(c.Message, "198.51.100.20-198.51.100.10") {
		t.Errorf("message is %q", c.Message)
	}
	w.poolCondition("selective", v1alpha1.PoolReady, "False", "InvalidSpec")
	if c := w.poolCondition("pods", v1alpha1.PoolOverlapping, "True", "Overlapping"); !strings.Contains(c.Message, "node1") {
		t.Errorf("message is %q", c.Message)
	}
	w.poolCondition("vips", v1alpha1.PoolOverlapping, "True", "Overlapping")
	w.service("a", annotate(v1alpha1.AnnotationPool, "reversed"))
	w.has("a", "198.51.100.30")
	var p v1alpha1.IPAddressPool
	w.eventually("the usage is told", func() error {
		if err := w.c.Get(w.ctx(), client.ObjectKey{Name: "reversed"}, &p); err != nil {
			return err
		}
		if p.Status.Assigned != "1" || p.Status.Available != "0" {
			return fmt.Errorf("status is %+v", p.Status)
		}
		return nil
	})
	if err := w.c.Get(w.ctx(), client.ObjectKey{Name: "big"}, &p); err != nil {
		t.Fatal(err)
	}
	if p.Status.AvailableIPv6 != 1<<63-1 || p.Status.Available != "256 IPv4, 18446744073709551615 IPv6" {
		t.Errorf("status is %+v", p.Status)
	}
	w.settled(r)
	r.stop()
	second := w.start()
	w.recovered(second)
	if writes := w.settled(second); len(writes) > 0 {
		t.Errorf("a restart writes %v", writes)
	}
}

// Our own write of a status comes back as an event, while addresses are being
// given: it must not make the next write come at once.
func TestPoolStatusIsWrittenNoOftenerThanItMay(t *testing.T) {
	w := newWorld(t)
	r := w.start(func(o *Options, _ *manager.Options) { o.PoolStatusEvery = time.Hour })
	p := w.pool("public", nil, "192.0.2.0/24")
	w.poolCondition("public", v1alpha1.PoolReady, "True", "InUse")
	w.settled(r)
	w.service("a")
	w.has("a", "192.0.2.0")
	before := w.settled(r)
	w.eventually("the status is edited", func() error {
		if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		p.Status.Assigned = "7"
		return w.c.Status().Update(w.ctx(), p)
	})
	w.service("b")
	w.has("b", "192.0.2.1")
	const writes = "PATCH /apis/fairlead.dev/v1alpha1/ipaddresspools/public/status"
	if after := w.settled(r); before[writes] == 0 || after[writes] != before[writes] {
		t.Errorf("the status was written %d times, then %d times before its hour was over", before[writes], after[writes])
	}
}

func TestReservations(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	w.start()
	reserve := func(ip string, for_ *v1alpha1.HolderReference) {
		t.Helper()
		if err := w.c.Create(w.ctx(), &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: ip}, Spec: v1alpha1.AddressSpec{Address: ip, ReservedFor: for_}}); err != nil {
			t.Fatal(err)
		}
	}
	reserve("192.0.2.10", &v1alpha1.HolderReference{Kind: "Service", Namespace: w.ns, Name: "mine"})
	reserve("192.0.2.11", nil)
	reserve("203.0.113.5", &v1alpha1.HolderReference{Kind: "Service", Namespace: w.ns, Name: "outside"})
	w.addressIs("192.0.2.10", v1alpha1.AddressReserved)
	w.eventually("an address outside of all pools says so", func() error {
		for _, c := range w.address("203.0.113.5").Status.Conditions {
			if c.Type == v1alpha1.AddressInPool && c.Status == "False" {
				return nil
			}
		}
		return fmt.Errorf("it has %v", w.address("203.0.113.5").Status.Conditions)
	})
	w.eventually("the reservation is known", func() error {
		if o := w.address("192.0.2.11"); o.Spec.Pool != "public" {
			return fmt.Errorf("it is %+v", o.Spec)
		}
		return nil
	})
	w.service("other")
	w.has("other", "192.0.2.12")
	w.service("mine")
	w.has("mine", "192.0.2.10")
	w.service("outside", annotate(v1alpha1.AnnotationAddresses, "203.0.113.5"))
	w.has("outside", "203.0.113.5")
	w.service("thief", annotate(v1alpha1.AnnotationAddresses, "192.0.2.11"))
	w.condition("thief", service.ConditionAddress, "False", "AddressReserved")
	w.delete(w.address("192.0.2.11"))
	w.has("thief", "192.0.2.11")
}

func TestForcedDeletionAndForeignEditsOfTheLedger(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	w.start()
	w.service("a")
	w.has("a", "192.0.2.10")
	// Deleted in the ordinary way it stays until its holder is gone.
	w.delete(w.address("192.0.2.10"))
	if a := w.addressIs("192.0.2.10", v1alpha1.AddressBound, "a"); a.DeletionTimestamp == nil {
		t.Error("it is not being deleted")
	}
	w.eventually("an Event says why it stays", func() error {
		var list eventsv1.EventList
		if err := w.c.List(w.ctx(), &list, client.InNamespace(metav1.NamespaceDefault)); err != nil {
			return err
		}
		if n := len(slices.DeleteFunc(list.Items, func(e eventsv1.Event) bool { return e.Reason != "AddressInUse" || !strings.Contains(e.Note, w.ns+"/a") })); n != 1 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	// Deleted by force it is made again.
	was := w.address("192.0.2.10")
	was.Finalizers = nil
	if err := w.c.Update(w.ctx(), was); err != nil {
		t.Fatal(err)
	}
	w.eventually("the Address is made again", func() error {
		if a := w.address("192.0.2.10"); a == nil || a.UID == was.UID || len(a.Spec.Holders) != 1 {
			return fmt.Errorf("it is %+v", a)
		}
		return nil
	})
	w.has("a", "192.0.2.10")
	// A holder that a foreign hand took out is put back.
	w.eventually("the holder is taken out", func() error {
		a := w.address("192.0.2.10")
		a.Spec.Holders, a.Spec.State = nil, v1alpha1.AddressReserved
		return w.c.Update(w.ctx(), a)
	})
	w.addressIs("192.0.2.10", v1alpha1.AddressBound, "a")
	w.has("a", "192.0.2.10")
	w.invariants()
}

func TestEventsAreToldOnce(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	first := w.start()
	w.service("a", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "192.0.2.15" })
	w.has("a", "192.0.2.15")
	count := func() map[string]int {
		var list eventsv1.EventList
		if err := w.c.List(w.ctx(), &list, client.InNamespace(w.ns)); err != nil {
			t.Fatal(err)
		}
		out := map[string]int{}
		for _, e := range list.Items {
			out[e.Reason]++
		}
		return out
	}
	w.eventually("the Events are there", func() error {
		if got := count(); got[service.EventAddressAssigned] != 1 || got[service.EventDeprecated] != 1 {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	first.stop()
	second := w.start()
	w.recovered(second)
	w.settled(second)
	if got := count(); got[service.EventAddressAssigned] != 1 || got[service.EventDeprecated] != 1 {
		t.Errorf("after a restart: %v", got)
	}
}

func TestNamespaceLabelsDecide(t *testing.T) {
	w := newWorld(t)
	w.pool("public", func(p *v1alpha1.IPAddressPool) {
		p.Spec.ServiceAllocation = &v1alpha1.ServiceAllocation{NamespaceSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"tier": "web"}}}}
	}, "192.0.2.10-192.0.2.20")
	w.start()
	w.service("a")
	w.condition("a", service.ConditionAddress, "False", "")
	ns := &corev1.Namespace{}
	if err := w.c.Get(w.ctx(), client.ObjectKey{Name: w.ns}, ns); err != nil {
		t.Fatal(err)
	}
	ns.Labels["tier"] = "web"
	if err := w.c.Update(w.ctx(), ns); err != nil {
		t.Fatal(err)
	}
	w.has("a", "192.0.2.10")
}
