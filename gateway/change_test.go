package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
)

// TestRebuild changes a cluster at random. What is built of each change is what is
// built from nothing, byte for byte: the Model, its encoding, the statuses, and what
// was looked up. Of a change only that is told which the controllers know: routes,
// and those objects that were looked up.
func TestRebuild(t *testing.T) {
	keys := makePairs(t)
	rapid.Check(t, func(t *rapid.T) {
		s := newStory(t, keys)
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			s.step()
			s.check()
		}
	})
}

// story is a cluster that changes, and what was built of it so far.
type story struct {
	*rapid.T
	keys []map[string][]byte

	gateway  *gatewayv1.Gateway
	sets     map[string]*gatewayv1.ListenerSet
	routes   map[gateway.Reference]metav1.Object
	labels   map[string]map[string]string
	services map[gateway.Name]*corev1.Service
	secrets  map[gateway.Name]*corev1.Secret
	configs  map[gateway.Name]*corev1.ConfigMap
	grants   map[string]*gatewayv1.ReferenceGrant
	policies map[gateway.Name]*gatewayv1.BackendTLSPolicy
	uids     int

	changed  map[gateway.Reference]struct{}
	built    *gateway.Built
	encoded  xds.Resources
	lookedUp map[gateway.Reference]int
}

func newStory(t *rapid.T, keys []map[string][]byte) *story {
	s := &story{
		T: t, keys: keys, sets: map[string]*gatewayv1.ListenerSet{}, routes: map[gateway.Reference]metav1.Object{},
		labels: map[string]map[string]string{"shop": {"team": "a"}}, services: map[gateway.Name]*corev1.Service{},
		secrets: map[gateway.Name]*corev1.Secret{}, configs: map[gateway.Name]*corev1.ConfigMap{},
		grants: map[string]*gatewayv1.ReferenceGrant{}, policies: map[gateway.Name]*gatewayv1.BackendTLSPolicy{},
		changed: map[gateway.Reference]struct{}{}, lookedUp: map[gateway.Reference]int{},
	}
	s.changeGateway()
	return s
}

func (s *story) Namespace(name string) (map[string]string, bool) {
	l, ok := s.labels[name]
	return l, ok
}
func (s *story) Secret(n gateway.Name) *corev1.Secret       { return s.secrets[n] }
func (s *story) ConfigMap(n gateway.Name) *corev1.ConfigMap { return s.configs[n] }
func (s *story) Service(n gateway.Name) *corev1.Service     { return s.services[n] }
func (s *story) TrustBundle(string) (string, bool, bool)    { return "", false, true }

func (s *story) Grants(namespace string) []*gatewayv1.ReferenceGrant {
	if g := s.grants[namespace]; g != nil {
		return []*gatewayv1.ReferenceGrant{g}
	}
	return nil
}

func (s *story) Policies(service gateway.Name) []*gatewayv1.BackendTLSPolicy {
	var out []*gatewayv1.BackendTLSPolicy
	for n, p := range s.policies {
		if n.Namespace == service.Namespace && string(p.Spec.TargetRefs[0].Name) == service.Name {
			out = append(out, p)
		}
	}
	return out
}

// pick draws one of some values.
func pick[T any](s *story, what string, from ...T) T { return rapid.SampledFrom(from).Draw(s.T, what) }

func (s *story) yes(what string) bool { return rapid.Bool().Draw(s.T, what) }

func (s *story) note(kind, namespace, name string) {
	s.changed[gateway.Reference{Kind: kind, Name: gateway.Name{Namespace: namespace, Name: name}}] = struct{}{}
}

func (s *story) uid() types.UID {
	s.uids++
	return types.UID(fmt.Sprint(s.uids))
}

func (s *story) meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: s.uid(), Generation: 1,
		CreationTimestamp: metav1.NewTime(time.Unix(int64(pick(s, "age", 1, 2, 3)), 0)),
	}
}

