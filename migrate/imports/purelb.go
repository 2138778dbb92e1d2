package imports

import (
	"strings"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

const pureGroup = "purelb.io"

// purelb imports the groups of PureLB: those on the nodes' own network are
// announced by ARP and NDP, the others by BGP.
func (r *reader) purelb() {
	groups, agents := r.of(pureGroup, "ServiceGroup"), r.of(pureGroup, "LBNodeAgent")
	r.settle("IPAddressPool", groups)
	var local, remote []string
	for _, o := range groups {
		name, far, ok := r.pureGroup(o)
		switch {
		case ok && far:
			remote = append(remote, name)
		case ok:
			local = append(local, name)
		}
	}
	interfaces, from := r.pureInterfaces(agents)
	leftovers(groups)
	leftovers(agents)
	if len(local) > 0 && !from.dropped {
		out := v1alpha1.L2Advertisement{Spec: v1alpha1.L2AdvertisementSpec{IPAddressPools: local, Interfaces: interfaces}}
		out.TypeMeta, out.ObjectMeta = meta("L2Advertisement", r.claim("L2Advertisement", "purelb", ""))
		r.result.L2Advertisements = append(r.result.L2Advertisements, out)
	}
	if len(remote) > 0 {
		out := v1alpha1.BGPAdvertisement{Spec: v1alpha1.BGPAdvertisementSpec{IPAddressPools: remote}}
		out.TypeMeta, out.ObjectMeta = meta("BGPAdvertisement", r.claim("BGPAdvertisement", "purelb", ""))
		r.addBGPAdvertisement(from, out)
	}
	for _, o := range r.all {
		if strings.HasSuffix(o.group, "."+pureGroup) && o.kind == "BGPConfiguration" {
			r.result.Read++
			o.whole(Lost, "It configures the routing daemon beside PureLB.", "Write a BGPPeer for each of its neighbors.")
		}
	}
}

// pureGroup makes a pool of a group. The annotation purelb.io/service-group names
// the pool, which therefore keeps the group's name.
func (r *reader) pureGroup(o *object) (name string, remote, ok bool) {
	for _, kind := range []string{"netbox", "external", "epic"} {
		if o.spec.has(kind) {
			o.whole(Lost, "Its addresses come from another system ("+kind+"), which Fairlead cannot ask.", "Write a pool of the range that the other system keeps free for this cluster.")
			return "", false, false
		}
	}
	s := o.spec.sub("local")
	if s == nil {
		s, remote = o.spec.sub("remote"), true
	}
	if s == nil {
		o.whole(Lost, "It has neither local nor remote addresses.", "See whether it is needed.")
		return "", false, false
	}
	p := o.newPool(r.ours("IPAddressPool", o))
	r.pureRanges(s, &p, remote)
	r.pureNamespaces(o, &p)
	if remote {
		s.note(ToDo, "", nil, "PureLB leaves the announcement of a remote group to a routing daemon.", "Write a BGPPeer for each of its neighbors; the BGPAdvertisement purelb is there.")
	} else if o.version == "v1" {
		s.note(Changed, "", nil, "PureLB also puts addresses that lie in no network of the node on kube-lb0, for a routing daemon.", "They are announced by ARP and NDP here: for such a group write a BGPAdvertisement and BGPPeers instead.")
	}
	return p.Name, remote, r.addPool(o, p)
}

func (r *reader) pureRanges(s *fields, p *v1alpha1.IPAddressPool, remote bool) {
	all := []*fields{s.sub("v4pool"), s.sub("v6pool")}
	all = append(append(all, s.subs("v4pools")...), s.subs("v6pools")...)
	if s.has("pool") {
		all = append(all, s)
	}
	for _, f := range all {
		if f == nil {
			continue
		}
		f.addRange(p, "pool", f.text("pool"))
		f.needless("Fairlead puts no address on an interface, so it needs no mask.", "subnet")
		if a := f.text("aggregation"); remote && a != "" && a != "default" {
			f.note(ToDo, "aggregation", a, "The prefix that is announced is chosen in a BGPAdvertisement.", "Set aggregationLength or aggregationLengthV6 there; without it each address is announced by itself.")
		}
	}
	if on, _ := s.flag("multiPool"); on {
		s.note(Lost, "multiPool", true, "Fairlead gives a Service one address of each family, unless it names more.", "Name them all in fairlead.dev/addresses.")
	}
	if on, _ := s.flag("balancePools"); on {
		s.note(Lost, "balancePools", true, "Fairlead gives the lowest free address of a pool.", "")
	}
	s.needless("Fairlead asks whether an address is in use before it announces it, and puts none on an interface.", "skipIPv6DAD")
}

// pureNamespaces says who gets addresses of the group: without an annotation only
// those of group "default" are given.
func (r *reader) pureNamespaces(o *object, p *v1alpha1.IPAddressPool) {
	namespaces := o.spec.texts("namespaces")
	enforced, _ := o.spec.flag("enforceNamespaces")
	if first, _ := o.spec.flag("namespaceDefault"); first && len(namespaces) > 0 {
		p.Spec.ServiceAllocation = &v1alpha1.ServiceAllocation{Priority: 1}
	}
	o.atMost("spec.namespaces", len(namespaces), maxNamespaces)
	switch {
	case len(namespaces) == 0:
		p.Spec.AutoAssign = autoAssign(o.name == "default")
		return
	case !enforced:
		o.spec.note(Changed, "namespaces", namespaces, "In PureLB an annotation of any namespace may still name the group; Fairlead's rules bind those too.", "Add such namespaces to spec.serviceAllocation.")
	default:
		o.spec.note(Changed, "enforceNamespaces", true, "PureLB also keeps these namespaces out of all other groups; a pool here says only whom it serves itself.", "Restrict the other pools too.")
	}
	a := v1alpha1.ServiceAllocation{Namespaces: namespaces}
	if p.Spec.ServiceAllocation != nil {
		a.Priority = p.Spec.ServiceAllocation.Priority
	}
	admit(p, a)
}

// pureInterfaces are the interfaces that the agents of all nodes answer on; none: all.
func (r *reader) pureInterfaces(agents []*object) ([]string, *object) {
	from := &object{r: r, kind: "LBNodeAgent", name: "default"}
	var out []string
	for _, o := range agents {
		if n := o.spec.selector("nodeSelector"); n != nil && len(n.MatchLabels)+len(n.MatchExpressions) > 0 {
			o.whole(Lost, "It is for some of the nodes.", "Write an L2Advertisement with their nodeSelectors and interfaces.")
			continue
		}
		s := o.spec.sub("local")
		if s == nil {
			continue
		}
		from, out = o, s.pureInterfaces(o)
		s.needless("Fairlead puts no addresses on interfaces.", "extlbint", "dummyInterface", "addressConfig")
		s.needless("Fairlead always tells the network of an address that it takes over.", "sendgarp", "garpConfig")
	}
	return out, from
}

// pureInterfaces reads localint, which v2 calls localInterface: a regular expression,
// or default. V2 adds others by name.
func (f *fields) pureInterfaces(o *object) []string {
	key := "localint"
	if f.has("localInterface") {
		key = "localInterface"
	}
	by := f.text(key)
	if by != "" && by != "default" {
		out := o.matchedInterfaces(f.at(key), []string{by})
		if f.has("interfaces") {
			out = append(out, o.interfaces(f, "interfaces")...)
		}
		return out
	}
	f.note(Changed, key, by, "PureLB answers on the interface of the default route only; Fairlead on all that can broadcast.", "Name it in spec.interfaces of the L2Advertisement to keep it so.")
	f.needless("Without names, the L2Advertisement is for all interfaces, these among them.", "interfaces")
	return nil
}
