package bgp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/announcer/community"

	wire "github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"pgregory.net/rapid"
)

func drawPrefix(t *rapid.T) netip.Prefix {
	if rapid.Bool().Draw(t, "v4") {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 7).Draw(t, "host"))})
		return netip.PrefixFrom(a, rapid.SampledFrom([]int{0, 25, 32}).Draw(t, "bits")).Masked()
	}
	a := netip.MustParseAddr("2001:db8::").As16()
	a[15] = byte(rapid.IntRange(0, 7).Draw(t, "host"))
	return netip.PrefixFrom(netip.AddrFrom16(a), rapid.SampledFrom([]int{64, 127, 128}).Draw(t, "bits")).Masked()
}

func drawAttributes(t *rapid.T) Attributes {
	a := Attributes{LocalPref: rapid.SampledFrom([]uint32{0, 1, 200}).Draw(t, "pref"), GracefulShutdown: rapid.Bool().Draw(t, "shutdown")}
	for range rapid.IntRange(0, 2).Draw(t, "communities") {
		a.Communities = append(a.Communities, community.Standard(rapid.Uint32().Draw(t, "community")))
	}
	for range rapid.IntRange(0, 2).Draw(t, "large") {
		a.LargeCommunities = append(a.LargeCommunities, community.Large{Global: 1, Local1: rapid.Uint32().Draw(t, "local"), Local2: 3})
	}
	return a
}

// TestRIBOutConverges drives a ribOut by wishes, connections, losses and refreshes: whenever its queue is empty, the peer has
// exactly what is wanted, and it was never sent what it had, nor told to drop what it had not.
func TestRIBOutConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, attrs := newRIBOut(), newPool()
		wanted, has := map[netip.Prefix]string{}, map[netip.Prefix]string{}
		can := Families(0)
		refreshed := map[netip.Prefix]bool{}
		send := func(limit int) {
			b := r.next(limit)
			for _, p := range b.withdraw {
				if _, ok := has[p]; !ok {
					t.Fatalf("%s is withdrawn but was not sent", p)
				}
				delete(has, p)
			}
			for _, g := range b.announce {
				for _, p := range g.prefixes {
					if has[p] == g.attrs.key && !refreshed[p] {
						t.Fatalf("%s is sent again", p)
					}
					delete(refreshed, p)
					has[p] = g.attrs.key
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				p, a := drawPrefix(t), drawAttributes(t)
				delete(wanted, p)
				if rapid.Bool().Draw(t, "wanted") {
					r.put(p, a, attrs)
					wanted[p] = attributesKey(a)
				} else {
					r.drop(p)
				}
				if attrs.full() || rapid.Bool().Draw(t, "tidy") {
					used := map[*attributes]bool{}
					r.use(used)
					attrs.keep(used)
				}
			},
			"connect": func(t *rapid.T) {
				can = rapid.SampledFrom([]Families{IPv4, IPv6, IPv4 | IPv6}).Draw(t, "families")
				has, refreshed = map[netip.Prefix]string{}, map[netip.Prefix]bool{}
				r.connected(can)
			},
			"disconnect": func(*rapid.T) {
				can, has, refreshed = 0, map[netip.Prefix]string{}, map[netip.Prefix]bool{}
				r.disconnected()
			},
			"refresh": func(*rapid.T) {
				for p := range wanted {
					if familyOf(p) == IPv4 {
						refreshed[p] = true
					}
				}
				r.resend(IPv4)
			},
			"send": func(t *rapid.T) { send(rapid.IntRange(1, 5).Draw(t, "limit")) },
			"": func(t *rapid.T) {
				if r.wanted != len(wanted) || r.sent != len(has) {
					t.Fatalf("%d wanted and %d sent, want %d and %d", r.wanted, r.sent, len(wanted), len(has))
				}
				for p, e := range r.entries {
					if e.want != nil && attrs.known[e.want.key] != e.want {
						t.Fatalf("the attributes of %s were forgotten", p)
					}
				}
				if len(r.queue) > 0 {
					return
				}
				for p, a := range wanted {
					if familyOf(p)&can != 0 && has[p] != a {
						t.Fatalf("the peer lacks %s", p)
					}
				}
				for p := range has {
					if _, ok := wanted[p]; !ok {
						t.Fatalf("the peer still has %s", p)
					}
				}
			},
		})
	})
}

