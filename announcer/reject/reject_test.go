package reject

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/test/namespaces"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type host struct{ *namespaces.Host }

func newHost(t *testing.T) *host { return &host{namespaces.New(t)} }

func (h *host) nft() *nftables.Conn {
	h.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(int(h.NS)))
	if err != nil {
		h.Fatal(err)
	}
	return c
}

const (
	vip4, vip6   = "10.9.7.1", "fd00:9::7:1"
	node4, node6 = "10.9.0.1", "fd00:9::1"
)

var vips = []string{vip4, vip6}

// lab is a client and a node on one wire. The client's neighbour table sends the VIPs to the node, which forwards.
type lab struct {
	t            *testing.T
	node, client *host
	table        *Table
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, node: newHost(t), client: newHost(t)}
	for _, h := range []*host{l.node, l.client} {
		h.Sysctl("net/ipv6/conf/default/accept_dad", "0")
	}
	namespaces.Wire(l.node.Host, "eth0", net.HardwareAddr{2, 0, 0, 0, 0, 1}, l.client.Host, "eth0", net.HardwareAddr{2, 0, 0, 0, 0, 2})
	l.node.Up("eth0", node4+"/16", node6+"/64")
	l.client.Up("eth0", "10.9.0.2/16", "fd00:9::2/64")
	for _, f := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		l.node.Sysctl("net/"+f, "1")
	}
	l.client.Must("neighbours", func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		for _, a := range vips {
			n := &netlink.Neigh{
				LinkIndex: link.Attrs().Index, IP: net.ParseIP(a), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}, State: netlink.NUD_PERMANENT,
			}
			if err := netlink.NeighSet(n); err != nil {
				return err
			}
		}
		return nil
	})
	l.table = New(Config{NetNS: int(l.node.NS), CheckEvery: 20 * time.Millisecond})
	return l
}

// set gives both VIPs the same held ports.
func (l *lab) set(held ...PortProto) {
	l.t.Helper()
	var all []VIP
	for _, a := range vips {
		all = append(all, VIP{Address: netip.MustParseAddr(a), Held: held})
	}
	if err := l.table.Set(all); err != nil {
		l.t.Fatal(err)
	}
}

// silence is how long a test listens to nothing before it believes it. patience is how long it waits for something.
const (
	silence  = 250 * time.Millisecond
	patience = 10 * time.Second
)

