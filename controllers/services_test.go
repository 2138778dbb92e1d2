package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/service"
)

func TestServiceGetsAnAddressAndGivesItBack(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	w.service("plain")
	s := w.has("plain", "192.0.2.10")
	if in := s.Status.LoadBalancer.Ingress[0]; in.IPMode == nil || *in.IPMode != corev1.LoadBalancerIPModeVIP {
		t.Errorf("ingress is %+v", in)
	}
	w.condition("plain", service.ConditionAddress, "True", service.ReasonAssigned)
	a := w.addressIs("192.0.2.10", v1alpha1.AddressBound, "plain")
	if !hasFinalizer(a) || a.Spec.Pool != "public" || a.Spec.Summary != "Service "+w.ns+"/plain" {
		t.Errorf("Address is %+v", a)
	}
	if err := w.c.Delete(w.ctx(), s); err != nil {
		t.Fatal(err)
	}
	a = w.addressIs("192.0.2.10", v1alpha1.AddressRetained)
	if hasFinalizer(a) || a.Spec.Released == nil || a.Spec.Released.Name != "plain" {
		t.Errorf("Address is %+v", a)
	}
	writes := w.settled(r)
	if n := writes["POST /apis/fairlead.dev/v1alpha1/addresses"]; n != 1 {
		t.Errorf("%d creates of the Address: %v", n, writes)
	}
	if n := r.statusWrites(w.ns, "plain"); n != 1 {
		t.Errorf("%d status writes", n)
	}
}

func TestBacklogIsServedOldestFirst(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.40")
	names := []string{"m", "a", "z", "c", "y", "b", "x"} // in no order of their own
	for _, name := range names {
		w.service(name)
	}
	w.start(func(o *Options, _ *manager.Options) { o.Workers = 1 })
	for i, name := range names {
		w.has(name, fmt.Sprintf("192.0.2.%d", 10+i))
	}
}

func TestDualStackIsBoundInThreeWrites(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.pool("both", nil, "192.0.2.10-192.0.2.20", "2001:db8::10-2001:db8::20")
	w.service("dual", dualStack)
	w.has("dual", "192.0.2.10", "2001:db8::10")
	w.addressIs("192.0.2.10", v1alpha1.AddressBound, "dual")
	w.addressIs("2001:db8::10", v1alpha1.AddressBound, "dual")
	writes := w.settled(r)
	if n := writes["POST /apis/fairlead.dev/v1alpha1/addresses"]; n != 2 {
		t.Errorf("%d creates: %v", n, writes)
	}
	if n := writes["PATCH /apis/fairlead.dev/v1alpha1/addresses/192.0.2.10"]; n != 1 {
		t.Errorf("%d updates: %v", n, writes)
	}
}

func TestRestartAndResyncWriteNothing(t *testing.T) {
	w := newWorld(t)
	w.pool("both", nil, "192.0.2.10-192.0.2.20", "2001:db8::10-2001:db8::20")
	first := w.start()
	w.service("plain")
	w.service("dual", dualStack)
	w.service("asked", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "192.0.2.15" })
	w.service("waits", annotate(v1alpha1.AnnotationAddresses, "192.0.2.99"))
	w.service("one", annotate(v1alpha1.AnnotationSharingKey, "k", v1alpha1.AnnotationAddresses, "192.0.2.16"))
	w.service("two", annotate(v1alpha1.AnnotationSharingKey, "k", v1alpha1.AnnotationAddresses, "192.0.2.16"), func(s *corev1.Service) { s.Spec.Ports[0].Port = 81 })
	gone := w.service("gone", annotate(v1alpha1.AnnotationAddresses, "192.0.2.17"))
	w.has("gone", "192.0.2.17")
	if err := w.c.Delete(w.ctx(), gone); err != nil {
		t.Fatal(err)
	}
	w.addressIs("192.0.2.17", v1alpha1.AddressRetained)
	w.addressIs("192.0.2.16", v1alpha1.AddressBound, "one", "two")
	w.condition("waits", service.ConditionAddress, "False", "")
	w.settled(first)
	first.stop()
	second := w.start()
	w.recovered(second)
	if writes := w.settled(second); len(writes) > 0 {
		t.Errorf("a restart writes %v", writes)
	}
	// A resync is an event for every object with nothing changed in it.
	var list corev1.ServiceList
	if err := w.c.List(w.ctx(), &list); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		second.shell.services.add(requestFor(list.Items[i].Namespace, list.Items[i].Name))
	}
	if writes := w.settled(second); len(writes) > 0 {
		t.Errorf("a resync writes %v", writes)
	}
}

// TestWritersThatNeverPause: what somebody else does to the rest of a Service
// between our reading and our writing, each time, delays its address and its
// conditions by one conflict only.
func TestWritersThatNeverPause(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	w.before(func(int) error {
		return w.patch("ours", "", fmt.Sprintf(`{"metadata":{"annotations":{"example.com/at":"%d"}}}`, time.Now().UnixNano()))
	})
	w.service("ours")
	w.has("ours", "192.0.2.10")
	w.edit("ours", annotate(v1alpha1.AnnotationAddresses, "198.51.100.1"))
	w.condition("ours", service.ConditionAddress, "True", service.ReasonKept)
}

// TestStatusOfOthersIsNotOverwritten: neither the first write nor the one after a
// conflict takes away what came into the status since it was read.
func TestStatusOfOthersIsNotOverwritten(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	w.before(func(n int) error {
		if n > 2 {
			return nil
		}
		return w.patch("ours", "status", fmt.Sprintf(`{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.%d"}]}}}`, n))
	})
	w.service("ours")
	w.has("ours", "192.0.2.10", "203.0.113.2")
}

// before runs a controller, and does something before each write of a Service's
// status, with the write's number.
func (w *world) before(do func(n int) error) {
	n := 0
	w.start(func(o *Options, _ *manager.Options) {
		o.Failpoint = func(_ context.Context, point string) error {
			if point != PointServiceStatus+".before" {
				return nil
			}
			n++
			return do(n)
		}
	})
}

func (w *world) patch(name, subresource, patch string) error {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
	raw := client.RawPatch(types.MergePatchType, []byte(patch))
	if subresource != "" {
		return w.c.SubResource(subresource).Patch(w.ctx(), svc, raw)
	}
	return w.c.Patch(w.ctx(), svc, raw)
}
