package bfd

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/namespaces"
)

// frr is FRR's BFD daemon on a host.
type frr struct {
	*namespaces.Host
	dir string
}

func program(t *testing.T, path, source string) string {
	t.Helper()
	found, err := exec.LookPath(path)
	if err != nil {
		t.Skipf("%s is not installed (%s has it)", path, source)
	}
	return found
}

// startFRR runs zebra and bfdd with a configuration.
func startFRR(h *namespaces.Host, config string) *frr {
	h.Helper()
	t := h.TB.(*testing.T)
	f := &frr{Host: h, dir: daemonDir(t, "frr")}
	file := filepath.Join(f.dir, "frr.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	zserv := filepath.Join(f.dir, "zserv.api")
	for _, daemon := range []string{"zebra", "bfdd"} {
		c := exec.Command(program(t, "/usr/lib/frr/"+daemon, "the package frr"), "-f", file, "-z", zserv,
			"-i", filepath.Join(f.dir, daemon+".pid"), "--vty_socket", f.dir, "-P", "0", "--log", "file:"+filepath.Join(f.dir, daemon+".log"))
		if daemon == "bfdd" {
			c.Args = append(c.Args, "--bfdctl", filepath.Join(f.dir, "bfdd.sock"))
		}
		c.Stderr = os.Stderr
		h.Exec(c)
		eventually(t, daemon, func() error {
			_, err := os.Stat(filepath.Join(f.dir, daemon+".vty"))
			return err
		})
	}
	return f
}

// daemonDir is a directory that a daemon's own user can write to.
func daemonDir(t *testing.T, name string) string {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Skipf("there is no user %s (the package %s makes it)", name, name)
	}
	dir, err := os.MkdirTemp("", "bfd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return dir
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
	out, err := exec.Command("vtysh", "--vty_socket", f.dir, "-d", "bfdd", "-c", "show bfd peers json").CombinedOutput()
	if err != nil {
		return frrPeer{}, fmt.Errorf("%w: %s", err, out)
	}
	var peers []frrPeer
	if err := json.Unmarshal(out, &peers); err != nil || len(peers) != 1 {
		return frrPeer{}, fmt.Errorf("FRR says %s (%v)", out, err)
	}
	return peers[0], nil
}

// await waits until FRR says it.
func (f *frr) await(what string, ok func(frrPeer) bool) {
	f.Helper()
	eventually(f.TB.(*testing.T), what, func() error {
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
	ha, hb := namespaces.New(t), namespaces.New(t)
	namespaces.Wire(ha, "eth0", mac1, hb, "eth0", mac2)
	ha.Up("eth0", "10.9.0.1/24", "fd00:9::1/64", "fe80::1/64")
	hb.Up("eth0", "10.9.0.2/24", "fd00:9::2/64", "fe80::2/64")
	return startNode(ha), hb
}

func TestFRR(t *testing.T) {
	several := wantTo("r", "10.9.0.2")
	several.MultiHop, several.Local = true, netip.MustParseAddr("10.9.0.1")
	for name, test := range map[string]struct {
		config string
		want   Session
	}{
		"ipv4":         {"peer 10.9.0.1 interface eth0", wantTo("r", "10.9.0.2")},
		"ipv6":         {"peer fd00:9::1 local-address fd00:9::2 interface eth0", wantTo("r", "fd00:9::2")},
		"link-local":   {"peer fe80::1 local-address fe80::2 interface eth0", wantTo("r", "fe80::2%eth0")},
		"several hops": {"peer 10.9.0.1 multihop local-address 10.9.0.2", several},
	} {
		t.Run(name, func(t *testing.T) {
			a, h := beside(t)
			f := startFRR(h, "bfd\n "+test.config+"\n  transmit-interval 100\n  receive-interval 100\n  no shutdown\n !\n!\n")
			a.sync(test.want)
			a.await("r", Up)
			f.await("up with our settings", func(p frrPeer) bool {
				return p.Status == "up" && p.Receive == 100 && p.Transmit == 100 && p.Multiplier == 3
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
	f := startFRR(h, "bfd\n peer 10.9.0.1 interface eth0\n  echo-mode\n  echo transmit-interval 50\n  echo receive-interval 50\n  no shutdown\n !\n!\n")
	want := wantTo("r", "10.9.0.2")
	want.Echo, want.EchoInterval = true, 50*time.Millisecond
	a.sync(want)
	a.await("r", Up)
	f.await("echoes", func(p frrPeer) bool { return p.Status == "up" && p.Echo == 50 })
	eventually(t, "echoes of ours", func() error {
		if s := a.e.Sessions()[0]; !s.Echoes {
			return fmt.Errorf("the session is %+v", s)
		}
		return nil
	})
	received := a.e.Sessions()[0].Received
	eventually(t, "three more packets", func() error {
		if got := a.e.Sessions()[0].Received - received; got < 3 {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
	a.quiet()
}

// bird is BIRD on a host.
type bird struct {
	*namespaces.Host
	dir string
}

func startBIRD(h *namespaces.Host, config string) *bird {
	h.Helper()
	t := h.TB.(*testing.T)
	b := &bird{Host: h, dir: t.TempDir()}
	file := filepath.Join(b.dir, "bird.conf")
	if err := os.WriteFile(file, []byte("router id 10.9.0.2;\nprotocol device {}\n"+config), 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program(t, "bird", "the package bird2"), "-f", "-c", file, "-s", filepath.Join(b.dir, "ctl"))
	c.Stderr = os.Stderr
	h.Exec(c)
	return b
}

func (b *bird) await(what string, ok func(string) bool) {
	b.Helper()
	eventually(b.TB.(*testing.T), what, func() error {
		out, err := exec.Command("birdc", "-r", "-s", filepath.Join(b.dir, "ctl"), "show bfd sessions").CombinedOutput()
		if err == nil && !ok(string(out)) {
			err = fmt.Errorf("BIRD says %s", out)
		}
		return err
	})
}

func TestBIRD(t *testing.T) {
	several := wantTo("r", "10.9.0.2")
	several.MultiHop, several.Local = true, netip.MustParseAddr("10.9.0.1")
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
		"password":     {signed("simple"), password},
		"keyed":        {signed("keyed sha1"), keyed},
		"meticulous":   {signed("meticulous keyed sha1"), meticulous},
	} {
		t.Run(name, func(t *testing.T) {
			a, h := beside(t)
			b := startBIRD(h, test.config)
			a.sync(test.want)
			a.await("r", Up)
			b.await("up", func(s string) bool { return strings.Contains(s, "Up") && strings.Contains(s, "0.100") })
			a.stop()
			b.await("our end by intent", func(s string) bool { return strings.Contains(s, "Down") })
		})
	}
}
