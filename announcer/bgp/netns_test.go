package bgp

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/announcer/community"

	"github.com/vishvananda/netlink"

	"github.com/fairlead/fairlead/test/routers"
)

const (
	inside  = "FAIRLEAD_TEST_IN_NAMESPACE"
	spkLink = "spk0"
	rtrLink = "rtr0"
)

// namespaced runs the test that calls it a second time, in a process of its own in a network namespace of its own, and
// returns true there; the sockets of an Engine are the process's.
func namespaced(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), inside+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := c.CombinedOutput()
	switch {
	case err != nil && len(out) == 0:
		t.Skipf("cannot make a network namespace: %v", err)
	case err != nil:
		t.Fatalf("in the namespace: %v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skip(string(out))
	}
	return false
}

// site is a namespace for a router, at the other end of a link from ours.
type site struct {
	*testing.T
	pid  int
	frr  *routers.FRR
	bird *routers.BIRD
}

// newSite makes the link spk0 to rtr0 with 10.9.0.1 and .2, fd00:9::1 and ::2, and link-local addresses.
func newSite(t *testing.T) *site {
	t.Helper()
	holder := exec.Command("sleep", "1000")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	must(t, holder.Start())
	t.Cleanup(func() { _ = holder.Process.Kill(); _ = holder.Wait() })
	s := &site{T: t, pid: holder.Process.Pid}
	// An address made up from the router's advertisements would be chosen as the source, which the router does not know.
	for _, off := range []string{"accept_dad", "accept_ra"} {
		must(t, os.WriteFile("/proc/sys/net/ipv6/conf/default/"+off, []byte("0"), 0o644))
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = spkLink
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: rtrLink}))
	far, err := netlink.LinkByName(rtrLink)
	must(t, err)
	must(t, netlink.LinkSetNsPid(far, s.pid))
	for _, name := range []string{"lo", spkLink} {
		l, err := netlink.LinkByName(name)
		must(t, err)
		must(t, netlink.LinkSetUp(l))
	}
	s.sh("echo 0 >/proc/sys/net/ipv6/conf/rtr0/accept_dad; ip link set lo up; ip link set rtr0 up; ip addr add 10.9.0.2/24 dev rtr0; ip addr add fd00:9::2/64 dev rtr0 nodad")
	run(t, "ip", "addr", "add", "10.9.0.1/24", "dev", spkLink)
	run(t, "ip", "addr", "add", "fd00:9::1/64", "dev", spkLink, "nodad")
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// sh runs a script in the router's namespace.
func (s *site) sh(script string) string {
	s.Helper()
	return run(s.T, "nsenter", "-t", fmt.Sprint(s.pid), "-n", "sh", "-ec", script)
}

// Exec starts a program in the router's namespace; it ends with the test.
func (s *site) Exec(c *exec.Cmd) {
	s.Helper()
	there := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(s.pid), "-n"}, c.Args...)...)
	there.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(s.T, there.Start())
	s.Cleanup(func() { _ = there.Process.Kill(); _ = there.Wait() })
}

func (s *site) vtysh(command string) string {
	out, err := s.frr.Run(command)
	if err != nil {
		s.Log(err)
	}
	return out
}

// frrRoutes are the routes that FRRouting has, by prefix; family is "ipv4" or "ipv6".
func (s *site) frrRoutes(family string) map[string][]map[string]any {
	var table struct {
		Routes map[string][]map[string]any `json:"routes"`
	}
	if err := json.Unmarshal([]byte(s.vtysh("show bgp "+family+" unicast json")), &table); err != nil {
		return nil
	}
	return table.Routes
}

func bothFamilies(names ...string) []route {
	list := routes(prefixes(3), Attributes{Communities: []community.Standard{64512<<16 | 7}, LargeCommunities: []community.Large{{Global: 64512, Local1: 1, Local2: 2}}}, names...)
	return append(list, routes([]netip.Prefix{netip.MustParsePrefix("2001:db8::1/128"), netip.MustParsePrefix("2001:db8:1::/64")}, Attributes{}, names...)...)
}

func (s *site) awaitFRR(v4, v6 int) {
	s.Helper()
	eventually(s.T, fmt.Sprintf("%d IPv4 and %d IPv6 routes in FRRouting", v4, v6), func() bool {
		time.Sleep(50 * time.Millisecond)
		return len(s.frrRoutes("ipv4")) == v4 && len(s.frrRoutes("ipv6")) == v6
	})
}

const frrFamilies = `
 address-family ipv4 unicast
  neighbor P activate
  neighbor P soft-reconfiguration inbound
 exit-address-family
 address-family ipv6 unicast
  neighbor P activate
 exit-address-family
`

