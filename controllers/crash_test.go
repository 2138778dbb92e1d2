package controllers

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// crasher stops a controller at its n-th pass of any failpoint: from then on no
// write of it comes through.
type crasher struct {
	mu      sync.Mutex
	n       int
	at      string
	crashed chan struct{}
}

func newCrasher(n int) *crasher { return &crasher{n: n, crashed: make(chan struct{})} }

func (c *crasher) hook(_ context.Context, point string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at != "" {
		return ErrFailpoint
	}
	if strings.HasPrefix(point, "address.") || strings.HasPrefix(point, "service.") {
		c.n--
	}
	if c.n > 0 {
		return nil
	}
	c.at = point
	close(c.crashed)
	return ErrFailpoint
}

// struck says whether the crash has come.
func (c *crasher) struck() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at != ""
}

// invariants holds what must be true whenever nobody writes: an address has one
// holder (or holders that share), what a status shows stands in the ledger, and
// what the ledger has bound a status shows.
func (w *world) invariants() {
	w.t.Helper()
	w.eventually("ledger and statuses agree", func() error {
		var addresses v1alpha1.AddressList
		var services corev1.ServiceList
		if err := w.c.List(w.ctx(), &addresses); err != nil {
			return err
		}
		if err := w.c.List(w.ctx(), &services); err != nil {
			return err
		}
		held := map[string]string{}
		for _, a := range addresses.Items {
			keys := map[string]bool{}
			for _, h := range a.Spec.Holders {
				held[a.Spec.Address+" "+h.Namespace+"/"+h.Name] = string(h.State)
				keys[h.SharingKey] = true
				if h.State != v1alpha1.AddressBound {
					return fmt.Errorf("%s is Pending on %s", h.Name, a.Spec.Address)
				}
			}
			if len(a.Spec.Holders) > 1 && (len(keys) > 1 || keys[""]) {
				w.t.Fatalf("%s has two holders that do not share: %v", a.Spec.Address, a.Spec.Holders)
			}
		}
		shown := map[string]bool{}
		for i := range services.Items {
			s := &services.Items[i]
			for _, ip := range ips(s) {
				key := ip + " " + s.Namespace + "/" + s.Name
				shown[key] = true
				if held[key] == "" {
					return fmt.Errorf("the status of %s/%s shows %s, which the ledger does not have", s.Namespace, s.Name, ip)
				}
			}
		}
		for key := range held {
			if !shown[key] {
				return fmt.Errorf("the ledger has %s, which no status shows", key)
			}
		}
		return nil
	})
}

func TestCrashAtEveryWrite(t *testing.T) {
	// The whole way: give (one and two families), share, change a wish, change
	// the type, delete.
	for n := 1; ; n++ {
		done := false
		t.Run(fmt.Sprint(n), func(t *testing.T) { done = crashOnce(t, n) })
		if done || t.Failed() {
			if n < 20 {
				t.Errorf("only %d failpoints were passed", n)
			}
			return
		}
	}
}

func crashOnce(t *testing.T, n int) (uncrashed bool) {
	w := newWorld(t)
	crash := newCrasher(n)
	first := w.start(func(o *Options, _ *manager.Options) { o.Failpoint = crash.hook })
	replaced := false
	until := func(what string, check func() error) {
		t.Helper()
		w.eventually(what, func() error {
			select {
			case <-crash.crashed:
				if !replaced {
					replaced = true
					first.stop()
					w.start()
				}
			default:
			}
			return check()
		})
	}
	shows := func(name string, want ...string) {
		t.Helper()
		until(name+" has "+strings.Join(want, " "), func() error {
			if got := ips(w.get(name)); strings.Join(got, " ") != strings.Join(want, " ") {
				return fmt.Errorf("it has %v", got)
			}
			return nil
		})
	}
	w.pool("both", nil, "192.0.2.10-192.0.2.30", "2001:db8::10-2001:db8::30")
	w.service("dual", dualStack)
	shows("dual", "192.0.2.10", "2001:db8::10")
	w.service("one", annotate(v1alpha1.AnnotationSharingKey, "k", v1alpha1.AnnotationAddresses, "192.0.2.16"))
	shows("one", "192.0.2.16")
	w.service("two", annotate(v1alpha1.AnnotationSharingKey, "k", v1alpha1.AnnotationAddresses, "192.0.2.16"), func(s *corev1.Service) { s.Spec.Ports[0].Port = 81 })
	shows("two", "192.0.2.16")
	w.edit("dual", annotate(v1alpha1.AnnotationAddresses, "192.0.2.20,2001:db8::20"))
	shows("dual", "192.0.2.20", "2001:db8::20")
	w.edit("one", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })
	shows("one")
	dual := w.get("dual")
	if err := w.c.Delete(w.ctx(), dual); err != nil {
		t.Fatal(err)
	}
	until("everything is released", func() error {
		if len(w.get("one").Status.Conditions) > 0 {
			return fmt.Errorf("conditions are left: %v", w.get("one").Status.Conditions)
		}
		for _, ip := range []string{"192.0.2.10", "2001:db8::10", "192.0.2.20", "2001:db8::20"} {
			if a := w.address(ip); a != nil && (len(a.Spec.Holders) > 0 || hasFinalizer(a)) {
				return fmt.Errorf("%s is held by %v", ip, a.Spec.Holders)
			}
		}
		if a := w.address("192.0.2.16"); a == nil || len(a.Spec.Holders) != 1 || a.Spec.Holders[0].Name != "two" {
			return fmt.Errorf("the shared address is %+v", a)
		}
		return nil
	})
	w.invariants()
	return !replaced && !crash.struck()
}

// split brain: two controllers without leader election, at the same time.
func TestTwoControllersAtOnceNeverGiveOneAddressTwice(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.start()
	w.pool("small", nil, "192.0.2.0/27")
	const n = 24
	for i := range n {
		w.service(fmt.Sprintf("s%02d", i))
	}
	w.eventually("all have one address", func() error {
		// One list is the state of one moment. An address that both have given to the same Service goes on to the next.
		var services corev1.ServiceList
		if err := w.c.List(w.ctx(), &services, client.InNamespace(w.ns)); err != nil {
			return err
		}
		seen := map[string]string{}
		var missing []string
		for i := range services.Items {
			s := &services.Items[i]
			for _, ip := range ips(s) {
				if seen[ip] != "" {
					t.Fatalf("%s and %s both have %s", s.Name, seen[ip], ip)
				}
				seen[ip] = s.Name
			}
			if got := ips(s); len(got) != 1 && s.Spec.Type == corev1.ServiceTypeLoadBalancer {
				missing = append(missing, fmt.Sprintf("%s has %v", s.Name, got))
			}
		}
		if len(missing) > 0 || len(seen) != n {
			return fmt.Errorf("%d addresses are given; %s", len(seen), strings.Join(missing, ", "))
		}
		return nil
	})
	w.invariants()
	for i := range n {
		if err := w.c.Delete(w.ctx(), w.get(fmt.Sprintf("s%02d", i))); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	w.eventually("all are released", func() error {
		var list v1alpha1.AddressList
		if err := w.c.List(w.ctx(), &list); err != nil {
			return err
		}
		for _, a := range list.Items {
			if len(a.Spec.Holders) > 0 {
				return fmt.Errorf("%s has %v", a.Name, a.Spec.Holders)
			}
		}
		return nil
	})
}
