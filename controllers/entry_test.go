package controllers

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/pools"
)

func entryAddress(t *testing.T, o *v1alpha1.Address) netip.Addr {
	t.Helper()
	e, err := pools.ReadAddress(o)
	if err != nil {
		t.Fatal(err)
	}
	return e.Address
}

func TestEntriesSurviveTheLedger(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	key := allocator.Key{Kind: "Service", Namespace: "shop", Name: "api"}
	holder := allocator.Holding{
		Key: key, UID: "u", Ports: []allocator.Port{{Protocol: "TCP", Port: 80}}, SharingKey: "k", ShareWith: []string{"*"}, Local: true,
		Endpoints: "api", Advertised: map[string]string{"a": "b"}, Since: at, Needs: []netip.Addr{v4, v6}, Bound: true,
	}
	pending := holder
	pending.Bound = false
	single := holder
	single.Needs = []netip.Addr{v4}
	second := single
	second.Key.Name, second.Since = "web", at.Add(time.Hour)
	taker := pending
	taker.Key, taker.Since = allocator.Key{Kind: "Gateway", Namespace: "shop", Name: "edge"}, at.Add(time.Hour)
	taker.Takeover = &allocator.Takeover{From: key, FromUID: "u", Phase: "Requested", Since: at}
	takesAll := taker
	takesAll.Takeover = &allocator.Takeover{From: key, FromUID: "u", Also: []allocator.Giver{{Key: second.Key, UID: "v"}, {Key: allocator.Key{Kind: "Service", Namespace: "shop", Name: "x"}}}, Phase: "Shared", Since: at}
	for _, tt := range []struct {
		name    string
		entry   allocator.Entry
		state   v1alpha1.AddressState
		summary string
	}{
		{"bound", allocator.Entry{Address: v4, Pool: "public", Holders: []allocator.Holding{single}}, v1alpha1.AddressBound, "Service shop/api"},
		{"two families", allocator.Entry{Address: v6, Pool: "public", Holders: []allocator.Holding{holder}}, v1alpha1.AddressBound, "Service shop/api"},
		{"pending", allocator.Entry{Address: v4, Pool: "public", Holders: []allocator.Holding{pending}}, v1alpha1.AddressPending, "Service shop/api"},
		{"shared", allocator.Entry{Address: v4, Holders: []allocator.Holding{second, single}}, v1alpha1.AddressBound, "Service shop/api (+1)"},
		{"being taken over", allocator.Entry{Address: v4, Pool: "public", Holders: []allocator.Holding{single, taker}}, v1alpha1.AddressBound, "Service shop/api (+1)"},
		{"of a group", allocator.Entry{Address: v4, Pool: "public", Holders: []allocator.Holding{single, second, takesAll}}, v1alpha1.AddressBound, "Service shop/api (+2)"},
		{"reserved", allocator.Entry{Address: v4, ReservedFor: &key}, v1alpha1.AddressReserved, "- (for Service shop/api)"},
		{"set aside", allocator.Entry{Address: v4, ReservedFor: &pools.Nobody}, v1alpha1.AddressReserved, "- (set aside)"},
		{"retained", allocator.Entry{Address: v4, Pool: "public", Released: &allocator.Release{Key: key, At: at}}, v1alpha1.AddressRetained, "- (for Service shop/api)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AddressName(tt.entry.Address)}, Spec: specOf(tt.entry)}
			if o.Spec.State != tt.state || o.Spec.Summary != tt.summary {
				t.Errorf("state %s, summary %q", o.Spec.State, o.Spec.Summary)
			}
			back, err := pools.ReadAddress(o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.entry, back, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
				t.Error(diff)
			}
		})
	}
}
