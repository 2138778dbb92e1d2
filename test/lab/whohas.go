package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// listenFor is how long WhoHas listens for answers.
const listenFor = 300 * time.Millisecond

// WhoHas asks the segment of an interface who has an address, by ARP or NDP, and
// returns the hardware addresses of all that answer, sorted. It must be called
// in the network namespace of the asking host.
func WhoHas(ctx context.Context, iface string, a netip.Addr) ([]string, error) {
	ifi, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, fmt.Errorf("finding interface %s: %w", iface, err)
	}
	deadline := time.Now().Add(listenFor)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	macs := map[string]bool{}
	if a.Is4() {
		err = askARP(ifi, a, deadline, macs)
	} else {
		err = askNDP(ifi, a, deadline, macs)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, fmt.Errorf("asking who has %s: %w", a, err)
	}
	var all []string
	for mac := range macs {
		all = append(all, mac)
	}
	slices.Sort(all)
	return all, nil
}

func askARP(ifi *net.Interface, a netip.Addr, deadline time.Time, macs map[string]bool) error {
	c, err := arp.Dial(ifi)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	if err := c.Request(a); err != nil {
		return err
	}
	for {
		p, _, err := c.Read()
		if err != nil {
			return err
		}
		if p.Operation == arp.OperationReply && p.SenderIP == a {
			macs[p.SenderHardwareAddr.String()] = true
		}
	}
}

func askNDP(ifi *net.Interface, a netip.Addr, deadline time.Time, macs map[string]bool) error {
	c, _, err := ndp.Listen(ifi, ndp.LinkLocal)
	if err != nil {
		return err
	}
	defer c.Close()
	group, err := ndp.SolicitedNodeMulticast(a)
	if err != nil {
		return err
	}
	ask := &ndp.NeighborSolicitation{TargetAddress: a, Options: []ndp.Option{
		&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: ifi.HardwareAddr},
	}}
	if err := c.WriteTo(ask, nil, group); err != nil {
		return err
	}
	if err := c.SetReadDeadline(deadline); err != nil {
		return err
	}
	for {
		m, _, _, err := c.ReadFrom()
		if err != nil {
			return err
		}
		na, ok := m.(*ndp.NeighborAdvertisement)
		if !ok || na.TargetAddress != a {
			continue
		}
		for _, o := range na.Options {
			if l, ok := o.(*ndp.LinkLayerAddress); ok && l.Direction == ndp.Target {
				macs[l.Addr.String()] = true
			}
		}
	}
}
