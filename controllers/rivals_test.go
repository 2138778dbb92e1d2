package controllers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/service"
	"github.com/fairlead/fairlead/test/rivals"
)

// quick is the default pace ten times as fast, so that 30 s become 3 s.
var quick = service.Pace{First: 200 * time.Millisecond, Max: 5 * time.Second, Quiet: 5 * time.Second}

// round is how long a fight lasts, at that pace.
const round = 3 * time.Second

// ledgerWatch sees every version of an Address.
type ledgerWatch struct {
	moved chan string
	stop  func()
}

// unmoved fails when the Address ever has other holders than this one.
func (w *world) watchAddress(ip, holder string) *ledgerWatch {
	w.t.Helper()
	c, err := client.NewWithWatch(apiServer, client.Options{Scheme: w.c.Scheme()})
	if err != nil {
		w.t.Fatal(err)
	}
	watch, err := c.Watch(w.ctx(), &v1alpha1.AddressList{})
	if err != nil {
		w.t.Fatal(err)
	}
	l := &ledgerWatch{moved: make(chan string, 1000), stop: watch.Stop}
	go func() {
		for e := range watch.ResultChan() {
			a, ok := e.Object.(*v1alpha1.Address)
			if !ok || a.Spec.Address != ip {
				continue
			}
			if e.Type == "DELETED" || len(a.Spec.Holders) != 1 || a.Spec.Holders[0].Name != holder || a.Spec.State != v1alpha1.AddressBound {
				l.moved <- fmt.Sprintf("%s %s %v", e.Type, a.Spec.State, a.Spec.Holders)
			}
		}
	}()
	return l
}

// fight lets rivals at a Service that has an address, and checks what must hold
// meanwhile. It gives the number of our status writes.
func (w *world) fight(r *replica, name, address string, duration time.Duration, opponents ...rivals.Rival) int {
	w.t.Helper()
	c := kubernetes.NewForConfigOrDie(Unlimited(apiServer))
	ledger := w.watchAddress(address, name)
	defer ledger.stop()
	bystander := types.NamespacedName{Namespace: w.ns, Name: "bystander"}
	before, looks := r.statusWrites(w.ns, name), r.look(bystander)
	var fights []*rivals.Fight
	for _, o := range opponents {
		fights = append(fights, o.Start(w.ctx(), c, types.NamespacedName{Namespace: w.ns, Name: name}))
	}
	time.Sleep(duration)
	writes := r.statusWrites(w.ns, name) - before
	var theirs int64
	for _, f := range fights {
		f.Stop()
		theirs += f.Writes()
	}
	if theirs == 0 {
		w.t.Error("the rival has not written at all")
	}
	if n := r.look(bystander) - looks; n > 0 {
		w.t.Errorf("another Service was looked at %d times", n)
	}
	select {
	case m := <-ledger.moved:
		w.t.Errorf("the ledger moved: %s", m)
	default:
	}
	if writes > 6 {
		w.t.Errorf("%d status writes of ours in one round, %d of the rival's", writes, theirs)
	}
	return writes
}

func (r *requests) look(name types.NamespacedName) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.looks[name]
}

// ring is a world for fights: a pool, a bystander and a Service with an address.
func newRing(t *testing.T, pace service.Pace, change ...func(*corev1.Service)) (*world, *replica) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	r := w.start(func(o *Options, _ *manager.Options) { o.Pace = pace })
	w.service("bystander")
	w.has("bystander", "192.0.2.10")
	w.service("ours", change...)
	w.has("ours", "192.0.2.11")
	w.settled(r)
	return w, r
}

// quietAgain waits until the contest is over, and nothing is written any more.
func (w *world) quietAgain(r *replica) {
	w.t.Helper()
	w.eventually("the contest is over", func() error {
		s := w.get("ours")
		if slices.ContainsFunc(s.Status.Conditions, func(c metav1.Condition) bool { return c.Type == service.ConditionContested }) {
			return fmt.Errorf("it has %v", s.Status.Conditions)
		}
		return nil
	})
	w.settled(r)
}