// connect tries TCP; nil means a connection.
func connect(h *host, a string, port uint16, wait time.Duration) error {
	return h.In(func() error {
		c, err := net.DialTimeout("tcp", netip.AddrPortFrom(netip.MustParseAddr(a), port).String(), wait)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

// exchange sends one datagram from a connected socket and returns what comes back as an error.
func exchange(h *host, network, to string, wait time.Duration) error {
	return h.In(func() error {
		c, err := net.Dial(network, to)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(summed(network, c)); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(wait))
		_, err = c.Read(make([]byte, 100))
		return err
	})
}

// summed is a payload whose checksum is right without a field for it: the kernel refuses a protocol that it does not know only
// where the Internet checksum over the payload (for IPv6 with the pseudo-header) is.
func summed(network string, c net.Conn) []byte {
	b := make([]byte, 16)
	if network != "ip6:200" {
		return append(b[:14], 0xff, 0xff)
	}
	sum := uint32(len(b) + 200)
	for _, a := range []net.Addr{c.LocalAddr(), c.RemoteAddr()} {
		ip := a.(*net.IPAddr).IP.To16()
		for i := 0; i < len(ip); i += 2 {
			sum += uint32(ip[i])<<8 | uint32(ip[i+1])
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[14:], ^uint16(sum))
	return b
}

func udp(h *host, a string, port uint16, wait time.Duration) error {
	return exchange(h, "udp", netip.AddrPortFrom(netip.MustParseAddr(a), port).String(), wait)
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) || os.IsTimeout(err) }

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantSilence(t *testing.T, what string, got error) {
	t.Helper()
	if !timedOut(got) {
		t.Errorf("%s: got %v, want no answer", what, got)
	}
}

func TestPortsThatNobodyHas(t *testing.T) {
	l := newLab(t)
	testPortsThatNobodyHas(t, l)
}

// Kernels before Linux 5.9 get the chains at another place. Their redirects take from the same allowance as ICMP errors, so both
// are switched off here.
func TestPortsThatNobodyHasLate(t *testing.T) {
	l := newLab(t)
	l.table.layout = late
	for _, f := range []string{"ipv4/conf/all/send_redirects", "ipv4/conf/eth0/send_redirects", "ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"} {
		l.node.Must("sysctl", func() error { return os.WriteFile("/proc/sys/net/"+f, []byte("0"), 0o644) })
	}
	testPortsThatNobodyHas(t, l)
}

func testPortsThatNobodyHas(t *testing.T, l *lab) {
	t.Helper()
	l.set(PortProto{80, unix.IPPROTO_TCP}, PortProto{53, unix.IPPROTO_UDP})
	for _, h := range []*host{l.client, l.node} {
		for _, a := range vips {
			who := fmt.Sprintf("to %s from the client=%v", a, h == l.client)
			wantError(t, "TCP "+who, connect(h, a, 81, patience), syscall.ECONNREFUSED)
			wantError(t, "TCP on the UDP port "+who, connect(h, a, 53, patience), syscall.ECONNREFUSED)
			for what, port := range map[string]uint16{"UDP ": 54, "UDP on the TCP port ": 80} {
				err := udp(h, a, port, patience)
				if h == l.node && errors.Is(err, syscall.EPERM) {
					continue // a program on the node itself is told so when it sends
				}
				wantError(t, what+who, err, syscall.ECONNREFUSED)
			}
		}
	}
	wantError(t, "SCTP", exchange(l.client, "ip4:132", vip4, patience), syscall.ECONNREFUSED)
	wantError(t, "SCTP over IPv6", exchange(l.client, "ip6:132", vip6, patience), syscall.ECONNREFUSED)
	wantError(t, "an unknown protocol", exchange(l.client, "ip4:200", vip4, patience), syscall.ENOPROTOOPT)
	wantError(t, "an unknown protocol over IPv6", exchange(l.client, "ip6:200", vip6, patience), syscall.ECONNREFUSED)
}

// Nothing serves the held ports here, as when kube-proxy is late: no reset, and nothing leaves the node for the VIP.
func TestHeldPortsAreNeverRejected(t *testing.T) {
	l := newLab(t)
	l.set(PortProto{80, unix.IPPROTO_TCP}, PortProto{53, unix.IPPROTO_UDP})
	sniffer := l.sniff()
	for _, h := range []*host{l.client, l.node} {
		for _, a := range vips {
			wantSilence(t, "TCP "+a, connect(h, a, 80, silence))
			err := udp(h, a, 53, silence)
			if h == l.node && errors.Is(err, syscall.EPERM) {
				continue // a program on the node itself is told that its datagram was dropped
			}
			wantSilence(t, "UDP "+a, err)
		}
	}
	if n := sniffer.toVIPs(); n != 0 {
		t.Errorf("%d packets left the node for a VIP", n)
	}
}

// sniffer counts the packets to the VIPs that the node sends to the client.
type sniffer struct {
	h  *host
	fd int
}

func (l *lab) sniff() *sniffer {
	l.t.Helper()
	s := &sniffer{h: l.client}
	l.client.Must("sniffer", func() (err error) {
		all := int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, all)
		return err
	})
	l.t.Cleanup(func() { _ = unix.Close(s.fd) })
	return s
}

func (s *sniffer) toVIPs() (n int) {
	b := make([]byte, 2000)
	for {
		size, from, err := unix.Recvfrom(s.fd, b, 0)
		if err != nil {
			return n
		}
		if ll := from.(*unix.SockaddrLinklayer); ll.Pkttype == unix.PACKET_OUTGOING || size < 40 {
			continue
		}
		v4, v6 := net.ParseIP(vip4).To4(), net.ParseIP(vip6)
		if b[0]>>4 == 4 && v4.Equal(b[16:20]) || b[0]>>4 == 6 && v6.Equal(b[24:40]) {
			n++
		}
	}
}

// serve makes the node translate port 80 of the VIPs to a listener of its own, as kube-proxy would.
func (l *lab) serve() {
	l.t.Helper()
	c := l.node.nft()
	prio := nftables.ChainPriority(-100)
	for _, f := range []struct {
		family    nftables.TableFamily
		off, size uint32
		vip, to   string
	}{
		{nftables.TableFamilyIPv4, 16, 4, vip4, node4},
		{nftables.TableFamilyIPv6, 24, 16, vip6, node6},
	} {
		table := c.AddTable(&nftables.Table{Name: "kube-proxy", Family: f.family})
		for name, hook := range map[string]*nftables.ChainHook{"pre": nftables.ChainHookPrerouting, "out": nftables.ChainHookOutput} {
			ch := c.AddChain(&nftables.Chain{Table: table, Name: name, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: &prio})
			c.AddRule(&nftables.Rule{Table: table, Chain: ch, Exprs: []expr.Any{
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: f.off, Len: f.size},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: netip.MustParseAddr(f.vip).AsSlice()},
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 80}},
				&expr.Immediate{Register: 1, Data: netip.MustParseAddr(f.to).AsSlice()},
				&expr.Immediate{Register: 2, Data: []byte{0x1f, 0x90}},
				&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.family), RegAddrMin: 1, RegProtoMin: 2},
			}})
		}
	}
	if err := c.Flush(); err != nil {
		l.t.Fatal(err)
	}
	for _, a := range []string{node4, node6} {
		var ln net.Listener
		l.node.Must("listen", func() (err error) {
			ln, err = net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr(a), 8080).String())
			return err
		})
		l.t.Cleanup(func() { _ = ln.Close() })
	}
}

