package imports

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

func (r *reader) metallbCommunity(o *object) {
	out := v1alpha1.Community{}
	out.TypeMeta, out.ObjectMeta = meta("Community", r.ours("Community", o))
	for _, c := range o.spec.subs("communities") {
		name, value := c.text("name"), c.text("value")
		c.alias(&out, name, value)
	}
	if !o.dropped {
		r.result.Communities = append(r.result.Communities, out)
	}
}

// alias adds a name for a community.
func (f *fields) alias(out *v1alpha1.Community, name, value string) {
	switch {
	case !aliasName.MatchString(name):
		f.note(Lost, "name", name, "It is no name for a community: 1 to 63 characters, without a colon.", "Write another name here and in the advertisements.")
	case !validCommunity(value):
		f.note(Lost, "value", value, "It is no community.", "Write 64512:100, or a large one as large:64512:1:2.")
	case len(out.Spec.Communities) == maxNames:
		f.note(Lost, "name", name, "A Community object has room for 256 names.", "Write a second one.")
	case slices.ContainsFunc(out.Spec.Communities, func(c v1alpha1.CommunityAlias) bool { return c.Name == name }):
		f.note(Lost, "name", name, "The name stands there twice.", "Remove one.")
	default:
		out.Spec.Communities = append(out.Spec.Communities, v1alpha1.CommunityAlias{Name: name, Value: v1alpha1.CommunityValue(value)})
	}
}

func (r *reader) metallbProfile(o *object) {
	s, out := o.spec, v1alpha1.BFDProfile{}
	out.TypeMeta, out.ObjectMeta = meta("BFDProfile", r.ours("BFDProfile", o))
	p := &out.Spec
	for _, n := range []struct {
		name      string
		low, high int64
		to        **int32
	}{
		{"receiveInterval", 10, 60000, &p.ReceiveInterval},
		{"transmitInterval", 10, 60000, &p.TransmitInterval},
		{"detectMultiplier", 2, 255, &p.DetectMultiplier},
		{"echoInterval", 10, 60000, &p.EchoInterval},
		{"minimumTtl", 1, 254, &p.MinimumTTL},
	} {
		if v, ok := s.between(n.name, n.low, n.high); ok {
			*n.to = ptr.To(int32(v))
		}
	}
	p.EchoMode, _ = s.flag("echoMode")
	p.PassiveMode, _ = s.flag("passiveMode")
	if !o.dropped {
		r.result.Profiles = append(r.result.Profiles, out)
	}
}

const (
	longest   = 65535 * time.Second
	shortHold = 3 * time.Second
)

// holdTime is 0, or three seconds and more.
func (f *fields) holdTime(name string) *metav1.Duration {
	d := f.wholeSeconds(name, 0, longest)
	if d != nil && d.Duration > 0 && d.Duration < shortHold {
		f.note(Changed, name, d.Duration.String(), "BGP has no hold time below 3s (RFC 4271).", "It is 3s now.")
		d.Duration = shortHold
	}
	return d
}

func (r *reader) metallbPeer(o *object) {
	s, out := o.spec, v1alpha1.BGPPeer{}
	out.TypeMeta, out.ObjectMeta = meta("BGPPeer", r.ours("BGPPeer", o))
	p := &out.Spec
	p.MyASN, p.PeerASN, p.LocalASN = s.asn("myASN"), s.asn("peerASN"), s.asn("localASN")
	p.DynamicASN = v1alpha1.DynamicASN(s.text("dynamicASN"))
	p.PeerAddress, p.Interface, p.SourceAddress, p.RouterID = s.text("peerAddress"), s.text("interface"), s.text("sourceAddress"), s.text("routerID")
	if n, ok := s.between("peerPort", 1, 65535); ok {
		p.PeerPort = int32(n)
	}
	p.HoldTime = s.holdTime("holdTime")
	p.KeepaliveTime, p.ConnectTime = s.wholeSeconds("keepaliveTime", 0, longest), s.wholeSeconds("connectTime", time.Second, longest)
	p.NodeSelectors = s.selectors("nodeSelectors")
	r.metallbPassword(o, p)
	if b := s.text("bfdProfile"); b != "" {
		p.BFDProfile = r.renamed("BFDProfile", o.namespace, []string{b})[0]
	}
	p.EnableGracefulRestart, _ = s.flag("enableGracefulRestart")
	p.EBGPMultiHop, _ = s.flag("ebgpMultiHop")
	p.VRF = s.text("vrf")
	p.DualStackAddressFamily, _ = s.flag("dualStackAddressFamily")
	if off, _ := s.flag("disableMP"); off {
		s.note(Needless, "disableMP", true, "A session carries only addresses of its own family unless dualStackAddressFamily says otherwise.", "")
	}
	for name, value := range map[string]string{"sourceAddress": p.SourceAddress, "localASN": number(p.LocalASN)} {
		if value != "" {
			s.note(Changed, name, value, "MetalLB in its mode frr-k8s, the default, drops this field without a word; Fairlead follows it.", "Take it out if the router is not set up for it.")
		}
	}
	r.addPeer(o, s, out)
}

func (r *reader) metallbPassword(o *object, p *v1alpha1.BGPPeerSpec) {
	if p.Password, _ = valueOf[string](o.spec, "password", "a text"); p.Password != "" {
		o.spec.note(ToDo, "password", nil, "The password stands in the object in the clear, here as there.", "Better: put it into a Secret of type kubernetes.io/basic-auth in Fairlead's namespace, and name that in passwordSecret.")
	}
	secret := o.spec.sub("passwordSecret")
	name := secret.text("name")
	namespace := secret.text("namespace")
	if name == "" {
		return
	}
	if namespace == "" {
		namespace = o.namespace
	}
	r.secret(secret, "name", p, name, namespace, "password")
}

// secret names the Secret of a password, which has to be where Fairlead is.
func (r *reader) secret(f *fields, field string, p *v1alpha1.BGPPeerSpec, name, namespace, entry string) {
	p.PasswordSecret = &v1alpha1.PasswordSecretReference{Name: name}
	from := name
	if namespace != "" {
		from = namespace + "/" + name
	}
	f.note(ToDo, field, name, "Fairlead reads the Secret in its own namespace, of type kubernetes.io/basic-auth, entry password.",
		"Copy Secret "+from+" (its entry "+entry+") there under the same name before the peer is created.")
}

func (r *reader) metallbBGP(o *object) {
	a := r.advertised(o)
	out := v1alpha1.BGPAdvertisement{Spec: v1alpha1.BGPAdvertisementSpec{
		IPAddressPools: a.pools, IPAddressPoolSelectors: a.poolSelectors, NodeSelectors: a.nodes, ServiceSelectors: a.services,
		Peers: r.renamed("BGPPeer", o.namespace, o.spec.texts("peers")),
	}}
	out.TypeMeta, out.ObjectMeta = meta("BGPAdvertisement", r.ours("BGPAdvertisement", o))
	if n, ok := o.spec.between("aggregationLength", 1, 32); ok {
		out.Spec.AggregationLength = ptr.To(int32(n))
	}
	if n, ok := o.spec.between("aggregationLengthV6", 1, 128); ok {
		out.Spec.AggregationLengthV6 = ptr.To(int32(n))
	}
	if n, ok := o.spec.between("localPref", 0, 1<<32-1); ok {
		out.Spec.LocalPref = n
	}
	for _, c := range o.spec.texts("communities") {
		o.spec.community(&out, "communities", c)
	}
	r.addBGPAdvertisement(o, out)
}
