//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
)

// Nobody but the controller, not even an administrator by mistake, writes who
// holds an address or removes one in use.
func TestOnlyTheControllerWritesTheLedger(t *testing.T) {
	w := newWorld(t, "172.30.0.230-172.30.0.239")
	a := w.service("s", "echo", 1)[0]
	o, err := w.address(w.ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error, words string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: got error %v, want one that says %q", what, err, words)
		}
	}
	refused("deleting an address in use", w.Client.Delete(w.ctx, o), "in use by Service "+w.namespace+"/s")
	forged := o.DeepCopy()
	forged.Spec.Holders[0].Name = "other"
	refused("changing a holder", w.Client.Update(w.ctx, forged), "only Fairlead's controller")
	unlocked := o.DeepCopy()
	unlocked.Finalizers = nil
	refused("removing the finalizer", w.Client.Update(w.ctx, unlocked), "fairlead.dev/in-use")
	held := &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: "172.30.0.239"}, Spec: v1alpha1.AddressSpec{
		Address: "172.30.0.239", State: v1alpha1.AddressBound,
		Holders: []v1alpha1.AddressHolder{{HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: w.namespace, Name: "s"}, State: v1alpha1.AddressBound}},
	}}
	refused("creating an address with a holder", w.Client.Create(w.ctx, held), "only Fairlead's controller")
}

// A person reserves an address by creating it; only the one it is for gets it.
func TestReservation(t *testing.T) {
	w := newWorld(t, "172.30.0.230-172.30.0.231")
	reserved := &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: "172.30.0.230"}, Spec: v1alpha1.AddressSpec{
		Address: "172.30.0.230", ReservedFor: &v1alpha1.HolderReference{Kind: "Service", Namespace: w.namespace, Name: "vip"},
	}}
	w.apply(reserved)
	defer w.Client.Delete(context.WithoutCancel(w.ctx), reserved)
	w.await("the controller to know of the reservation", func(ctx context.Context) error {
		var p v1alpha1.IPAddressPool
		if err := w.Client.Get(ctx, w.key(w.pool), &p); err != nil {
			return err
		}
		if p.Status.AvailableIPv4 != 1 {
			return fmt.Errorf("pool has %d available", p.Status.AvailableIPv4)
		}
		return nil
	})
	if got := w.service("other", "echo", 1)[0]; got.String() != "172.30.0.231" {
		t.Errorf("another Service got %s", got)
	}
	w.apply(lab.LoadBalancer(w.namespace, "thief", "echo", lab.LoadBalancerIP("172.30.0.230")))
	w.condition("thief", "fairlead.dev/Address", metav1.ConditionFalse, "")
	if got := w.service("vip", "echo", 1)[0]; got.String() != "172.30.0.230" {
		t.Errorf("the Service that the address is reserved for got %s", got)
	}
	if err := w.Client.Delete(w.ctx, lab.LoadBalancer(w.namespace, "vip", "echo")); err != nil {
		t.Fatal(err)
	}
	w.await("the reservation to stand again", func(ctx context.Context) error {
		o, err := w.address(ctx, mustAddr("172.30.0.230"))
		if err == nil && (o.Spec.ReservedFor == nil || len(o.Spec.Holders) > 0) {
			err = errors.New("it is " + string(o.Spec.State) + ", " + o.Spec.Summary)
		}
		return err
	})
}
