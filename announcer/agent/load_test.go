package agent

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// ledgerCache is a cache of which only reading one object works.
type ledgerCache struct {
	cache.Cache
	client client.Client
}

func (c ledgerCache) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return c.client.Get(ctx, key, o, opts...)
}

// What is known of a Service's endpoints would be old when it has an address again: all its nodes would be new.
func TestServiceIsForgottenWithItsLastAddress(t *testing.T) {
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	ledger := fake.NewClientBuilder().WithScheme(scheme).Build()
	a := &Agent{cfg: Config{Cache: ledgerCache{client: ledger}, Clock: clock.RealClock{}, Log: logr.Discard()}, loop: newLoop()}
	web := types.NamespacedName{Namespace: "shop", Name: "web"}
	load := func(ip string) {
		name := v1alpha1.AddressName(netip.MustParseAddr(ip))
		a.load(t.Context(), name, time.Now(), map[netip.Addr]bool{})
	}
	known := func() (fresh, leave bool) {
		_, fresh = a.loop.fresh.since[web]
		_, leave = a.loop.leave[web]
		return fresh, leave
	}

	addresses := []string{"192.0.2.1", "2001:db8::1"}
	for _, ip := range addresses {
		o := &v1alpha1.Address{Spec: v1alpha1.AddressSpec{Address: ip, State: v1alpha1.AddressBound, Holders: []v1alpha1.AddressHolder{{
			HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: web.Namespace, Name: web.Name}, State: v1alpha1.AddressBound,
		}}}}
		o.Name = v1alpha1.AddressName(netip.MustParseAddr(ip))
		if err := ledger.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		load(ip)
	}
	a.loop.fresh.since[web], a.loop.leave[web] = map[string]time.Time{"a": {}}, map[string]time.Time{"a": {}}

	load(addresses[0]) // as it was
	if fresh, leave := known(); !fresh || !leave {
		t.Fatalf("the Service has two addresses, of which one is read again: known as new %t, as leaving %t", fresh, leave)
	}
	for left, ip := range addresses {
		o := &v1alpha1.Address{}
		o.Name = v1alpha1.AddressName(netip.MustParseAddr(ip))
		if err := ledger.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		load(ip)
		want := left == 0
		if fresh, leave := known(); fresh != want || leave != want {
			t.Errorf("after %s is gone: known as new %t, as leaving %t, want %t", ip, fresh, leave, want)
		}
	}
	if len(a.loop.byService) != 0 {
		t.Errorf("addresses are left that depend on %v", a.loop.byService)
	}
}
