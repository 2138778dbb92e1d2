package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/testbed"
)

// What the configurations of routers and the BGPPeers that go with them have in common.
const (
	// NodeASN is the AS of the nodes.
	NodeASN = 64512
	// RouterASN is that of the testbed's router.
	RouterASN = 64513
	// RouterV4 is the router's address on the segment of the nodes.
	RouterV4 = "172.30.0.1"
	// RouterV6 is its IPv6 address there.
	RouterV6 = "fd00:30::1"
	// FarClientV4 is the client host's address behind the router.
	FarClientV4 = "172.31.0.2"
	// FarDevice is its interface there.
	FarDevice = "far0"
	// BGPPassword guards the sessions.
	BGPPassword = "secret"
)

// FRRConfig is the configuration of FRR on the testbed's router: it takes routes of both families from any node, with a
// password, spreads over the nodes, and has BFD at this interval (0: none).
func FRRConfig(bfd time.Duration) string {
	watched := ""
	if bfd > 0 {
		watched = " neighbor nodes bfd profile fast\n"
	}
	return fmt.Sprintf(`
bfd
 profile fast
  transmit-interval %[1]d
  receive-interval %[1]d
 !
!
router bgp %[3]d
 bgp router-id %[5]s
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor nodes peer-group
 neighbor nodes remote-as %[4]d
 neighbor nodes password %[6]s
 neighbor nodes timers 60 180
%[2]s bgp listen range 172.30.0.0/24 peer-group nodes
 address-family ipv4 unicast
  neighbor nodes activate
  maximum-paths 8
 exit-address-family
 address-family ipv6 unicast
  neighbor nodes activate
  maximum-paths 8
 exit-address-family
!
`, max(bfd.Milliseconds(), 10), watched, RouterASN, NodeASN, RouterV4, BGPPassword)
}

// BGPPeer is the testbed's router as a peer, of both families, that is tried every second.
func BGPPeer(name string) *v1alpha1.BGPPeer {
	return &v1alpha1.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.BGPPeerSpec{
		MyASN: NodeASN, PeerASN: RouterASN, PeerAddress: RouterV4, DualStackAddressFamily: true,
		ConnectTime: &metav1.Duration{Duration: time.Second},
	}}
}

// BFDProfile has a packet in every interval, of which three may be lost.
func BFDProfile(name string, interval time.Duration) *v1alpha1.BFDProfile {
	every, multiplier := int32(interval.Milliseconds()), int32(3)
	return &v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.BFDProfileSpec{
		ReceiveInterval: &every, TransmitInterval: &every, DetectMultiplier: &multiplier,
	}}
}

// On runs programs on a host of the testbed. They end with the cluster, or when stop is called.
func (l *Lab) On(host string) (start func(*exec.Cmd) error, stop func()) {
	var running []*exec.Cmd
	start = func(c *exec.Cmd) error {
		inside := l.Cluster.Command(host, c.Args...)
		inside.Stderr = c.Stderr
		if err := inside.Start(); err != nil {
			return fmt.Errorf("starting %s on %s: %w", c.Path, host, err)
		}
		running = append(running, inside)
		return nil
	}
	stop = func() {
		for _, c := range running {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		running = nil
	}
	return start, stop
}

// PutBehindRouter gives the client host a segment behind the router: it asks for these prefixes there, and the router
// sends what it asks to where its own routes say. Remove undoes it.
func (l *Lab) PutBehindRouter(ctx context.Context, prefixes ...string) (remove func() error, err error) {
	return l.PutBehind(ctx, Far{Router: testbed.Router, Client: testbed.Client}, prefixes...)
}

// Far is a segment behind a router, with a client on it.
type Far struct {
	Router, Client string
	// Number tells such segments apart, from 0.
	Number int
}

func (f Far) device() string { return fmt.Sprintf("far%d", f.Number) }

// networks are the segment's prefixes up to the number of a host: that of the router is 1, and of the client 2.
func (f Far) networks() (v4, v6 string) {
	return fmt.Sprintf("172.31.%d.", f.Number), netip.MustParseAddr(fmt.Sprintf("fd00:31:%d::", f.Number)).String()
}

// PutBehind is PutBehindRouter for any router and client.
func (l *Lab) PutBehind(ctx context.Context, f Far, prefixes ...string) (remove func() error, err error) {
	v4, v6 := f.networks()
	segment, err := l.Cluster.AddSegment(f.device())
	if err != nil {
		return nil, err
	}
	for host, n := range map[string]string{f.Router: "1", f.Client: "2"} {
		if err := segment.Plug(host, f.device(), v4+n+"/24", v6+n+"/64"); err != nil {
			return nil, errors.Join(err, segment.Remove())
		}
	}
	for _, prefix := range prefixes {
		via := v4 + "1"
		if strings.Contains(prefix, ":") {
			via = v6 + "1"
		}
		if _, err := l.Cluster.Exec(ctx, f.Client, "ip", "route", "add", prefix, "via", via); err != nil {
			return nil, errors.Join(err, segment.Remove())
		}
	}
	return segment.Remove, nil
}

// RouteBack has the nodes send what is for a segment behind a router to that router, which is not their default gateway.
// Remove undoes it.
func (l *Lab) RouteBack(ctx context.Context, f Far) (remove func() error, err error) {
	via4, via6, err := l.Cluster.HostAddresses(f.Router)
	if err != nil {
		return nil, err
	}
	v4, v6 := f.networks()
	change := func(ctx context.Context, what string) error {
		var errs []error
		for _, node := range l.Cluster.Nodes() {
			for _, route := range [][2]string{{v4 + "0/24", via4}, {v6 + "/64", via6}} {
				_, err := l.Cluster.Exec(ctx, node, "ip", "route", what, route[0], "via", route[1])
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
	return func() error { return change(context.Background(), "del") }, change(ctx, "replace")
}

// NextHops is to how many others a host's kernel spreads packets for an address, by a route of its own.
func (l *Lab) NextHops(ctx context.Context, host string, a netip.Addr) (int, error) {
	family := "-4"
	if a.Is6() {
		family = "-6"
	}
	out, err := l.Cluster.Exec(ctx, host, "ip", family, "-j", "route", "show", "exact", netip.PrefixFrom(a, a.BitLen()).String())
	if err != nil {
		return 0, err
	}
	var routes []struct {
		Nexthops []json.RawMessage `json:"nexthops"`
	}
	if err := json.Unmarshal([]byte(out), &routes); err != nil {
		return 0, fmt.Errorf("asking %s for the route to %s: ip says %q: %w", host, a, out, err)
	}
	n := 0
	for _, r := range routes {
		n += max(1, len(r.Nexthops))
	}
	return n, nil
}
