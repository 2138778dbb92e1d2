package bgp

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/announcer/community"
)

func TestRoutesReachARouter(t *testing.T) {
	r := newRouter(t, "127.0.0.2", 64513)
	r.knows("127.0.1.1", 64512, nil)
	s := newSpeaker(t, Config{})
	peers := []Peer{to(r, "tor", "127.0.1.1", func(p *Peer) { p.Families = IPv4 | IPv6 })}
	list := routes(prefixes(3), Attributes{Communities: []community.Standard{64512<<16 | 7, noExport}, LargeCommunities: []community.Large{{Global: 64512, Local1: 1, Local2: 2}}}, "tor")
	list = append(list, route{Prefix: netip.MustParsePrefix("2001:db8::1/128"), Peers: map[string]Attributes{"tor": {}}})
	s.sync(peers, list)
	s.awaitUp("tor")
	eventually(t, "3 IPv4 routes and 1 IPv6 route", func() bool { return r.count(familyV4) == 3 && r.count(familyV6) == 1 })
	path := r.learned(familyV4)["10.0.0.1/32"]
	text := ""
	for _, a := range path.GetPattrs() {
		text += a.String() + "\n"
	}
	for _, want := range []string{"127.0.1.1", "numbers:64512", "communities:4227858439", "communities:4294967041", "local_data1:1"} {
		if !strings.Contains(strings.ReplaceAll(text, " ", ""), strings.ReplaceAll(want, " ", "")) {
			t.Errorf("the router does not see %q in\n%s", want, text)
		}
	}
	s.sync(peers, list[:1])
	eventually(t, "all but one route withdrawn", func() bool { return r.count(familyV4) == 1 && r.count(familyV6) == 0 })
	v := s.session("tor")
	if v.RoutesSent != 1 || v.RoutesWanted != 1 || v.PeerASN != 64513 || v.PeerRouterID != netip.MustParseAddr("192.0.2.250") {
		t.Errorf("session: %+v", v)
	}
}