// step changes one to three things.
func (s *story) step() {
	for range pick(s, "changes", 1, 1, 1, 2, 3) {
		switch pick(s, "what", "route", "route", "route", "route", "service", "namespace", "secret", "authority", "grant", "policy", "set", "gateway", "nothing") {
		case "route":
			s.changeRoute()
		case "service":
			s.changeService()
		case "namespace":
			n := pick(s, "namespace", "shop", "other")
			s.note("Namespace", "", n)
			s.labels[n] = map[string]string{"team": pick(s, "team", "a", "b")}
		case "secret":
			n := gateway.Name{Namespace: "shop", Name: pick(s, "secret", "one", "two")}
			s.note("Secret", n.Namespace, n.Name)
			s.secrets[n] = pick(s, "is", nil, &corev1.Secret{}, &corev1.Secret{Data: s.keys[0]}, &corev1.Secret{Data: s.keys[1]})
		case "authority":
			n := gateway.Name{Namespace: "shop", Name: "ca"}
			s.note("ConfigMap", n.Namespace, n.Name)
			s.configs[n] = nil
			if s.yes("is there") {
				s.configs[n] = &corev1.ConfigMap{Data: map[string]string{"ca.crt": string(s.keys[pick(s, "which", 0, 1)][corev1.TLSCertKey])}}
			}
		case "grant":
			s.changeGrant()
		case "policy":
			s.changePolicy()
		case "set":
			s.changeSet()
		case "gateway":
			if rapid.IntRange(0, 3).Draw(s.T, "really") == 0 {
				s.changeGateway()
			}
		}
	}
}

func (s *story) changeService() {
	n := gateway.Name{Namespace: pick(s, "namespace", "shop", "other"), Name: pick(s, "service", "a", "b", "c")}
	s.note("Service", n.Namespace, n.Name)
	delete(s.services, n)
	if s.yes("is there") {
		p := corev1.ServicePort{Name: pick(s, "port", "", "web"), Port: 80, Protocol: pick(s, "protocol", corev1.ProtocolTCP, corev1.ProtocolTCP, corev1.ProtocolUDP)}
		if s.yes("h2c") {
			p.AppProtocol = new("kubernetes.io/h2c")
		}
		s.services[n] = &corev1.Service{ObjectMeta: s.meta(n.Namespace, n.Name), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{p}}}
	}
}

func (s *story) changeGrant() {
	s.note("ReferenceGrant", "other", "")
	if delete(s.grants, "other"); s.yes("is there") {
		s.grants["other"] = &gatewayv1.ReferenceGrant{ObjectMeta: s.meta("other", "grant"), Spec: gatewayv1.ReferenceGrantSpec{
			From: []gatewayv1.ReferenceGrantFrom{{Group: gatewayv1.GroupName, Kind: pick[gatewayv1.Kind](s, "from", "HTTPRoute", "TCPRoute"), Namespace: "shop"}},
			To:   []gatewayv1.ReferenceGrantTo{{Kind: "Service"}},
		}}
	}
}

func (s *story) changePolicy() {
	n := gateway.Name{Namespace: "shop", Name: pick(s, "policy", "p", "q")}
	if was := s.policies[n]; was != nil {
		s.note("BackendTLSPolicy", "shop", string(was.Spec.TargetRefs[0].Name))
	}
	if delete(s.policies, n); s.yes("is there") {
		p := &gatewayv1.BackendTLSPolicy{ObjectMeta: s.meta(n.Namespace, n.Name)}
		target := gatewayv1.LocalPolicyTargetReferenceWithSectionName{}
		target.Kind, target.Name = "Service", gatewayv1.ObjectName(pick(s, "target", "a", "b"))
		p.Spec.TargetRefs = append(p.Spec.TargetRefs, target)
		p.Spec.Validation.Hostname = "a.example.com"
		p.Spec.Validation.CACertificateRefs = []gatewayv1.LocalObjectReference{{Kind: "ConfigMap", Name: pick[gatewayv1.ObjectName](s, "ca", "ca", "none")}}
		s.policies[n] = p
		s.note("BackendTLSPolicy", "shop", string(target.Name))
	}
}

func (s *story) changeSet() {
	name := pick(s, "set", "x", "y")
	if delete(s.sets, name); s.yes("is there") {
		l := gatewayv1.ListenerEntry{Name: "extra", Port: pick[gatewayv1.PortNumber](s, "port", 80, 8080), Protocol: gatewayv1.HTTPProtocolType, Hostname: new(pick[gatewayv1.Hostname](s, "host", "set.example.com", "*.example.com"))}
		s.sets[name] = &gatewayv1.ListenerSet{ObjectMeta: s.meta("shop", name), Spec: gatewayv1.ListenerSetSpec{
			ParentRef: gatewayv1.ParentGatewayReference{Name: "web"}, Listeners: []gatewayv1.ListenerEntry{l},
		}}
	}
}

