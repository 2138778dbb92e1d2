package l2

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkInfo is what the kernel says about an interface, as far as it matters here.
type linkInfo struct {
	index    int
	name     string
	kind     string // "veth", "bridge", "bond", "device"
	ethernet bool
	hw       mac
	hasHW    bool
	flags    uint32
	master   int
	excluded bool
}

func linkInfoOf(l netlink.Link, exclude *regexp.Regexp) linkInfo {
	a := l.Attrs()
	i := linkInfo{
		index: a.Index, name: a.Name, kind: l.Type(), ethernet: a.EncapType == "ether",
		flags: a.RawFlags, master: a.MasterIndex, excluded: exclude.MatchString(a.Name),
	}
	i.hw, i.hasHW = macOf(a.HardwareAddr)
	return i
}

// linkTable follows the kernel's interfaces and their IPv6 addresses.
type linkTable struct {
	exclude *regexp.Regexp
	links   map[int]linkInfo
	addrs   map[int]map[netip.Addr]int // to flags
	// chosen are the link-local addresses in use; one that is still good is kept.
	chosen map[int]netip.Addr
}

// list reads everything anew.
func (t *linkTable) list() error {
	links, err := retryDump(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("listing interfaces: %w", err)
	}
	addrs, err := retryDump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V6) })
	if err != nil {
		return fmt.Errorf("listing IPv6 addresses: %w", err)
	}
	t.links, t.addrs = map[int]linkInfo{}, map[int]map[netip.Addr]int{}
	if t.chosen == nil {
		t.chosen = map[int]netip.Addr{}
	}
	for _, l := range links {
		t.links[l.Attrs().Index] = linkInfoOf(l, t.exclude)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			t.setAddr(a.LinkIndex, ip, a.Flags, true)
		}
	}
	return nil
}

// retryDump repeats a listing that the kernel says changed while it was read.
func retryDump[T any](list func() ([]T, error)) (all []T, err error) {
	for range 10 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return all, nil // as good as it gets; changes since are told by the subscription
}

func (t *linkTable) setAddr(index int, ip netip.Addr, flags int, present bool) {
	if !ip.Is6() || ip.Is4In6() || !ip.IsLinkLocalUnicast() {
		return
	}
	if t.addrs[index] == nil {
		t.addrs[index] = map[netip.Addr]int{}
	}
	if present {
		t.addrs[index][ip] = flags
	} else {
		delete(t.addrs[index], ip)
	}
}

func (t *linkTable) linkUpdate(u netlink.LinkUpdate) {
	if u.Family == unix.AF_BRIDGE {
		return // a bridge speaks of its port; a DELLINK of this kind does not remove the interface
	}
	if u.Header.Type == unix.RTM_NEWLINK && u.Attrs().MTU == 0 {
		return // a wireless event, which carries little more than a name
	}
	index := int(u.Index)
	if u.Header.Type == unix.RTM_DELLINK {
		delete(t.links, index)
		delete(t.addrs, index)
		delete(t.chosen, index)
		return
	}
	t.links[index] = linkInfoOf(u.Link, t.exclude)
}

func (t *linkTable) addrUpdate(u netlink.AddrUpdate) {
	if ip, ok := netip.AddrFromSlice(u.LinkAddress.IP); ok {
		t.setAddr(u.LinkIndex, ip, u.Flags, u.NewAddr)
	}
}

// linkLocal is an address that advertisements can come from.
func (t *linkTable) linkLocal(index int) (netip.Addr, string) {
	const bad = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	usable := func(flags int) bool {
		return flags&bad == 0 || flags&unix.IFA_F_OPTIMISTIC != 0 && flags&unix.IFA_F_DADFAILED == 0
	}
	have := t.addrs[index]
	if flags, ok := have[t.chosen[index]]; ok && usable(flags) {
		return t.chosen[index], ""
	}
	var good []netip.Addr
	for a, flags := range have {
		if usable(flags) {
			good = append(good, a)
		}
	}
	if len(good) > 0 {
		t.chosen[index] = slices.MinFunc(good, netip.Addr.Compare)
		return t.chosen[index], ""
	}
	delete(t.chosen, index)
	if len(have) > 0 {
		return netip.Addr{}, "no NDP: its IPv6 link-local address has not passed duplicate address detection"
	}
	return netip.Addr{}, "no NDP: it has no IPv6 link-local address"
}

// candidate is an interface with what it is good for.
type candidate struct {
	usable
	linkLocal netip.Addr
	reason    string
}

// candidates judges all interfaces, ordered by index.
func (t *linkTable) candidates() []candidate {
	all := make([]candidate, 0, len(t.links))
	for _, l := range t.links {
		c := candidate{usable: usable{index: l.index, name: l.name, hw: l.hw}}
		if c.reason = l.unsuitable(t.links[l.master].kind); c.reason == "" {
			c.judge(l, t)
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b candidate) int { return a.index - b.index })
	return all
}

func (c *candidate) judge(l linkInfo, t *linkTable) {
	var reasons []string
	if c.arp = l.flags&unix.IFF_BROADCAST != 0; !c.arp {
		reasons = append(reasons, "no ARP: it cannot broadcast")
	}
	if l.flags&unix.IFF_MULTICAST == 0 {
		reasons = append(reasons, "no NDP: it cannot multicast")
	} else {
		var why string
		if c.linkLocal, why = t.linkLocal(l.index); why != "" {
			reasons = append(reasons, why)
		}
		c.ndp = c.linkLocal.IsValid()
	}
	c.reason = strings.Join(reasons, "; ")
}

// unsuitable says why an interface is of no use at all, or nothing.
func (l linkInfo) unsuitable(masterKind string) string {
	switch {
	case l.excluded:
		return "its name is on the exclusion list"
	case l.flags&unix.IFF_LOOPBACK != 0:
		return "it is a loopback interface"
	case slices.Contains([]string{"bridge", "bond", "team", "openvswitch"}, masterKind):
		return "it belongs to a " + masterKind + ", which is used instead"
	case !l.ethernet || !l.hasHW:
		return "it has no Ethernet address"
	case l.flags&unix.IFF_NOARP != 0:
		return "it does not do neighbour resolution (NOARP)"
	case l.flags&unix.IFF_UP == 0:
		return "it is down"
	case l.flags&unix.IFF_RUNNING == 0:
		return "it has no carrier"
	}
	return ""
}
