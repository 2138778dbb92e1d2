package controllers

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// announces writes what the speaker of a node writes when it announces.
func (w *world) announces(ip, node string) {
	w.t.Helper()
	w.eventually("the speaker's status is written", func() error {
		a := w.address(ip)
		a.Status.Announced = node + " L2"
		a.Status.Layer2 = &v1alpha1.Layer2Announcement{Node: node, Since: metav1.Now()}
		meta.SetStatusCondition(&a.Status.Conditions, metav1.Condition{Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionTrue, Reason: "Layer2", Message: node + " answers."})
		return w.c.Status().Update(w.ctx(), a, client.FieldOwner("speaker"))
	})
}

// announcedBy is a controller with one address that node1 announces.
func announcedBy(t *testing.T, change ...func(*world, *Options)) (*world, *replica) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	w.advertisement("all", v1alpha1.L2AdvertisementSpec{})
	w.node("node1", nil)
	w.endpoint("a", "node1")
	r := w.start(func(o *Options, _ *manager.Options) {
		o.Settle = 30 * time.Millisecond
		for _, f := range change {
			f(w, o)
		}
	})
	w.service("a")
	w.has("a", "192.0.2.10")
	w.announces("192.0.2.10", "node1")
	w.settled(r)
	return w, r
}

// takenOut waits until an Address names no node any more.
func (w *world) takenOut(ip string) {
	w.t.Helper()
	w.eventually(ip+" names no node", func() error {
		if s := w.address(ip).Status; s.Layer2 != nil || s.Announced != "" {
			return fmt.Errorf("it says %q and %+v", s.Announced, s.Layer2)
		}
		return nil
	})
}

func (w *world) unready(name string) {
	w.t.Helper()
	n := &corev1.Node{}
	if err := w.c.Get(w.ctx(), client.ObjectKey{Name: name}, n); err != nil {
		w.t.Fatal(err)
	}
	n.Status.Conditions[0].Status = corev1.ConditionUnknown
	if err := w.c.Status().Update(w.ctx(), n); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(o client.Object) {
	w.t.Helper()
	if err := w.c.Delete(w.ctx(), o); err != nil {
		w.t.Fatal(err)
	}
}

func TestWhatALostNodeLeavesIsTakenOut(t *testing.T) {
	const status = "PATCH /apis/fairlead.dev/v1alpha1/addresses/192.0.2.10/status"
	for name, lose := range map[string]func(w *world){
		"not Ready": func(w *world) { w.unready("node1") },
		"deleted":   func(w *world) { w.remove(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}) },
	} {
		t.Run(name, func(t *testing.T) {
			w, r := announcedBy(t)
			before := r.writes()[status]
			lose(w)
			w.takenOut("192.0.2.10")
			w.dark("192.0.2.10", string(announcer.NoEligibleNode))
			if n := w.settled(r)[status] - before; n != 1 {
				t.Errorf("%d status writes of the Address", n)
			}
		})
	}
}

// speakers says on which nodes a speaker is ready, as Kubernetes does for the
// Service of the speakers.
func (w *world) speakers(nodes ...string) {
	w.t.Helper()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "speaker-1", Labels: map[string]string{
			discoveryv1.LabelServiceName: "speaker", componentLabel: speakerComponent,
		}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, n := range []string{"node1", "node2"} {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{"10.0.0.1"}, NodeName: new(n), Conditions: discoveryv1.EndpointConditions{Ready: new(slices.Contains(nodes, n))},
		})
	}
	err := w.c.Create(w.ctx(), slice)
	if apierrors.IsAlreadyExists(err) {
		err = w.c.Update(w.ctx(), slice)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestWhatADeadSpeakerLeavesIsTakenOut(t *testing.T) {
	w, _ := announcedBy(t, func(w *world, o *Options) { o.Namespace = w.ns })
	w.speakers("node1", "node2")
	// What an Address says while the speaker is ready stays; what it says then does not.
	w.speakers("node2")
	w.takenOut("192.0.2.10")
	w.dark("192.0.2.10", reasonNoSpeaker)
	w.speakers("node1", "node2")
	w.announces("192.0.2.10", "node1")
}

func TestWhatALostNodeLeavesOnAFreedAddress(t *testing.T) {
	w, r := announcedBy(t)
	w.remove(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "a"}})
	w.addressIs("192.0.2.10", v1alpha1.AddressRetained)
	w.settled(r)
	w.unready("node1")
	w.takenOut("192.0.2.10")
	w.settled(r)
}

func TestANodeThatIsBackIsNotOverruled(t *testing.T) {
	w, r := announcedBy(t)
	w.unready("node1")
	w.takenOut("192.0.2.10")
	w.remove(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}})
	w.node("node1", nil)
	w.dark("192.0.2.10", reasonNoSpeaker)
	w.announces("192.0.2.10", "node1")
	before := w.settled(r)
	// A node that cannot serve the address, but lives, takes its own part out.
	w.remove(&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "a-1"}})
	after := w.settled(r)
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("written meanwhile: %v, then %v", before, after)
	}
	if a := w.address("192.0.2.10"); a.Status.Layer2 == nil || a.Status.Layer2.Node != "node1" {
		t.Errorf("the speaker was overruled: %+v", a.Status)
	}
}

// Its speaker says that nobody uses the address: that costs no write of ours.
func TestWhatASpeakerSaysOfAFreedAddressStays(t *testing.T) {
	const status = "PATCH /apis/fairlead.dev/v1alpha1/addresses/192.0.2.10/status"
	w, r := announcedBy(t)
	w.remove(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "a"}})
	w.addressIs("192.0.2.10", v1alpha1.AddressRetained)
	before := w.settled(r)[status]
	w.eventually("the speaker takes its part out", func() error {
		a := w.address("192.0.2.10")
		a.Status.Layer2, a.Status.Announced = nil, ""
		meta.SetStatusCondition(&a.Status.Conditions, metav1.Condition{Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionFalse, Reason: string(announcer.NotBound), Message: "Nobody uses it."})
		return w.c.Status().Update(w.ctx(), a, client.FieldOwner("speaker"))
	})
	if n := w.settled(r)[status] - before; n != 0 {
		t.Errorf("%d status writes of the Address", n)
	}
	// Who had it and comes back does not show it.
	w.service("a")
	w.has("a", "192.0.2.10")
	w.dark("192.0.2.10", reasonNoSpeaker)
}
