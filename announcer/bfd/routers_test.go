package bfd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/namespaces"
	"github.com/fairlead/fairlead/test/routers"
)

// frr is FRR on a host.
type frr struct {
	t *testing.T
	*routers.FRR
}

// frrPeer is what FRR says of a session.
type frrPeer struct {
	Status     string `json:"status"`
	Diagnostic string `json:"diagnostic"`
	Remote     string `json:"remote-diagnostic"`
	Receive    int    `json:"remote-receive-interval"`
	Transmit   int    `json:"remote-transmit-interval"`
	Multiplier int    `json:"remote-detect-multiplier"`
	Echo       int    `json:"echo-transmit-interval"`
}

func (f *frr) peer() (frrPeer, error) {
	var peers []frrPeer
	if err := f.Show("show bfd peers", &peers); err != nil {
		return frrPeer{}, err
	}
	if len(peers) != 1 {
		return frrPeer{}, fmt.Errorf("FRR has the peers %+v", peers)
	}
	return peers[0], nil
}

// await waits until FRR says it.
func (f *frr) await(what string, ok func(frrPeer) bool) {
	f.t.Helper()
	routers.Await(f.t, what, func() error {
		p, err := f.peer()
		if err == nil && !ok(p) {
			err = fmt.Errorf("FRR says %+v", p)
		}
		return err
	})
}

// beside is a node on one wire with another host.
func beside(t *testing.T) (*node, *namespaces.Host) {
	t.Helper()
	ha, hb := hosts(t)
	return startNode(ha), hb
}

func TestFRR(t *testing.T) {
	several := wantTo("r", "10.9.0.2")
	several.MultiHop, several.Local = true, netip.MustParseAddr("10.9.0.1")
	passive := wantTo("r", "10.9.0.2")
	passive.Passive = true
	for name, test := range map[string]struct {
		config string
		want   Session
	}{
		"ipv4":         {"peer 10.9.0.1 interface eth0", wantTo("r", "10.9.0.2")},
		"ipv6":         {"peer fd00:9::1 local-address fd00:9::2 interface eth0", wantTo("r", "fd00:9::2")},
		"link-local":   {"peer fe80::1 local-address fe80::2 interface eth0", wantTo("r", "fe80::2%eth0")},
		"several hops": {"peer 10.9.0.1 multihop local-address 10.9.0.2", several},
		"passive":      {"peer 10.9.0.1 interface eth0", passive},
	} {
		t.Run(name, func(t *testing.T) {
			a, h := beside(t)
			f := &frr{t, routers.StartFRR(h, "bfd\n "+test.config+"\n  detect-multiplier 10\n  transmit-interval 100\n  receive-interval 100\n  no shutdown\n !\n!\n")}
			test.want = patient(test.want)
			a.sync(test.want)
			meet(a)
			f.await("up with our settings", func(p frrPeer) bool {
				return p.Status == "up" && p.Receive == 100 && p.Transmit == 100 && p.Multiplier == 10
			})
			slower := test.want
			slower.TransmitInterval, slower.DetectMultiplier = 250*time.Millisecond, 4
			a.sync(slower)
			f.await("the new settings", func(p frrPeer) bool { return p.Status == "up" && p.Transmit == 250 && p.Multiplier == 4 })
			a.quiet()
			a.Down("eth0")
			if e := a.await("r", Down); e.Cause != CauseSilence {
				t.Errorf("the wire was cut, and the cause is: %s", e.Cause)
			}
			a.Up("eth0", "fd00:9::1/64", "fe80::1/64")
			a.await("r", Up)
			f.await("up again", func(p frrPeer) bool { return p.Status == "up" })
			a.stop()
			f.await("our end by intent", func(p frrPeer) bool { return p.Status == "down" && strings.Contains(p.Remote, "administratively") })
		})
	}
}

