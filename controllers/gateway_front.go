package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/gateway/xds"
)

// frontFor is what a Gateway has in its own namespace. Its ports at the Envoys
// are those that its Service says already, else new ones.
func (g *gateways) frontFor(gw *gatewayv1.Gateway, built *gateway.Built, c fleet.Config, id fleet.ID) (fleet.Front, error) {
	name := gateway.Name{Namespace: gw.Namespace, Name: gw.Name}
	f := fleet.Front{Gateway: name, UID: gw.UID, Class: string(gw.Spec.GatewayClassName), Fleet: id, Config: c, Infrastructure: infrastructureOf(gw)}
	g.mu.Lock()
	defer g.mu.Unlock()
	books := g.portsOf(id)
	for _, p := range built.Model.Ports {
		envoy, err := books.Give(fleet.PortKey{Gateway: name, Number: p.Number, Transport: p.Transport}, g.Clock.Now())
		if err != nil {
			return f, fmt.Errorf("finding a port for port %d of Gateway %s: %w", p.Number, name, err)
		}
		f.Ports = append(f.Ports, fleet.FrontPort{Number: p.Number, Transport: p.Transport, Envoy: envoy})
	}
	return f, nil
}

// portsOf are the books of a fleet's ports. The caller holds mu.
func (g *gateways) portsOf(id fleet.ID) *fleet.Ports {
	books := g.ports[id.Name()]
	if books == nil {
		books = fleet.NewPorts()
		g.ports[id.Name()] = books
	}
	return books
}

// releasePorts gives up the ports that a Gateway had and has no more; after is nil
// where it is gone.
func (g *gateways) releasePorts(before, after *serving) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range before.front.Ports {
		has := func(o fleet.FrontPort) bool { return o.Number == p.Number && o.Transport == p.Transport }
		if after == nil || before.fleet != after.fleet || !slices.ContainsFunc(after.front.Ports, has) {
			g.portsOf(before.fleet).Release(fleet.PortKey{Gateway: before.front.Gateway, Number: p.Number, Transport: p.Transport}, g.Clock.Now())
		}
	}
}

func infrastructureOf(gw *gatewayv1.Gateway) fleet.Metadata {
	var m fleet.Metadata
	if i := gw.Spec.Infrastructure; i != nil {
		m.Labels, m.Annotations = map[string]string{}, map[string]string{}
		for k, v := range i.Labels {
			m.Labels[string(k)] = string(v)
		}
		for k, v := range i.Annotations {
			m.Annotations[string(k)] = string(v)
		}
	}
	return m
}

// publish gives the Model to the Envoys of the fleet. What they were given before
// stands in s, and is replaced.
func (g *gateways) publish(ctx context.Context, s *serving, c fleet.Config, change *change) error {
	g.encode(ctx, s, c)
	gatewayBuild.WithLabelValues(s.scope()).Observe(s.spent.Seconds())
	return g.deliver(ctx, s, change)
}

func (g *gateways) encode(ctx context.Context, s *serving, c fleet.Config) {
	_, span := g.tracer.Start(ctx, "xds.encode")
	defer span.End()
	began := time.Now()
	defer func() { s.spent += time.Since(began) }()
	ports := map[fleet.PortKey]uint16{}
	for _, p := range s.front.Ports {
		ports[fleet.PortKey{Number: p.Number, Transport: p.Transport}] = p.Envoy
	}
	next := xds.Update(s.encoded, s.built.Model, func(number uint16, t gateway.Transport) uint16 {
		return ports[fleet.PortKey{Number: number, Transport: t}]
	}, settingsOf(c, g.fleet.Families))
	s.sent, s.encoded = resourcesOf(next, s.encoded, s.sent), next
}

// frontState is what became of a Gateway's Service.
type frontState struct {
	// inside are its addresses inside of the cluster.
	inside []netip.Addr
	// unable says why it cannot have those that were written.
	unable string
	// envoys are the Gateway's Envoys as its EndpointSlices have them.
	envoys []fleet.Envoy
	// look is after which time to look again, since a slice waits for that to be
	// written; 0: none does.
	look time.Duration
}

