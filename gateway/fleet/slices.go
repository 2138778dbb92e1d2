package fleet

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Envoy is a pod of a fleet as a Gateway's slices list it.
type Envoy struct {
	Namespace, Name string
	UID             types.UID
	Node            string
	Zone            string // topology.kubernetes.io/zone of the node, or empty
	IPs             []netip.Addr
	// Ready: it has acknowledged this Gateway's listeners, its pod is ready and
	// does not end. Serving: the same, ending or not.
	Ready, Serving, Terminating bool
}

// Endpoints in one slice: what is aimed at, and from which sizes on the number of
// slices changes. A change of one Envoy sends a whole slice to all nodes, and a
// change of the number rewrites all slices, so both are bounded.
const (
	fullSlice  = 100
	emptySlice = 25
	maxInSlice = 1000 // what the API server takes
)

// Slices list the Envoys for a Gateway, for each family of its Service in which one
// has an address: those of others nobody would read. An Envoy's place depends on its node only, so that its coming and going
// changes one slice of each family. Shards is the number of slices of a family
// that exist already, or 0; it is kept while it fits.
func (f Front) Slices(envoys []Envoy, shards int) []*discoveryv1.EndpointSlice {
	if len(f.Ports) == 0 {
		return nil
	}
	envoys = slices.SortedFunc(slices.Values(envoys), func(a, b Envoy) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.Name, b.Name))
	})
	var out []*discoveryv1.EndpointSlice
	for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
		// A Service without a family yet gets those that the cluster likes.
		if len(f.Families) == 0 || slices.Contains(f.Families, corev1.IPFamily(family)) {
			out = append(out, f.family(family, envoys, shards)...)
		}
	}
	return out
}

func (f Front) family(family discoveryv1.AddressType, envoys []Envoy, shards int) []*discoveryv1.EndpointSlice {
	var listed []discoveryv1.Endpoint
	for _, e := range envoys {
		if endpoint, ok := e.endpoint(family); ok {
			listed = append(listed, endpoint)
		}
	}
	if len(listed) == 0 {
		return nil
	}
	shards = shardsFor(len(listed), shards)
	out := make([]*discoveryv1.EndpointSlice, shards)
	for i := range out {
		out[i] = f.slice(family, i)
	}
	for _, e := range listed {
		s := out[shardOf(*e.NodeName, shards)]
		if len(s.Endpoints) < maxInSlice {
			s.Endpoints = append(s.Endpoints, e)
		}
	}
	return out
}

func (e Envoy) endpoint(family discoveryv1.AddressType) (discoveryv1.Endpoint, bool) {
	for _, ip := range e.IPs {
		if ip.Unmap().Is4() != (family == discoveryv1.AddressTypeIPv4) {
			continue
		}
		out := discoveryv1.Endpoint{
			Addresses:  []string{ip.Unmap().String()},
			Conditions: discoveryv1.EndpointConditions{Ready: new(e.Ready), Serving: new(e.Serving), Terminating: new(e.Terminating)},
			NodeName:   new(e.Node),
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: e.Namespace, Name: e.Name, UID: e.UID},
		}
		if e.Zone != "" {
			out.Zone = new(e.Zone)
		}
		return out, true
	}
	return discoveryv1.Endpoint{}, false
}

func (f Front) slice(family discoveryv1.AddressType, i int) *discoveryv1.EndpointSlice {
	meta := f.meta()
	meta.Name = fmt.Sprintf("%s-%s-%d", f.Name(), strings.ToLower(string(family)), i)
	maps.Copy(meta.Labels, map[string]string{
		discoveryv1.LabelServiceName: f.Name(), discoveryv1.LabelManagedBy: SliceManager,
		// Speakers look there whether the Envoys still serve.
		FleetLabel: f.Fleet.Name(),
	})
	out := &discoveryv1.EndpointSlice{
		TypeMeta:   metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta: meta, AddressType: family, Endpoints: []discoveryv1.Endpoint{},
	}
	for _, p := range f.ports() {
		out.Ports = append(out.Ports, discoveryv1.EndpointPort{
			Name: new(p.name()), Port: new(int32(p.Envoy)), Protocol: new(corev1.Protocol(p.Transport)),
		})
	}
	return out
}

// shardsFor is how many slices endpoints are spread over: as many as there are,
// unless they are too full or too empty.
func shardsFor(endpoints, have int) int {
	if have > 0 && endpoints <= have*fullSlice && (have == 1 || endpoints >= have*emptySlice) {
		return have
	}
	return max(1, (endpoints+fullSlice/2-1)/(fullSlice/2))
}

func shardOf(node string, shards int) int {
	h := fnv.New64a()
	h.Write([]byte(node))
	// The high bits of FNV hardly differ between node1 and node2.
	sum := h.Sum64()
	sum = (sum ^ sum>>30) * 0xbf58476d1ce4e5b9
	return int((sum ^ sum>>31) % uint64(shards))
}
