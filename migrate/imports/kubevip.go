package imports

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// kubeVip imports the ConfigMap of kube-vip's cloud provider and the settings of
// kube-vip: of its DaemonSet, or of the first of its static pods, which are alike.
func (r *reader) kubeVip() {
	read := 0 // most objects of these kinds are other people's
	for _, o := range r.of("", "ConfigMap") {
		if o.name == "kubevip" {
			read++
			r.kubeVipPools(o)
			leftovers([]*object{o})
		}
	}
	for _, o := range slices.Concat(r.of("apps", "DaemonSet"), r.of("", "Pod")) {
		if env, ok := kubeVipEnv(o); ok {
			read++
			r.kubeVipSettings(o, env)
			break
		}
	}
	r.result.Read = read
}

// kubeVipPools makes a pool for each namespace of the ConfigMap, and one for all.
func (r *reader) kubeVipPools(o *object) {
	data := o.root.sub("data")
	if data == nil {
		o.note(Lost, "data", nil, "It has no ranges.", "See whether it is the right ConfigMap.")
		return
	}
	skip := data.text("skip-end-ips-in-cidr") == "true"
	if order := data.text("search-order"); order == "desc" {
		data.note(Lost, "search-order", order, "Fairlead gives the lowest free address of a pool.", "Addresses in use stay.")
	}
	byScope := map[string][]string{}
	for key := range data.left {
		for _, kind := range []string{"cidr-", "range-"} {
			if scope, ok := strings.CutPrefix(key, kind); ok {
				byScope[scope] = append(byScope[scope], key)
			}
		}
	}
	for _, scope := range slices.Sorted(maps.Keys(byScope)) {
		keys := byScope[scope]
		slices.Sort(keys)
		if len(keys) > 1 {
			data.note(Changed, keys[1], nil, "kube-vip takes one of the two keys of a namespace.", "The pool has the addresses of both.")
		}
		r.kubeVipPool(o, data, scope, keys, skip)
	}
	for _, key := range slices.Sorted(maps.Keys(data.left)) {
		if strings.HasPrefix(key, "allow-share-") {
			data.lost(key, "Sharing is asked for by each Service here.", "Give those that are to share an address the same fairlead.dev/sharing-key.")
		}
		if strings.HasPrefix(key, "interface-") {
			data.lost(key, "It chooses an interface for the addresses of a namespace.", "Name it in spec.interfaces of an L2Advertisement for the pool.")
		}
	}
}

const everywhere = "global"

func (r *reader) kubeVipPool(o *object, data *fields, scope string, keys []string, skip bool) {
	p := v1alpha1.IPAddressPool{}
	p.TypeMeta, p.ObjectMeta = meta("IPAddressPool", r.claim("IPAddressPool", "kube-vip-"+fit(scope), ""))
	for _, key := range keys {
		for s := range strings.SplitSeq(data.text(key), ",") {
			if s = strings.TrimSpace(s); s == "" {
				continue
			}
			if strings.HasPrefix(s, "0.0.0.0/") {
				data.note(Lost, key, s, "It stands for addresses by DHCP, which Fairlead does not do.", "Give the pool a range that the DHCP server leaves free.")
				continue
			}
			if added, ok := data.addRange(&p, key, s); ok && skip && strings.HasPrefix(key, "cidr-") {
				excludeEnds(&p, added)
			}
		}
	}
	if len(p.Spec.Addresses) == 0 {
		return
	}
	if scope != everywhere {
		if len(validation.IsDNS1123Label(scope)) > 0 {
			data.note(Lost, keys[0], nil, "The key does not end in the name of a namespace.", "Correct it, and import again.")
			return
		}
		admit(&p, v1alpha1.ServiceAllocation{Namespaces: []string{scope}})
		data.note(Changed, keys[0], nil, "kube-vip gives a namespace with a pool of its own nothing else; in Fairlead its Services get an address of the other pools when theirs is full.",
			"To prevent it, restrict the other pools too (spec.serviceAllocation).")
	}
	r.addPool(o, p)
}

// kubeVipEnv are the settings of a DaemonSet or a Pod of kube-vip.
func kubeVipEnv(o *object) (map[string]string, bool) {
	containers, _ := o.spec.left["containers"].([]any)
	if template := o.spec.left["template"]; template != nil {
		containers, _ = within(within(template, "spec"), "containers").([]any)
	}
	for _, c := range containers {
		image, _ := within(c, "image").(string)
		if !strings.Contains(image, "kube-vip") || strings.Contains(image, "cloud-provider") {
			continue
		}
		out := map[string]string{}
		env, _ := within(c, "env").([]any)
		for _, e := range env {
			name, _ := within(e, "name").(string)
			value, _ := within(e, "value").(string)
			if name != "" {
				out[name] = value
			}
		}
		return out, true
	}
	return nil, false
}

// within is a member of what may be an object.
func within(v any, name string) any {
	m, _ := v.(map[string]any)
	return m[name]
}

// settings are environment variables; what is taken out is dealt with.
type settings struct {
	o    *object
	left map[string]string
}

func (s *settings) take(name string) string {
	v := s.left[name]
	delete(s.left, name)
	return v
}

func (s *settings) on(name string) bool {
	on, _ := strconv.ParseBool(s.take(name))
	return on
}