// writeFront brings a Gateway's Service, its status and its EndpointSlices in
// line, or the ServiceAccount that stands for it.
func (g *gateways) writeFront(ctx context.Context, s *serving, shown []netip.Addr) (out frontState, err error) {
	f := s.front
	var static []netip.Addr
	f.Families, static = s.inside()
	key := client.ObjectKey{Namespace: f.Gateway.Namespace, Name: f.Name()}
	service := &corev1.Service{}
	if want := f.ServiceAccount(); want != nil {
		out.envoys, err = g.writeAccount(ctx, s, want, key)
		return out, err
	}
	if err = g.discard(ctx, &corev1.ServiceAccount{}, key, s); err != nil {
		return out, err
	}
	err = g.client.Get(ctx, key, service)
	if client.IgnoreNotFound(err) != nil {
		return out, fmt.Errorf("reading Service %s: %w", key, err)
	}
	if err == nil { // what it has inside of the cluster does not change
		f.Families, static = keepPrimary(service.Spec.IPFamilies, f.Families), nil
	}
	if out.unable, err = g.writeService(ctx, service, f, static); err != nil {
		return out, err
	}
	// While a new Service was written, Envoys have acknowledged: those that are looked
	// at only now need not be written twice.
	if out.envoys, err = g.envoysOf(ctx, s); err != nil || service.UID == "" {
		return out, err
	}
	out.inside = insideOf(service)
	// Neither needs the other, and the announcement waits for the slices.
	var both errgroup.Group
	both.Go(func() (err error) {
		out.look, err = g.writeSlices(ctx, s, f, out.envoys)
		return err
	})
	both.Go(func() error { return g.writeIngress(ctx, service, shown) })
	err = both.Wait()
	return out, err
}

// writeAccount writes the ServiceAccount that stands for a Gateway's Service.
func (g *gateways) writeAccount(ctx context.Context, s *serving, want *corev1.ServiceAccount, key client.ObjectKey) ([]fleet.Envoy, error) {
	if err := g.apply(ctx, &corev1.ServiceAccount{}, want, sameMeta); err != nil {
		return nil, err
	}
	if err := g.discard(ctx, &corev1.Service{}, key, s); err != nil {
		return nil, err
	}
	return g.envoysOf(ctx, s)
}

// keepPrimary keeps the first family of a Service that is there, which Kubernetes
// does not change, also where the Gateway has no address of it any more.
func keepPrimary(have, want []corev1.IPFamily) []corev1.IPFamily {
	if len(have) == 0 || len(want) == 0 {
		return want
	}
	return append([]corev1.IPFamily{have[0]}, slices.DeleteFunc(want, func(f corev1.IPFamily) bool { return f == have[0] })...)
}

// inside are the families that a Gateway's Service must have, and the addresses
// inside of the cluster that were written for it, of the first of them.
func (s *serving) inside() (families []corev1.IPFamily, static []netip.Addr) {
	var all []allocator.Family
	if s.decided.asked != nil {
		all, static = s.decided.asked.Inside()
	}
	for _, a := range s.decided.addresses() {
		all = append(all, allocator.FamilyOf(a))
	}
	for _, f := range all {
		family := corev1.IPv4Protocol
		if f == allocator.IPv6 {
			family = corev1.IPv6Protocol
		}
		if !slices.Contains(families, family) {
			families = append(families, family)
		}
	}
	return families, static
}

// writeService writes a Gateway's Service. Static addresses inside of the cluster
// are asked for when it is made. Where Kubernetes refuses them, it says why, and
// there is a Service without them, if it is needed for others.
func (g *gateways) writeService(ctx context.Context, have *corev1.Service, f fleet.Front, static []netip.Addr) (unable string, err error) {
	same := func(have, want client.Object) bool { return sameMeta(have, want) && sameService(have, want) }
	want := f.Service()
	if len(static) == 0 {
		return "", g.apply(ctx, have, want, same)
	}
	asking := want.DeepCopy()
	for _, a := range static {
		asking.Spec.ClusterIPs = append(asking.Spec.ClusterIPs, a.String())
	}
	asking.Spec.ClusterIP = asking.Spec.ClusterIPs[0]
	err = g.apply(ctx, have, asking, same)
	if !apierrors.IsInvalid(err) {
		return "", err
	}
	unable = refusedAddress(err)
	if len(want.Spec.IPFamilies) <= len(static) {
		return unable, nil
	}
	return unable, g.apply(ctx, have, want, same)
}

// refusedAddress is what Kubernetes says of an address that it refuses.
func refusedAddress(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		for _, c := range status.Status().Details.Causes {
			if strings.HasPrefix(c.Field, "spec.clusterIP") {
				return fmt.Sprintf("Kubernetes refuses it: %s. Choose one that is free in the cluster's range of Services.", c.Message)
			}
		}
	}
	return fmt.Sprintf("Kubernetes refuses it: %v.", err)
}

// insideOf are the addresses of a Service inside of the cluster.
func insideOf(svc *corev1.Service) []netip.Addr {
	var out []netip.Addr
	for _, text := range svc.Spec.ClusterIPs {
		if ip, err := netip.ParseAddr(text); err == nil {
			out = append(out, ip)
		}
	}
	return out
}

