package announcer

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// FromAddress converts an Address object.
func FromAddress(in *v1alpha1.Address) (Address, error) {
	ip, err := netip.ParseAddr(in.Spec.Address)
	if err != nil {
		return Address{}, fmt.Errorf("spec.address of Address %s: %w", in.Name, err)
	}
	out := Address{
		IP:    ip.Unmap(),
		Pool:  in.Spec.Pool,
		Bound: in.Spec.State == v1alpha1.AddressBound,
	}
	for _, h := range in.Spec.Holders {
		if h.State != v1alpha1.AddressBound || !h.Served() {
			continue
		}
		out.Holders = append(out.Holders, fromHolder(h))
	}
	out.Key = keyOf(out.IP, in.Spec.Holders)
	return out, nil
}

// keyOf is the lowest of all addresses that the bound holders have, so that the
// IPv4 and the IPv6 address of one holder go to the same node, and neither a
// second holder nor the end of the first moves them.
func keyOf(ip netip.Addr, holders []v1alpha1.AddressHolder) string {
	lowest := ip
	for _, h := range holders {
		if h.State != v1alpha1.AddressBound {
			continue
		}
		for _, need := range h.Needs {
			a, err := netip.ParseAddr(need)
			if err == nil && a.Unmap().Less(lowest) {
				lowest = a.Unmap()
			}
		}
	}
	return lowest.String()
}

func fromHolder(h v1alpha1.AddressHolder) Holder {
	out := Holder{
		Kind:   h.Kind,
		Name:   types.NamespacedName{Namespace: h.Namespace, Name: h.Name},
		Local:  h.ExternalTrafficPolicy == string(corev1.ServiceExternalTrafficPolicyLocal),
		Labels: h.Labels,
	}
	endpoints := h.Endpoints
	if endpoints == "" && h.Kind == "Service" {
		endpoints = h.Name
	}
	if endpoints != "" {
		out.Endpoints = types.NamespacedName{Namespace: h.Namespace, Name: endpoints}
	}
	return out
}

// FromSpeakerStatus gives the interfaces that a speaker says its node has,
// without their hardware addresses. A speaker that has said nothing has none.
func FromSpeakerStatus(in *v1alpha1.SpeakerStatus) []Interface {
	out := make([]Interface, 0, len(in.Status.Layer2.Interfaces))
	for _, i := range in.Status.Layer2.Interfaces {
		out = append(out, Interface{Name: i.Name, ARP: i.ARP, NDP: i.NDP})
	}
	return out
}

// FromNode converts a Node object.
func FromNode(in *corev1.Node) Node {
	out := Node{
		Name:          in.Name,
		Labels:        in.Labels,
		Unschedulable: in.Spec.Unschedulable,
		Deleting:      in.DeletionTimestamp != nil,
	}
	for _, c := range in.Status.Conditions {
		switch c.Type {
		case corev1.NodeReady:
			out.Ready = c.Status == corev1.ConditionTrue
		case corev1.NodeNetworkUnavailable:
			out.NetworkUnavailable = c.Status == corev1.ConditionTrue
		}
	}
	for _, a := range in.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			out.Addresses = append(out.Addresses, ip.Unmap())
		}
	}
	return out
}

// FromPool converts an IPAddressPool.
func FromPool(in *v1alpha1.IPAddressPool) Pool {
	return Pool{Name: in.Name, Labels: in.Labels, Addresses: rangesIn(in.Spec.Addresses)}
}

// FromL2Advertisement compiles an L2Advertisement. An error names the selector
// that cannot be used; the advertisement then has no effect.
func FromL2Advertisement(in *v1alpha1.L2Advertisement) (Advertisement, error) {
	out := Advertisement{Name: in.Name, Pools: in.Spec.IPAddressPools, Interfaces: in.Spec.Interfaces}
	var errs [4]error
	out.PoolSelectors, errs[0] = compile("ipAddressPoolSelectors", in.Spec.IPAddressPoolSelectors)
	out.NodeSelectors, errs[1] = compile("nodeSelectors", in.Spec.NodeSelectors)
	out.ServiceSelectors, errs[2] = compile("serviceSelectors", in.Spec.ServiceSelectors)
	for i := range in.Spec.PreferredNodeSelectors {
		p := &in.Spec.PreferredNodeSelectors[i]
		s, err := metav1.LabelSelectorAsSelector(&p.Preference)
		if err != nil {
			errs[3] = fmt.Errorf("preferredNodeSelectors[%d].preference: %w", i, err)
			continue
		}
		out.Preferred = append(out.Preferred, Preference{Weight: p.Weight, Selector: s})
	}
	if err := errors.Join(errs[:]...); err != nil {
		return Advertisement{}, fmt.Errorf("L2Advertisement %s: %w", in.Name, err)
	}
	return out, nil
}