// decoded is what gobgp's codec makes of messages.
type decoded struct {
	reach, gone []netip.Prefix
	attrs       map[wire.BGPAttrType]string
}

func prefixesOf(list []wire.AddrPrefixInterface) []netip.Prefix {
	var out []netip.Prefix
	for _, n := range list {
		out = append(out, netip.MustParsePrefix(n.String()))
	}
	return out
}

func decode(t interface{ Fatalf(string, ...any) }, messages [][]byte) decoded {
	d := decoded{attrs: map[wire.BGPAttrType]string{}}
	for _, b := range messages {
		if len(b) > maxMessage {
			t.Fatalf("a message has %d bytes", len(b))
		}
		m, err := wire.ParseBGPMessage(b)
		if err != nil {
			t.Fatalf("gobgp does not take a message: %v", err)
		}
		u := m.Body.(*wire.BGPUpdate)
		for _, n := range u.NLRI {
			d.reach = append(d.reach, netip.MustParsePrefix(n.String()))
		}
		for _, n := range u.WithdrawnRoutes {
			d.gone = append(d.gone, netip.MustParsePrefix(n.String()))
		}
		last := wire.BGPAttrType(0)
		for _, a := range u.PathAttributes {
			if a.GetType() <= last {
				t.Fatalf("attribute %s comes after %s", a.GetType(), last)
			}
			last = a.GetType()
			switch a := a.(type) {
			case *wire.PathAttributeMpReachNLRI:
				d.reach = append(d.reach, prefixesOf(a.Value)...)
				d.attrs[a.GetType()] = a.Nexthop.String()
			case *wire.PathAttributeMpUnreachNLRI:
				d.gone = append(d.gone, prefixesOf(a.Value)...)
			default:
				d.attrs[a.GetType()] = a.String()
			}
		}
	}
	slices.SortFunc(d.reach, netip.Prefix.Compare)
	slices.SortFunc(d.gone, netip.Prefix.Compare)
	return d
}

// TestUpdatesSayWhatIsMeant lets another codec read what is written.
func TestUpdatesSayWhatIsMeant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := func(name string) []netip.Prefix {
			list := rapid.SliceOfDistinct(rapid.Custom(drawPrefix), func(p netip.Prefix) netip.Prefix { return p }).Draw(t, name)
			slices.SortFunc(list, netip.Prefix.Compare)
			return list
		}
		reach, gone, a := set("reach"), set("gone"), drawAttributes(t)
		tt := terms{
			asn: rapid.SampledFrom([]uint32{64512, 4200000000}).Draw(t, "asn"), internal: rapid.Bool().Draw(t, "internal"), fourOctet: true,
			hop4: rapid.SampledFrom([]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::2")}).Draw(t, "hop"),
			hop6: netip.MustParseAddr("2001:db8::3"),
		}
		messages, err := updates(tt, batch{withdraw: gone, announce: []group{{attrs: newPool().intern(a), prefixes: reach}}})
		if err != nil {
			t.Fatal(err)
		}
		d := decode(t, messages)
		if !slices.Equal(d.reach, reach) || !slices.Equal(d.gone, gone) {
			t.Fatalf("%v announced and %v withdrawn, want %v and %v", d.reach, d.gone, reach, gone)
		}
		if len(reach) == 0 {
			return
		}
		_, pref := d.attrs[wire.BGP_ATTR_TYPE_LOCAL_PREF]
		if pref != tt.internal {
			t.Fatalf("local preference to an internal peer %t: %t", tt.internal, pref)
		}
		if has := strings.Contains(d.attrs[wire.BGP_ATTR_TYPE_COMMUNITIES], "65535:0") || strings.Contains(d.attrs[wire.BGP_ATTR_TYPE_COMMUNITIES], "planned-shut"); has != a.GracefulShutdown && !slices.Contains(a.Communities, community.GracefulShutdown) {
			t.Fatalf("communities %q", d.attrs[wire.BGP_ATTR_TYPE_COMMUNITIES])
		}
		if path := d.attrs[wire.BGP_ATTR_TYPE_AS_PATH]; strings.Contains(path, fmt.Sprint(tt.asn)) == tt.internal {
			t.Fatalf("AS path %q", path)
		}
	})
}

