package plan

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
)

// check builds the Gateway as the controller will, and tells of what would not be
// accepted.
func (t *toGateway) check() {
	in := gateway.Input{Gateway: t.will.DeepCopy(), Routes: t.in.Cluster.Routes, Objects: lookups{&t.in.Cluster}}
	mine := map[gateway.Name]bool{}
	for i, w := range t.ways {
		name := gateway.Name{Namespace: t.svc.Namespace, Name: t.routeName(w, t.sections[i])}
		mine[name] = true
		addRoute(&in.Routes, t.route(w, name, t.sections[i]))
	}
	said := gateway.Build(in).Status(gateway.Progress{})
	for i := range said.Gateway.Listeners {
		l := &said.Gateway.Listeners[i]
		for _, section := range t.sections {
			if l.Name == section {
				t.refused(fmt.Sprintf("listener %s of %s", l.Name, t.in.To), l.Conditions)
			}
		}
	}
	for _, r := range said.Routes {
		if !mine[r.Name] {
			continue
		}
		for _, parent := range r.Parents {
			t.refused(r.Kind+" "+r.String(), parent.Conditions)
		}
	}
}

// refused tells of conditions that say that something is not served.
func (t *toGateway) refused(about string, conditions []metav1.Condition) {
	for _, c := range conditions {
		bad := c.Status == metav1.ConditionFalse && (c.Type == "Accepted" || c.Type == "ResolvedRefs")
		if bad {
			t.p.note(Blocked, about, fmt.Sprintf("It would not be served (%s): %s", c.Reason, c.Message), "")
		}
	}
}

// addRoute puts a route in the place of one that has its name.
func addRoute(r *gateway.Routes, o metav1.Object) {
	switch o := o.(type) {
	case *gatewayv1.HTTPRoute:
		r.HTTP = replaced(r.HTTP, o)
	case *gatewayv1.GRPCRoute:
		r.GRPC = replaced(r.GRPC, o)
	case *gatewayv1.TLSRoute:
		r.TLS = replaced(r.TLS, o)
	case *gatewayv1.TCPRoute:
		r.TCP = replaced(r.TCP, o)
	case *gatewayv1.UDPRoute:
		r.UDP = replaced(r.UDP, o)
	}
}

func replaced[T metav1.Object](list []T, o T) []T {
	out := make([]T, 0, len(list)+1)
	for _, have := range list {
		if have.GetNamespace() != o.GetNamespace() || have.GetName() != o.GetName() {
			out = append(out, have)
		}
	}
	return append(out, o)
}

// lookups is what is there, for package gateway. What routes of others refer to
// beside Services is no matter here.
type lookups struct{ c *Cluster }

func (l lookups) Namespace(name string) (map[string]string, bool) {
	labels, ok := l.c.Namespaces[name]
	return labels, ok
}
func (l lookups) Secret(gateway.Name) *corev1.Secret       { return nil }
func (l lookups) ConfigMap(gateway.Name) *corev1.ConfigMap { return nil }

func (l lookups) Service(n gateway.Name) *corev1.Service { return l.c.service(n) }

func (l lookups) Grants(namespace string) []*gatewayv1.ReferenceGrant {
	var out []*gatewayv1.ReferenceGrant
	for _, g := range l.c.Grants {
		if g.Namespace == namespace {
			out = append(out, g)
		}
	}
	return out
}

func (l lookups) Policies(gateway.Name) []*gatewayv1.BackendTLSPolicy { return nil }

func (l lookups) TrustBundle(string) (string, bool, bool) { return "", false, false }
