package controllers

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// annotated sets an annotation of a CRD, also when the test has ended.
func (w *world) annotated(name, annotation, value string) {
	w.t.Helper()
	crd := crdObject()
	crd.Name = name
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, annotation, value)
	if err := w.c.Patch(context.Background(), crd, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		w.t.Error(err)
	}
}

// logged is how many lines have both.
func (d *diary) logged(words, more string) (n int) {
	for line := range strings.Lines(d.String()) {
		if strings.Contains(line, words) && strings.Contains(line, more) {
			n++
		}
	}
	return n
}

// A class says that the CRDs of the Gateway API are others than Fairlead is made for as
// soon as they are, and no longer than that; each change is logged once.
func TestUnsupportedVersionOfGatewayAPI(t *testing.T) {
	w := newWorld(t)
	serve, _ := w.withGateways()
	d := &diary{}
	w.start(serve, func(_ *Options, m *manager.Options) { m.Logger = d.logger() })
	class := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: w.class()}}
	says := func(status metav1.ConditionStatus, reason, words string) {
		t.Helper()
		w.eventually(fmt.Sprintf("the class says SupportedVersion=%s/%s", status, reason), func() error {
			if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(class), class); err != nil {
				return err
			}
			c := meta.FindStatusCondition(class.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusSupportedVersion))
			if c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, words) {
				return fmt.Errorf("it says %+v", c)
			}
			return nil
		})
	}
	crd := crdObject()
	if err := w.c.Get(w.ctx(), client.ObjectKey{Name: "tlsroutes.gateway.networking.k8s.io"}, crd); err != nil {
		t.Fatal(err)
	}
	good := map[string]string{bundleVersion: crd.Annotations[bundleVersion], bundleChannel: crd.Annotations[bundleChannel]}
	t.Cleanup(func() {
		for annotation, value := range good {
			w.annotated(crd.Name, annotation, value)
		}
	})
	says(metav1.ConditionTrue, "SupportedVersion", "")
	claimed := len(class.Status.SupportedFeatures)
	for _, tt := range []struct{ annotation, value, words string }{
		{bundleVersion, "v1.0.0", "several versions (v1.0.0, " + good[bundleVersion] + ")"},
		{bundleVersion, "v99.0.0", "several versions (" + good[bundleVersion] + ", v99.0.0)"},
		{bundleChannel, "standard", "several channels (experimental, standard)"},
	} {
		w.annotated(crd.Name, tt.annotation, tt.value)
		says(metav1.ConditionFalse, "UnsupportedVersion", tt.words)
		if !meta.IsStatusConditionTrue(class.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusAccepted)) {
			t.Errorf("with %s the class is not accepted: %+v", tt.value, class.Status.Conditions)
		}
		if tt.annotation == bundleChannel && len(class.Status.SupportedFeatures) >= claimed {
			t.Errorf("with mixed channels %d features are claimed, with one %d", len(class.Status.SupportedFeatures), claimed)
		}
		w.annotated(crd.Name, tt.annotation, good[tt.annotation])
		says(metav1.ConditionTrue, "SupportedVersion", "")
		if n := d.logged("Gateways are served by CRDs", tt.words); n != 1 {
			t.Errorf("%q is logged %d times, want once", tt.words, n)
		}
	}
	if n := d.logged("The CRDs of the Gateway API are those that Fairlead is made for", ""); n != 3 {
		t.Errorf("that all is well again is logged %d times, want 3", n)
	}
}
