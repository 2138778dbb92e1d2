package testbed

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Segment is a further layer-2 segment of a cluster, which hosts can be plugged into while they run. Down removes it too.
type Segment struct {
	cluster *Cluster
	bridge  string
}

// maxLinkName is the kernel's limit for names of interfaces.
const maxLinkName = 15

// AddSegment makes a segment with no hosts on it. Names are short, for they become part of the names of interfaces.
func (c *Cluster) AddSegment(name string) (*Segment, error) {
	s := &Segment{c, "br-" + name}
	if len(s.bridge) > maxLinkName {
		return nil, fmt.Errorf("make a segment: the name %s is too long", name)
	}
	if err := inNamespace(c.layout.nsPath(lan), func() error { return addBridge(s.bridge) }); err != nil {
		return nil, fmt.Errorf("make the segment %s: %w", name, err)
	}
	return s, nil
}

// Plug gives the host an interface on the segment with these addresses (with their prefix lengths), and sets it up.
func (s *Segment) Plug(host, iface string, addresses ...string) error {
	h, err := s.cluster.host(host)
	if err != nil {
		return err
	}
	if len(s.port(host, iface)) > maxLinkName {
		return fmt.Errorf("plug %s of %s: the two names are too long together", iface, host)
	}
	if err := join(s.cluster.layout, h, s.bridge, s.port(host, iface), iface); err != nil {
		return fmt.Errorf("plug %s of %s: %w", iface, host, err)
	}
	return inNamespace(s.cluster.layout.nsPath(host), func() error {
		link, err := netlink.LinkByName(iface)
		if err != nil {
			return fmt.Errorf("find %s of %s: %w", iface, host, err)
		}
		for _, a := range addresses {
			if err := addAddress(link, a); err != nil {
				return fmt.Errorf("configure %s of %s: %w", iface, host, err)
			}
		}
		return setUp(iface)
	})
}

// Unplug takes the host's interface away.
func (s *Segment) Unplug(host, iface string) error {
	return s.inLAN(func() error { return removeLink(s.port(host, iface)) })
}

// Remove takes all interfaces on the segment away, and the segment.
func (s *Segment) Remove() error {
	return s.inLAN(func() error {
		bridge, err := netlink.LinkByName(s.bridge)
		if err != nil {
			return fmt.Errorf("find the segment's bridge %s: %w", s.bridge, err)
		}
		links, err := netlink.LinkList()
		if err != nil {
			return fmt.Errorf("list the ports of %s: %w", s.bridge, err)
		}
		var errs []error
		for _, l := range links {
			if l.Attrs().MasterIndex == bridge.Attrs().Index {
				errs = append(errs, removeLink(l.Attrs().Name))
			}
		}
		return errors.Join(append(errs, removeLink(s.bridge))...)
	})
}

func (s *Segment) port(host, iface string) string { return iface + "-" + host }

func (s *Segment) inLAN(f func() error) error {
	return inNamespace(s.cluster.layout.nsPath(lan), f)
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find the interface %s: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("remove the interface %s: %w", name, err)
	}
	return nil
}

// join makes an interface of the host and its port on a bridge, and sets the port up.
func join(l layout, h host, bridge, port, iface string) error {
	to, err := netns.GetFromPath(l.nsPath(h.Name))
	if err != nil {
		return err
	}
	defer to.Close()
	return inNamespace(l.nsPath(lan), func() error {
		master, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		veth := &netlink.Veth{LinkAttrs: linkNamed(port), PeerName: iface, PeerNamespace: netlink.NsFd(to)}
		veth.MasterIndex = master.Attrs().Index
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		return setUp(veth.Name)
	})
}
