package announcer

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"go4.org/netipx"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/announcer/bgp/defaults"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// BGPObjects are all objects of the kinds of BGP.
type BGPObjects struct {
	Advertisements v1alpha1.BGPAdvertisementList
	Peers          v1alpha1.BGPPeerList
	Profiles       v1alpha1.BFDProfileList
	Communities    v1alpha1.CommunityList
}

// Describe adds the objects to a World. One that is invalid has no effect; tell is
// told of each advertisement and peer what is wrong with it, if anything.
func (o *BGPObjects) Describe(w *World, tell func(kind, name string, err error)) {
	for i := range o.Advertisements.Items {
		a, err := FromBGPAdvertisement(&o.Advertisements.Items[i])
		if tell("BGPAdvertisement", o.Advertisements.Items[i].Name, err); err == nil {
			w.BGPAdvertisements = append(w.BGPAdvertisements, a)
		}
	}
	for i := range o.Peers.Items {
		p, err := FromBGPPeer(&o.Peers.Items[i])
		if tell("BGPPeer", o.Peers.Items[i].Name, err); err == nil {
			w.Peers = append(w.Peers, p)
		}
	}
	for i := range o.Profiles.Items {
		w.Profiles = append(w.Profiles, FromBFDProfile(&o.Profiles.Items[i]))
	}
	for i := range o.Communities.Items {
		w.Communities = append(w.Communities, FromCommunity(&o.Communities.Items[i]))
	}
}

// FromBGPAdvertisement compiles a BGPAdvertisement. An error names the selector
// that cannot be used; the advertisement then has no effect.
func FromBGPAdvertisement(in *v1alpha1.BGPAdvertisement) (BGPAdvertisement, error) {
	s := &in.Spec
	out := BGPAdvertisement{
		Name: in.Name, Pools: s.IPAddressPools, Peers: s.Peers, LocalPref: uint32(s.LocalPref),
		LengthV4: int(ptr.Deref(s.AggregationLength, 32)), LengthV6: int(ptr.Deref(s.AggregationLengthV6, 128)),
	}
	for _, c := range s.Communities {
		out.Communities = append(out.Communities, string(c))
	}
	var errs [3]error
	out.PoolSelectors, errs[0] = compile("ipAddressPoolSelectors", s.IPAddressPoolSelectors)
	out.NodeSelectors, errs[1] = compile("nodeSelectors", s.NodeSelectors)
	out.ServiceSelectors, errs[2] = compile("serviceSelectors", s.ServiceSelectors)
	if err := errors.Join(errs[:]...); err != nil {
		return BGPAdvertisement{}, fmt.Errorf("BGPAdvertisement %s: %w", in.Name, err)
	}
	return out, nil
}

// FromBGPPeer compiles a BGPPeer and fills in what it does not say. An error
// names what cannot be used; there is then no session with the peer.
func FromBGPPeer(in *v1alpha1.BGPPeer) (BGPPeer, error) {
	s := &in.Spec
	out := BGPPeer{
		Name: in.Name, Created: in.CreationTimestamp.Time,
		MyASN: uint32(s.MyASN), PeerASN: uint32(s.PeerASN), LocalASN: uint32(s.LocalASN),
		Interface: s.Interface, Port: defaults.Port, Password: Password(s.Password), BFDProfile: s.BFDProfile,
		MultiHop: s.EBGPMultiHop, TTLSecurityHops: int(ptr.Deref(s.TTLSecurityHops, 0)),
		PrefixLimit: int(ptr.Deref(s.PrefixLimit, defaults.PrefixLimit)), VRF: s.VRF, DualStack: s.DualStackAddressFamily,
		ConnectTime: durationOr(s.ConnectTime, defaults.ConnectTime),
	}
	switch s.DynamicASN {
	case v1alpha1.DynamicASNInternal:
		out.Dynamic = Internal
	case v1alpha1.DynamicASNExternal:
		out.Dynamic = External
	}
	if s.PeerPort != 0 {
		out.Port = uint16(s.PeerPort)
	}
	if s.PasswordSecret != nil {
		out.PasswordSecret = s.PasswordSecret.Name
	}
	out.HoldTime, out.KeepaliveTime = holdTimes(s.HoldTime, s.KeepaliveTime)
	out.restart(s)
	var errs [4]error
	out.Address, errs[0] = addressIn("peerAddress", s.PeerAddress)
	out.Source, errs[1] = addressIn("sourceAddress", s.SourceAddress)
	out.RouterID, errs[2] = addressIn("routerID", s.RouterID)
	out.NodeSelectors, errs[3] = compile("nodeSelectors", s.NodeSelectors)
	if err := errors.Join(errs[:]...); err != nil {
		return BGPPeer{}, fmt.Errorf("BGPPeer %s: %w", in.Name, err)
	}
	if !out.Address.IsValid() && out.Interface == "" {
		return BGPPeer{}, fmt.Errorf("BGPPeer %s: it has neither peerAddress nor interface", in.Name)
	}
	return out, nil
}

