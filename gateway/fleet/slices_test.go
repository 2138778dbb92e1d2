package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func many(n int) []Envoy {
	var out []Envoy
	for i := range n {
		out = append(out, Envoy{Name: fmt.Sprintf("e-%d", i), Node: fmt.Sprintf("node%d", i), IPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}, Ready: true, Serving: true})
	}
	return out
}

func TestEveryEnvoyIsListedOnce(t *testing.T) {
	for _, n := range []int{1, 50, 51, 150, 1500} {
		seen := map[string]int{}
		for _, s := range front().Slices(many(n), 0) {
			if len(s.Endpoints) > fullSlice {
				t.Errorf("%d Envoys: a slice has %d", n, len(s.Endpoints))
			}
			for _, e := range s.Endpoints {
				seen[e.Addresses[0]]++
			}
		}
		if len(seen) != n {
			t.Errorf("%d Envoys: %d are listed", n, len(seen))
		}
		for a, times := range seen {
			if times != 1 {
				t.Errorf("%s is listed %d times", a, times)
			}
		}
	}
}

func TestAChangedEnvoyChangesOneSlice(t *testing.T) {
	before := many(150)
	old := front().Slices(before, 0)
	changed := func(now []Envoy) (n int) {
		next := front().Slices(now, len(old))
		if len(next) != len(old) {
			t.Fatalf("%d slices became %d", len(old), len(next))
		}
		for i := range next {
			if !cmp.Equal(next[i], old[i]) {
				n++
			}
		}
		return n
	}
	if n := changed(append(many(150), Envoy{Name: "surge", Node: "node7", IPs: []netip.Addr{netip.MustParseAddr("10.9.9.9")}})); n != 1 {
		t.Errorf("one more Envoy changes %d slices", n)
	}
	if n := changed(before[1:]); n != 1 {
		t.Errorf("one Envoy less changes %d slices", n)
	}
	if n := changed(before); n != 0 {
		t.Errorf("the same Envoys change %d slices", n)
	}
}

func TestTheNumberOfSlicesIsSteady(t *testing.T) {
	for _, tt := range []struct{ endpoints, have, want int }{
		{1, 0, 1},
		{50, 0, 1},
		{51, 0, 2},
		{150, 0, 3},
		{100, 1, 1}, // kept until they are full
		{101, 1, 3},
		{165, 3, 3},
		{75, 3, 3}, // and until they are nearly empty
		{74, 3, 2},
		{0, 1, 1},
	} {
		if got := shardsFor(tt.endpoints, tt.have); got != tt.want {
			t.Errorf("%d endpoints in %d slices: %d, want %d", tt.endpoints, tt.have, got, tt.want)
		}
	}
}

// Envoys have addresses of both families where pods do, whatever the Gateway has.
func TestOnlyFamiliesOfTheServiceAreListed(t *testing.T) {
	envoys := many(3)
	for i := range envoys {
		envoys[i].IPs = append(envoys[i].IPs, netip.MustParseAddr(fmt.Sprintf("fd00::%d", i+1)))
	}
	const four, six = corev1.IPv4Protocol, corev1.IPv6Protocol
	for _, families := range [][]corev1.IPFamily{{four}, {six}, {four, six}, nil} {
		f := front()
		f.Families = families
		want := families
		if want == nil {
			want = []corev1.IPFamily{four, six}
		}
		var got []corev1.IPFamily
		for _, s := range f.Slices(envoys, 0) {
			got = append(got, corev1.IPFamily(s.AddressType))
		}
		if !slices.Equal(got, want) {
			t.Errorf("a Service of %v has slices of %v, want %v", families, got, want)
		}
	}
}

func TestFamiliesWithoutEnvoysHaveNoSlice(t *testing.T) {
	for _, s := range front().Slices(many(3), 0) {
		if s.AddressType != discoveryv1.AddressTypeIPv4 {
			t.Errorf("a slice of %s without an endpoint", s.AddressType)
		}
	}
}
