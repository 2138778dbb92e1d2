package imports

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

const asTrans = 23456

// asn takes a number of an autonomous system out; 0 where there is none.
func (f *fields) asn(name string) v1alpha1.ASN {
	n, ok := f.number(name)
	if !ok || n == 0 {
		return 0
	}
	return f.checkASN(name, n)
}

func (f *fields) checkASN(name string, n int64) v1alpha1.ASN {
	if n < 1 || n > 1<<32-1 || n == asTrans {
		f.note(Lost, name, n, "It is no number of an autonomous system.", "Write the real number.")
		return 0
	}
	return v1alpha1.ASN(n)
}

func number(n v1alpha1.ASN) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(int64(n), 10)
}

var aliasName = regexp.MustCompile(`^[^:]{1,63}$`)

// validCommunity tells whether the API server takes a community by its number.
func validCommunity(s string) bool {
	bits := 16
	parts := strings.Split(s, ":")
	if rest, large := strings.CutPrefix(s, "large:"); large {
		parts, bits = strings.Split(rest, ":"), 32
		if len(parts) != 3 {
			return false
		}
	} else if len(parts) != 2 {
		return false
	}
	for _, p := range parts {
		if len(p) > 10 || bits == 16 && len(p) > 5 || strings.Trim(p, "0123456789") != "" {
			return false
		}
		if _, err := strconv.ParseUint(p, 10, bits); err != nil {
			return false
		}
	}
	return true
}

const maxCommunities = 63

// community adds a community, by number or by name, to an advertisement.
func (f *fields) community(out *v1alpha1.BGPAdvertisement, name, value string) {
	ref := v1alpha1.CommunityReference(value)
	switch {
	case !validCommunity(value) && !aliasName.MatchString(value):
		f.note(Lost, name, value, "It is no community.", "Write 64512:100, large:64512:1:2, or the name that a Community object gives.")
	case slices.Contains(out.Spec.Communities, ref):
	case len(out.Spec.Communities) == maxCommunities:
		f.note(Lost, name, value, "A route has at most 63 communities.", "Take some out.")
	default:
		out.Spec.Communities = append(out.Spec.Communities, ref)
	}
}

// addBGPAdvertisement keeps an advertisement that the API server takes.
func (r *reader) addBGPAdvertisement(o *object, out v1alpha1.BGPAdvertisement) {
	s := &out.Spec
	if len(s.ServiceSelectors) > 0 && (ptr.Deref(s.AggregationLength, 32) != 32 || ptr.Deref(s.AggregationLengthV6, 128) != 128) {
		o.note(Lost, "spec.aggregationLength", nil, "Together with selectors of Services it would announce the neighbours of what is selected.", "Each address is announced by itself.")
		s.AggregationLength, s.AggregationLengthV6 = nil, nil
	}
	o.atMost("spec.peers", len(s.Peers), maxNames)
	if slices.ContainsFunc(s.Peers, func(p string) bool { return p == "" || len(p) > maxName }) {
		o.unusable("spec.peers", s.Peers, "A peer has no name.", "Correct it, and import again.")
	}
	if !o.dropped {
		r.result.BGPAdvertisements = append(r.result.BGPAdvertisements, out)
	}
}

// addPeer keeps a peer that the API server takes. What contradicts itself is put
// right where that is what the other controller does, and told.
func (r *reader) addPeer(o *object, f *fields, out v1alpha1.BGPPeer) bool {
	p := &out.Spec
	if why, field := unfitPeer(p); why != "" {
		o.unusable(f.at(field), nil, why, "Correct it, and import again.")
		return false
	}
	internal := p.DynamicASN == v1alpha1.DynamicASNInternal || p.PeerASN == p.MyASN
	if p.EBGPMultiHop && (internal || p.Interface != "") {
		f.note(Changed, "ebgpMultiHop", true, "It is for eBGP peers with an address only.", "It is left out.")
		p.EBGPMultiHop = false
	}
	if p.LocalASN != 0 && (internal || p.LocalASN == p.PeerASN) {
		f.note(Lost, "localASN", number(p.LocalASN), "It is for eBGP only, and not the peer's own number.", "Write as myASN what the router expects.")
		p.LocalASN = 0
	}
	f.peerTimes(p)
	f.peerAddresses(p)
	for name, s := range map[string]*string{"interface": &p.Interface, "vrf": &p.VRF} {
		if len(*s) > 15 || strings.ContainsAny(*s, "/ ") {
			o.unusable(f.at(name), *s, "It is not the name of an interface.", "Correct it, and import again.")
		}
	}
	if len(p.Password) > 80 || p.Password != "" && p.PasswordSecret != nil {
		o.unusable(f.at("password"), nil, "There are two passwords, or one of more than 80 bytes.", "Keep one, and import again.")
	}
	o.atMost(f.at("nodeSelectors"), len(p.NodeSelectors), maxSelectors)
	if o.dropped {
		return false
	}
	r.result.Peers = append(r.result.Peers, out)
	return true
}