// changeGateway draws which of all listeners it has.
func (s *story) changeGateway() {
	generation := int64(1)
	if s.gateway != nil {
		generation = s.gateway.Generation + 1
	}
	gw := &gatewayv1.Gateway{ObjectMeta: s.meta("shop", "web")}
	gw.UID, gw.Generation = "gateway", generation
	gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{
		From: new(gatewayv1.NamespacesFromSelector), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}},
	}}
	for _, l := range listeners() {
		if rapid.IntRange(0, 2).Draw(s.T, string(l.Name)) > 0 {
			gw.Spec.Listeners = append(gw.Spec.Listeners, l)
		}
	}
	if s.yes("client certificate") {
		gw.Spec.TLS = &gatewayv1.GatewayTLSConfig{Backend: &gatewayv1.GatewayBackendTLS{ClientCertificateRef: &gatewayv1.SecretObjectReference{Name: "two"}}}
	}
	s.gateway = gw
}

func listeners() []gatewayv1.Listener {
	everybody := &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{From: new(gatewayv1.NamespacesFromAll)}}
	team := &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{
		From: new(gatewayv1.NamespacesFromSelector), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}},
	}}
	one := &gatewayv1.ListenerTLSConfig{CertificateRefs: []gatewayv1.SecretObjectReference{{Name: "one"}}}
	both := &gatewayv1.ListenerTLSConfig{CertificateRefs: []gatewayv1.SecretObjectReference{{Name: "one"}, {Name: "two"}}}
	through := &gatewayv1.ListenerTLSConfig{Mode: new(gatewayv1.TLSModePassthrough)}
	host := func(h gatewayv1.Hostname) *gatewayv1.Hostname { return &h }
	auth := &gatewayv1.HTTPExternalAuthFilter{ExternalAuthProtocol: gatewayv1.HTTPRouteExternalAuthHTTPProtocol, BackendRef: gatewayv1.BackendObjectReference{Name: "c", Port: new(gatewayv1.PortNumber(80))}}
	guarded := gatewayv1.Listener{Name: "guarded", Port: 8080, Protocol: gatewayv1.HTTPProtocolType, AllowedRoutes: everybody}
	guarded.Filters = &gatewayv1.ListenerFilters{Requests: []gatewayv1.ListenerFilter{{Type: gatewayv1.ListenerFilterExternalAuth, ExternalAuth: auth}}}
	return []gatewayv1.Listener{
		{Name: "all", Port: 80, Protocol: gatewayv1.HTTPProtocolType, AllowedRoutes: everybody},
		{Name: "wild", Port: 80, Protocol: gatewayv1.HTTPProtocolType, Hostname: host("*.example.com"), AllowedRoutes: team},
		{Name: "exact", Port: 80, Protocol: gatewayv1.HTTPProtocolType, Hostname: host("a.example.com")},
		guarded,
		{Name: "secure", Port: 443, Protocol: gatewayv1.HTTPSProtocolType, TLS: one, AllowedRoutes: everybody},
		{Name: "secure-wild", Port: 443, Protocol: gatewayv1.HTTPSProtocolType, Hostname: host("*.example.com"), TLS: both, AllowedRoutes: team},
		{Name: "ended", Port: 443, Protocol: gatewayv1.TLSProtocolType, Hostname: host("t.example.com"), TLS: one},
		{Name: "through", Port: 8443, Protocol: gatewayv1.TLSProtocolType, TLS: through, AllowedRoutes: everybody},
		{Name: "tcp", Port: 9000, Protocol: gatewayv1.TCPProtocolType, AllowedRoutes: everybody},
		{Name: "udp", Port: 53, Protocol: gatewayv1.UDPProtocolType},
	}
}

