package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/announcer/bgp/defaults"
)

const (
	minHoldTime    = 3 * time.Second
	maxRestartTime = 4095 * time.Second
	maxLongLived   = (1<<24 - 1) * time.Second
	maxPassword    = 80
)

// sessionASN is the ASN that the peer knows us by.
func (p Peer) sessionASN() uint32 {
	if p.LocalASN != 0 {
		return p.LocalASN
	}
	return p.MyASN
}

// external tells whether the peer is known to be, or must be, in another AS than we.
func (p Peer) external() bool {
	if p.Dynamic == Fixed {
		return p.PeerASN != p.sessionASN()
	}
	return p.Dynamic == External
}

// peerWords names the peer for people.
func (p Peer) peerWords() string {
	if p.Interface != "" {
		return "interface " + p.Interface
	}
	return p.Address.String()
}

// link is the name of the interface that the peer is known by; empty if it is known by an address that needs none.
func (p Peer) link() string {
	if p.Interface != "" {
		return p.Interface
	}
	return p.Address.Zone()
}

// normal fills in the defaults. A HoldTime of zero afterwards means none.
func (p Peer) normal(routerID netip.Addr) Peer {
	if p.Port == 0 {
		p.Port = defaults.Port
	}
	switch {
	case p.HoldTime == 0:
		p.HoldTime = defaults.HoldTime
	case p.HoldTime < 0:
		p.HoldTime = 0
	}
	if p.KeepaliveTime <= 0 || p.KeepaliveTime > p.HoldTime/defaults.Keepalives {
		p.KeepaliveTime = p.HoldTime / defaults.Keepalives
	}
	if p.ConnectTime == 0 {
		p.ConnectTime = defaults.ConnectTime
	}
	if !p.RouterID.IsValid() {
		p.RouterID = routerID
	}
	if p.GracefulRestart.Enabled && p.GracefulRestart.RestartTime == 0 {
		p.GracefulRestart.RestartTime = defaults.RestartTime
	}
	p.Address, p.Source = p.Address.Unmap(), p.Source.Unmap()
	if p.Families == 0 {
		switch {
		case p.Interface != "":
			p.Families = IPv4 | IPv6
		case p.Address.Is4():
			p.Families = IPv4
		default:
			p.Families = IPv6
		}
	}
	if p.PrefixLimit == 0 {
		p.PrefixLimit = defaults.PrefixLimit
	}
	return p
}

// check says what is wrong with a peer that normal has been called on.
func (p Peer) check() error {
	return errors.Join(p.checkASNs(), p.checkAddresses(), p.checkTimes(), p.checkTransport())
}

func (p Peer) checkASNs() error {
	switch {
	case p.MyASN == 0:
		return errors.New("our own ASN is missing")
	case p.Dynamic == Fixed && p.PeerASN == 0:
		return errors.New("the peer's ASN is missing")
	case p.Dynamic != Fixed && p.PeerASN != 0:
		return errors.New("the peer's ASN is both fixed and dynamic")
	case p.Dynamic < Fixed || p.Dynamic > External:
		return fmt.Errorf("%d is no kind of dynamic ASN", p.Dynamic)
	}
	return nil
}

func (p Peer) checkAddresses() error {
	var errs []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	add(!p.Address.IsValid() && p.Interface == "", "neither an address nor an interface is given")
	add(p.Address.IsValid() && p.Interface != "", "both an address and an interface are given")
	add(p.Address.IsValid() && (p.Address.IsUnspecified() || p.Address.IsMulticast()), "%s cannot be a peer's address", p.Address)
	add(p.Address.IsLinkLocalUnicast() && p.Address.Is6() && p.Address.Zone() == "", "the link-local address %s needs an interface, as in %s%%eth0",
		p.Address, p.Address)
	add(p.Interface != "" && p.Passive, "an unnumbered peer cannot be passive")
	add(p.Source.IsValid() && p.Address.IsValid() && p.Source.Is4() != p.Address.Is4(), "the source address %s is of another family than the peer's %s",
		p.Source, p.Address)
	add(p.Source.IsValid() && p.Interface != "" && !p.Source.Is6(), "the source address %s of an unnumbered peer must be an IPv6 one", p.Source)
	add(!p.RouterID.Is4() || p.RouterID.IsUnspecified(), "there is no router ID; it must be an IPv4 address")
	add(p.Families&^(IPv4|IPv6) != 0, "there are unknown address families")
	add(p.NextHopIPv4.IsValid() && !p.NextHopIPv4.Is4(), "the next hop %s is no IPv4 address", p.NextHopIPv4)
	add(p.NextHopIPv6.IsValid() && !p.NextHopIPv6.Is6(), "the next hop %s is no IPv6 address", p.NextHopIPv6)
	return errors.Join(errs...)
}

func (p Peer) checkTimes() error {
	gr := p.GracefulRestart
	switch {
	case p.HoldTime != 0 && p.HoldTime < minHoldTime, p.HoldTime > 65535*time.Second, p.HoldTime%time.Second != 0:
		return fmt.Errorf("the hold time %s is not possible: whole seconds, at least 3 s and at most 65535 s", p.HoldTime)
	case p.ConnectTime < time.Second:
		return fmt.Errorf("the connect time %s is less than 1 s", p.ConnectTime)
	case !gr.Enabled:
		return nil
	case gr.RestartTime < time.Second, gr.RestartTime > maxRestartTime, gr.RestartTime%time.Second != 0:
		return fmt.Errorf("the restart time %s is not possible: whole seconds, at most %s", gr.RestartTime, maxRestartTime)
	case gr.LongLived < 0, gr.LongLived > maxLongLived, gr.LongLived%time.Second != 0:
		return fmt.Errorf("the long-lived restart time %s is not possible: whole seconds, at most %s", gr.LongLived, maxLongLived)
	}
	return nil
}

func (p Peer) checkTransport() error {
	switch {
	case len(p.Password) > maxPassword:
		return fmt.Errorf("the password has %d bytes, TCP-MD5 takes %d", len(p.Password), maxPassword)
	case p.TTLSecurity != 0 && p.MultiHop != 0:
		return errors.New("TTL security and multihop exclude each other")
	}
	return nil
}

// endpoint is what two sessions must not share: the far side could not tell them apart.
type endpoint struct {
	addr, source netip.Addr
	iface, dev   string
	port         uint16
}

func (p Peer) endpoint() endpoint {
	port := p.Port
	if p.Passive {
		port = 0
	}
	return endpoint{p.Address, p.Source, p.Interface, p.Device, port}
}

// lasting is the peer without what may change while its session goes on.
func (p Peer) lasting() Peer {
	p.Hold, p.ConnectTime, p.PrefixLimit = false, 0, 0
	return p
}
