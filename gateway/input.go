package gateway

import (
	"cmp"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ControllerName is the controllerName of GatewayClasses that are ours.
const ControllerName gatewayv1.GatewayController = "fairlead.dev/gateway-controller"

// Input is all that a Gateway's Model and the statuses around it follow from.
// Nothing in it is modified.
type Input struct {
	Gateway *gatewayv1.Gateway
	// ListenerSets name the Gateway as their parent.
	ListenerSets []*gatewayv1.ListenerSet
	// Routes name the Gateway or one of ListenerSets among their parents.
	// Others are passed over.
	Routes Routes
	// Objects has what all these refer to.
	Objects Objects
}

// Routes of all kinds, in any order.
type Routes struct {
	HTTP []*gatewayv1.HTTPRoute
	GRPC []*gatewayv1.GRPCRoute
	TLS  []*gatewayv1.TLSRoute
	TCP  []*gatewayv1.TCPRoute
	UDP  []*gatewayv1.UDPRoute
}

// all of them, as objects.
func (r *Routes) all() []metav1.Object {
	out := make([]metav1.Object, 0, len(r.HTTP)+len(r.GRPC)+len(r.TLS)+len(r.TCP)+len(r.UDP))
	for _, o := range r.HTTP {
		out = append(out, o)
	}
	for _, o := range r.GRPC {
		out = append(out, o)
	}
	for _, o := range r.TLS {
		out = append(out, o)
	}
	for _, o := range r.TCP {
		out = append(out, o)
	}
	for _, o := range r.UDP {
		out = append(out, o)
	}
	return out
}

// Objects looks up what a Gateway and its routes refer to. Nil and false mean
// that there is no such object.
type Objects interface {
	// Namespace gives the labels of a namespace.
	Namespace(name string) (labels map[string]string, ok bool)
	Secret(Name) *corev1.Secret
	ConfigMap(Name) *corev1.ConfigMap
	Service(Name) *corev1.Service
	// Grants are the ReferenceGrants of a namespace.
	Grants(namespace string) []*gatewayv1.ReferenceGrant
	// Policies are the BackendTLSPolicies that target a Service.
	Policies(service Name) []*gatewayv1.BackendTLSPolicy
	// TrustBundle gives the PEM of a ClusterTrustBundle; served is false
	// where the API server has no such kind.
	TrustBundle(name string) (pem string, ok, served bool)
}

// Reference is something that a Build has looked up, whether it was there or
// not: when it changes, so may the Model. A Namespace stands for its labels, and
// kinds ReferenceGrant and BackendTLSPolicy for all of a namespace and all that
// target the Service of that name.
type Reference struct {
	Kind string
	Name
}

func compareReferences(a, b Reference) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name.Name, b.Name.Name))
}

// tracked remembers what was looked up.
type tracked struct {
	Objects
	seen map[Reference]struct{}
}

func track(o Objects) *tracked { return &tracked{Objects: o, seen: map[Reference]struct{}{}} }

// noting gives what is looked up while something is read, each once. What is read
// around it does not have it noted.
func (t *tracked) noting(read func()) []Reference {
	around := t.seen
	t.seen = map[Reference]struct{}{}
	read()
	seen := slices.SortedFunc(maps.Keys(t.seen), compareReferences)
	t.seen = around
	t.note(seen)
	return seen
}

// note takes what was looked up before for what is read now.
func (t *tracked) note(refs []Reference) {
	for _, r := range refs {
		t.seen[r] = struct{}{}
	}
}

func (t *tracked) saw(kind, namespace, name string) {
	t.seen[Reference{Kind: kind, Name: Name{Namespace: namespace, Name: name}}] = struct{}{}
}

func (t *tracked) Namespace(name string) (map[string]string, bool) {
	t.saw("Namespace", "", name)
	return t.Objects.Namespace(name)
}

func (t *tracked) Secret(n Name) *corev1.Secret {
	t.saw("Secret", n.Namespace, n.Name)
	return t.Objects.Secret(n)
}

func (t *tracked) ConfigMap(n Name) *corev1.ConfigMap {
	t.saw("ConfigMap", n.Namespace, n.Name)
	return t.Objects.ConfigMap(n)
}

func (t *tracked) Service(n Name) *corev1.Service {
	t.saw("Service", n.Namespace, n.Name)
	return t.Objects.Service(n)
}

func (t *tracked) Grants(namespace string) []*gatewayv1.ReferenceGrant {
	t.saw("ReferenceGrant", namespace, "")
	return t.Objects.Grants(namespace)
}

func (t *tracked) Policies(service Name) []*gatewayv1.BackendTLSPolicy {
	t.saw("BackendTLSPolicy", service.Namespace, service.Name)
	return t.Objects.Policies(service)
}

func (t *tracked) TrustBundle(name string) (string, bool, bool) {
	t.saw("ClusterTrustBundle", "", name)
	return t.Objects.TrustBundle(name)
}
