//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/testbed"
)

// Who may connect to a Gateway is told by its GatewayConfig, and holds for TCP and UDP of both families, with either
// externalTrafficPolicy, whichever node a client comes by.
func TestGatewaySourceRanges(t *testing.T) {
	w := newWorld(t, "172.30.0.180-172.30.0.189", "fd00:30::180-fd00:30::18f")
	w.backend("echo", 2)
	w.dns("dns")
	config := &v1alpha1.GatewayConfig{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "few"}}
	strangers := []v1alpha1.SourceRange{"192.0.2.0/24", "2001:db8::/32"}
	config.Spec.SourceRanges = strangers
	config.Spec.Families = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	questions := w.clusterIP("dns", "dns")
	dnsPorts(53, corev1.ProtocolUDP)(questions)
	route := &gatewayv1.UDPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "dns"}}
	route.Spec.ParentRefs = []gatewayv1.ParentReference{{Name: "web", SectionName: new(gatewayv1.SectionName("dns"))}}
	route.Spec.Rules = []gatewayv1.UDPRouteRule{{BackendRefs: []gatewayv1.BackendRef{
		{BackendObjectReference: gatewayv1.BackendObjectReference{Name: "dns", Port: new(gatewayv1.PortNumber(53))}},
	}}}
	w.apply(config, w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"), questions, route)
	class := w.class()
	addresses := w.gateway("web", class, func(gw *gatewayv1.Gateway) {
		gw.Spec.Listeners = append(gw.Spec.Listeners, gatewayv1.Listener{Name: "dns", Port: 53, Protocol: gatewayv1.UDPProtocolType})
		gw.Spec.Infrastructure = &gatewayv1.GatewayInfrastructure{ParametersRef: &gatewayv1.LocalParametersReference{
			Group: "fairlead.dev", Kind: "GatewayConfig", Name: config.Name,
		}}
	})
	if len(addresses) != 2 {
		t.Fatalf("the Gateway has %v, want an address of each family", addresses)
	}
	w.allListed("web", class)
	for _, policy := range []corev1.ServiceExternalTrafficPolicy{corev1.ServiceExternalTrafficPolicyLocal, corev1.ServiceExternalTrafficPolicyCluster} {
		for _, may := range []bool{false, true} {
			edit(w, config, func(c *v1alpha1.GatewayConfig) {
				c.Spec.ExternalTrafficPolicy, c.Spec.SourceRanges = policy, strangers
				if may {
					c.Spec.SourceRanges = append([]v1alpha1.SourceRange{testbed.SegmentV4, testbed.SegmentV6}, strangers...)
				}
			})
			for _, node := range w.Cluster.Nodes() {
				back := w.enterBy(node, addresses)
				w.reach(addresses, may, fmt.Sprintf("by %s, with externalTrafficPolicy %s", node, policy))
				back()
			}
		}
	}
}

// enterBy has what the client sends to addresses go to a node, whoever announces them, until back is called.
func (w *world) enterBy(node string, addresses []netip.Addr) (back func()) {
	w.Helper()
	v4, v6, err := w.Cluster.HostAddresses(node)
	if err != nil {
		w.Fatal(err)
	}
	route := func(verb string) (err error) {
		for _, a := range addresses {
			via := v4
			if a.Is6() {
				via = v6
			}
			_, e := w.Cluster.Exec(w.ctx, testbed.Client, "ip", "route", verb, netip.PrefixFrom(a, a.BitLen()).String(), "via", via)
			err = errors.Join(err, e)
		}
		return err
	}
	if err := route("replace"); err != nil {
		w.Fatal(err)
	}
	return func() {
		if err := route("del"); err != nil {
			w.Error(err)
		}
	}
}

// reach waits until the client reaches the Gateway at none of its addresses or at all of them, by TCP and by UDP.
func (w *world) reach(addresses []netip.Addr, may bool, how string) {
	w.Helper()
	var all sync.WaitGroup
	for _, a := range addresses {
		for network, ask := range map[string]func(context.Context) error{
			"tcp": func(ctx context.Context) error { _, err := w.Get(ctx, testbed.Client, a, 80); return err },
			"udp": func(ctx context.Context) error { return w.AskDNS(ctx, testbed.Client, "udp", a, 53) },
		} {
			all.Go(func() {
				err := awaitReach(w.ctx, may, ask)
				if err != nil {
					w.Errorf("%s at %s, %s: %v", network, a, how, err)
				}
			})
		}
	}
	all.Wait()
}

// awaitReach waits for an answer, or for none twice in a row: one may be lost on a busy machine.
func awaitReach(ctx context.Context, may bool, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for silent := 0; ; {
		try, end := context.WithTimeout(ctx, time.Second)
		err := ask(try)
		end()
		if silent++; err == nil {
			silent = 0
		}
		switch {
		case err == nil && may, silent == 2 && !may:
			return nil
		case ctx.Err() != nil && may:
			return fmt.Errorf("it does not answer: %w", err)
		case ctx.Err() != nil:
			return errors.New("it goes on answering whom it should not")
		}
	}
}
