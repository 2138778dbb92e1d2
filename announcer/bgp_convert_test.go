package announcer

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

func TestFromBGPPeer(t *testing.T) {
	created := time.Unix(1700000000, 0)
	for name, c := range map[string]struct {
		in   v1alpha1.BGPPeerSpec
		want BGPPeer
	}{
		"defaults": {
			v1alpha1.BGPPeerSpec{MyASN: 64512, PeerASN: 4200000000, PeerAddress: "192.0.2.1"},
			BGPPeer{
				MyASN: 64512, PeerASN: 4200000000, Address: netip.MustParseAddr("192.0.2.1"), Port: 179,
				HoldTime: 90 * time.Second, KeepaliveTime: 30 * time.Second, ConnectTime: 10 * time.Second, PrefixLimit: 10000,
			},
		},
		"everything": {
			v1alpha1.BGPPeerSpec{
				MyASN: 64512, DynamicASN: v1alpha1.DynamicASNExternal, LocalASN: 64520, PeerAddress: "2001:db8::1", SourceAddress: "2001:db8::2",
				PeerPort: 1179, HoldTime: seconds(9), KeepaliveTime: seconds(2), ConnectTime: seconds(1), RouterID: "192.0.2.11",
				PasswordSecret: &v1alpha1.PasswordSecretReference{Name: "tor", Namespace: "other"}, BFDProfile: "fast", EnableGracefulRestart: true,
				GracefulRestart: &v1alpha1.GracefulRestart{RestartTime: seconds(60), LongLivedStaleTime: seconds(3600)}, EBGPMultiHop: true,
				TTLSecurityHops: ptr.To(int32(3)), PrefixLimit: ptr.To(int32(5)), VRF: "red", DualStackAddressFamily: true,
			},
			BGPPeer{
				MyASN: 64512, Dynamic: External, LocalASN: 64520, Address: netip.MustParseAddr("2001:db8::1"), Source: netip.MustParseAddr("2001:db8::2"),
				Port: 1179, HoldTime: 9 * time.Second, KeepaliveTime: 2 * time.Second, ConnectTime: time.Second, RouterID: netip.MustParseAddr("192.0.2.11"),
				PasswordSecret: "tor", BFDProfile: "fast", RestartTime: time.Minute, LongLivedStaleTime: time.Hour, MultiHop: true,
				TTLSecurityHops: 3, PrefixLimit: 5, VRF: "red", DualStack: true,
			},
		},
		"an interface": {
			v1alpha1.BGPPeerSpec{MyASN: 64512, DynamicASN: v1alpha1.DynamicASNInternal, Interface: "eth1", KeepaliveTime: seconds(5), EnableGracefulRestart: true, Password: "secret"},
			BGPPeer{
				MyASN: 64512, Dynamic: Internal, Interface: "eth1", Port: 179, HoldTime: 15 * time.Second, KeepaliveTime: 5 * time.Second,
				ConnectTime: 10 * time.Second, RestartTime: 2 * time.Minute, PrefixLimit: 10000, Password: "secret",
			},
		},
		"whole seconds": {
			v1alpha1.BGPPeerSpec{MyASN: 64512, PeerASN: 64512, PeerAddress: "192.0.2.1", HoldTime: seconds(4)},
			BGPPeer{
				MyASN: 64512, PeerASN: 64512, Address: netip.MustParseAddr("192.0.2.1"), Port: 179,
				HoldTime: 4 * time.Second, KeepaliveTime: time.Second, ConnectTime: 10 * time.Second, PrefixLimit: 10000,
			},
		},
		"no hold time": {
			v1alpha1.BGPPeerSpec{MyASN: 64512, PeerASN: 64512, PeerAddress: "192.0.2.1", HoldTime: seconds(0)},
			BGPPeer{MyASN: 64512, PeerASN: 64512, Address: netip.MustParseAddr("192.0.2.1"), Port: 179, ConnectTime: 10 * time.Second, PrefixLimit: 10000},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Name, c.want.Created = "tor", created
			got, err := FromBGPPeer(&v1alpha1.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "tor", CreationTimestamp: metav1.NewTime(created)}, Spec: c.in})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func seconds(n int) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(n) * time.Second}
}

func TestFromBGPPeerSaysWhatCannotBeUsed(t *testing.T) {
	_, err := FromBGPPeer(&v1alpha1.BGPPeer{
		ObjectMeta: metav1.ObjectMeta{Name: "tor"},
		Spec: v1alpha1.BGPPeerSpec{
			PeerAddress: "router", RouterID: "x", Password: "secret",
			NodeSelectors: []metav1.LabelSelector{{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}},
		},
	})
	for _, part := range []string{"BGPPeer tor: ", "peerAddress: ", "routerID: ", "nodeSelectors[0]: "} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error is %v, want %q in it", err, part)
		}
	}
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is in %v", err)
	}
	if _, err := FromBGPPeer(&v1alpha1.BGPPeer{}); err == nil {
		t.Error("a peer that is nowhere gave no error")
	}
}