func TestServedPortsAreLeftAlone(t *testing.T) {
	l := newLab(t)
	l.serve()
	l.set(PortProto{80, unix.IPPROTO_TCP})
	for _, h := range []*host{l.client, l.node} {
		for _, a := range vips {
			if err := connect(h, a, 80, patience); err != nil {
				t.Errorf("%s port 80: %v", a, err)
			}
			wantError(t, a+" port 81", connect(h, a, 81, patience), syscall.ECONNREFUSED)
		}
	}
	// Even if our table believes that nobody has the port, what is translated gets through.
	l.set()
	for _, a := range vips {
		if err := connect(l.client, a, 80, patience); err != nil {
			t.Errorf("%s port 80: %v", a, err)
		}
	}
	if err := l.table.Remove(); err != nil {
		t.Fatal(err)
	}
	if got := l.tables(); len(got) != 2 {
		t.Errorf("after Remove the tables are %v, want the two of kube-proxy", got)
	}
}

// ping sends an echo request and returns who answered.
func ping(h *host, a string) (from string, err error) {
	network, typ := "ip4:icmp", byte(8)
	if netip.MustParseAddr(a).Is6() {
		network, typ = "ip6:58", 128
	}
	err = h.In(func() error {
		c, err := net.ListenPacket(network, "")
		if err != nil {
			return err
		}
		defer c.Close()
		msg := []byte{typ, 0, 0, 0, 0x12, 0x34, 0, 1}
		if typ == 8 {
			sum := ^(uint16(8)<<8 + 0x1234 + 1)
			msg[2], msg[3] = byte(sum>>8), byte(sum)
		}
		if _, err := c.WriteTo(msg, &net.IPAddr{IP: net.ParseIP(a)}); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		b := make([]byte, 200)
		for {
			n, src, err := c.ReadFrom(b)
			if err != nil {
				return err
			}
			if n >= 8 && (b[0] == 0 && typ == 8 || b[0] == 129 && typ == 128) {
				from = src.String()
				return nil
			}
		}
	})
	return from, err
}

func TestPing(t *testing.T) {
	l := newLab(t)
	for _, cfg := range []Config{{}, {Node4: netip.MustParseAddr(node4), Node6: netip.MustParseAddr(node6)}} {
		cfg.NetNS = int(l.node.NS)
		l.table = New(cfg)
		l.set(PortProto{80, unix.IPPROTO_TCP})
		for _, h := range []*host{l.client, l.node} {
			for _, a := range vips {
				if from, err := ping(h, a); err != nil || from != a {
					t.Errorf("ping %s (client: %v, node addresses: %v): answer from %q, %v", a, h == l.client, cfg.Node4.IsValid(), from, err)
				}
			}
		}
	}
}

