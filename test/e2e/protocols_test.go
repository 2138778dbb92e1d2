//go:build e2e

package e2e

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// dns starts a DNS server and waits for it.
func (w *world) dns(name string) {
	w.Helper()
	w.apply(lab.DNS(w.namespace, name, 1)...)
	if err := w.AwaitReady(w.ctx, w.namespace, name); err != nil {
		w.Fatal(err)
	}
}

// resolves waits until a DNS server answers the client host.
func (w *world) resolves(network string, a netip.Addr, port uint16) {
	w.Helper()
	w.await("an answer by "+network+" at "+netip.AddrPortFrom(a, port).String(), func(ctx context.Context) error {
		return w.AskDNS(ctx, testbed.Client, network, a, port)
	})
}

// dnsPorts replaces a Service's ports by one of a DNS server for each protocol.
func dnsPorts(port int32, protocols ...corev1.Protocol) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Spec.Ports = nil
		for _, p := range protocols {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
				Name: strings.ToLower(string(p)), Protocol: p, Port: port, TargetPort: intstr.FromInt32(lab.DNSPort),
			})
		}
	}
}

// One Service serves TCP and UDP on the same number, at both of its addresses.
func TestServiceWithTCPAndUDPAnswersOnBoth(t *testing.T) {
	w := newWorld(t, "172.30.0.100-172.30.0.109", "fd00:30::100-fd00:30::10f")
	w.dns("dns")
	for _, a := range w.service("mixed", "dns", 2, lab.DualStack, dnsPorts(53, corev1.ProtocolTCP, corev1.ProtocolUDP)) {
		w.resolves("tcp", a, 53)
		w.resolves("udp", a, 53)
		w.oneAnswer(a)
		w.await("a refusal of UDP where nobody serves it", func(ctx context.Context) error { return w.udpRefused(ctx, a, 54) })
	}
}

// Two Services share one address and one port number: one has it for TCP, the
// other for UDP, and each gets what is its own. A protocol is refused as long as
// nobody has it.
func TestServicesShareOneNumberByProtocol(t *testing.T) {
	w := newWorld(t, "172.30.0.100-172.30.0.109", "fd00:30::100-fd00:30::10f")
	w.backend("echo", 1)
	w.dns("dns")
	share := lab.Annotate(v1alpha1.AnnotationSharingKey, "k")
	stream := w.service("stream", "echo", 2, share, lab.DualStack, lab.Port(443))
	for _, a := range stream {
		w.answers(a, 443)
		w.await("a refusal of UDP while only TCP is served", func(ctx context.Context) error { return w.udpRefused(ctx, a, 443) })
	}
	datagram := w.service("datagram", "dns", 2, share, lab.DualStack, dnsPorts(443, corev1.ProtocolUDP))
	for i, a := range stream {
		if datagram[i] != a {
			t.Fatalf("the Services have %v and %v, want the same", stream, datagram)
		}
		if got := w.answers(a, 443); !strings.HasPrefix(got.Pod, "echo-") {
			t.Errorf("TCP at %s is answered by %q", a, got.Pod)
		}
		w.resolves("udp", a, 443)
		w.oneAnswer(a)
		o, err := w.address(w.ctx, a)
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Spec.Holders) != 2 || o.Spec.State != v1alpha1.AddressBound {
			t.Errorf("the ledger has %s as %s, held by %s", a, o.Spec.State, o.Spec.Summary)
		}
	}
	if err := w.Client.Delete(w.ctx, lab.LoadBalancer(w.namespace, "stream", "echo")); err != nil {
		t.Fatal(err)
	}
	for _, a := range datagram {
		w.await("a refusal of TCP when only UDP is left", func(ctx context.Context) error { return w.tcpRefused(ctx, a, 443) })
		w.resolves("udp", a, 443)
	}
}
