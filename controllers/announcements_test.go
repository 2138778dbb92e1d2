package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/service"
)

func (w *world) node(name string, labels map[string]string) {
	w.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if err := w.c.Create(w.ctx(), n); err != nil {
		w.t.Fatal(err)
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if err := w.c.Status().Update(w.ctx(), n); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) endpoint(svc, node string) {
	w.t.Helper()
	err := w.c.Create(w.ctx(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: w.ns, Name: svc + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: svc}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.9.9"}, NodeName: ptr.To(node), Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) advertisement(name string, spec v1alpha1.L2AdvertisementSpec) {
	w.t.Helper()
	if err := w.c.Create(w.ctx(), &v1alpha1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}); err != nil {
		w.t.Fatal(err)
	}
}

// dark waits until an Address says why nobody announces it.
func (w *world) dark(ip, reason string) {
	w.t.Helper()
	w.eventually(ip+" says "+reason, func() error {
		c := meta.FindStatusCondition(w.address(ip).Status.Conditions, v1alpha1.AddressAnnounced)
		if c == nil || c.Status != metav1.ConditionFalse || c.Reason != reason {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
}

func TestWhyNobodyAnnounces(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	soon := func(o *Options, _ *manager.Options) { o.Settle = 100 * time.Millisecond }
	first := w.start(soon)
	w.service("a")
	w.has("a", "192.0.2.10")
	w.dark("192.0.2.10", string(announcer.NoAdvertisement))
	if c := w.condition("a", service.ConditionAnnounced, "False", string(announcer.NoAdvertisement)); !strings.Contains(c.Message, "public") {
		t.Errorf("message is %q", c.Message)
	}
	w.settled(first)
	first.stop()
	second := w.start(soon)
	w.recovered(second)
	if writes := w.settled(second); len(writes) > 0 {
		t.Errorf("a restart writes %v", writes)
	}
	w.advertisement("all", v1alpha1.L2AdvertisementSpec{})
	w.dark("192.0.2.10", string(announcer.NoReadyEndpoint))
	w.endpoint("a", "node1")
	w.dark("192.0.2.10", string(announcer.NoEligibleNode))
	w.node("node1", nil)
	w.dark("192.0.2.10", reasonNoSpeaker)
	w.condition("a", service.ConditionAnnounced, "False", reasonNoSpeaker)
	// The speaker says that it has another interface than the one asked for.
	speaker := &v1alpha1.SpeakerStatus{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}
	if err := w.c.Create(w.ctx(), speaker); err != nil {
		t.Fatal(err)
	}
	speaker.Status.Layer2.Interfaces = []v1alpha1.SpeakerInterface{{Name: "eth0", ARP: true, NDP: true}}
	if err := w.c.Status().Update(w.ctx(), speaker); err != nil {
		t.Fatal(err)
	}
	selects := func(interfaces ...string) {
		w.eventually("the advertisement is edited", func() error {
			var ad v1alpha1.L2Advertisement
			if err := w.c.Get(w.ctx(), client.ObjectKey{Name: "all"}, &ad); err != nil {
				return err
			}
			ad.Spec.Interfaces = interfaces
			return w.c.Update(w.ctx(), &ad)
		})
	}
	selects("eth1")
	w.dark("192.0.2.10", string(announcer.NoInterface))
	selects()
	w.dark("192.0.2.10", reasonNoSpeaker)
	// A speaker announces it.
	w.announces("192.0.2.10", "node1")
	w.eventually("the Service does not say so any more", func() error {
		if c := meta.FindStatusCondition(w.get("a").Status.Conditions, service.ConditionAnnounced); c != nil {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
	w.settled(second)
	if a := w.address("192.0.2.10"); a.Status.Layer2 == nil || !meta.IsStatusConditionTrue(a.Status.Conditions, v1alpha1.AddressAnnounced) {
		t.Errorf("the speaker's status was changed: %+v", a.Status)
	}
}

func TestAdvertisementConditions(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	w.node("node1", nil)
	w.advertisement("good", v1alpha1.L2AdvertisementSpec{IPAddressPools: []string{"public"}})
	w.advertisement("missing", v1alpha1.L2AdvertisementSpec{IPAddressPools: []string{"public", "privat"}})
	w.advertisement("nonode", v1alpha1.L2AdvertisementSpec{NodeSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"rack": "9"}}}})
	w.advertisement("nopool", v1alpha1.L2AdvertisementSpec{IPAddressPoolSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"zone": "9"}}}})
	w.advertisement("bad", v1alpha1.L2AdvertisementSpec{NodeSelectors: []metav1.LabelSelector{{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}}})
	is := func(name string, status metav1.ConditionStatus, reason, words string) {
		t.Helper()
		w.eventually(name+" is "+reason, func() error {
			var ad v1alpha1.L2Advertisement
			if err := w.c.Get(w.ctx(), client.ObjectKey{Name: name}, &ad); err != nil {
				return err
			}
			c := meta.FindStatusCondition(ad.Status.Conditions, v1alpha1.AdvertisementReady)
			if c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, words) {
				return fmt.Errorf("it says %+v", c)
			}
			return nil
		})
	}
	is("good", "True", "InUse", "")
	is("missing", "False", "PoolNotFound", "privat")
	is("nonode", "False", "NoNodeSelected", "nodeSelectors")
	is("nopool", "False", "NoPoolSelected", "ipAddressPoolSelectors")
	is("bad", "False", "InvalidSelector", "nodeSelectors[0]")
	w.pool("privat", nil, "198.51.100.0/28")
	is("missing", "True", "InUse", "")
	w.settled(r)
}