// unfitPeer says why there can be no session with a peer as it is written.
func unfitPeer(p *v1alpha1.BGPPeerSpec) (why, field string) {
	switch {
	case p.MyASN == 0:
		return "It has no number for our side.", "myASN"
	case (p.PeerASN == 0) == (p.DynamicASN == ""):
		return "It needs one of the peer's number and a dynamic one.", "peerASN"
	case p.DynamicASN != "" && p.DynamicASN != v1alpha1.DynamicASNInternal && p.DynamicASN != v1alpha1.DynamicASNExternal:
		return "A dynamic number is internal or external.", "dynamicASN"
	case (p.PeerAddress == "") == (p.Interface == ""):
		return "It needs one of an address and an interface.", "peerAddress"
	case p.PeerAddress != "" && !routerAddress(p.PeerAddress):
		return fmt.Sprintf("%s is not the address of one router. A router at the other end of an interface is named by that interface.", shown(p.PeerAddress)), "peerAddress"
	}
	return "", ""
}

// routerAddress tells whether the API server takes an address of a session.
func routerAddress(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == "" && !a.Is4In6() && len(s) <= 39 &&
		(a.IsLoopback() || a.Is4() && a.IsLinkLocalUnicast() || a.IsGlobalUnicast() && s != "255.255.255.255")
}

// peerTimes brings hold and keepalive times into a relation that BGP allows.
func (f *fields) peerTimes(p *v1alpha1.BGPPeerSpec) {
	hold, keep := p.HoldTime, p.KeepaliveTime
	if keep == nil {
		return
	}
	limit := longest / 3
	if hold != nil {
		limit = hold.Duration
	}
	switch {
	case keep.Duration > limit:
		f.note(Changed, "keepaliveTime", keep.Duration.String(), "It must not be longer than the hold time.", "It is left out: a third of the hold time.")
		p.KeepaliveTime = nil
	case keep.Duration == 0 && (hold == nil || hold.Duration > 0):
		f.note(Changed, "keepaliveTime", "0s", "A session with a hold time needs keepalives.", "It is left out: a third of the hold time.")
		p.KeepaliveTime = nil
	case keep.Duration > 0 && hold != nil && hold.Duration == 0:
		p.KeepaliveTime = nil
	}
}

// peerAddresses leaves out what a session cannot come from.
func (f *fields) peerAddresses(p *v1alpha1.BGPPeerSpec) {
	if s := p.SourceAddress; s != "" {
		a, err := netip.ParseAddr(s)
		peer, _ := netip.ParseAddr(p.PeerAddress)
		if err != nil || !routerAddress(s) || p.Interface != "" || a.Is4() != peer.Is4() {
			f.note(Lost, "sourceAddress", s, "A session to this peer cannot come from it.", "The kernel chooses the address.")
			p.SourceAddress = ""
		}
	}
	if s := p.RouterID; s != "" {
		a, err := netip.ParseAddr(s)
		if err != nil || !a.Is4() || a.IsUnspecified() {
			f.note(Lost, "routerID", s, "It is not written as an IPv4 address.", "The node's own address is taken.")
			p.RouterID = ""
		}
	}
}

// restart asks for graceful restart.
func (f *fields) restart(p *v1alpha1.BGPPeerSpec, name string) {
	p.EnableGracefulRestart = true
	if d := f.seconds(name, time.Second, 4095*time.Second); d != nil {
		p.GracefulRestart = &v1alpha1.GracefulRestart{RestartTime: d}
	}
}