func (p *BGPPeer) restart(s *v1alpha1.BGPPeerSpec) {
	if !s.EnableGracefulRestart {
		return
	}
	g := ptr.Deref(s.GracefulRestart, v1alpha1.GracefulRestart{})
	p.RestartTime = durationOr(g.RestartTime, defaults.RestartTime)
	p.LongLivedStaleTime = durationOr(g.LongLivedStaleTime, 0)
}

func durationOr(d *metav1.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return d.Duration
}

// holdTimes fills in one of the two times by the other, in whole seconds, as
// they are on the wire.
func holdTimes(hold, keepalive *metav1.Duration) (h, k time.Duration) {
	switch {
	case hold == nil && keepalive == nil:
		return defaults.HoldTime, defaults.HoldTime / defaults.Keepalives
	case hold == nil:
		return defaults.Keepalives * keepalive.Duration, keepalive.Duration
	case keepalive == nil:
		return hold.Duration, (hold.Duration / defaults.Keepalives).Truncate(time.Second)
	default:
		return hold.Duration, keepalive.Duration
	}
}

func addressIn(field, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s: %w", field, err)
	}
	return ip.Unmap(), nil
}

// FromBFDProfile converts a BFDProfile.
func FromBFDProfile(in *v1alpha1.BFDProfile) BFDProfile {
	s := &in.Spec
	ms := func(v *int32, otherwise int32) time.Duration {
		return time.Duration(ptr.Deref(v, otherwise)) * time.Millisecond
	}
	out := BFDProfile{
		Name: in.Name, Receive: ms(s.ReceiveInterval, 300), Transmit: ms(s.TransmitInterval, 300), Echo: ms(s.EchoInterval, 50),
		DetectMultiplier: int(ptr.Deref(s.DetectMultiplier, 3)), EchoMode: s.EchoMode, Passive: s.PassiveMode, Strict: s.Strict,
		MinimumTTL: int(ptr.Deref(s.MinimumTTL, 254)),
	}
	if a := s.Authentication; a != nil {
		out.Auth = BFDAuth{Type: a.Type, KeyID: uint8(ptr.Deref(a.KeyID, 1)), Secret: a.PasswordSecret.Name}
	}
	return out
}

// FromCommunity converts a Community.
func FromCommunity(in *v1alpha1.Community) CommunityAliases {
	out := CommunityAliases{Name: in.Name, Created: in.CreationTimestamp.Time, Values: map[string]string{}}
	for _, c := range in.Spec.Communities {
		out.Values[c.Name] = string(c.Value)
	}
	return out
}

// rangesIn are the addresses of a pool. A range that cannot be read adds none:
// the pool says so itself.
func rangesIn(in []v1alpha1.AddressRange) *netipx.IPSet {
	var b netipx.IPSetBuilder
	for _, r := range in {
		s := string(r)
		if from, to, ranged := strings.Cut(s, "-"); ranged {
			first, err1 := netip.ParseAddr(strings.TrimSpace(from))
			last, err2 := netip.ParseAddr(strings.TrimSpace(to))
			if set := netipx.IPRangeFrom(first, last); err1 == nil && err2 == nil && set.IsValid() {
				b.AddRange(set)
			}
			continue
		}
		if p, err := netip.ParsePrefix(s); err == nil {
			b.AddPrefix(p.Masked())
		}
	}
	set, err := b.IPSet()
	if err != nil {
		return nil // the builder has errors only for what was kept from it above
	}
	return set
}