func (w *world) eventNames(reason, words string) {
	w.t.Helper()
	w.eventually("an Event "+reason+" names "+words, func() error {
		var list eventsv1.EventList
		if err := w.c.List(w.ctx(), &list, client.InNamespace(w.ns)); err != nil {
			return err
		}
		n := 0
		for _, e := range list.Items {
			if e.Reason == reason {
				if n++; !strings.Contains(e.Note, words) {
					return fmt.Errorf("it says %q", e.Note)
				}
			}
		}
		if n != 1 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
}

func TestRivalsOverTheStatus(t *testing.T) {
	for _, rival := range []rivals.Rival{rivals.Chisel("203.0.113.9"), rivals.Replacer("203.0.113.9")} {
		t.Run(rival.Name, func(t *testing.T) {
			w, r := newRing(t, quick)
			w.fight(r, "ours", "192.0.2.11", round, rival)
			c := w.condition("ours", service.ConditionContested, "True", service.ReasonStatusRewritten)
			for _, want := range []string{rival.Manager, "203.0.113.9", "192.0.2.11"} {
				if !strings.Contains(c.Message, want) {
					t.Errorf("the condition does not name %s: %s", want, c.Message)
				}
			}
			w.eventNames(service.EventContested, rival.Manager)
			w.eventually("the status is right again", func() error {
				if got := ips(w.get("ours")); !slices.Contains(got, "192.0.2.11") {
					return fmt.Errorf("it has %v", got)
				}
				return nil
			})
			w.quietAgain(r)
			w.eventNames(service.EventContestEnded, "")
			w.addressIs("192.0.2.11", v1alpha1.AddressBound, "ours")
		})
	}
}

func TestRivalThatAddsPorts(t *testing.T) {
	w, r := newRing(t, quick)
	if n := w.fight(r, "ours", "192.0.2.11", round, rivals.PortAdder()); n > 1 {
		t.Errorf("%d status writes against added ports", n)
	}
	w.quietAgain(r)
	w.has("ours", "192.0.2.11")
}

func TestRivalsOverTheWish(t *testing.T) {
	template := &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}}, Selector: map[string]string{"app": "template"}}}
	// Some go by the same name for what they write; alternating rivals are two.
	for _, tt := range []struct {
		name      string
		change    []func(*corev1.Service)
		opponents []rivals.Rival
		named     string // in the condition Contested; empty: there is none
	}{
		{"annotations are deleted", []func(*corev1.Service){annotate(v1alpha1.AnnotationAddresses, "192.0.2.11")}, []rivals.Rival{rivals.AnnotationDeleter()}, ""},
		{"external addresses are rewritten", nil, []rivals.Rival{rivals.ExternalIPs("203.0.113.8", "203.0.113.9")}, ""},
		{"a foreign address is asked for", nil, []rivals.Rival{rivals.LoadBalancerIP("203.0.113.9")}, ""},
		{"annotations alternate", nil, []rivals.Rival{
			rivals.Annotator("owner-one", v1alpha1.AnnotationAddresses, "192.0.2.15"), rivals.Annotator("owner-two", v1alpha1.AnnotationAddresses, "192.0.2.16"),
		}, "owner-"},
		{"the field alternates", nil, []rivals.Rival{rivals.LoadBalancerIP("192.0.2.15"), rivals.LoadBalancerIP("192.0.2.16")}, "cloud-provider"},
		{"a template is applied again and again", nil, []rivals.Rival{rivals.Template(template)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, r := newRing(t, quick, tt.change...)
			w.fight(r, "ours", "192.0.2.11", round, tt.opponents...)
			if tt.named != "" {
				if c := w.condition("ours", service.ConditionContested, "True", service.ReasonWishRewritten); !strings.Contains(c.Message, tt.named) {
					t.Errorf("the condition does not name %s: %s", tt.named, c.Message)
				}
			}
			if got := ips(w.get("ours")); !slices.Contains(got, "192.0.2.11") {
				t.Errorf("the Service has %v", got)
			}
			w.settled(r)
		})
	}
}

func TestRivalThatRecreates(t *testing.T) {
	w, r := newRing(t, quick)
	uid := w.get("ours").UID
	f := rivals.Recreator(v1alpha1.LoadBalancerClass).Start(w.ctx(), kubernetes.NewForConfigOrDie(Unlimited(apiServer)), types.NamespacedName{Namespace: w.ns, Name: "ours"})
	defer f.Stop()
	w.eventually("the Service is another one with the same address", func() error {
		s := &corev1.Service{}
		if err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: "ours"}, s); err != nil {
			return err
		}
		if got := ips(s); s.UID == uid || len(got) != 1 || got[0] != "192.0.2.11" {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
	w.addressIs("192.0.2.11", v1alpha1.AddressBound, "ours")
	w.settled(r)
	w.invariants()
}

// A chisel-operator that is given a class leaves us the Services without one, each with
// its last entry and its finalizer, and then neither writes any more.
func TestChiselOperatorThatIsGivenAClass(t *testing.T) {
	w, r := newRing(t, quick)
	c := kubernetes.NewForConfigOrDie(Unlimited(apiServer))
	all := types.NamespacedName{Namespace: w.ns}
	f := rivals.ChiselOperator("203.0.113.9", "").Start(w.ctx(), c, all)
	w.condition("ours", service.ConditionContested, "True", service.ReasonStatusRewritten)
	f.Stop()

	f = rivals.ChiselOperator("203.0.113.9", rivals.ChiselClass).Start(w.ctx(), c, all)
	defer f.Stop()
	for name, address := range map[string]string{"ours": "192.0.2.11", "bystander": "192.0.2.10"} {
		w.has(name, address, "203.0.113.9")
	}
	w.quietAgain(r)
	if f.Writes() != 0 {
		t.Errorf("it wrote %d times into Services that are not its own", f.Writes())
	}
	w.service("its", func(s *corev1.Service) { s.Spec.LoadBalancerClass = ptr.To(rivals.ChiselClass) })
	w.has("its", "203.0.113.9")

	w.delete(w.get("ours"))
	w.settled(r)
	s := w.get("ours")
	if !slices.Equal(s.Finalizers, []string{rivals.ChiselFinalizer}) {
		t.Fatalf("the finalizers are %v", s.Finalizers)
	}
	w.delete(w.get("its"))
	w.eventually("its own Service is gone", func() error {
		err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: "its"}, &corev1.Service{})
		if err == nil {
			return errors.New("it is still there")
		}
		return client.IgnoreNotFound(err)
	})
	for _, name := range []string{"ours", "bystander"} { // so that the world can end
		w.edit(name, func(s *corev1.Service) { s.Finalizers = nil })
	}
}

// The promise as it is worded: at most six status writes in 30 s.
func TestChiselForHalfAMinute(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	w, r := newRing(t, service.Pace{})
	w.fight(r, "ours", "192.0.2.11", 30*time.Second, rivals.Chisel("203.0.113.9"))
	w.condition("ours", service.ConditionContested, "True", service.ReasonStatusRewritten)
}