// TestFullMessages packs more prefixes than a message holds.
func TestFullMessages(t *testing.T) {
	for name, hop := range map[string]netip.Addr{"IPv4": netip.MustParseAddr("192.0.2.1"), "IPv6 next hop": netip.MustParseAddr("2001:db8::1")} {
		t.Run(name, func(t *testing.T) {
			all := prefixes(5000)
			a := Attributes{Communities: make([]community.Standard, 255), LargeCommunities: make([]community.Large, 150)}
			tt := terms{asn: 1, hop4: hop}
			b := batch{withdraw: all, announce: []group{{attrs: newPool().intern(a), prefixes: all}}}
			messages, err := updates(tt, b)
			if err != nil {
				t.Fatal(err)
			}
			d := decode(t, messages)
			if !slices.Equal(d.reach, all) || !slices.Equal(d.gone, all) {
				t.Errorf("%d announced, %d withdrawn", len(d.reach), len(d.gone))
			}
		})
	}
}

// TestTwoOctetPeers is for routers that know no ASN above 65535 (RFC 6793 section 4.2.2).
func TestTwoOctetPeers(t *testing.T) {
	tt := terms{asn: 4200000000, hop4: netip.MustParseAddr("192.0.2.1")}
	messages, err := updates(tt, batch{announce: []group{{attrs: newPool().intern(Attributes{}), prefixes: prefixes(1)}}})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(messages[0], []byte{0x40, 2, 4, 2, 1, 0x5B, 0xA0}) {
		t.Errorf("no AS_PATH of 23456 in %x", messages[0])
	}
	as4 := append([]byte{17, 6, 2, 1}, binary.BigEndian.AppendUint32(nil, 4200000000)...)
	if !bytes.Contains(messages[0], as4) {
		t.Errorf("no AS4_PATH of 4200000000 in %x", messages[0])
	}
}

