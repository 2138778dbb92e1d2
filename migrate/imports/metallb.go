package imports

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

const metallbGroup = "metallb.io"

// metallb imports MetalLB's objects, whose fields Fairlead's kinds have too.
func (r *reader) metallb() {
	pools, peers := r.of(metallbGroup, "IPAddressPool"), r.of(metallbGroup, "BGPPeer")
	profiles, communities := r.of(metallbGroup, "BFDProfile"), r.of(metallbGroup, "Community")
	l2, bgp := r.of(metallbGroup, "L2Advertisement"), r.of(metallbGroup, "BGPAdvertisement")
	for kind, list := range map[string][]*object{
		"IPAddressPool": pools, "BGPPeer": peers, "BFDProfile": profiles, "Community": communities,
		"L2Advertisement": l2, "BGPAdvertisement": bgp,
	} {
		r.settle(kind, list)
	}
	for _, o := range pools {
		r.metallbPool(o)
	}
	for _, o := range communities {
		r.metallbCommunity(o)
	}
	for _, o := range profiles {
		r.metallbProfile(o)
	}
	for _, o := range peers {
		r.metallbPeer(o)
	}
	for _, o := range bgp {
		r.metallbBGP(o)
	}
	for _, o := range l2 {
		r.metallbL2(o)
	}
	for _, list := range [][]*object{pools, peers, profiles, communities, l2, bgp} {
		leftovers(list)
	}
	r.metallbOthers()
}

// metallbOthers tells of what has no kind here.
func (r *reader) metallbOthers() {
	for _, o := range r.of(metallbGroup, "AddressPool") {
		o.whole(Lost, "This kind of MetalLB before 0.13 is not read.", "Write an IPAddressPool and an advertisement for it, and import again.")
	}
	for _, o := range r.of("frrk8s.metallb.io", "FRRConfiguration") {
		if strings.HasPrefix(o.name, "metallb-") {
			o.whole(Needless, "MetalLB writes it from its BGPPeers, which are imported.", "")
			continue
		}
		o.whole(Lost, "Fairlead runs no FRR.", "Write what it adds as a BGPPeer or BGPAdvertisement, or keep an FRR of your own for it.")
	}
	for _, o := range r.of("", "ConfigMap") {
		switch o.name {
		case "bgpextras":
			o.whole(Lost, "It is configuration of FRR, and Fairlead runs no FRR.", "Write what it adds as fields of a BGPPeer where there are such; BFD, timers and communities have theirs.")
		case "metallb-excludel2":
			o.whole(Lost, "Fairlead has no list of interfaces to leave out.", "It answers on interfaces that are up and can broadcast, and not on bridges' ports or veths of pods: name those wanted in spec.interfaces of the L2Advertisement.")
		}
	}
	for _, kind := range []string{"ServiceL2Status", "ServiceBGPStatus", "ConfigurationState"} {
		for _, o := range r.of(metallbGroup, kind) {
			o.whole(Needless, "It tells what MetalLB does, and configures nothing.", "")
		}
	}
}

func (r *reader) ours(kind string, o *object) string {
	return r.names[reference(kind, o.namespace, o.name)]
}

func (r *reader) metallbPool(o *object) {
	p := o.newPool(r.ours("IPAddressPool", o))
	for _, s := range o.spec.texts("addresses") {
		o.spec.addRange(&p, "addresses", s)
	}
	if on, set := o.spec.flag("autoAssign"); set {
		p.Spec.AutoAssign = autoAssign(on)
	}
	p.Spec.AvoidBuggyIPs, _ = o.spec.flag("avoidBuggyIPs")
	if a := o.spec.sub("serviceAllocation"); a != nil {
		r.metallbAllocation(o, a, &p)
	}
	r.addPool(o, p)
}

