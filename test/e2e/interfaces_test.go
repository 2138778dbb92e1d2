//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// Nodes with a second interface, on a segment of its own: an address is answered
// on the interfaces that its advertisement selects and on no other, and an
// interface that comes or goes later is followed.
func TestAdvertisementSelectsInterfaces(t *testing.T) {
	w := newWorld(t, "172.31.0.100-172.31.0.109", "fd00:31::100-fd00:31::10f")
	segment := w.segment("second")
	plug := func(host string, number int) string {
		t.Helper()
		if err := segment.Plug(host, "eth1", fmt.Sprintf("172.31.0.%d/24", number), fmt.Sprintf("fd00:31::%d/64", number)); err != nil {
			t.Fatal(err)
		}
		return w.hardwareAddress(host, "eth1")
	}
	plug(testbed.Client, 2)
	advertise := func(node string, interfaces ...string) {
		t.Helper()
		edit(w, w.advertisement(), func(a *v1alpha1.L2Advertisement) {
			a.Spec.Interfaces = interfaces
			a.Spec.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelHostname: node}}}
		})
	}
	advertise("node1", "eth1")
	w.backend("echo", 2)
	addresses := w.service("dual", "echo", 2, lab.DualStack)
	nobody := func() {
		t.Helper()
		for _, a := range addresses {
			w.unannounced(a, "NoInterface")
			w.answeredOn(a, "", "")
		}
	}

	nobody() // node1 has no eth1
	second := plug("node1", 11)
	first := w.hardwareAddress("node1", "eth0")
	for _, a := range addresses {
		w.announcer(a, "node1", func(n string) bool { return n == "node1" })
		w.answeredOn(a, "", second)
		w.answers(a, 80) // by eth1, where the client has its network
	}
	advertise("node1")
	for _, a := range addresses {
		w.answeredOn(a, first, second)
	}
	advertise("node1", "eth0")
	for _, a := range addresses {
		w.answeredOn(a, first, "")
	}
	advertise("node1", "eth0", "eth1")
	for _, a := range addresses {
		w.answeredOn(a, first, second)
	}

	advertise("node2", "eth1")
	nobody()
	later := plug("node2", 12)
	for _, a := range addresses {
		w.announcer(a, "node2", func(n string) bool { return n == "node2" })
		w.answeredOn(a, "", later)
		w.answers(a, 80)
	}
	if err := segment.Unplug("node2", "eth1"); err != nil {
		t.Fatal(err)
	}
	nobody()
}

// answeredOn waits until on the client's segments exactly these hardware
// addresses answer for an address: first on that of eth0, second on that of
// eth1; empty: nobody.
func (w *world) answeredOn(a netip.Addr, first, second string) {
	w.Helper()
	w.await(fmt.Sprintf("%s to be answered on eth0 by %q and on eth1 by %q", a, first, second), func(ctx context.Context) error {
		for _, want := range []struct{ iface, mac string }{{"eth0", first}, {"eth1", second}} {
			macs, err := w.whoHasOn(ctx, want.iface, a)
			if err != nil {
				return err
			}
			var wanted []string
			if want.mac != "" {
				wanted = []string{want.mac}
			}
			if !slices.Equal(macs, wanted) {
				return fmt.Errorf("on %s %v answer", want.iface, macs)
			}
		}
		return nil
	})
}
