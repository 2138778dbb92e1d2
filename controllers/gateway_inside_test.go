package controllers

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/features"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/gateway/pki"
)

// with makes a Gateway that asks for addresses.
func (w *world) with(name, class string, addresses ...gatewayv1.GatewaySpecAddress) *gatewayv1.Gateway {
	gw := w.newGateway(name, class)
	gw.Spec.Addresses = addresses
	return gw
}

func inside(value string) gatewayv1.GatewaySpecAddress {
	return gatewayv1.GatewaySpecAddress{Value: value, Routability: gatewayv1.GatewayAddressRoutabilityCluster}
}

// free is an address of the cluster's range of Services that nobody has.
func (w *world) free() string {
	w.t.Helper()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "probe"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	w.create(s)
	if err := w.c.Delete(w.ctx(), s); err != nil {
		w.t.Fatal(err)
	}
	return s.Spec.ClusterIP
}

// heldBy are the addresses of pools that a Gateway holds.
func (w *world) heldBy(name string) []string {
	w.t.Helper()
	var list v1alpha1.AddressList
	if err := w.c.List(w.ctx(), &list); err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for i := range list.Items {
		for _, h := range list.Items[i].Spec.Holders {
			if h.Kind == gateway.KindGateway && h.Namespace == w.ns && h.Name == name {
				out = append(out, list.Items[i].Spec.Address)
			}
		}
	}
	return out
}

// addressesSaid are the addresses of a Gateway's status, each with its
// routability.
func addressesSaid(gw *gatewayv1.Gateway) []string {
	var out []string
	for _, a := range gw.Status.Addresses {
		said := "unset"
		if a.Routability != nil {
			said = fmt.Sprintf("%q", string(*a.Routability))
		}
		out = append(out, a.Value+" "+said)
	}
	return out
}

// A Gateway may ask for an address inside of the cluster, beside one of a pool or
// alone, and for a certain one (GEP-5093).
func TestGatewayInsideTheCluster(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.0/29")
	serve, _ := w.withGateways()
	w.start(serve)
	class, certain := w.class(), w.free()
	w.create(
		w.with("alone", class, inside("")),
		w.with("both", class, inside(""), gatewayv1.GatewaySpecAddress{}),
		w.with("certain", class, inside(certain)),
		w.with("wrong", class, inside("192.0.2.77")),
		w.with("partly", class, inside("192.0.2.77"), gatewayv1.GatewaySpecAddress{Routability: gateway.RoutabilitySentinel}),
		w.with("unknown", class, gatewayv1.GatewaySpecAddress{Routability: "example.com/wan"}),
	)
	const assigned = gatewayv1.GatewayConditionAddressesAssigned
	clusterIP := func(gw string) string {
		s := &corev1.Service{}
		if err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: fleet.FrontName(gw, class)}, s); err != nil {
			t.Fatal(err)
		}
		return s.Spec.ClusterIP
	}
	gw := w.says("alone", assigned, metav1.ConditionTrue, gatewayv1.GatewayReasonAddressesAssigned)
	if got, want := addressesSaid(gw), clusterIP("alone")+` "Cluster"`; len(got) != 1 || got[0] != want {
		t.Errorf("alone has %v, want %s", got, want)
	}
	if held := w.heldBy("alone"); len(held) > 0 {
		t.Errorf("alone holds %v of a pool", held)
	}
	gw = w.says("both", assigned, metav1.ConditionTrue, gatewayv1.GatewayReasonAddressesAssigned)
	if got := addressesSaid(gw); len(got) != 2 || !strings.HasPrefix(got[0], "192.0.2.") || !strings.HasSuffix(got[0], ` ""`) || got[1] != clusterIP("both")+` "Cluster"` {
		t.Errorf("both has %v", got)
	}
	gw = w.says("certain", assigned, metav1.ConditionTrue, gatewayv1.GatewayReasonAddressesAssigned)
	if got := addressesSaid(gw); len(got) != 1 || got[0] != certain+` "Cluster"` {
		t.Errorf("certain has %v, want %s", got, certain)
	}
	gw = w.says("wrong", assigned, metav1.ConditionFalse, gatewayv1.GatewayReasonAddressesNotAssigned)
	if got := addressesSaid(gw); len(got) > 0 {
		t.Errorf("wrong has %v", got)
	}
	w.says("wrong", gatewayv1.GatewayConditionProgrammed, metav1.ConditionFalse, gatewayv1.GatewayReasonAddressNotAssigned)
	gw = w.says("partly", assigned, metav1.ConditionFalse, gatewayv1.GatewayReasonAddressesPartiallyAssigned)
	if got := addressesSaid(gw); len(got) != 1 || !strings.HasSuffix(got[0], ` "testing.x-k8s.io/sentinel"`) {
		t.Errorf("partly has %v", got)
	}
	if c := meta.FindStatusCondition(gw.Status.Conditions, string(assigned)); !strings.Contains(c.Message, "spec.addresses[0]") {
		t.Errorf("partly says %q", c.Message)
	}
	gw = w.says("unknown", assigned, metav1.ConditionFalse, gatewayv1.GatewayReasonAddressesNotAssigned)
	if got := addressesSaid(gw); len(got) > 0 {
		t.Errorf("unknown has %v", got)
	}

	// From a pool to the inside: the address of the pool is free afterwards.
	if held := w.heldBy("both"); len(held) != 1 {
		t.Errorf("both holds %v of a pool", held)
	}
	w.eventually("the Gateway asks for the inside only", func() error {
		gw := &gatewayv1.Gateway{}
		if err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: "both"}, gw); err != nil {
			return err
		}
		gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{inside("")}
		return w.c.Update(w.ctx(), gw)
	})
	w.eventually("the address of the pool is given up", func() error {
		if held := w.heldBy("both"); len(held) > 0 {
			return fmt.Errorf("it still holds %v", held)
		}
		return nil
	})
	gw = w.says("both", assigned, metav1.ConditionTrue, gatewayv1.GatewayReasonAddressesAssigned)
	if got := addressesSaid(gw); len(got) != 1 || got[0] != clusterIP("both")+` "Cluster"` {
		t.Errorf("both has %v afterwards", got)
	}
}