func (r *reader) kubeVipSettings(o *object, env map[string]string) {
	o.spec.left = nil // the rest of a workload configures nothing
	s := &settings{o: o, left: env}
	address := s.take("address")
	if address == "" {
		address = s.take("vip_address")
	}
	if s.on("cp_enable") {
		o.note(Lost, "env cp_enable", address, "kube-vip also holds the address of the control plane, which Fairlead does not do.",
			"Keep kube-vip for it, with svc_enable=false, or clients lose the API server.")
	}
	iface := s.take("vip_servicesinterface")
	if v := s.take("vip_interface"); iface == "" {
		iface = v
	}
	s.take("svc_enable")
	if s.on("vip_arp") {
		r.kubeVipARP(o, iface)
	}
	if s.on("bgp_enable") {
		r.kubeVipBGP(s)
	}
	if class := s.take("lb_class_name"); class != "" {
		o.note(ToDo, "env lb_class_name", class, "Services of this class stay kube-vip's: a class cannot be changed.", "Make second Services of class fairlead.dev/lb for them.")
	}
	for _, name := range slices.Sorted(maps.Keys(s.left)) {
		value := s.left[name]
		if strings.Contains(name, "pass") || value == "" {
			value = ""
		}
		o.note(Needless, "env "+name, value, "It is a setting of kube-vip's own process.", "")
	}
}

func (r *reader) poolNames() []string {
	var out []string
	for i := range r.result.Pools {
		out = append(out, r.result.Pools[i].Name)
	}
	return out
}

func (r *reader) kubeVipARP(o *object, iface string) {
	out := v1alpha1.L2Advertisement{Spec: v1alpha1.L2AdvertisementSpec{IPAddressPools: r.poolNames()}}
	out.TypeMeta, out.ObjectMeta = meta("L2Advertisement", r.claim("L2Advertisement", "kube-vip", ""))
	if iface != "" && iface != "lo" {
		f := newFields(o, "env", map[string]any{"vip_interface": []any{iface}})
		out.Spec.Interfaces = o.interfaces(f, "vip_interface")
	}
	if len(out.Spec.IPAddressPools) == 0 {
		o.note(ToDo, "env vip_arp", "true", "No pools are imported, so the L2Advertisement is for all pools that there are.", "Name pools in spec.ipAddressPools.")
	}
	if !o.dropped {
		r.result.L2Advertisements = append(r.result.L2Advertisements, out)
	}
}

// kubeVipBGP makes peers of "address:asn:password:multihop" and of the settings
// for a single peer, and one advertisement of all pools to them.
func (r *reader) kubeVipBGP(s *settings) {
	peers := s.take("bgp_peers")
	if a := s.take("bgp_peeraddress"); a != "" && peers == "" {
		peers = strings.Join([]string{bracketed(a), s.left["bgp_peeras"], s.left["bgp_peerpass"], s.take("bgp_multihop")}, ":")
	}
	s.take("bgp_peeras")
	s.take("bgp_peerpass")
	common := map[string]any{}
	for env, field := range map[string]string{"bgp_as": "myASN", "bgp_hold_time": "holdTime", "bgp_keepalive_interval": "keepaliveTime"} {
		if v := s.take(env); v != "" {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				common[field] = n
			}
		}
	}
	if v := s.take("bgp_routerid"); v != "" {
		s.o.note(Lost, "env bgp_routerid", v, "It is one number for all nodes, which routers refuse.", "The node's own address is taken.")
	}
	var names []string
	for p := range strings.SplitSeq(peers, ",") {
		if p = strings.TrimSpace(p); p != "" {
			names = append(names, r.kubeVipPeer(s.o, p, common)...)
		}
	}
	if len(names) == 0 {
		s.o.note(Lost, "env bgp_peers", nil, "No peer can be read.", "Write BGPPeers and a BGPAdvertisement.")
		return
	}
	out := v1alpha1.BGPAdvertisement{Spec: v1alpha1.BGPAdvertisementSpec{IPAddressPools: r.poolNames(), Peers: names}}
	out.TypeMeta, out.ObjectMeta = meta("BGPAdvertisement", r.claim("BGPAdvertisement", "kube-vip", ""))
	r.addBGPAdvertisement(s.o, out)
}

func bracketed(a string) string {
	if strings.Contains(a, ":") && !strings.HasPrefix(a, "[") {
		return "[" + a + "]"
	}
	return a
}

func (r *reader) kubeVipPeer(o *object, text string, common map[string]any) []string {
	var address, more string
	if inner, ok := strings.CutPrefix(text, "["); ok {
		address, more, _ = strings.Cut(inner, "]")
		more = strings.TrimPrefix(more, ":")
	} else {
		address, more, _ = strings.Cut(text, ":")
	}
	parts := append(strings.Split(more, ":"), "", "", "")
	f := newFields(o, "env bgp_peers", maps.Clone(common))
	out := v1alpha1.BGPPeer{}
	p := &out.Spec
	p.PeerAddress, p.MyASN = address, f.asn("myASN")
	if n, err := strconv.ParseInt(parts[0], 10, 64); err == nil {
		p.PeerASN = f.checkASN("peerASN", n)
	}
	p.EBGPMultiHop = parts[2] == "true"
	p.HoldTime, p.KeepaliveTime = f.seconds("holdTime", shortHold, longest), f.seconds("keepaliveTime", 0, longest)
	if p.Password = parts[1]; p.Password != "" {
		f.note(ToDo, "password", nil, "The password stands in the object in the clear, here as there.", "Better: a Secret of type kubernetes.io/basic-auth in Fairlead's namespace, named in passwordSecret.")
	}
	name := r.claim("BGPPeer", "kube-vip-"+fit(address), "")
	out.TypeMeta, out.ObjectMeta = meta("BGPPeer", name)
	dropped := o.dropped
	if !r.addPeer(o, f, out) {
		o.dropped = dropped // of the DaemonSet only this peer
		return nil
	}
	return []string{name}
}