func TestNextHops(t *testing.T) {
	addr := netip.MustParseAddr
	beside := []netip.Addr{addr("192.0.2.1"), addr("fe80::1"), addr("2001:db8::1")}
	both := agreed{families: IPv4 | IPv6}
	both6 := both
	both6.hop6 = true
	for name, c := range map[string]struct {
		p          Peer
		a          agreed
		local      string
		beside     []netip.Addr
		hop4, hop6 string
	}{
		"own addresses":                 {a: both, local: "192.0.2.7", beside: beside, hop4: "192.0.2.7", hop6: "2001:db8::1"},
		"IPv4 not agreed on":            {a: agreed{families: IPv6}, local: "2001:db8::7", beside: beside, hop6: "2001:db8::7"},
		"no IPv6 address":               {a: both, local: "192.0.2.7", beside: beside[:2], hop4: "192.0.2.7"},
		"IPv6 session":                  {a: both6, local: "2001:db8::7", beside: beside, hop4: "192.0.2.1", hop6: "2001:db8::7"},
		"IPv6 session, no IPv4":         {a: both6, local: "2001:db8::7", beside: beside[1:], hop4: "2001:db8::7", hop6: "2001:db8::7"},
		"IPv6 session, no RFC 8950":     {a: both, local: "2001:db8::7", beside: beside[1:], hop6: "2001:db8::7"},
		"unnumbered":                    {p: Peer{Interface: "eth0"}, a: both6, local: "fe80::7%eth0", beside: beside, hop4: "fe80::7", hop6: "fe80::7"},
		"unnumbered, no RFC 8950":       {p: Peer{Interface: "eth0"}, a: both, local: "fe80::7%eth0", beside: beside, hop4: "192.0.2.1", hop6: "fe80::7"},
		"given":                         {p: Peer{NextHopIPv4: beside[0], NextHopIPv6: beside[2]}, a: both, local: "fe80::7%eth0", hop4: "192.0.2.1", hop6: "2001:db8::1"},
		"mapped addresses of one stack": {a: both, local: "::ffff:192.0.2.7", hop4: "192.0.2.7"},
	} {
		t.Run(name, func(t *testing.T) {
			text := func(a netip.Addr) string {
				if !a.IsValid() {
					return ""
				}
				return a.String()
			}
			hop4, hop6 := nextHops(c.p, c.a, addr(c.local), c.beside)
			if text(hop4) != c.hop4 || text(hop6) != c.hop6 {
				t.Errorf("next hops %q and %q, want %q and %q", text(hop4), text(hop6), c.hop4, c.hop6)
			}
		})
	}
}

