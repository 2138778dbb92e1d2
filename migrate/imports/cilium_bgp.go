package imports

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// ciliumTemplate is what a CiliumBGPPeerConfig says of peers.
type ciliumTemplate struct {
	o      *object
	spec   v1alpha1.BGPPeerSpec
	wants  []labels.Selector // of advertisements
	peers  []string          // ours that use it
	broken bool
}

func (r *reader) ciliumBGP() {
	configs, clusters := r.of(ciliumGroup, "CiliumBGPPeerConfig"), r.of(ciliumGroup, "CiliumBGPClusterConfig")
	ads := r.of(ciliumGroup, "CiliumBGPAdvertisement")
	templates := map[string]*ciliumTemplate{}
	for _, o := range configs {
		templates[o.name] = r.ciliumTemplate(o)
	}
	for _, o := range clusters {
		o.note(ToDo, "", nil, "A router keeps one session with an address of a node, and Cilium has it while its configuration is there.",
			"Remove the peers from Cilium when Fairlead takes over; where Cilium has to stay for other routes, let the router have a second neighbor for Fairlead (another sourceAddress), or let Cilium go on announcing and create no BGPPeer.")
		nodes := o.spec.selector("nodeSelector")
		for _, i := range o.spec.subs("bgpInstances") {
			r.ciliumInstance(o, i, nodes, templates)
		}
	}
	for _, o := range ads {
		r.ciliumAdvertisement(o, templates)
	}
	for _, list := range [][]*object{configs, clusters, ads} {
		leftovers(list)
	}
}

func (r *reader) ciliumTemplate(o *object) *ciliumTemplate {
	s, t := o.spec, &ciliumTemplate{o: o}
	p := &t.spec
	if timers := s.sub("timers"); timers != nil {
		p.ConnectTime = timers.seconds("connectRetryTimeSeconds", time.Second, longest)
		p.HoldTime = timers.seconds("holdTimeSeconds", shortHold, longest)
		p.KeepaliveTime = timers.seconds("keepAliveTimeSeconds", time.Second, longest)
	}
	if transport := s.sub("transport"); transport != nil {
		if n, ok := transport.between("peerPort", 1, 65535); ok {
			p.PeerPort = int32(n)
		}
		transport.lost("sourceInterface", "Fairlead takes an address, not an interface, as the source of a session.", "Write sourceAddress in a BGPPeer for each node.")
	}
	if g := s.sub("gracefulRestart"); g != nil {
		if on, _ := g.flag("enabled"); on {
			g.restart(p, "restartTimeSeconds")
		} else {
			g.take("restartTimeSeconds")
		}
	}
	if ttl, ok := s.between("ebgpMultihop", 1, 255); ok && ttl > 1 {
		p.EBGPMultiHop = true
		s.note(Changed, "ebgpMultihop", ttl, "Fairlead has no limit of hops here.", "ebgpMultiHop is true.")
	}
	if name := s.text("authSecretRef"); name != "" {
		r.secret(s, "authSecretRef", p, name, "", "password")
	}
	t.families()
	return t
}

// families reads which families a session carries, and which advertisements.
func (t *ciliumTemplate) families() {
	list := t.o.spec.subs("families")
	unicast := map[string]bool{}
	for _, f := range list {
		afi, safi := f.text("afi"), f.text("safi")
		s := f.selector("advertisements")
		if safi != "unicast" || afi != "ipv4" && afi != "ipv6" {
			f.note(Lost, "", afi+"/"+safi, "Fairlead announces IPv4 and IPv6 unicast only.", "")
			continue
		}
		unicast[afi] = true
		if s == nil {
			continue
		}
		if compiled, err := metav1.LabelSelectorAsSelector(s); err == nil {
			t.wants = append(t.wants, compiled)
		}
	}
	t.spec.DualStackAddressFamily = len(list) == 0 || len(unicast) == 2
	t.broken = t.o.dropped
}

func (r *reader) ciliumInstance(o *object, i *fields, nodes *metav1.LabelSelector, templates map[string]*ciliumTemplate) {
	name, mine := i.text("name"), i.asn("localASN")
	i.needless("Fairlead calls routers and is not called.", "localPort")
	for _, f := range i.subs("peers") {
		r.ciliumPeer(o, f, name, mine, nodes, templates)
	}
}

