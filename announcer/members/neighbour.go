package members

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// forgetNeighbour takes a neighbour that does not answer out of the kernel's
// table, so that the next packet to it asks for its hardware address at once.
// Where the address is not known the kernel by itself asks once a second, and a
// node that was cut off would notice that much later that it is back. Where it is
// known the packet would go out without a question, and the answer would wait for
// the other side's kernel, which asks once a second too; a question tells that
// one our own address. What somebody else put into the table stays. It needs
// CAP_NET_ADMIN, and does nothing without.
func forgetNeighbour(a netip.Addr) {
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
		if ok && ip.Unmap() == a.WithZone("") && learned(n) {
			_ = netlink.NeighDel(n)
		}
	}
}

// learned says whether the kernel found a neighbour out by itself.
func learned(n *netlink.Neigh) bool {
	return n.State&(netlink.NUD_PERMANENT|netlink.NUD_NOARP) == 0 && n.Flags&netlink.NTF_EXT_LEARNED == 0
}
