//go:build e2e

package e2e

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// flow asks a DNS server over and over. By UDP it does so from one socket; by TCP on a new
// connection each time.
type flow struct {
	network string
	address netip.Addr
	cancel  context.CancelFunc
	done    chan struct{}

	asked, lost int
	last, first error // of the last question; the first that there was
}

// flows has clients ask at port 53 of addresses by a protocol, so many at each.
func (w *world) flows(network string, n int, addresses []netip.Addr) (all []*flow) {
	w.Helper()
	for _, a := range addresses {
		for range n {
			r, err := w.Resolver(w.ctx, testbed.Client, network, a, 53)
			if err != nil {
				w.Fatal(err)
			}
			ctx, cancel := context.WithCancel(w.ctx)
			f := &flow{network: network, address: a, cancel: cancel, done: make(chan struct{})}
			go func() {
				defer close(f.done)
				defer r.Close()
				f.run(ctx, w, r)
			}()
			w.Cleanup(f.stop)
			all = append(all, f)
		}
	}
	return all
}

func (f *flow) run(ctx context.Context, w *world, r *lab.Resolver) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// What was asked is waited for also at the end.
		asking := context.WithoutCancel(ctx)
		if f.network == "udp" {
			f.last = r.Ask(asking)
		} else {
			f.last = w.AskDNS(asking, testbed.Client, f.network, f.address, 53)
		}
		f.asked++
		if f.last == nil {
			continue
		}
		if f.lost++; f.first == nil {
			f.first = f.last
		}
	}
}

func (f *flow) stop() {
	f.cancel()
	<-f.done
}

// stopAll stops flows, and says what they have asked in all, and what was lost.
func stopAll(flows []*flow) (asked, lost int, last, first error) {
	var stopping sync.WaitGroup
	for _, f := range flows {
		stopping.Go(f.stop)
	}
	stopping.Wait()
	for _, f := range flows {
		asked, lost, last = asked+f.asked, lost+f.lost, errors.Join(last, f.last)
		if first == nil {
			first = f.first
		}
	}
	return asked, lost, last, first
}

// A Service with TCP and UDP hands both over, to routes of their own kinds. No connection
// fails; flows of UDP may move, and each is answered after it as before.
func TestTakeoverOfTCPAndUDP(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	w.dns("dns")
	inside := w.clusterIP("dns", "dns")
	dnsPorts(53, corev1.ProtocolTCP, corev1.ProtocolUDP)(inside)
	w.apply(inside)
	h := &handover{world: w, from: lab.ServiceSide(w.namespace, "legacy")}
	h.addresses = w.service("legacy", "dns", 2, lab.DualStack, dnsPorts(53, corev1.ProtocolTCP, corev1.ProtocolUDP))
	for _, a := range h.addresses {
		w.resolves("tcp", a, 53)
		w.resolves("udp", a, 53)
	}
	datagrams, streams := w.flows("udp", 5, h.addresses), w.flows("tcp", 1, h.addresses)
	class := w.class()
	h.dnsEdge(class)
	h.await("the takeover to be done", func(ctx context.Context) error { return h.TakenOver(ctx, h.from, h.to, h.addresses) })
	for _, a := range h.addresses {
		w.resolves("tcp", a, 53)
		w.resolves("udp", a, 53)
	}
	asked, lost, _, first := stopAll(streams)
	t.Logf("of %d connections %d failed: %v", asked, lost, first)
	if asked == 0 || lost > 0 {
		t.Errorf("of %d connections %d failed, want none: %v", asked, lost, first)
	}
	asked, lost, last, first := stopAll(datagrams)
	t.Logf("of %d questions by UDP %d were lost: %v", asked, lost, first)
	if asked == 0 || last != nil {
		t.Errorf("after %d questions by UDP a flow is lost: %v", asked, last)
	}
}

// dnsEdge makes a Gateway that takes over, with a route for each protocol.
func (h *handover) dnsEdge(class gatewayv1.ObjectName) {
	h.Helper()
	gw := lab.Gateway(h.namespace, "edge", string(class))
	gw.Spec.Listeners = []gatewayv1.Listener{
		{Name: "tcp", Port: 53, Protocol: gatewayv1.TCPProtocolType}, {Name: "udp", Port: 53, Protocol: gatewayv1.UDPProtocolType},
	}
	port := gatewayv1.PortNumber(53)
	backends := []gatewayv1.BackendRef{{BackendObjectReference: gatewayv1.BackendObjectReference{Name: "dns", Port: &port}}}
	parent := func(listener gatewayv1.SectionName) gatewayv1.CommonRouteSpec {
		return gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{Name: "edge", SectionName: &listener}}}
	}
	streams, datagrams := &gatewayv1.TCPRoute{}, &gatewayv1.UDPRoute{}
	streams.Namespace, streams.Name, streams.Spec.CommonRouteSpec = h.namespace, "tcp", parent("tcp")
	streams.Spec.Rules = []gatewayv1.TCPRouteRule{{BackendRefs: backends}}
	datagrams.Namespace, datagrams.Name, datagrams.Spec.CommonRouteSpec = h.namespace, "udp", parent("udp")
	datagrams.Spec.Rules = []gatewayv1.UDPRouteRule{{BackendRefs: backends}}
	h.takes(lab.GatewaySide(h.namespace, "edge", string(class)), gw)
	h.apply(streams, datagrams)
	h.agrees()
}