func TestPeersThatCannotBeUsed(t *testing.T) {
	addr := netip.MustParseAddr
	good := Peer{MyASN: 1, PeerASN: 2, Address: addr("192.0.2.1"), RouterID: addr("192.0.2.9")}
	for want, change := range map[string]func(*Peer){
		"":                          func(*Peer) {},
		"our own ASN is missing":    func(p *Peer) { p.MyASN = 0 },
		"the peer's ASN is missing": func(p *Peer) { p.PeerASN = 0 },
		"the peer's ASN is both fixed and dynamic":                                          func(p *Peer) { p.Dynamic = External },
		"neither an address nor an interface is given":                                      func(p *Peer) { p.Address = netip.Addr{} },
		"both an address and an interface are given":                                        func(p *Peer) { p.Interface = "eth0" },
		"224.0.0.5 cannot be a peer's address":                                              func(p *Peer) { p.Address = addr("224.0.0.5") },
		"the link-local address fe80::1 needs an interface, as in fe80::1%eth0":             func(p *Peer) { p.Address = addr("fe80::1") },
		"the source address ::1 is of another family than the peer's 192.0.2.1":             func(p *Peer) { p.Source = addr("::1") },
		"there is no router ID; it must be an IPv4 address":                                 func(p *Peer) { p.RouterID = addr("::1") },
		"the hold time 2s is not possible: whole seconds, at least 3 s and at most 65535 s": func(p *Peer) { p.HoldTime = 2 * time.Second },
		"the connect time 1ms is less than 1 s":                                             func(p *Peer) { p.ConnectTime = time.Millisecond },
		"the password has 81 bytes, TCP-MD5 takes 80":                                       func(p *Peer) { p.Password = strings.Repeat("x", 81) },
		"TTL security and multihop exclude each other":                                      func(p *Peer) { p.TTLSecurity, p.MultiHop = 1, 2 },
		"the restart time 2h0m0s is not possible: whole seconds, at most 1h8m15s": func(p *Peer) {
			p.GracefulRestart = GracefulRestart{Enabled: true, RestartTime: 2 * time.Hour}
		},
		"the next hop ::1 is no IPv4 address":          func(p *Peer) { p.NextHopIPv4 = addr("::1") },
		"it is passive, but nothing listens for peers": func(p *Peer) { p.Passive = true },
	} {
		t.Run(want, func(t *testing.T) {
			p := good
			p.Name = "x"
			change(&p)
			e := New(Config{})
			err := e.SetPeers([]Peer{p})
			v := e.Sessions()[0]
			if want == "" {
				if err != nil || v.Refused {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || err.Error() != "peer x: "+want || !v.Refused || v.Why != "refused: "+want || v.State != Idle {
				t.Errorf("error %q, session %+v", err, v)
			}
		})
	}
}

func TestPeersThatCannotBeToldApart(t *testing.T) {
	p := Peer{Name: "a", MyASN: 1, PeerASN: 2, Address: netip.MustParseAddr("192.0.2.1"), RouterID: netip.MustParseAddr("192.0.2.9")}
	same, port, source, twice := p, p, p, p
	same.Name, same.PeerASN = "b", 3
	port.Name, port.Port = "c", 1179
	source.Name, source.Source = "d", netip.MustParseAddr("192.0.2.10")
	twice.PeerASN = 77
	e := New(Config{})
	err := e.SetPeers([]Peer{p, same, port, source, twice})
	if err == nil || !strings.HasPrefix(err.Error(), "peer b: it has the address, port, source and device of peer a") {
		t.Errorf("error %v", err)
	}
	var refused []string
	for _, v := range e.Sessions() {
		if v.Refused {
			refused = append(refused, v.Peer)
		}
	}
	if !slices.Equal(refused, []string{"b"}) || e.peers["a"].peer.PeerASN != 2 {
		t.Errorf("refused %v", refused)
	}
}

func TestRoutesThatCannotBeUsed(t *testing.T) {
	e := New(Config{RouterID: netip.MustParseAddr("192.0.2.9")})
	p := Peer{Name: "a", MyASN: 1, PeerASN: 2, Address: netip.MustParseAddr("192.0.2.1")}
	err := e.SetPeers([]Peer{p})
	for prefix, a := range map[netip.Prefix]Attributes{
		netip.MustParsePrefix("10.0.0.0/16"): {}, {}: {}, netip.MustParsePrefix("10.1.0.0/16"): {Communities: make([]community.Standard, 1000)},
	} {
		err = errors.Join(err, e.Set(prefix, map[string]Attributes{"a": a}))
	}
	if err == nil || !strings.Contains(err.Error(), "invalid Prefix: that is no prefix") || !strings.Contains(err.Error(), "its communities take 4000 bytes") {
		t.Errorf("error %v", err)
	}
	if v := e.Sessions()[0]; v.RoutesWanted != 1 {
		t.Errorf("%d routes wanted", v.RoutesWanted)
	}
}

// TestBackoff: the waits grow to the bound and never pass it, and begin anew after a session that lasted.
func TestBackoff(t *testing.T) {
	s := newSession(outside{clock: systemClock{}, timings: Timings{}.withDefaults()}, New(Config{}).cfg.Log, Peer{ConnectTime: 8 * time.Second}, false)
	for _, due := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second} {
		got := s.backoff(&fault{})
		if got > due || got < due*3/4 {
			t.Errorf("waits %s, due are %s", got, due)
		}
	}
	for _, due := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
		if got := s.backoff(&fault{kind: overLimit}); got > due || got < due*3/4 {
			t.Errorf("waits %s after a passed limit, due are %s", got, due)
		}
	}
	if got := s.backoff(&fault{kind: ours}); got != 0 {
		t.Errorf("waits %s after an end on purpose", got)
	}
}

func TestTTLs(t *testing.T) {
	for name, c := range map[string]struct {
		p          Peer
		out, least int
	}{
		"external":         {Peer{MyASN: 1, PeerASN: 2}, 1, 0},
		"internal":         {Peer{MyASN: 1, PeerASN: 1, MultiHop: 5}, 0, 0},
		"multihop":         {Peer{MyASN: 1, Dynamic: External, MultiHop: 5}, 5, 0},
		"one hop":          {Peer{MyASN: 1, PeerASN: 2, TTLSecurity: 1}, 255, 255},
		"local ASN as his": {Peer{MyASN: 1, LocalASN: 2, PeerASN: 2, TTLSecurity: 3}, 255, 253},
	} {
		if out, least := hopLimits(c.p); out != c.out || least != c.least {
			t.Errorf("%s: TTL %d, at least %d; want %d and %d", name, out, least, c.out, c.least)
		}
	}
}