// Clients may be validated by a ClusterTrustBundle, also one that comes later
// (GEP-5075); a class says so where there are any.
func TestGatewayTrustBundle(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.0/29")
	serve, _ := w.withGateways()
	w.start(serve)
	class := w.class()
	authority, _, err := pki.Authority(nil, time.Now(), rand.Reader, pki.DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	leaf, _, err := pki.Leaf(nil, authority, pki.Controller("web.example.com"), time.Now(), rand.Reader, pki.DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "web"}, Type: corev1.SecretTypeTLS, Data: leaf})
	gw := w.newGateway("web", class)
	gw.Spec.Listeners = []gatewayv1.Listener{{
		Name: "https", Port: 443, Protocol: gatewayv1.HTTPSProtocolType,
		TLS: &gatewayv1.ListenerTLSConfig{CertificateRefs: []gatewayv1.SecretObjectReference{{Name: "web"}}},
	}}
	gw.Spec.TLS = &gatewayv1.GatewayTLSConfig{Frontend: &gatewayv1.FrontendTLSConfig{Default: gatewayv1.TLSConfig{Validation: &gatewayv1.FrontendTLSValidation{
		CACertificateRefs: []gatewayv1.ObjectReference{{Group: "certificates.k8s.io", Kind: "ClusterTrustBundle", Name: gatewayv1.ObjectName(w.ns)}},
	}}}}
	w.create(gw)
	resolved := func(status metav1.ConditionStatus, reason gatewayv1.ListenerConditionReason) {
		t.Helper()
		w.eventually(fmt.Sprintf("the listener says ResolvedRefs=%s/%s", status, reason), func() error {
			if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(gw), gw); err != nil {
				return err
			}
			if len(gw.Status.Listeners) == 1 {
				if c := meta.FindStatusCondition(gw.Status.Listeners[0].Conditions, "ResolvedRefs"); c != nil && c.Status == status && c.Reason == string(reason) {
					return nil
				}
			}
			return fmt.Errorf("it says %+v", gw.Status.Listeners)
		})
	}
	resolved(metav1.ConditionFalse, gatewayv1.ListenerReasonInvalidCACertificateRef)
	bundle := &certificatesv1.ClusterTrustBundle{ObjectMeta: metav1.ObjectMeta{Name: w.ns}, Spec: certificatesv1.ClusterTrustBundleSpec{TrustBundle: string(leaf["ca.crt"])}}
	w.create(bundle)
	t.Cleanup(func() { _ = w.c.Delete(context.Background(), bundle) })
	resolved(metav1.ConditionTrue, gatewayv1.ListenerReasonResolvedRefs)
	if err := w.c.Delete(w.ctx(), bundle); err != nil {
		t.Fatal(err)
	}
	resolved(metav1.ConditionFalse, gatewayv1.ListenerReasonInvalidCACertificateRef)

	w.eventually("the class claims every feature", func() error {
		c := &gatewayv1.GatewayClass{}
		if err := w.c.Get(w.ctx(), client.ObjectKey{Name: class}, c); err != nil {
			return err
		}
		said := map[string]bool{}
		for _, f := range c.Status.SupportedFeatures {
			said[string(f.Name)] = true
		}
		for _, f := range []features.FeatureName{features.SupportClusterTrustBundle, features.SupportGatewayAddressRoutabilityCluster, features.SupportGatewayListenerFilters} {
			if !said[string(f)] {
				return fmt.Errorf("it claims %d features, and not %s", len(said), f)
			}
		}
		if len(said) != 54 {
			return fmt.Errorf("it claims %d features of 54", len(said))
		}
		return nil
	})
}
