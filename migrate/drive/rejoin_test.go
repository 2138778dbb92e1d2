package drive

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/plan"
)

// handedOver is a world in which a Gateway has what two Services handed over, and a plan
// by which one takes it back and the other joins it.
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
		From: from, To: to, Rejoin: []plan.Holder{other}, Addresses: []netip.Addr{netip.MustParseAddr("172.30.0.100")}, Until: plan.Done,
		Annotations: []plan.Annotation{
			{On: other, Key: v1alpha1.AnnotationHandover},
			{On: from, Key: v1alpha1.AnnotationHandover, Value: "service/legacy"},
			{On: to, Key: v1alpha1.AnnotationTakeover, Value: "gateway/web"},
			{On: to, Key: v1alpha1.AnnotationHandover},
		},
	}
}

// answers is a client whose controller says a reason as soon as all is asked for.
func (w *world) answers(reason string) client.WithWatch {
	return interceptor.NewClient(w.c, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if err := c.Patch(ctx, o, patch, opts...); err != nil || o.GetName() != "legacy" || o.GetAnnotations()[v1alpha1.AnnotationTakeover] == "" {
				return err
			}
			if _, stays := w.service("api").Annotations[v1alpha1.AnnotationHandover]; stays {
				w.t.Error("the other one does not ask for the address when the takeover begins")
			}
			gw, svc := w.gateway(), w.service("legacy")
			set(&gw.Status.Conditions, reason)
			w.must(c.Status().Update(ctx, gw))
			set(&svc.Status.Conditions, reason)
			return c.Status().Update(ctx, svc)
		},
	})
}

// Of those who handed over together one takes back, and the command is done when the
// others have the address too, or says who has not.
func TestGroupGoesBack(t *testing.T) {
	for _, given := range []bool{true, false} {
		w, p := handedOver(t)
		goneLater(t)
		limits := patient
		if !given {
			limits.Timeout = time.Second
		}
		var told []string
		tell := func(l Line) {
			if told = append(told, l.Phase); l.Phase == plan.Done && given {
				svc := w.service("api")
				svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "172.30.0.100"}}
				w.must(w.c.Status().Update(t.Context(), svc))
			}
		}
		r, err := New(w.answers(plan.Done), time.Now, limits, tell).Run(t.Context(), p)
		w.must(err)
		want, without := []string{plan.Done, Rejoined}, []plan.Holder(nil)
		if !given {
			want, without = []string{plan.Done}, p.Rejoin
		}
		if r.Outcome != Done || !slices.Equal(told, want) || !slices.Equal(r.Without, without) {
			t.Errorf("given %t: it told %v and ended as %+v", given, told, r)
		}
	}
}

// If it is refused, the other one has handed over as before.
func TestGroupDoesNotGoBack(t *testing.T) {
	w, p := handedOver(t)
	goneLater(t)
	limits := patient
	limits.Grace = time.Millisecond
	r, err := New(w.answers("TakeoverRefused"), time.Now, limits, func(Line) {}).Run(t.Context(), p)
	w.must(err)
	if got := w.service("api").Annotations[v1alpha1.AnnotationHandover]; r.Outcome != Undone || got != "gateway/web" {
		t.Errorf("ended as %+v, and the other one hands over to %q", r, got)
	}
}
