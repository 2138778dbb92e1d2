// Package chain follows one Service, Gateway or address from what is asked for to who
// announces it and who answers, and says what stops it and what to do.
//
// It is pure: Service, Gateway and Address make a Report of a Snapshot. Package
// explain reads that from a cluster.
package chain

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Snapshot is what of a cluster bears on what is explained. What could not be read
// is empty.
type Snapshot struct {
	Addresses      []v1alpha1.Address
	Pools          []v1alpha1.IPAddressPool
	Speakers       []v1alpha1.SpeakerStatus
	Advertisements []v1alpha1.L2Advertisement
	Nodes          []corev1.Node
	// Slices are those of the Services whose endpoints count, by Service.
	Slices map[types.NamespacedName][]discoveryv1.EndpointSlice
	// Class is that of the Gateway; nil: it is not there, or not known.
	Class *gatewayv1.GatewayClass
	// Fleets is the namespace of the Envoys' own Services, by their slices.
	Fleets string
	// StatusClasses are those whose Services are only announced, as their own controllers
	// write their statuses; Configured: Fairlead's controller could be asked for them.
	StatusClasses []string
	Configured    bool
	// NamespaceLabels are those of the namespace of what is explained; Ranges is what
	// the cluster uses itself. Only a Service of another controller's class needs them.
	NamespaceLabels map[string]string
	Ranges          []allocator.ClusterRange
	// Partly: something could not be read, and may be wrong.
	Partly bool
	Now    time.Time
}

// Held are the Addresses that a holder has, in order.
func (s *Snapshot) Held(r v1alpha1.HolderReference) []*v1alpha1.Address {
	var out []*v1alpha1.Address
	for i := range s.Addresses {
		if holderOf(&s.Addresses[i], r) != nil {
			out = append(out, &s.Addresses[i])
		}
	}
	return sorted(out)
}

// holderOf is the entry of a holder in an Address; nil: it is none.
func holderOf(a *v1alpha1.Address, r v1alpha1.HolderReference) *v1alpha1.AddressHolder {
	for i := range a.Spec.Holders {
		if a.Spec.Holders[i].HolderReference == r {
			return &a.Spec.Holders[i]
		}
	}
	return nil
}

// ServedBy is the Service whose endpoints decide where a holder can be served.
func ServedBy(h *v1alpha1.AddressHolder) types.NamespacedName {
	name := h.Endpoints
	if name == "" && h.Kind == "Service" {
		name = h.Name
	}
	return types.NamespacedName{Namespace: h.Namespace, Name: name}
}

// nextInLine are the nodes that would announce an address on layer 2 after the one
// that does, best first, if their speakers live.
func (s *Snapshot) nextInLine(a *v1alpha1.Address) []string {
	if a.Status.Layer2 == nil || len(s.Nodes) == 0 {
		return nil
	}
	var w announcer.World
	interfaces := map[string][]announcer.Interface{}
	for i := range s.Speakers {
		interfaces[s.Speakers[i].Name] = announcer.FromSpeakerStatus(&s.Speakers[i])
	}
	for i := range s.Nodes {
		if _, speaks := interfaces[s.Nodes[i].Name]; speaks {
			w.Nodes = append(w.Nodes, announcer.FromNode(&s.Nodes[i]))
		}
	}
	for i := range s.Pools {
		w.Pools = append(w.Pools, announcer.FromPool(&s.Pools[i]))
	}
	for i := range s.Advertisements {
		if ad, err := announcer.FromL2Advertisement(&s.Advertisements[i]); err == nil {
			w.Advertisements = append(w.Advertisements, ad)
		}
	}
	w.Members = announcer.AssumeSpeakers(w.Nodes, interfaces)
	in, err := announcer.FromAddress(a)
	if err != nil {
		return nil
	}
	d := announcer.NewIndex(w).Decide(in, s.endpoints)
	var out []string
	for _, node := range append([]string{d.Node}, d.Next...) {
		if node != "" && node != a.Status.Layer2.Node {
			out = append(out, node)
		}
	}
	return out
}

func (s *Snapshot) endpoints(name types.NamespacedName) announcer.Endpoints {
	e, _ := announcer.LookUp(name, s.Fleets, func(n types.NamespacedName) []discoveryv1.EndpointSlice { return s.Slices[n] })
	return e
}