// apply writes an object of ours where it is not what it should be. Have is read
// into, and is what the API server has afterwards.
func (g *gateways) apply(ctx context.Context, have, want client.Object, same func(have, want client.Object) bool) error {
	key := client.ObjectKeyFromObject(want)
	err := g.client.Get(ctx, key, have)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("reading %T %s: %w", want, key, err)
	case same(have, want):
		return nil
	}
	config := configOf(want)
	if err := g.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(config), client.FieldOwner(v1alpha1.FieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("writing %T %s: %w", want, key, err)
	}
	// The cache does not have it yet, and the answer is in config.
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(config.Object, have); err != nil {
		return fmt.Errorf("reading what %T %s was written as: %w", want, key, err)
	}
	return nil
}

// discard removes an object of ours that is not wanted.
func (g *gateways) discard(ctx context.Context, have client.Object, key client.ObjectKey, s *serving) error {
	err := g.client.Get(ctx, key, have)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %T %s: %w", have, key, err)
	}
	if !ownedBy(have, s) {
		return nil
	}
	if err := client.IgnoreNotFound(g.client.Delete(ctx, have, client.Preconditions{UID: ptr.To(have.GetUID())})); err != nil {
		return fmt.Errorf("removing %T %s: %w", have, key, err)
	}
	return nil
}

func ownedBy(o client.Object, s *serving) bool {
	for _, r := range o.GetOwnerReferences() {
		if r.UID == s.uid {
			return true
		}
	}
	return false
}

// sameMeta tells whether all labels, annotations and owners that are wanted are
// there.
func sameMeta(have, want client.Object) bool {
	within := func(want, have map[string]string) bool {
		for k, v := range want {
			if h, ok := have[k]; !ok || h != v {
				return false
			}
		}
		return true
	}
	return within(want.GetLabels(), have.GetLabels()) && within(want.GetAnnotations(), have.GetAnnotations()) &&
		equality.Semantic.DeepEqual(have.GetOwnerReferences(), want.GetOwnerReferences())
}

// sameService compares what we decide of a Service.
func sameService(have, want client.Object) bool {
	h, ok1 := have.(*corev1.Service)
	w, ok2 := want.(*corev1.Service)
	if !ok1 || !ok2 || len(h.Spec.Ports) != len(w.Spec.Ports) {
		return false
	}
	for i := range w.Spec.Ports {
		a, b := h.Spec.Ports[i], w.Spec.Ports[i]
		if a.Name != b.Name || a.Port != b.Port || a.Protocol != b.Protocol || a.TargetPort != b.TargetPort {
			return false
		}
	}
	return h.Spec.ExternalTrafficPolicy == w.Spec.ExternalTrafficPolicy &&
		slices.Equal(h.Spec.LoadBalancerSourceRanges, w.Spec.LoadBalancerSourceRanges) &&
		(len(w.Spec.IPFamilies) == 0 || slices.Equal(h.Spec.IPFamilies, w.Spec.IPFamilies))
}