func frrConfig(peer, asn, more string) string {
	return "interface rtr0\n no ipv6 nd suppress-ra\n ipv6 nd ra-interval 3\nexit\nrouter bgp 64513\n bgp router-id 192.0.2.250\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n bgp graceful-restart\n" +
		strings.ReplaceAll(" neighbor P "+asn+"\n"+more+frrFamilies, "P", peer)
}

// TestFRR announces to FRRouting in the ways that peers are reached.
func TestFRR(t *testing.T) {
	if !namespaced(t) {
		return
	}
	v4 := Peer{Name: "tor", MyASN: 64512, PeerASN: 64513, Address: netip.MustParseAddr("10.9.0.2"), ConnectTime: time.Second, Families: IPv4 | IPv6}
	v6 := v4
	v6.Address = netip.MustParseAddr("fd00:9::2")
	unnumbered := v4
	unnumbered.Address, unnumbered.Interface = netip.Addr{}, spkLink
	with := func(p Peer, f func(*Peer)) Peer { f(&p); return p }
	for name, c := range map[string]struct {
		config string
		peer   Peer
		hop4   string
	}{
		"IPv4": {frrConfig("10.9.0.1", "remote-as 64512", ""), v4, "10.9.0.1"},
		"IPv4, internal": {
			frrConfig("10.9.0.1", "remote-as 64513", ""), with(v4, func(p *Peer) { p.MyASN = 64513 }), "10.9.0.1",
		},
		"IPv4 with a password and TTL security": {
			frrConfig("10.9.0.1", "remote-as 64512", " neighbor P password secret\n neighbor P ttl-security hops 1\n"),
			with(v4, func(p *Peer) { p.Password, p.TTLSecurity, p.Source = "secret", 1, netip.MustParseAddr("10.9.0.1") }), "10.9.0.1",
		},
		"through a device": {frrConfig("10.9.0.1", "remote-as 64512", ""), with(v4, func(p *Peer) { p.Device = spkLink }), "10.9.0.1"},
		"IPv6":             {frrConfig("fd00:9::1", "remote-as 64512", ""), v6, "10.9.0.1"},
		"IPv6 with a password, graceful restart, four-octet local ASN": {
			frrConfig("fd00:9::1", "remote-as 4200000000", " neighbor P password secret\n"),
			with(v6, func(p *Peer) {
				p.Password, p.LocalASN = "secret", 4200000000
				p.GracefulRestart = GracefulRestart{Enabled: true, LongLived: time.Hour}
			}), "10.9.0.1",
		},
		"unnumbered": {
			frrConfig("rtr0", "interface remote-as external", ""), with(unnumbered, func(p *Peer) { p.Dynamic, p.PeerASN = External, 0 }), "fe80::",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			t.Cleanup(func() { _ = netlink.LinkDel(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: spkLink}}) })
			s.frr = routers.StartFRR(s, "frr defaults traditional\n"+c.config)
			speaker := newSpeaker(t, Config{})
			speaker.sync([]Peer{c.peer}, bothFamilies("tor"))
			defer func() {
				if t.Failed() {
					t.Logf("session: %+v\n%s", speaker.Sessions(), s.vtysh("show bgp neighbors")+s.vtysh("show bgp ipv4 unicast"))
				}
			}()
			s.awaitFRR(3, 2)
			route := s.vtysh("show bgp ipv4 unicast 10.0.0.1/32 json")
			for _, want := range []string{`"64512:7"`, `"64512:1:2"`, c.hop4} {
				if !strings.Contains(route, want) {
					t.Errorf("FRRouting does not see %s in %s", want, route)
				}
			}
			speaker.sync([]Peer{c.peer}, bothFamilies("tor")[:1])
			s.awaitFRR(1, 0)
			speaker.stop()
			if !c.peer.GracefulRestart.Enabled {
				s.awaitFRR(0, 0)
				return
			}
			eventually(t, "FRRouting to notice the stop", func() bool {
				return !strings.Contains(s.vtysh("show bgp neighbors"), "BGP state = Established")
			})
			if n := len(s.frrRoutes("ipv4")); n != 1 {
				t.Errorf("%d routes are left while the speaker is away", n)
			}
		})
	}
}

func (s *site) birdc(command string) string {
	out, err := s.bird.Run(command)
	if err != nil {
		s.Log(err)
	}
	return out
}

const birdChannels = "ipv4 { import all; export none; extended next hop on; }; ipv6 { import all; export none; };"