// changeRoute makes a route, changes it, or removes it.
func (s *story) changeRoute() {
	kind := pick(s, "kind", "HTTPRoute", "HTTPRoute", "HTTPRoute", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")
	n := gateway.Name{Namespace: pick(s, "namespace", "shop", "shop", "other"), Name: pick(s, "name", "r1", "r2", "r3")}
	id := gateway.Reference{Kind: kind, Name: n}
	s.note(kind, n.Namespace, n.Name)
	meta := s.meta(n.Namespace, n.Name)
	if was := s.routes[id]; was != nil {
		delete(s.routes, id)
		switch pick(s, "fate", "changed", "changed", "made anew", "gone") {
		case "gone":
			return
		case "changed":
			meta.UID, meta.CreationTimestamp, meta.Generation = was.GetUID(), was.GetCreationTimestamp(), was.GetGeneration()+1
		}
	}
	s.routes[id] = s.route(kind, meta)
}

func (s *story) route(kind string, meta metav1.ObjectMeta) metav1.Object {
	common := gatewayv1.CommonRouteSpec{ParentRefs: s.parents()}
	switch kind {
	case "HTTPRoute":
		o := &gatewayv1.HTTPRoute{ObjectMeta: meta, Spec: gatewayv1.HTTPRouteSpec{CommonRouteSpec: common, Hostnames: s.hosts()}}
		for range pick(s, "rules", 1, 1, 2) {
			o.Spec.Rules = append(o.Spec.Rules, s.rule())
		}
		return o
	case "GRPCRoute":
		rule := gatewayv1.GRPCRouteRule{}
		for _, b := range s.backends() {
			rule.BackendRefs = append(rule.BackendRefs, gatewayv1.GRPCBackendRef{BackendRef: b})
		}
		return &gatewayv1.GRPCRoute{ObjectMeta: meta, Spec: gatewayv1.GRPCRouteSpec{CommonRouteSpec: common, Hostnames: s.hosts(), Rules: []gatewayv1.GRPCRouteRule{rule}}}
	case "TLSRoute":
		return &gatewayv1.TLSRoute{ObjectMeta: meta, Spec: gatewayv1.TLSRouteSpec{CommonRouteSpec: common, Hostnames: s.hosts(), Rules: []gatewayv1.TLSRouteRule{{BackendRefs: s.backends()}}}}
	case "TCPRoute":
		return &gatewayv1.TCPRoute{ObjectMeta: meta, Spec: gatewayv1.TCPRouteSpec{CommonRouteSpec: common, Rules: []gatewayv1.TCPRouteRule{{BackendRefs: s.backends()}}}}
	}
	return &gatewayv1.UDPRoute{ObjectMeta: meta, Spec: gatewayv1.UDPRouteSpec{CommonRouteSpec: common, Rules: []gatewayv1.UDPRouteRule{{BackendRefs: s.backends()}}}}
}

func (s *story) parents() []gatewayv1.ParentReference {
	web := gatewayv1.ParentReference{Name: "web", Namespace: new(gatewayv1.Namespace("shop"))}
	set := gatewayv1.ParentReference{Name: "x", Namespace: new(gatewayv1.Namespace("shop")), Kind: new(gatewayv1.Kind("ListenerSet"))}
	section := web
	section.SectionName = new(pick[gatewayv1.SectionName](s, "section", "all", "wild", "exact", "secure", "tcp"))
	return pick(s, "parents", []gatewayv1.ParentReference{web}, []gatewayv1.ParentReference{web}, []gatewayv1.ParentReference{section},
		[]gatewayv1.ParentReference{section, set}, []gatewayv1.ParentReference{set, web}, []gatewayv1.ParentReference{{Name: "another"}})
}

func (s *story) hosts() []gatewayv1.Hostname {
	return rapid.SliceOfNDistinct(rapid.SampledFrom([]gatewayv1.Hostname{
		"a.example.com", "b.example.com", "c.b.example.com", "*.example.com", "*.b.example.com", "t.example.com", "set.example.com", "a.other.org", "*.com",
	}), 0, 3, rapid.ID[gatewayv1.Hostname]).Draw(s.T, "hosts")
}

func (s *story) rule() gatewayv1.HTTPRouteRule {
	r := gatewayv1.HTTPRouteRule{}
	if s.yes("path") {
		r.Matches = []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Value: new(pick(s, "value", "/a", "/b/c"))}}}
	}
	switch pick(s, "filter", "none", "none", "none", "redirect", "mirror", "unknown") {
	case "redirect":
		r.Filters = []gatewayv1.HTTPRouteFilter{{Type: gatewayv1.HTTPRouteFilterRequestRedirect, RequestRedirect: &gatewayv1.HTTPRequestRedirectFilter{StatusCode: new(301)}}}
		return r
	case "mirror":
		r.Filters = []gatewayv1.HTTPRouteFilter{{Type: gatewayv1.HTTPRouteFilterRequestMirror, RequestMirror: &gatewayv1.HTTPRequestMirrorFilter{BackendRef: s.backends()[0].BackendObjectReference}}}
	case "unknown":
		r.Filters = []gatewayv1.HTTPRouteFilter{{Type: gatewayv1.HTTPRouteFilterExtensionRef}}
	}
	for _, b := range s.backends() {
		r.BackendRefs = append(r.BackendRefs, gatewayv1.HTTPBackendRef{BackendRef: b})
	}
	return r
}

func (s *story) backends() []gatewayv1.BackendRef {
	var out []gatewayv1.BackendRef
	for range pick(s, "backends", 1, 1, 2) {
		ref := gatewayv1.BackendRef{}
		ref.Name, ref.Port, ref.Weight = gatewayv1.ObjectName(pick(s, "backend", "a", "b", "c")), new(gatewayv1.PortNumber(80)), new(pick[int32](s, "weight", 0, 1, 2))
		if s.yes("elsewhere") {
			ref.Namespace = new(gatewayv1.Namespace("other"))
		}
		out = append(out, ref)
	}
	return out
}