func TestDefaults(t *testing.T) {
	for name, c := range map[string]struct{ p, want Peer }{
		"nothing is said":        {Peer{}, Peer{HoldTime: 90 * time.Second, KeepaliveTime: 30 * time.Second, ConnectTime: 10 * time.Second}},
		"a hold time":            {Peer{HoldTime: 9 * time.Second}, Peer{HoldTime: 9 * time.Second, KeepaliveTime: 3 * time.Second, ConnectTime: 10 * time.Second}},
		"keepalives too far off": {Peer{HoldTime: 9 * time.Second, KeepaliveTime: 4 * time.Second}, Peer{HoldTime: 9 * time.Second, KeepaliveTime: 3 * time.Second, ConnectTime: 10 * time.Second}},
		"no keepalives":          {Peer{HoldTime: -1, ConnectTime: time.Second}, Peer{ConnectTime: time.Second}},
		"graceful restart": {
			Peer{GracefulRestart: GracefulRestart{Enabled: true}},
			Peer{
				HoldTime: 90 * time.Second, KeepaliveTime: 30 * time.Second, ConnectTime: 10 * time.Second,
				GracefulRestart: GracefulRestart{Enabled: true, RestartTime: 2 * time.Minute},
			},
		},
	} {
		c.want.Port, c.want.Families, c.want.PrefixLimit = 179, IPv6, 10_000
		if got := c.p.normal(netip.Addr{}); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestOpenMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Peer{
			Name: "x", MyASN: rapid.Uint32Min(1).Draw(t, "asn"), PeerASN: 1, Address: netip.MustParseAddr("192.0.2.1"),
			HoldTime: time.Duration(rapid.IntRange(3, 65535).Draw(t, "hold")) * time.Second,
			RouterID: netip.AddrFrom4([4]byte{1, 2, 3, byte(rapid.IntRange(1, 255).Draw(t, "id"))}),
			Families: rapid.SampledFrom([]Families{IPv4, IPv6, IPv4 | IPv6}).Draw(t, "families"),
		}
		p.GracefulRestart.Enabled = rapid.Bool().Draw(t, "graceful")
		p = p.normal(netip.Addr{})
		b, err := openMessage(p, true)
		if err != nil {
			t.Fatal(err)
		}
		o, f := parseOpen(b[headerLen:])
		if f != nil {
			t.Fatal(f)
		}
		want := open{
			asn: p.MyASN, hold: p.HoldTime, routerID: p.RouterID, families: p.Families, fourOctet: true,
			hop6: p.Families&IPv4 != 0, restart: p.GracefulRestart.Enabled,
		}
		if o != want {
			t.Fatalf("%+v, want %+v", o, want)
		}
	})
}

// TestOpenLengths: RFC 9072 OPENs, and what a peer without capabilities means.
func TestOpenLengths(t *testing.T) {
	head := []byte{4, 0xFC, 1, 0, 90, 192, 0, 2, 250}
	long := slices.Concat(head, []byte{255, 255, 0, 9, 2, 0, 6, 65, 4, 0, 1, 0, 2})
	if o, f := parseOpen(long); f != nil || o.asn != 65538 || !o.fourOctet {
		t.Errorf("extended parameters: %+v, %v", o, f)
	}
	if o, f := parseOpen(slices.Concat(head, []byte{0})); f != nil || o.families != IPv4 || o.asn != 64513 {
		t.Errorf("no parameters: %+v, %v", o, f)
	}
	for _, bad := range [][]byte{{5}, {3, 2, 9, 1}, {2, 2, 5}, {4, 2, 2, 65, 9}} {
		if o, f := parseOpen(slices.Concat(head, bad)); f == nil {
			t.Errorf("%v is taken as %+v", bad, o)
		}
	}
}

