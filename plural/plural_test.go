package plural

import "testing"

func TestCount(t *testing.T) {
	for _, tt := range []struct {
		n    int
		one  string
		want string
	}{
		{1, "address", "1 address"},
		{0, "address", "0 addresses"},
		{3, "address", "3 addresses"},
		{2, "node", "2 nodes"},
		{2, "Gateway", "2 Gateways"},
		{2, "policy", "2 policies"},
		{2, "BGP peer", "2 BGP peers"},
		{2, "GatewayClass", "2 GatewayClasses"},
		{2, "Community", "2 Communities"},
		{2, "prefix", "2 prefixes"},
		{1, "CiliumL2AnnouncementPolicy", "1 CiliumL2AnnouncementPolicy"},
		{2, "CiliumL2AnnouncementPolicy", "2 CiliumL2AnnouncementPolicies"},
		{2, "IPAddressPool", "2 IPAddressPools"},
		{2, "BFDProfile", "2 BFDProfiles"},
		{2, "y", "2 ys"},
	} {
		if got := Count(tt.n, tt.one); got != tt.want {
			t.Errorf("%d of %s: %q, want %q", tt.n, tt.one, got, tt.want)
		}
	}
}

func TestSome(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for n, want := range map[int]string{0: "", 1: "a", 2: "a, b", 5: "a, b, c, d, e", 6: "a, b, c, d, e, f", 7: "a, b, c, d, e and 2 more", 8: "a, b, c, d, e and 3 more"} {
		if got := Some(names[:n]); got != want {
			t.Errorf("%d names: %q, want %q", n, got, want)
		}
	}
}
