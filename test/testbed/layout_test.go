package testbed

import (
	"net/netip"
	"strings"
	"testing"
)

func TestHostAddresses(t *testing.T) {
	seen := map[netip.Addr]string{}
	v4, v6 := netip.MustParsePrefix(SegmentV4), netip.MustParsePrefix(SegmentV6)
	firstVIP4, firstVIP6 := netip.MustParseAddr(FirstVIPv4), netip.MustParseAddr(FirstVIPv6)
	for _, h := range hostsOf(MaxNodes) {
		a4, a6 := netip.MustParseAddr(h.v4()), netip.MustParseAddr(h.v6())
		if !v4.Contains(a4) || !v6.Contains(a6) {
			t.Errorf("%s: %s, %s are not on the segment", h.Name, a4, a6)
		}
		if !a4.Less(firstVIP4) || !a6.Less(firstVIP6) {
			t.Errorf("%s: %s, %s are among the free addresses", h.Name, a4, a6)
		}
		for _, a := range []netip.Addr{a4, a6} {
			if other, taken := seen[a]; taken {
				t.Errorf("%s and %s both have %s", h.Name, other, a)
			}
			seen[a] = h.Name
		}
	}
}

func TestPodRanges(t *testing.T) {
	all4, all6 := netip.MustParsePrefix(PodCIDRv4), netip.MustParsePrefix(PodCIDRv6)
	for i := 1; i <= MaxNodes; i++ {
		p4, p6 := netip.MustParsePrefix(podCIDRv4(i)), netip.MustParsePrefix(podCIDRv6(i))
		if !all4.Overlaps(p4) || !all6.Overlaps(p6) || p4 != p4.Masked() || p6 != p6.Masked() {
			t.Errorf("node %d: %s, %s", i, p4, p6)
		}
	}
}

func TestLayoutsOfClustersAreApart(t *testing.T) {
	a, b := newLayout("/r", "a"), newLayout("/r", "a-b")
	if strings.HasPrefix(b.nsPrefix(), a.nsPrefix()) {
		t.Error("removing the namespaces of a would remove those of a-b")
	}
	if inGroups("0::"+b.hostCgroup("node1")+"\n", []string{a.cgroup()}) {
		t.Error("ending the processes of a would end those of a-b")
	}
	if strings.HasPrefix(b.cniNetwork()+"-x", a.cniNetwork()+"-") {
		t.Error("removing the CNI results of a would remove those of a-b")
	}
}

func TestSocketPathsFit(t *testing.T) {
	l := newLayout(runBase(func(string) string { return "" }), strings.Repeat("a", 20))
	if path := l.socket(NodeName(MaxNodes)) + ".ttrpc"; len(path) > 107 {
		t.Errorf("%s has %d bytes, a unix socket's path may have 107", path, len(path))
	}
}