// check builds what has changed, and all from nothing, and compares.
func (s *story) check() {
	fresh := gateway.Build(s.input())
	if s.built == nil || !s.built.Fits(s.gateway, slices.Collect(maps.Values(s.sets))) {
		s.built = fresh
		clear(s.lookedUp)
	} else {
		s.built = s.built.Rebuild(s.change())
	}
	clear(s.changed)
	s.encoded = xds.Update(s.encoded, s.built.Model, onPort, xds.Settings{})
	for r, n := range counted(s.built.Lookups) {
		if s.lookedUp[r] += n; s.lookedUp[r] == 0 {
			delete(s.lookedUp, r)
		}
	}
	if d := cmp.Diff(counted(fresh.Lookups), s.lookedUp); d != "" {
		s.Fatalf("what was looked up (-from nothing +rebuilt):\n%s", d)
	}
	if d := cmp.Diff(text(s, fresh.Model), text(s, s.built.Model)); d != "" {
		s.Fatalf("the Model (-from nothing +rebuilt):\n%s", d)
	}
	p := gateway.Progress{Waiting: &gateway.Problem{Reason: "Pending", Message: "It waits."}}
	if d := cmp.Diff(text(s, fresh.Status(p)), text(s, s.built.Status(p))); d != "" {
		s.Fatalf("the statuses (-from nothing +rebuilt):\n%s", d)
	}
	if !bytes.Equal(wire(s, xds.Encode(fresh.Model, onPort, xds.Settings{})), wire(s, s.encoded)) {
		s.Fatalf("the encoding differs")
	}
}

func counted(l gateway.Lookups) map[gateway.Reference]int {
	out := map[gateway.Reference]int{}
	for _, r := range l.Came {
		out[r]++
	}
	for _, r := range l.Gone {
		out[r]--
	}
	return out
}

func (s *story) input() gateway.Input {
	in := gateway.Input{Gateway: s.gateway, ListenerSets: slices.Collect(maps.Values(s.sets)), Objects: s}
	for _, o := range s.routes {
		addTo(&in.Routes, o)
	}
	return in
}

// change is what the controllers know of one.
func (s *story) change() gateway.Change {
	c := gateway.Change{Gateway: s.gateway, Objects: s, Of: map[gateway.Reference]struct{}{}}
	for r := range s.changed {
		if s.lookedUp[r] > 0 {
			c.Of[r] = struct{}{}
		}
		switch r.Kind {
		case "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute":
			c.Of[r] = struct{}{}
			if o := s.routes[r]; o != nil {
				addTo(&c.Routes, o)
			}
		}
	}
	return c
}

func addTo(r *gateway.Routes, o metav1.Object) {
	switch o := o.(type) {
	case *gatewayv1.HTTPRoute:
		r.HTTP = append(r.HTTP, o)
	case *gatewayv1.GRPCRoute:
		r.GRPC = append(r.GRPC, o)
	case *gatewayv1.TLSRoute:
		r.TLS = append(r.TLS, o)
	case *gatewayv1.TCPRoute:
		r.TCP = append(r.TCP, o)
	case *gatewayv1.UDPRoute:
		r.UDP = append(r.UDP, o)
	}
}

func onPort(number uint16, _ gateway.Transport) uint16 { return 10000 + number }

func text(s *story, v any) string {
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		s.Fatalf("%v", err)
	}
	return string(out)
}

// wire is all that is encoded, sorted.
func wire(s *story, r xds.Resources) []byte {
	var out bytes.Buffer
	put := func(name string, m proto.Message) {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			s.Fatalf("%s: %v", name, err)
		}
		fmt.Fprintf(&out, "%s %x\n", name, raw)
	}
	sorted(r.Listeners, put)
	sorted(r.Routes, put)
	sorted(r.Clusters, put)
	sorted(r.Secrets, put)
	for _, name := range slices.Sorted(maps.Keys(r.Assignments)) {
		fmt.Fprintf(&out, "%s %+v\n", name, r.Assignments[name])
	}
	return out.Bytes()
}

func sorted[M proto.Message](all map[string]M, f func(string, proto.Message)) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f(name, all[name])
	}
}

// makePairs are two certificates with their keys.
func makePairs(t *testing.T) []map[string][]byte {
	t.Helper()
	var out []map[string][]byte
	for _, names := range [][]string{{"a.example.com"}, {"*.example.com", "t.example.com"}} {
		chain, key := gateway.MakeCertificate(t, names...)
		out = append(out, map[string][]byte{corev1.TLSCertKey: chain, corev1.TLSPrivateKeyKey: key})
	}
	return out
}
