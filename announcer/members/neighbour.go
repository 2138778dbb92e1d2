package members

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// forgetUnresolved takes a neighbour that did not answer out of the kernel's
// table, so that the next packet to it asks for its hardware address at once. The
// kernel by itself asks once a second, and a node that was cut off would notice
// that much later that it is back. It needs CAP_NET_ADMIN, and does nothing
// without.
func forgetUnresolved(a netip.Addr) {
	family := netlink.FAMILY_V6
	if a.Is4() {
		family = netlink.FAMILY_V4
	}
	known, err := netlink.NeighList(0, family)
	if err != nil {
		return
	}
	for i := range known {
		n := &known[i]
		ip, ok := netip.AddrFromSlice(n.IP)
		if ok && ip.Unmap() == a.WithZone("") && n.State&(netlink.NUD_INCOMPLETE|netlink.NUD_FAILED) != 0 {
			_ = netlink.NeighDel(n)
		}
	}
}