func compile(field string, in []metav1.LabelSelector) ([]labels.Selector, error) {
	var out []labels.Selector
	var errs []error
	for i := range in {
		s, err := metav1.LabelSelectorAsSelector(&in[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("%s[%d]: %w", field, i, err))
			continue
		}
		out = append(out, s)
	}
	return out, errors.Join(errs...)
}

// FromEndpointSlices joins the EndpointSlices of one Service. Slices of both
// families count together: an address of either family is served where the
// Service is.
func FromEndpointSlices(slices []discoveryv1.EndpointSlice) Endpoints {
	out := Endpoints{}
	for e := range endpointsIn(slices) {
		out.add(e, servingOf(e))
	}
	return out
}

func endpointsIn(slices []discoveryv1.EndpointSlice) iter.Seq[*discoveryv1.Endpoint] {
	return func(yield func(*discoveryv1.Endpoint) bool) {
		for i := range slices {
			for j := range slices[i].Endpoints {
				if !yield(&slices[i].Endpoints[j]) {
					return
				}
			}
		}
	}
}

// LookUp finds out which endpoints a Service has, by its EndpointSlices. Where the
// Service is a Gateway's, it also says which Service selects the Envoys that serve
// it, in the namespace of the fleets, since the endpoints follow from both.
func LookUp(service types.NamespacedName, fleets string, read func(types.NamespacedName) []discoveryv1.EndpointSlice) (e Endpoints, fleet types.NamespacedName) {
	slices := read(service)
	name := fleetOf(slices)
	if name == "" {
		return FromEndpointSlices(slices), types.NamespacedName{}
	}
	fleet = types.NamespacedName{Namespace: fleets, Name: name}
	return fromGatewaySlices(slices, read(fleet)), fleet
}

// fleetOf names the Service that selects the Envoys which a Gateway's slices list.
// It is empty for the slices of every other Service.
func fleetOf(slices []discoveryv1.EndpointSlice) string {
	for i := range slices {
		s := &slices[i]
		if fleet := s.Labels[v1alpha1.LabelFleet]; fleet != "" && fleet != s.Labels[discoveryv1.LabelServiceName] {
			return fleet
		}
	}
	return ""
}

// fromGatewaySlices joins the EndpointSlices of a Gateway's Service, in which the
// controller lists Envoys, with those that Kubernetes keeps of the Envoys' own
// Service. An Envoy serves as the worst says of all that list it, since those of
// two families are written one after the other; and not at all where Kubernetes
// lists it no more: a dead one has no address, also with no controller.
// The controller lists none that it has not seen among own. Where own is empty,
// nothing is known of it, and what is listed counts alone.
func fromGatewaySlices(listed, own []discoveryv1.EndpointSlice) Endpoints {
	if len(own) == 0 {
		return FromEndpointSlices(listed)
	}
	serves := map[types.UID]serving{}
	for e := range endpointsIn(own) {
		if pod := e.TargetRef; pod != nil {
			before, known := serves[pod.UID]
			if s := servingOf(e); !known || s < before {
				serves[pod.UID] = s
			}
		}
	}
	for e := range endpointsIn(listed) {
		if pod := e.TargetRef; pod != nil {
			serves[pod.UID] = min(serves[pod.UID], servingOf(e))
		}
	}
	out := Endpoints{}
	for e := range endpointsIn(listed) {
		if e.TargetRef != nil {
			out.add(e, serves[e.TargetRef.UID])
		}
	}
	return out
}

// serving says how far an endpoint serves, more by more.
type serving int

const (
	servesNot serving = iota
	servesEnding
	servesFully
)

func servingOf(in *discoveryv1.Endpoint) serving {
	c := in.Conditions
	switch {
	case c.Ready == nil || *c.Ready:
		return servesFully
	case c.Serving != nil && *c.Serving && c.Terminating != nil && *c.Terminating:
		return servesEnding
	default:
		return servesNot
	}
}

func (e *Endpoints) add(in *discoveryv1.Endpoint, s serving) {
	node := ""
	if in.NodeName != nil {
		node = *in.NodeName
	}
	switch s {
	case servesFully:
		e.Ready = true
		e.ReadyOn = mark(e.ReadyOn, node)
	case servesEnding:
		e.Terminating = true
		e.TerminatingOn = mark(e.TerminatingOn, node)
	case servesNot:
	}
}

func mark(set map[string]bool, node string) map[string]bool {
	if node == "" {
		return set
	}
	if set == nil {
		set = map[string]bool{}
	}
	set[node] = true
	return set
}
