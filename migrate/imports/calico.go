package imports

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"go4.org/netipx"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/pools"
)

// calicoASN is the number that Calico has without configuration.
const calicoASN = 64512

// calico imports the pools that Calico gives to Services, and how it announces
// addresses of Services. What it does for pods stays Calico's.
func (r *reader) calico() {
	var ips, peers, configs []*object
	for _, group := range []string{"projectcalico.org", "crd.projectcalico.org"} {
		ips, peers = moreOf(ips, r.of(group, "IPPool")), moreOf(peers, r.of(group, "BGPPeer"))
		configs = moreOf(configs, r.of(group, "BGPConfiguration"))
	}
	r.settle("IPAddressPool", ips)
	r.settle("BGPPeer", peers)
	var hidden []string // pools that are not announced
	for _, o := range ips {
		r.calicoPool(o, &hidden)
	}
	conf := &calicoConfig{mine: calicoASN}
	for _, o := range configs {
		r.calicoConfig(o, conf)
	}
	for _, o := range peers {
		r.calicoPeer(o, conf)
	}
	r.calicoRoutes(conf, hidden)
	for _, list := range [][]*object{ips, peers, configs} {
		leftovers(list)
	}
}

// moreOf adds objects of another group. Calico's API server shows its objects in
// two groups.
func moreOf(list, more []*object) []*object {
	for _, o := range more {
		if !slices.ContainsFunc(list, func(has *object) bool { return has.name == o.name }) {
			list = append(list, o)
		}
	}
	return list
}

func (r *reader) calicoPool(o *object, hidden *[]string) {
	s := o.spec
	if !slices.Contains(s.texts("allowedUses"), "LoadBalancer") {
		o.whole(Needless, "It is for pods, and stays Calico's.", "")
		return
	}
	p := o.newPool(r.ours("IPAddressPool", o))
	s.addRange(&p, "cidr", s.text("cidr"))
	if mode := s.text("assignmentMode"); mode == "Manual" {
		p.Spec.AutoAssign = autoAssign(false)
	}
	if off, _ := s.flag("disabled"); off {
		p.Spec.AutoAssign = autoAssign(false)
		s.note(Changed, "disabled", true, "A disabled pool gives nothing new; here its addresses can still be asked for by name.", "It has autoAssign: false. To empty it, set draining.")
	}
	if n := s.text("nodeSelector"); n != "" && n != "all()" {
		s.note(Lost, "nodeSelector", n, "A pool here is for all nodes.", "Select nodes in the advertisements of the pool.")
	}
	if n := s.text("namespaceSelector"); n != "" && n != "all()" {
		sel, err := calicoSelector(n)
		if err != nil {
			o.unusable("spec.namespaceSelector", n, "It cannot be written as a selector of Kubernetes: "+err.Error()+".", "Write the pool by hand.")
		} else {
			admit(&p, v1alpha1.ServiceAllocation{NamespaceSelectors: []metav1.LabelSelector{*sel}})
		}
	}
	s.needless("It is about pods.", "blockSize", "natOutgoing", "ipipMode", "vxlanMode")
	off, _ := s.flag("disableBGPExport")
	if r.addPool(o, p) && off {
		*hidden = append(*hidden, p.Name)
	}
}

// calicoConfig is what a BGPConfiguration says.
type calicoConfig struct {
	o        *object
	mine     v1alpha1.ASN
	ranges   []netip.Prefix // of addresses of Services that Calico announces
	prefixes []calicoPrefix
	peers    []string
}

type calicoPrefix struct {
	prefix      netip.Prefix
	communities []string
}

