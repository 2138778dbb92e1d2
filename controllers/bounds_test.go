package controllers

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// outside waits until Addresses say that they lie in no pool, or no longer do.
func (w *world) outside(want bool, ips ...string) {
	w.t.Helper()
	for _, ip := range ips {
		w.eventually(fmt.Sprintf("%s lies in no pool: %v", ip, want), func() error {
			c := meta.FindStatusCondition(w.address(ip).Status.Conditions, v1alpha1.AddressInPool)
			if (c != nil && c.Status == metav1.ConditionFalse) != want {
				return fmt.Errorf("it says %+v", c)
			}
			return nil
		})
	}
}

// Whether an Address lies in a pool is said anew when the pools are others, and not
// by the pools that were there when somebody last looked.
func TestAddressesFollowTheBoundsOfPools(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("public", nil, "192.0.2.10-192.0.2.20")
	r := w.start(func(o *Options, _ *manager.Options) { o.Settle = 30 * time.Millisecond })
	w.service("a")
	w.has("a", "192.0.2.10")
	w.create(&v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: "192.0.2.15"}, Spec: v1alpha1.AddressSpec{Address: "192.0.2.15"}})
	w.addressIs("192.0.2.15", v1alpha1.AddressReserved)
	w.settled(r)
	for _, c := range []struct {
		ranges  v1alpha1.AddressRange
		outside bool
	}{{"192.0.2.64/28", true}, {"192.0.2.8/29", false}, {"192.0.2.64/28", true}} {
		w.eventually("the pool is edited", func() error {
			if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(pool), pool); err != nil {
				return err
			}
			pool.Spec.Addresses = []v1alpha1.AddressRange{c.ranges}
			return w.c.Update(w.ctx(), pool)
		})
		w.outside(c.outside, "192.0.2.10", "192.0.2.15")
		w.settled(r)
	}
}