func TestFRREchoes(t *testing.T) {
	a, h := beside(t)
	for _, each := range []*namespaces.Host{a.Host, h} {
		each.Sysctl("net/ipv4/ip_forward", "1")
	}
	f := &frr{t, routers.StartFRR(h, "bfd\n peer 10.9.0.1 interface eth0\n  detect-multiplier 10\n  echo-mode\n  echo transmit-interval 50\n  echo receive-interval 50\n  no shutdown\n !\n!\n")}
	want := patient(wantTo("r", "10.9.0.2"))
	want.Echo, want.EchoInterval = true, 50*time.Millisecond
	a.sync(want)
	meet(a)
	f.await("echoes", func(p frrPeer) bool { return p.Status == "up" && p.Echo == 50 })
	routers.Await(t, "echoes of ours", func() error {
		if s := a.e.Sessions()[0]; !s.Echoes {
			return fmt.Errorf("the session is %+v", s)
		}
		return nil
	})
	received := a.e.Sessions()[0].Received
	routers.Await(t, "three more packets", func() error {
		if got := a.e.Sessions()[0].Received - received; got < 3 {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
	a.quiet()
}

// FRR sends no echoes over IPv6. It says that it returns ours, and its kernel does.
func TestFRRReturnsEchoesOfIPv6(t *testing.T) {
	a, h := beside(t)
	h.Sysctl("net/ipv6/conf/all/forwarding", "1")
	f := &frr{t, routers.StartFRR(h, "bfd\n peer fd00:9::1 local-address fd00:9::2 interface eth0\n  no shutdown\n !\n!\n")}
	want := wantTo("r", "fd00:9::2")
	want.Echo, want.EchoInterval = true, 50*time.Millisecond
	a.sync(want)
	f.await("up", func(p frrPeer) bool { return p.Status == "up" })
	routers.Await(t, "echoes of ours", func() error {
		if s := a.e.Sessions()[0]; s.State != Up || !s.Echoes {
			return fmt.Errorf("the session is %+v", s)
		}
		return nil
	})
	downs, received := a.e.Sessions()[0].Downs, a.e.Sessions()[0].Received
	routers.Await(t, "three more packets", func() error {
		if got := a.e.Sessions()[0].Received - received; got < 3 {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
	h.Sysctl("net/ipv6/conf/all/forwarding", "0")
	routers.Await(t, "the loss that echoes tell", func() error {
		if s := a.e.Sessions()[0]; s.Cause != CauseEcho || s.Downs == downs {
			return fmt.Errorf("the session is %+v", s)
		}
		return nil
	})
}

func awaitBIRD(t *testing.T, b *routers.BIRD, what string, ok func(string) bool) {
	t.Helper()
	routers.Await(t, what, func() error {
		out, err := b.Run("show bfd sessions")
		if err == nil && !ok(out) {
			err = fmt.Errorf("BIRD says %s", out)
		}
		return err
	})
}

func TestBIRD(t *testing.T) {
	several := wantTo("r", "10.9.0.2")
	several.MultiHop, several.Local = true, netip.MustParseAddr("10.9.0.1")
	passive := wantTo("r", "10.9.0.2")
	passive.Passive = true
	password := wantTo("r", "10.9.0.2")
	password.Auth = Auth{Kind: SimplePassword, KeyID: 1, Key: "secret"}
	keyed, meticulous := password, password
	keyed.Auth.Kind, meticulous.Auth.Kind = KeyedSHA1, MeticulousSHA1
	const intervals = `min rx interval 100 ms; min tx interval 100 ms; idle tx interval 1 s; multiplier 3;`
	signed := func(how string) string {
		return `protocol bfd { interface "eth0" { ` + intervals + ` authentication ` + how + `; password "secret" { id 1; }; }; neighbor 10.9.0.1 dev "eth0" local 10.9.0.2; }`
	}
	for name, test := range map[string]struct {
		config string
		want   Session
	}{
		"ipv4":         {`protocol bfd { interface "eth0" { ` + intervals + ` }; neighbor 10.9.0.1 dev "eth0" local 10.9.0.2; }`, wantTo("r", "10.9.0.2")},
		"ipv6":         {`protocol bfd { interface "eth0" { ` + intervals + ` }; neighbor fd00:9::1 dev "eth0" local fd00:9::2; }`, wantTo("r", "fd00:9::2")},
		"link-local":   {`protocol bfd { interface "eth0" { ` + intervals + ` }; neighbor fe80::1 dev "eth0" local fe80::2; }`, wantTo("r", "fe80::2%eth0")},
		"several hops": {`protocol bfd { multihop { ` + intervals + ` }; neighbor 10.9.0.1 local 10.9.0.2 multihop on; }`, several},
		"passive":      {`protocol bfd { interface "eth0" { ` + intervals + ` }; neighbor 10.9.0.1 dev "eth0" local 10.9.0.2; }`, passive},
		"password":     {signed("simple"), password},
		"keyed":        {signed("keyed sha1"), keyed},
		"meticulous":   {signed("meticulous keyed sha1"), meticulous},
	} {
		t.Run(name, func(t *testing.T) {
			a, h := beside(t)
			b := routers.StartBIRD(h, "router id 10.9.0.2;\nprotocol device {}\n"+test.config)
			a.sync(test.want)
			a.await("r", Up)
			awaitBIRD(t, b, "up", func(s string) bool { return strings.Contains(s, "Up") && strings.Contains(s, "0.100") })
			a.stop()
			awaitBIRD(t, b, "our end by intent", func(s string) bool { return strings.Contains(s, "Down") })
		})
	}
}