func (r *reader) calicoConfig(o *object, c *calicoConfig) {
	s := o.spec
	if o.name != "default" {
		o.whole(Lost, "It is for one node.", "Write a BGPPeer for that node, with nodeSelectors.")
		return
	}
	c.o = o
	if n := s.asn("asNumber"); n != 0 {
		c.mine = n
	}
	for _, f := range s.subs("serviceLoadBalancerIPs") {
		text := f.text("cidr")
		if p, err := netip.ParsePrefix(text); err == nil {
			c.ranges = append(c.ranges, p.Masked())
		} else {
			f.wrong("cidr", text, "a prefix")
		}
	}
	if a := s.text("serviceLoadBalancerAggregation"); len(c.ranges) > 0 && a != "Disabled" {
		s.note(Changed, "serviceLoadBalancerAggregation", a, "Calico announces the whole prefix from every node; Fairlead each address, from nodes that can serve it.", "Set aggregationLength in the BGPAdvertisement if routers should have fewer routes.")
	}
	aliases := v1alpha1.Community{}
	aliases.TypeMeta, aliases.ObjectMeta = meta("Community", r.claim("Community", "calico", ""))
	for _, f := range s.subs("communities") {
		value := f.text("value")
		if strings.Count(value, ":") == 2 {
			value = "large:" + value
		}
		f.alias(&aliases, f.text("name"), value)
	}
	if len(aliases.Spec.Communities) > 0 {
		r.result.Communities = append(r.result.Communities, aliases)
	}
	for _, f := range s.subs("prefixAdvertisements") {
		text, list := f.text("cidr"), f.texts("communities")
		if p, err := netip.ParsePrefix(text); err == nil {
			c.prefixes = append(c.prefixes, calicoPrefix{p.Masked(), list})
		} else {
			f.wrong("cidr", text, "a prefix")
		}
	}
	s.lost("serviceExternalIPs", "Fairlead announces spec.externalIPs only where a pool has the address.", "Put such addresses into a pool.")
	s.lost("serviceClusterIPs", "Fairlead announces addresses of load balancers only.", "Keep Calico's BGP for it.")
	s.needless("It is about routes of pods, which stay Calico's.", "nodeToNodeMeshEnabled", "nodeMeshPassword", "nodeMeshMaxRestartTime", "listenPort", "bindMode",
		"logSeverityScreen", "ignoredInterfaces", "programClusterRoutes", "localWorkloadPeeringIPV4", "localWorkloadPeeringIPV6")
}

func (r *reader) calicoPeer(o *object, c *calicoConfig) {
	s, out := o.spec, v1alpha1.BGPPeer{}
	out.TypeMeta, out.ObjectMeta = meta("BGPPeer", r.ours("BGPPeer", o))
	p := &out.Spec
	if by := s.text("peerSelector"); by != "" {
		o.whole(Needless, "It peers nodes with nodes, for routes of pods, which stays Calico's.", "")
		return
	}
	p.MyASN, p.PeerASN = c.mine, s.asn("asNumber")
	s.calicoAddress(p)
	if own := s.asn("localASNumber"); own != 0 {
		p.LocalASN = own
	}
	if node := s.text("node"); node != "" {
		p.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"kubernetes.io/hostname": node}}}
	}
	if n := s.text("nodeSelector"); n != "" && n != "all()" {
		sel, err := calicoSelector(n)
		if err != nil {
			o.unusable("spec.nodeSelector", n, "It cannot be written as a selector of Kubernetes: "+err.Error()+".", "Write the peer by hand.")
			return
		}
		p.NodeSelectors = []metav1.LabelSelector{*sel}
	}
	if ref := s.sub("password").sub("secretKeyRef"); ref != nil {
		r.secret(ref, "name", p, ref.text("name"), "calico-system or kube-system", ref.text("key"))
	}
	if d := s.wholeSeconds("maxRestartTime", time.Second, 4095*time.Second); d != nil {
		p.EnableGracefulRestart, p.GracefulRestart = true, &v1alpha1.GracefulRestart{RestartTime: d}
	}
	if n, ok := s.between("ttlSecurity", 1, 254); ok {
		p.TTLSecurityHops = ptr.To(int32(n))
	}
	p.KeepaliveTime = s.wholeSeconds("keepaliveTime", time.Second, longest)
	s.needless("Fairlead uses no route that a peer sends, and announces itself as next hop.", "keepOriginalNextHop", "nextHopMode", "numAllowedLocalASNumbers", "sourceAddress")
	s.lost("reachableBy", "Fairlead sets no routes to a peer.", "Set the route on the nodes.")
	s.lost("filters", "Fairlead announces addresses of load balancers only, and uses nothing that a peer sends.", "See whether they are needed.")
	if r.addPeer(o, s, out) {
		c.peers = append(c.peers, out.Name)
		o.note(ToDo, "", nil, "A router keeps one session with an address of a node, and Calico has it while its BGPPeer is there.",
			"Let the router have a second neighbor for Fairlead (another sourceAddress), or let Calico go on announcing and create neither this BGPPeer nor a BGPAdvertisement.")
	}
}