func (r *reader) ciliumPeer(o *object, f *fields, instance string, mine v1alpha1.ASN, nodes *metav1.LabelSelector, templates map[string]*ciliumTemplate) {
	peer := f.text("name")
	ref := f.sub("peerConfigRef")
	config := ref.text("name")
	if ref != nil {
		ref.take("group")
		ref.take("kind")
	}
	t := templates[config]
	if t == nil {
		t = &ciliumTemplate{o: o, spec: v1alpha1.BGPPeerSpec{DualStackAddressFamily: true}}
		f.note(ToDo, "peerConfigRef", config, "There is no such CiliumBGPPeerConfig among what is imported.", "The peer has no timers, no password and no advertisement: see that all is there, and import again.")
	}
	if t.broken {
		f.note(Lost, "peerConfigRef", config, "The CiliumBGPPeerConfig cannot be used, so the peer is not imported.", "Correct it, and import again.")
		return
	}
	out := v1alpha1.BGPPeer{Spec: *t.spec.DeepCopy()}
	p := &out.Spec
	p.MyASN, p.PeerAddress, p.Interface = mine, f.text("peerAddress"), f.text("peerInterface")
	if p.Interface != "" {
		p.PeerAddress = "" // the link-local address is found by itself
	}
	f.discovery(p)
	if p.PeerASN = f.asn("peerASN"); p.PeerASN == 0 {
		p.DynamicASN = v1alpha1.DynamicASNExternal
		f.note(Changed, "peerASN", 0, "Cilium takes any number of the peer.", "Any but ours is taken (external): write internal for iBGP.")
	}
	if nodes != nil && len(nodes.MatchLabels)+len(nodes.MatchExpressions) > 0 {
		p.NodeSelectors = []metav1.LabelSelector{*nodes}
	}
	name := r.claim("BGPPeer", fit(instance+"-"+peer), o.name)
	out.TypeMeta, out.ObjectMeta = meta("BGPPeer", name)
	dropped := o.dropped
	if r.addPeer(o, f, out) {
		t.peers = append(t.peers, name)
	}
	o.dropped = dropped // of the instance only this peer
}

// discovery reads how an address that is not written is found.
func (f *fields) discovery(p *v1alpha1.BGPPeerSpec) {
	auto := f.sub("autoDiscovery")
	if auto == nil {
		return
	}
	mode := auto.text("mode")
	if named := auto.sub("unnumbered"); named != nil {
		p.Interface = named.text("interface")
		return
	}
	auto.take("defaultGateway")
	f.note(Lost, "autoDiscovery", mode, "Fairlead does not look a peer up in the routing table.", "Write peerAddress, or the interface for an unnumbered peer.")
}

func (r *reader) ciliumAdvertisement(o *object, templates map[string]*ciliumTemplate) {
	var peers []string
	for _, t := range templates {
		if slices.ContainsFunc(t.wants, func(s labels.Selector) bool { return s.Matches(labels.Set(o.labels)) }) {
			peers = append(peers, t.peers...)
		}
	}
	slices.Sort(peers)
	for _, f := range o.spec.subs("advertisements") {
		r.ciliumRoutes(o, f, slices.Compact(peers))
	}
}

func (r *reader) ciliumRoutes(o *object, f *fields, peers []string) {
	if kind := f.text("advertisementType"); kind != "Service" {
		f.left = nil
		f.note(Lost, "advertisementType", kind, "Fairlead announces addresses of load balancers only.", "Keep Cilium's BGP for it.")
		return
	}
	s, selector := f.sub("service"), f.selector("selector")
	addresses := s.texts("addresses")
	for _, a := range addresses {
		if a != "LoadBalancerIP" {
			s.note(Lost, "addresses", a, "Fairlead announces addresses of load balancers only.", "")
		}
	}
	switch {
	case !slices.Contains(addresses, "LoadBalancerIP"):
		return
	case selector == nil:
		f.note(Needless, "selector", nil, "Without a selector it announces nothing.", "")
		return
	case len(peers) == 0:
		f.note(Lost, "", nil, "No imported peer selects it by its labels; without peers it would go to all.", "Import the CiliumBGPPeerConfig and CiliumBGPClusterConfig with it.")
		return
	}
	out := v1alpha1.BGPAdvertisement{Spec: v1alpha1.BGPAdvertisementSpec{Peers: slices.Clone(peers)}}
	out.TypeMeta, out.ObjectMeta = meta("BGPAdvertisement", r.claim("BGPAdvertisement", o.name, ""))
	out.Spec.ServiceSelectors = o.ciliumServices(f.at("selector"), selector)
	if n, ok := s.between("aggregationLengthIPv4", 1, 32); ok {
		out.Spec.AggregationLength = ptr.To(int32(n))
	}
	if n, ok := s.between("aggregationLengthIPv6", 1, 128); ok {
		out.Spec.AggregationLengthV6 = ptr.To(int32(n))
	}
	if a := f.sub("attributes"); a != nil {
		a.ciliumAttributes(&out)
	}
	r.addBGPAdvertisement(o, out)
}

// ciliumWellKnown are names that Fairlead writes otherwise.
var ciliumWellKnown = map[string]string{
	"internet": "0:0", "planned-shut": "graceful-shutdown", "route-filter-translated-v4": "65535:2", "route-filter-v4": "65535:3",
	"route-filter-translated-v6": "65535:4", "route-filter-v6": "65535:5", "llgr-stale": "65535:6", "no-llgr": "65535:7",
}

func (f *fields) ciliumAttributes(out *v1alpha1.BGPAdvertisement) {
	if n, ok := f.between("localPreference", 0, 1<<32-1); ok {
		out.Spec.LocalPref = n
	}
	c := f.sub("communities")
	for _, s := range c.texts("standard") {
		if n, err := strconv.ParseUint(s, 10, 32); err == nil {
			s = fmt.Sprintf("%d:%d", n>>16, n&0xffff)
		}
		c.community(out, "standard", s)
	}
	for _, s := range c.texts("large") {
		c.community(out, "large", "large:"+s)
	}
	for _, s := range c.texts("wellKnown") {
		if other, ok := ciliumWellKnown[s]; ok {
			s = other
		}
		c.community(out, "wellKnown", s)
	}
}
