package imports

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

const openelbGroup = "network.kubesphere.io"

// openelb imports OpenELB's Eips and its BGP. Eips are joined in advertisements by
// how they are announced.
func (r *reader) openelb() {
	eips, confs, peers := r.of(openelbGroup, "Eip"), r.of(openelbGroup, "BgpConf"), r.of(openelbGroup, "BgpPeer")
	r.settle("IPAddressPool", eips)
	r.settle("BGPPeer", peers)
	l2 := map[string][]string{} // pools by interface
	var bgp []string
	for _, o := range eips {
		r.eip(o, l2, &bgp)
	}
	r.openelbL2(eips, l2)
	names := r.openelbPeers(confs, peers)
	if len(bgp) > 0 {
		out := v1alpha1.BGPAdvertisement{Spec: v1alpha1.BGPAdvertisementSpec{IPAddressPools: bgp, Peers: names}}
		out.TypeMeta, out.ObjectMeta = meta("BGPAdvertisement", r.claim("BGPAdvertisement", "openelb", ""))
		r.addBGPAdvertisement(&object{r: r, kind: "BgpConf", name: "default"}, out)
	}
	for _, list := range [][]*object{eips, confs, peers} {
		leftovers(list)
	}
}

const defaultEip = "eip.openelb.kubesphere.io/is-default-eip"

func (r *reader) eip(o *object, l2 map[string][]string, bgp *[]string) {
	s, p := o.spec, o.newPool(r.ours("IPAddressPool", o))
	s.addRange(&p, "address", s.text("address"))
	a := v1alpha1.ServiceAllocation{Namespaces: s.texts("namespaces")}
	if m := s.sub("namespaceSelector"); m != nil {
		v := map[string]any{"matchLabels": m.left}
		m.left = nil
		if sel := s.decoded("namespaceSelector", v); sel != nil && len(sel.MatchLabels) > 0 {
			a.NamespaceSelectors = []metav1.LabelSelector{*sel}
		}
	}
	if n, ok := s.between("priority", 0, 1<<31-1); ok {
		a.Priority = int32(n)
	}
	bound := len(a.Namespaces)+len(a.NamespaceSelectors) > 0
	if bound {
		admit(&p, a)
	}
	p.Spec.AutoAssign = autoAssign(bound || o.annotations[defaultEip] == "true")
	if off, _ := s.flag("disable"); off {
		p.Spec.AutoAssign = autoAssign(false)
		s.note(Changed, "disable", true, "A disabled Eip gives nothing new; here its addresses can still be asked for by name.", "It has autoAssign: false. To empty it, set draining.")
	}
	s.needless("Fairlead never gives an address that somebody else has.", "usingKnownIPs")
	protocol, iface := s.text("protocol"), s.text("interface")
	if !r.addPool(o, p) {
		return
	}
	switch protocol {
	case "layer2":
		l2[iface] = append(l2[iface], p.Name)
	case "vip":
		s.note(Changed, "protocol", protocol, "OpenELB runs keepalived for it.", "Fairlead answers by ARP and NDP.")
		l2[iface] = append(l2[iface], p.Name)
	default:
		*bgp = append(*bgp, p.Name)
	}
	o.note(ToDo, "", nil, "Services name an Eip by annotations of OpenELB, which Fairlead does not read.",
		"Rewrite them: kubectl fairlead annotations makes fairlead.dev/pool="+p.Name+" of eip.openelb.kubesphere.io/v1alpha2.")
}

func (r *reader) openelbL2(eips []*object, l2 map[string][]string) {
	seen := map[string]bool{}
	for _, o := range eips {
		for iface, names := range l2 {
			if len(names) == 0 || names[0] != r.ours("IPAddressPool", o) || seen[iface] {
				continue
			}
			seen[iface] = true
			out := v1alpha1.L2Advertisement{Spec: v1alpha1.L2AdvertisementSpec{IPAddressPools: names}}
			base := "openelb"
			switch {
			case strings.HasPrefix(iface, "can_reach:"):
				o.note(Lost, "spec.interface", iface, "Fairlead does not look for the interface by what it reaches.", "Name it in spec.interfaces of the L2Advertisement; until then it answers on all.")
			case iface != "":
				base = "openelb-" + fit(iface)
				out.Spec.Interfaces = o.interfaces(newFields(o, "spec", map[string]any{"interface": []any{iface}}), "interface")
			}
			out.TypeMeta, out.ObjectMeta = meta("L2Advertisement", r.claim("L2Advertisement", base, ""))
			if !o.dropped {
				r.result.L2Advertisements = append(r.result.L2Advertisements, out)
			}
		}
	}
}