func TestChangesTakeEffect(t *testing.T) {
	l := newLab(t)
	l.set()
	wantError(t, "not held", connect(l.client, vip4, 80, patience), syscall.ECONNREFUSED)
	l.set(PortProto{80, unix.IPPROTO_TCP})
	wantSilence(t, "held", connect(l.client, vip4, 80, silence))
	l.set(PortProto{81, unix.IPPROTO_TCP})
	wantError(t, "no longer held", connect(l.client, vip4, 80, patience), syscall.ECONNREFUSED)
	if err := l.table.Set(nil); err != nil {
		t.Fatal(err)
	}
	if err := connect(l.client, vip4, 80, silence); errors.Is(err, syscall.ECONNREFUSED) {
		t.Error("an address that is gone is still answered for")
	}
}

func (l *lab) tables() (names []string) {
	l.t.Helper()
	all, err := l.node.nft().ListTables()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, x := range all {
		names = append(names, x.Name)
	}
	return names
}

func TestStaleTableIsReplaced(t *testing.T) {
	l := newLab(t)
	l.set(PortProto{81, unix.IPPROTO_TCP})
	l.table = New(l.table.cfg) // as after a crash
	l.set(PortProto{80, unix.IPPROTO_TCP})
	wantError(t, "held by the earlier process only", connect(l.client, vip4, 81, patience), syscall.ECONNREFUSED)
	if err := l.table.Remove(); err != nil {
		t.Fatal(err)
	}
	if got := l.tables(); len(got) != 0 {
		t.Errorf("tables are left: %v", got)
	}
	if err := l.table.Remove(); err != nil {
		t.Errorf("a second Remove: %v", err)
	}
}

func TestRepair(t *testing.T) {
	l := newLab(t)
	l.set(PortProto{80, unix.IPPROTO_TCP})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.table.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	table := l.table.table()
	for what, damage := range map[string]func(*nftables.Conn){
		"everything flushed": func(c *nftables.Conn) { c.FlushRuleset() },
		"rules flushed":      func(c *nftables.Conn) { c.FlushTable(table) },
		"a set flushed":      func(c *nftables.Conn) { c.FlushSet(setsOf(table)[0]) },
	} {
		c := l.node.nft()
		damage(c)
		if err := c.Flush(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		deadline := time.Now().Add(patience)
		for !errors.Is(connect(l.client, vip4, 81, 50*time.Millisecond), syscall.ECONNREFUSED) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not repaired", what)
			}
		}
	}
	// A difference to a table that is gone is written as a whole.
	c := l.node.nft()
	c.FlushRuleset()
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	l.set(PortProto{82, unix.IPPROTO_TCP})
	wantError(t, "after a flush", connect(l.client, vip4, 81, patience), syscall.ECONNREFUSED)
}

func TestManyVIPs(t *testing.T) {
	l := newLab(t)
	var all []VIP
	a4, a6 := netip.MustParseAddr("10.10.0.1"), netip.MustParseAddr("fd00:10::1")
	for range 2500 {
		for _, a := range []netip.Addr{a4, a6} {
			all = append(all, VIP{Address: a, Held: []PortProto{{80, unix.IPPROTO_TCP}, {443, unix.IPPROTO_TCP}}})
		}
		a4, a6 = a4.Next(), a6.Next()
	}
	begin := time.Now()
	if err := l.table.Set(all); err != nil {
		t.Fatal(err)
	}
	t.Logf("5000 VIPs with 2 ports each: %v", time.Since(begin))
	begin = time.Now()
	if err := l.table.Set(all); err != nil {
		t.Fatal(err)
	}
	t.Logf("no change: %v", time.Since(begin))
	begin = time.Now()
	if err := l.table.Change([]VIP{{Address: all[17].Address}}, []netip.Addr{all[18].Address}); err != nil {
		t.Fatal(err)
	}
	t.Logf("one change and one that is gone: %v", time.Since(begin))
	got := 0
	for _, s := range setsOf(l.table.table()) {
		e, err := l.node.nft().GetSetElements(s)
		if err != nil {
			t.Fatal(err)
		}
		got += len(e)
	}
	if want := 4999 + 2*4998; got != want {
		t.Errorf("the kernel has %d elements, want %d", got, want)
	}
}

func TestBadInput(t *testing.T) {
	l := newLab(t)
	err := l.table.Set([]VIP{{}, {Address: netip.MustParseAddr("224.0.0.1")}, {Address: netip.MustParseAddr(vip4)}})
	if err == nil {
		t.Fatal("no error for addresses that cannot be served")
	}
	wantError(t, "the good one", connect(l.client, vip4, 80, patience), syscall.ECONNREFUSED)
}