// TestBIRD announces to BIRD, by an IPv4 session with IPv6 routes and by one between link-local addresses with a password,
// whose IPv4 routes have IPv6 next hops.
func TestBIRD(t *testing.T) {
	if !namespaced(t) {
		return
	}
	for name, c := range map[string]struct {
		config func(spk, rtr netip.Addr) string
		peer   func(spk, rtr netip.Addr) Peer
	}{
		"IPv4, internal, with a password": {
			func(netip.Addr, netip.Addr) string {
				return `protocol bgp { local 10.9.0.2 as 64512; neighbor 10.9.0.1 as 64512; password "secret"; ` + birdChannels + "}"
			},
			func(netip.Addr, netip.Addr) Peer {
				return Peer{MyASN: 64512, PeerASN: 64512, Address: netip.MustParseAddr("10.9.0.2"), Password: "secret"}
			},
		},
		"link-local with a password": {
			func(spk, _ netip.Addr) string {
				return `protocol bgp { local as 64513; neighbor ` + spk.String() + ` as 64512; interface "rtr0"; password "secret"; ` + birdChannels + "}"
			},
			func(_, rtr netip.Addr) Peer {
				return Peer{MyASN: 64512, PeerASN: 64513, Address: rtr.WithZone(spkLink), Password: "secret", NextHopIPv4: netip.Addr{}}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			t.Cleanup(func() { _ = netlink.LinkDel(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: spkLink}}) })
			spk, rtr := s.linkLocals()
			s.bird = routers.StartBIRD(s, "router id 192.0.2.250;\nprotocol device {}\n"+c.config(spk, rtr))
			speaker := newSpeaker(t, Config{})
			p := c.peer(spk, rtr)
			p.Name, p.ConnectTime, p.Families = "tor", time.Second, IPv4|IPv6
			speaker.sync([]Peer{p}, bothFamilies("tor"))
			defer func() {
				if t.Failed() {
					t.Logf("session: %+v\n%s", speaker.Sessions(), s.birdc("show protocols all")+s.birdc("show route all"))
				}
			}()
			eventually(t, "5 routes in BIRD", func() bool { return strings.Contains(s.birdc("show route count"), "5 of 5 routes") })
			if out := s.birdc("show route 10.0.0.1/32 all"); !strings.Contains(out, "(64512,7)") || !strings.Contains(out, "(64512, 1, 2)") {
				t.Errorf("BIRD has %s", out)
			}
			speaker.sync([]Peer{p}, bothFamilies("tor")[:1])
			eventually(t, "one route in BIRD", func() bool { return strings.Contains(s.birdc("show route count"), "1 of 1 routes") })
		})
	}
}

// linkLocals are the link-local addresses of both ends of the link.
func (s *site) linkLocals() (spk, rtr netip.Addr) {
	s.Helper()
	find := func(out string) (a netip.Addr) {
		for _, f := range strings.Fields(out) {
			if p, err := netip.ParsePrefix(f); err == nil && p.Addr().IsLinkLocalUnicast() {
				a = p.Addr()
			}
		}
		return a
	}
	eventually(s.T, "link-local addresses", func() bool {
		spk, rtr = find(run(s.T, "ip", "-6", "addr", "show", "dev", spkLink)), find(s.sh("ip -6 addr show dev rtr0"))
		return spk.IsValid() && rtr.IsValid()
	})
	return spk, rtr
}

// TestVRF speaks through a device that is not the default route's.
func TestVRF(t *testing.T) {
	if !namespaced(t) {
		return
	}
	s := newSite(t)
	vrf := &netlink.Vrf{LinkAttrs: netlink.LinkAttrs{Name: "red"}, Table: 10}
	if err := netlink.LinkAdd(vrf); err != nil {
		t.Skipf("the kernel has no VRFs: %v", err)
	}
	run(t, "ip", "link", "set", "red", "up")
	run(t, "ip", "link", "set", spkLink, "master", "red")
	s.frr = routers.StartFRR(s, "frr defaults traditional\n"+frrConfig("10.9.0.1", "remote-as 64512", " neighbor P password secret\n"))
	speaker := newSpeaker(t, Config{})
	p := Peer{
		Name: "tor", MyASN: 64512, PeerASN: 64513, Address: netip.MustParseAddr("10.9.0.2"), ConnectTime: time.Second, Password: "secret",
	}
	speaker.sync([]Peer{p}, bothFamilies("tor"))
	eventually(t, "no way outside the VRF", func() bool { return strings.Contains(speaker.session("tor").Why, "no route") })
	p.Device = "red"
	speaker.sync([]Peer{p}, bothFamilies("tor"))
	s.awaitFRR(3, 0)
}