func FuzzParseOpen(f *testing.F) {
	for _, fam := range []Families{IPv4, IPv4 | IPv6} {
		b, err := openMessage(Peer{MyASN: 4200000000, RouterID: netip.MustParseAddr("192.0.2.1"), Families: fam, GracefulRestart: GracefulRestart{Enabled: true}}, true)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[headerLen:])
	}
	f.Add([]byte{4, 0xFC, 1, 0, 90, 192, 0, 2, 250, 255, 255, 0, 9, 2, 0, 6, 65, 4, 0, 1, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, fault := parseOpen(b)
		if fault == nil && (!o.routerID.Is4() || o.noCaps && o.families != IPv4) {
			t.Errorf("%x is taken as %+v", b, o)
		}
		if fault != nil && (!fault.send || fault.words == "") {
			t.Errorf("%x: the fault %+v tells nobody", b, fault)
		}
	})
}

func FuzzUpdate(f *testing.F) {
	tt := terms{asn: 1, hop4: netip.MustParseAddr("192.0.2.1"), hop6: netip.MustParseAddr("2001:db8::1")}
	all := append(prefixes(3), netip.MustParsePrefix("2001:db8::/64"))
	messages, err := updates(tt, batch{withdraw: all, announce: []group{{attrs: newPool().intern(Attributes{}), prefixes: all}}})
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range messages {
		f.Add(m[headerLen:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newTally()
		fault := c.update(b, 3)
		if len(c.seen) > 4 {
			t.Errorf("%d prefixes are kept with a limit of 3", len(c.seen))
		}
		if fault != nil && fault.kind != overLimit && fault.code != wire.BGP_ERROR_UPDATE_MESSAGE_ERROR {
			t.Errorf("fault %+v", fault)
		}
		u := &wire.BGPUpdate{}
		if len(b)+headerLen <= maxMessage && fault == nil && safely(func() error { return u.DecodeFromBytes(b) }) == nil && len(u.PathAttributes) == 0 &&
			len(c.seen) != len(distinct(u.NLRI)) {
			t.Errorf("%d prefixes counted in %x, gobgp sees %d", len(c.seen), b, len(distinct(u.NLRI)))
		}
	})
}

// safely guards against gobgp's own panics on foreign bytes.
func safely(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}

func distinct(list []*wire.IPAddrPrefix) map[string]bool {
	out := map[string]bool{}
	for _, p := range list {
		b, _ := p.Serialize()
		out[string(b)] = true
	}
	return out
}

func FuzzReader(f *testing.F) {
	f.Add(append(keepaliveMessage(), endOfRIB(IPv6)...))
	f.Add(append(header(9, 0), 1, 2, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &conversation{s: newSession(outside{clock: systemClock{}}, New(Config{}).cfg.Log, Peer{}, false)}
		r, tally := &reader{r: bytes.NewReader(b)}, newTally()
		for taken := 0; ; taken++ {
			in := c.hear(r, tally)
			if in.fault != nil || in.err != nil {
				break
			}
			if taken > len(b)/headerLen {
				t.Fatalf("%d messages in %d bytes", taken, len(b))
			}
		}
	})
}

func FuzzNotified(f *testing.F) {
	f.Add([]byte{6, 2, 3, 'a', 'b', 'c'})
	f.Add([]byte{2, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		got := notified(b)
		if got.send || got.words == "" || strings.ContainsAny(got.words, "\n\x1b") {
			t.Errorf("%x: %+v", b, got)
		}
	})
}

func TestBesides(t *testing.T) {
	all, err := besides(netip.MustParseAddr("127.0.0.77"))
	if err != nil || !slices.Contains(all, netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("%v, %v", all, err)
	}
	if all, err := besides(netip.MustParseAddr("203.0.113.77")); err != nil || all != nil {
		t.Errorf("a foreign address is beside %v, %v", all, err)
	}
}