func (r *reader) metallbAllocation(o *object, a *fields, p *v1alpha1.IPAddressPool) {
	out := v1alpha1.ServiceAllocation{
		Namespaces: a.texts("namespaces"), NamespaceSelectors: a.selectors("namespaceSelectors"), ServiceSelectors: a.selectors("serviceSelectors"),
	}
	if n, ok := a.between("priority", 0, 1<<31-1); ok {
		out.Priority = int32(n)
	}
	o.atMost(a.at("namespaces"), len(out.Namespaces), maxNamespaces)
	o.atMost(a.at("namespaceSelectors"), len(out.NamespaceSelectors), maxSelectors)
	o.atMost(a.at("serviceSelectors"), len(out.ServiceSelectors), maxSelectors)
	if len(out.NamespaceSelectors) > 0 && len(out.Namespaces)+len(out.ServiceSelectors) == 0 {
		a.note(Changed, "namespaceSelectors", nil, "MetalLB lets everybody ask for an address by name while they match no namespace; Fairlead lets nobody.",
			"Label the namespaces before their Services are to get addresses.")
	}
	admit(p, out)
	if p.Spec.GatewayAllocation != nil {
		a.note(Changed, "", nil, "Fairlead's pools also serve Gateways, which MetalLB does not know.", "The same namespaces and labels bind Gateways: see spec.gatewayAllocation.")
	}
}

// advertised reads what both kinds of advertisements have in common.
type advertised struct {
	pools                          []string
	poolSelectors, nodes, services []metav1.LabelSelector
}

func (r *reader) advertised(o *object) advertised {
	a := advertised{
		pools:         r.renamed("IPAddressPool", o.namespace, o.spec.texts("ipAddressPools")),
		poolSelectors: o.spec.selectors("ipAddressPoolSelectors"), nodes: o.spec.selectors("nodeSelectors"), services: o.spec.selectors("serviceSelectors"),
	}
	o.atMost("spec.ipAddressPools", len(a.pools), maxNames)
	for path, list := range map[string][]metav1.LabelSelector{
		"spec.ipAddressPoolSelectors": a.poolSelectors, "spec.nodeSelectors": a.nodes, "spec.serviceSelectors": a.services,
	} {
		o.atMost(path, len(list), maxSelectors)
	}
	return a
}

func (r *reader) metallbL2(o *object) {
	a := r.advertised(o)
	out := v1alpha1.L2Advertisement{Spec: v1alpha1.L2AdvertisementSpec{
		IPAddressPools: a.pools, IPAddressPoolSelectors: a.poolSelectors, NodeSelectors: a.nodes, ServiceSelectors: a.services,
		Interfaces: o.interfaces(o.spec, "interfaces"),
	}}
	out.TypeMeta, out.ObjectMeta = meta("L2Advertisement", r.ours("L2Advertisement", o))
	for _, p := range o.spec.subs("preferredNodeSelectors") {
		w, ok := p.between("weight", 1, 100)
		if s := p.selector("preference"); ok && s != nil {
			out.Spec.PreferredNodeSelectors = append(out.Spec.PreferredNodeSelectors, v1alpha1.PreferredNodeSelector{Weight: int32(w), Preference: *s})
		}
	}
	o.atMost("spec.preferredNodeSelectors", len(out.Spec.PreferredNodeSelectors), maxSelectors)
	if !o.dropped {
		r.result.L2Advertisements = append(r.result.L2Advertisements, out)
	}
}

// interfaces reads names of interfaces. Without one that is a name everything
// would be announced on all: then the object is not imported.
func (o *object) interfaces(f *fields, name string) []string {
	var out []string
	written := f.texts(name)
	for _, s := range written {
		if s == "" || len(s) > 15 || strings.ContainsAny(s, "/ ") {
			f.note(Lost, name, s, "It is not the name of an interface.", "Correct it.")
			continue
		}
		out = append(out, s)
	}
	if len(written) > 0 && len(out) == 0 {
		o.unusable(f.at(name), written, "None of it is the name of an interface, and without one it would announce on all.", "Correct it, and import again.")
	}
	o.atMost(f.at(name), len(out), maxSelectors)
	return out
}