func TestAPasswordDoesNotPrintItself(t *testing.T) {
	p := BGPPeer{Name: "tor", Password: "secret"}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{string(text), fmt.Sprint(p), fmt.Sprintf("%+v", p), fmt.Sprintf("%#v", p), fmt.Sprintf("%q", p.Password)} {
		if strings.Contains(s, "secret") || !strings.Contains(s, "(set)") {
			t.Errorf("it prints as %s", s)
		}
	}
}

func TestFromBGPAdvertisement(t *testing.T) {
	got, err := FromBGPAdvertisement(&v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "all"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bgpAd("all"), got); diff != "" {
		t.Error(diff)
	}
	in := &v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "edge"}, Spec: v1alpha1.BGPAdvertisementSpec{
		AggregationLength: ptr.To(int32(24)), AggregationLengthV6: ptr.To(int32(64)), LocalPref: 4294967295, Communities: []v1alpha1.CommunityReference{"64512:1"},
		IPAddressPools: []string{"public"}, Peers: []string{"tor"},
	}}
	want := BGPAdvertisement{Name: "edge", LengthV4: 24, LengthV6: 64, LocalPref: 4294967295, Communities: []string{"64512:1"}, Pools: []string{"public"}, Peers: []string{"tor"}}
	if got, err = FromBGPAdvertisement(in); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	bad := []metav1.LabelSelector{{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}}
	in.Spec.NodeSelectors, in.Spec.ServiceSelectors = bad, bad
	_, err = FromBGPAdvertisement(in)
	for _, part := range []string{"BGPAdvertisement edge: ", "nodeSelectors[0]: ", "serviceSelectors[0]: "} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error is %v, want %q in it", err, part)
		}
	}
}

func TestFromBFDProfile(t *testing.T) {
	want := BFDProfile{Name: "slow", Receive: 300 * time.Millisecond, Transmit: 300 * time.Millisecond, Echo: 50 * time.Millisecond, DetectMultiplier: 3, MinimumTTL: 254}
	in := &v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: "slow"}}
	if diff := cmp.Diff(want, FromBFDProfile(in)); diff != "" {
		t.Error(diff)
	}
	in.Spec = v1alpha1.BFDProfileSpec{
		ReceiveInterval: ptr.To(int32(10)), TransmitInterval: ptr.To(int32(20)), EchoInterval: ptr.To(int32(30)),
		DetectMultiplier: ptr.To(int32(5)), EchoMode: true, PassiveMode: true, MinimumTTL: ptr.To(int32(250)),
	}
	want = BFDProfile{
		Name: "slow", Receive: 10 * time.Millisecond, Transmit: 20 * time.Millisecond, Echo: 30 * time.Millisecond,
		DetectMultiplier: 5, EchoMode: true, Passive: true, MinimumTTL: 250,
	}
	if diff := cmp.Diff(want, FromBFDProfile(in)); diff != "" {
		t.Error(diff)
	}
}

func TestRangesIn(t *testing.T) {
	got := rangesIn([]v1alpha1.AddressRange{"192.0.2.0/25", "192.0.2.128 - 192.0.2.130", "192.0.2.20-192.0.2.10", "192.0.2.1-2001:db8::1", "here", "2001:db8::/64"})
	var words []string
	for _, r := range got.Ranges() {
		words = append(words, r.String())
	}
	if want := "192.0.2.0-192.0.2.130 2001:db8::-2001:db8::ffff:ffff:ffff:ffff"; strings.Join(words, " ") != want {
		t.Errorf("got %v, want %s", words, want)
	}
}

func TestCommunities(t *testing.T) {
	for in, want := range map[string]string{
		"64512:100": "64512:100", "0:0": "0:0", "65535:65535": "65535:65535", "large:1:2:4294967295": "large:1:2:4294967295",
		"no-export": "65535:65281", "no-advertise": "65535:65282", "no-export-subconfed": "65535:65283", "no-peer": "65535:65284",
		"blackhole": "65535:666", "graceful-shutdown": "65535:0", "accept-own": "65535:1",
		"": "", "65536:1": "", "1:2:3": "", "1": "", ":": "", "-1:1": "", "+1:1": "", "large:1:2": "", "large:1:2:4294967296": "", "LARGE:1:2:3": "", " 1:1": "",
	} {
		c, unknown := resolve([]string{in}, nil)
		got := routesInWords([]BGPRoute{{Peers: []RoutePeer{{Communities: c}}}})
		got = strings.Trim(strings.TrimPrefix(got, "invalid Prefix "), "()")
		if got != want || (want == "") != (len(unknown) == 1) {
			t.Errorf("%q is %q, unknown %q, want %q", in, got, unknown, want)
		}
	}
}