// writeIngress puts a Gateway's addresses into its Service's status, which makes
// kube-proxy serve them.
func (g *gateways) writeIngress(ctx context.Context, svc *corev1.Service, addresses []netip.Addr) error {
	var want []corev1.LoadBalancerIngress
	for _, a := range addresses {
		want = append(want, corev1.LoadBalancerIngress{IP: a.String(), IPMode: ptr.To(corev1.LoadBalancerIPModeVIP)})
	}
	same := slices.EqualFunc(svc.Status.LoadBalancer.Ingress, want, func(a, b corev1.LoadBalancerIngress) bool {
		return a.IP == b.IP && a.Hostname == b.Hostname
	})
	if same {
		return nil
	}
	next := svc.DeepCopy()
	next.Status.LoadBalancer.Ingress = want
	if err := g.Failpoint.around(ctx, PointFrontStatus, func() error { return g.patchStatus(ctx, svc, next) }); err != nil {
		return fmt.Errorf("writing the status of Service %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	return nil
}

// writeSlices brings the EndpointSlices of a Gateway in line. What can wait does, so
// that changes of several Envoys, and several of one, are one write; it says for how
// long.
func (g *gateways) writeSlices(ctx context.Context, s *serving, f fleet.Front, envoys []fleet.Envoy) (look time.Duration, err error) {
	have, err := g.slicesOf(ctx, f)
	if err != nil {
		return 0, err
	}
	want, now := f.Slices(envoys, shardsOf(have)), g.Clock.Now()
	waiting, err := g.writeDue(ctx, s.name, have, want, now)
	if err != nil {
		return 0, err
	}
	return g.wait(s.name, waiting, now), g.removeSlices(ctx, s, have, want)
}

// shardsOf is how many slices a family has.
func shardsOf(have []discoveryv1.EndpointSlice) int {
	n, most := map[discoveryv1.AddressType]int{}, 0
	for i := range have {
		n[have[i].AddressType]++
		most = max(most, n[have[i].AddressType])
	}
	return most
}

// writeDue writes the slices that are not what they should be and cannot wait any
// more, and says until when the others do.
func (g *gateways) writeDue(ctx context.Context, gw types.NamespacedName, have []discoveryv1.EndpointSlice, want []*discoveryv1.EndpointSlice, now time.Time) (waiting map[string]time.Time, err error) {
	waited := g.waiters.get(gw)
	waiting = map[string]time.Time{}
	for _, w := range want {
		i := slices.IndexFunc(have, func(h discoveryv1.EndpointSlice) bool { return h.Name == w.Name })
		if i >= 0 && sameSlice(&have[i], w) {
			continue
		}
		if i >= 0 {
			if due := earliest(now.Add(fleet.Patience(&have[i], w)), waited[w.Name]); due.After(now) {
				waiting[w.Name] = due
				continue
			}
		}
		err := g.client.Apply(ctx, applyOf(w), client.FieldOwner(v1alpha1.FieldManager), client.ForceOwnership)
		gatewaySlices.WithLabelValues(resultOf(err)).Inc()
		if err != nil {
			return nil, fmt.Errorf("writing EndpointSlice %s/%s: %w", w.Namespace, w.Name, err)
		}
	}
	return waiting, nil
}

func sameSlice(have, want *discoveryv1.EndpointSlice) bool {
	return sameMeta(have, want) && slices.EqualFunc(have.Endpoints, want.Endpoints, sameEndpoint) && equality.Semantic.DeepEqual(have.Ports, want.Ports)
}

// sameEndpoint compares without reflection: each change of an Envoy has those of all
// slices of all Gateways compared.
func sameEndpoint(a, b discoveryv1.Endpoint) bool {
	return slices.Equal(a.Addresses, b.Addresses) &&
		ptr.Equal(a.Conditions.Ready, b.Conditions.Ready) && ptr.Equal(a.Conditions.Serving, b.Conditions.Serving) &&
		ptr.Equal(a.Conditions.Terminating, b.Conditions.Terminating) &&
		ptr.Equal(a.NodeName, b.NodeName) && ptr.Equal(a.Zone, b.Zone) && ptr.Equal(a.Hostname, b.Hostname) &&
		ptr.Equal(a.TargetRef, b.TargetRef) && maps.Equal(a.DeprecatedTopology, b.DeprecatedTopology) &&
		(a.Hints == b.Hints || equality.Semantic.DeepEqual(a.Hints, b.Hints))
}

// removeSlices removes those of a Gateway that it should not have.
func (g *gateways) removeSlices(ctx context.Context, s *serving, have []discoveryv1.EndpointSlice, want []*discoveryv1.EndpointSlice) error {
	for i := range have {
		if !ownedBy(&have[i], s) || slices.ContainsFunc(want, func(w *discoveryv1.EndpointSlice) bool { return w.Name == have[i].Name }) {
			continue
		}
		if err := client.IgnoreNotFound(g.client.Delete(ctx, &have[i])); err != nil {
			return fmt.Errorf("removing EndpointSlice %s/%s: %w", have[i].Namespace, have[i].Name, err)
		}
	}
	return nil
}

// wait remembers which slices of a Gateway wait to be written, and until when, and
// gives the time until the first of them is due; 0: none waits.
func (g *gateways) wait(gw types.NamespacedName, waiting map[string]time.Time, now time.Time) time.Duration {
	var first time.Time
	for _, due := range waiting {
		first = earliest(first, due)
	}
	if first.IsZero() {
		g.waiters.forget(gw)
		return 0
	}
	g.waiters.put(gw, waiting)
	return first.Sub(now)
}

// slicesOf are the EndpointSlices that a Gateway has. They are shared with the
// cache and must not be changed.
func (g *gateways) slicesOf(ctx context.Context, f fleet.Front) ([]discoveryv1.EndpointSlice, error) {
	var list discoveryv1.EndpointSliceList
	err := g.client.List(ctx, &list, client.InNamespace(f.Gateway.Namespace), client.MatchingFields{sliceService: f.Name()},
		client.MatchingLabels{discoveryv1.LabelManagedBy: fleet.SliceManager}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing the EndpointSlices of Gateway %s: %w", f.Gateway, err)
	}
	return list.Items, nil
}
