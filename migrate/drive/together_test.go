package drive

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/plan"
)

// handedOver is a world in which a Gateway has what two Services handed over, and a plan
// by which both take it back.
func handedOver(t *testing.T) (*world, *plan.Plan) {
	t.Helper()
	w := newWorld(t)
	w.serve("api", 81)
	gw := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web"}}
	gw.Spec.GatewayClassName = "fairlead"
	gw.Spec.Listeners = []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}}
	w.must(w.c.Create(t.Context(), gw))
	for _, name := range []string{"legacy", "api"} {
		svc := w.service(name)
		svc.Annotations = map[string]string{v1alpha1.AnnotationHandover: "gateway/web"}
		w.must(w.c.Update(t.Context(), svc))
		svc.Status.LoadBalancer.Ingress = nil
		w.must(w.c.Status().Update(t.Context(), svc))
	}
	from, to, other := w.holder(plan.Gateway, "web"), w.holder(plan.Service, "legacy"), w.holder(plan.Service, "api")
	return w, &plan.Plan{
		From: from, To: to, Beside: []plan.Holder{other}, Addresses: []netip.Addr{netip.MustParseAddr("172.30.0.100")}, Until: plan.Done,
		Annotations: []plan.Annotation{
			{On: from, Key: v1alpha1.AnnotationHandover, Value: "service/legacy,service/api"},
			{On: to, Key: v1alpha1.AnnotationTakeover, Value: "gateway/web"},
			{On: other, Key: v1alpha1.AnnotationTakeover, Value: "gateway/web"},
			{On: to, Key: v1alpha1.AnnotationHandover},
			{On: other, Key: v1alpha1.AnnotationHandover},
		},
	}
}

// answers is a client whose controller says a reason as soon as the last one asks.
func (w *world) answers(reason string) client.WithWatch {
	return interceptor.NewClient(w.c, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if err := c.Patch(ctx, o, patch, opts...); err != nil || o.GetName() != "api" || o.GetAnnotations()[v1alpha1.AnnotationTakeover] == "" {
				return err
			}
			gw := w.gateway()
			set(&gw.Status.Conditions, reason)
			w.must(c.Status().Update(ctx, gw))
			for _, name := range []string{"legacy", "api"} {
				svc := w.service(name)
				if _, gives := svc.Annotations[v1alpha1.AnnotationHandover]; gives || svc.Annotations[v1alpha1.AnnotationTakeover] == "" {
					w.t.Errorf("%s is annotated with %v when the last one asks", name, svc.Annotations)
				}
				set(&svc.Status.Conditions, reason)
				w.must(c.Status().Update(ctx, svc))
			}
			return nil
		},
	})
}

// Those who handed over together take back together.
func TestGroupGoesBack(t *testing.T) {
	w, p := handedOver(t)
	goneLater(t)
	var told []string
	r, err := New(w.answers(plan.Done), time.Now, patient, func(l Line) { told = append(told, l.Phase) }).Run(t.Context(), p)
	w.must(err)
	if r.Outcome != Done || !slices.Equal(told, []string{plan.Done}) {
		t.Errorf("it told %v and ended as %+v", told, r)
	}
}

// If it is refused, nobody asks for it any more.
func TestGroupDoesNotGoBack(t *testing.T) {
	w, p := handedOver(t)
	goneLater(t)
	limits := patient
	limits.Grace = time.Millisecond
	r, err := New(w.answers("TakeoverRefused"), time.Now, limits, func(Line) {}).Run(t.Context(), p)
	w.must(err)
	asks := map[string]string{
		"web": w.gateway().Annotations[v1alpha1.AnnotationHandover], "legacy": w.service("legacy").Annotations[v1alpha1.AnnotationTakeover],
		"api": w.service("api").Annotations[v1alpha1.AnnotationTakeover],
	}
	for name, value := range asks {
		if r.Outcome != Undone || value != "" {
			t.Errorf("ended as %+v, and %s is annotated with %q", r, name, value)
		}
	}
}