// calicoAddress reads an address that may have a port.
func (f *fields) calicoAddress(p *v1alpha1.BGPPeerSpec) {
	text := f.text("peerIP")
	if ap, err := netip.ParseAddrPort(text); err == nil {
		p.PeerAddress, p.PeerPort = ap.Addr().String(), int32(ap.Port())
		return
	}
	p.PeerAddress = text
}

// calicoRoutes announces the pools that lie in what Calico announces.
func (r *reader) calicoRoutes(c *calicoConfig, hidden []string) {
	if c.o == nil {
		return
	}
	announced := func(p *v1alpha1.IPAddressPool) bool {
		return !slices.Contains(hidden, p.Name) && len(c.ranges) > 0 && lieIn(p, c.ranges)
	}
	for _, a := range c.prefixes {
		if !slices.ContainsFunc(r.result.Pools, func(p v1alpha1.IPAddressPool) bool { return announced(&p) && lieIn(&p, []netip.Prefix{a.prefix}) }) {
			c.o.note(Needless, "spec.prefixAdvertisements", a.prefix.String(), "No imported pool that Calico announces lies in it, so it is for routes that stay Calico's.", "")
		}
	}
	if len(c.ranges) == 0 {
		return
	}
	byCommunities := map[string]*v1alpha1.BGPAdvertisement{}
	var order []string
	for i := range r.result.Pools {
		p := &r.result.Pools[i]
		if !announced(p) {
			continue
		}
		list := c.communitiesOf(p)
		key := strings.Join(list, " ")
		if byCommunities[key] == nil {
			ad := &v1alpha1.BGPAdvertisement{Spec: v1alpha1.BGPAdvertisementSpec{Peers: c.peers}}
			ad.TypeMeta, ad.ObjectMeta = meta("BGPAdvertisement", r.claim("BGPAdvertisement", "calico", ""))
			for _, v := range list {
				c.o.spec.community(ad, "prefixAdvertisements", v)
			}
			byCommunities[key], order = ad, append(order, key)
		}
		byCommunities[key].Spec.IPAddressPools = append(byCommunities[key].Spec.IPAddressPools, p.Name)
	}
	if len(order) == 0 {
		c.o.note(ToDo, "spec.serviceLoadBalancerIPs", nil, "Calico announces these addresses, and none of the imported pools lies in them.", "Write a BGPAdvertisement for the pools whose addresses they are.")
	}
	for _, key := range order {
		r.addBGPAdvertisement(c.o, *byCommunities[key])
	}
}

func (c *calicoConfig) communitiesOf(p *v1alpha1.IPAddressPool) []string {
	var out []string
	for _, a := range c.prefixes {
		if !lieIn(p, []netip.Prefix{a.prefix}) {
			continue
		}
		for _, s := range a.communities {
			if strings.Count(s, ":") == 2 {
				s = "large:" + s
			}
			out = append(out, s)
		}
	}
	return out
}

// lieIn tells whether all addresses of a pool lie in some prefixes.
func lieIn(p *v1alpha1.IPAddressPool, prefixes []netip.Prefix) bool {
	var b netipx.IPSetBuilder
	for _, x := range prefixes {
		b.AddPrefix(x)
	}
	set, err := b.IPSet()
	return err == nil && !slices.ContainsFunc(p.Spec.Addresses, func(s v1alpha1.AddressRange) bool {
		r, err := pools.ParseRange(string(s))
		return err != nil || !set.ContainsRange(netipx.IPRangeFrom(r.From, r.To))
	})
}