// openelbPeers makes peers, whose own side is in the BgpConf "default".
func (r *reader) openelbPeers(confs, peers []*object) []string {
	var mine v1alpha1.ASN
	for _, o := range confs {
		if o.name != "default" {
			o.whole(Needless, "OpenELB reads only the one with the name default.", "")
			continue
		}
		mine = o.spec.asn("as")
		o.spec.needless("Fairlead calls routers and is not called.", "listenPort", "listenAddresses")
		o.spec.lost("asPerRack", "Fairlead has one number for each peer.", "Write a BGPPeer for each rack, with myASN and nodeSelectors.")
		o.spec.lost("routerId", "It is one number for all nodes, which routers refuse.", "The node's own address is taken.")
	}
	var names []string
	for _, o := range peers {
		if name := r.openelbPeer(o, mine); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func (r *reader) openelbPeer(o *object, mine v1alpha1.ASN) string {
	s, out := o.spec, v1alpha1.BGPPeer{}
	out.TypeMeta, out.ObjectMeta = meta("BGPPeer", r.ours("BGPPeer", o))
	p := &out.Spec
	p.MyASN = mine
	if conf := s.sub("conf"); conf != nil {
		p.PeerAddress, p.PeerASN = conf.text("neighborAddress"), conf.asn("peerAs")
		if own := conf.asn("localAs"); own != 0 && own != mine {
			p.LocalASN = own
		}
		if p.Password = conf.text("authPassword"); p.Password != "" {
			conf.note(ToDo, "authPassword", nil, "The password stands in the object in the clear, here as there.", "Better: a Secret, named in passwordSecret.")
		}
		conf.needless("It only describes the peer.", "description")
	}
	if t := s.sub("transport"); t != nil {
		if n, ok := t.between("remotePort", 1, 65535); ok {
			p.PeerPort = int32(n)
		}
		p.SourceAddress = t.text("localAddress")
		t.lost("passiveMode", "Fairlead calls routers and is not called.", "Let the router wait for the call.")
	}
	if timers := s.sub("timers").sub("config"); timers != nil {
		p.HoldTime, p.KeepaliveTime = timers.secondsText("holdTime", shortHold), timers.secondsText("keepaliveInterval", time.Second)
		p.ConnectTime = timers.secondsText("connectRetry", time.Second)
	}
	if m := s.sub("ebgpMultihop"); m != nil {
		p.EBGPMultiHop, _ = m.flag("enabled")
		m.needless("Fairlead has no limit of hops here.", "multihopTtl")
	}
	if g := s.sub("gracefulRestart"); g != nil {
		if on, _ := g.flag("enabled"); on {
			g.restart(p, "restartTime")
		}
	}
	if n := s.selector("nodeSelector"); n != nil && len(n.MatchLabels)+len(n.MatchExpressions) > 0 {
		p.NodeSelectors = []metav1.LabelSelector{*n}
	}
	s.needless("A session carries addresses of its own family; for both set dualStackAddressFamily.", "afiSafis")
	if !r.addPeer(o, s, out) {
		return ""
	}
	return out.Name
}

// secondsText reads a number of seconds, or one that is written as a text.
func (f *fields) secondsText(name string, low time.Duration) *metav1.Duration {
	v, ok := f.take(name)
	if !ok {
		return nil
	}
	if s, is := v.(string); is {
		d, err := time.ParseDuration(strings.TrimSuffix(s, "s") + "s")
		if err != nil {
			f.wrong(name, v, "a number of seconds")
			return nil
		}
		return f.within(name, v, d, low, longest)
	}
	f.left[name] = v
	return f.seconds(name, low, longest)
}
