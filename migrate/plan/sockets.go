package plan

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// socket is a port as clients see it.
type socket struct {
	protocol corev1.Protocol
	port     int32
}

func (s socket) String() string { return fmt.Sprintf("%d/%s", s.port, s.protocol) }

func socketsOf(svc *corev1.Service) []socket {
	var out []socket
	for i := range svc.Spec.Ports {
		out = append(out, socket{protocolOf(&svc.Spec.Ports[i]), svc.Spec.Ports[i].Port})
	}
	return out
}

func listening(gw *gatewayv1.Gateway) []socket {
	var out []socket
	for _, l := range gw.Spec.Listeners {
		s := socket{corev1.ProtocolTCP, l.Port}
		if l.Protocol == gatewayv1.UDPProtocolType {
			s.protocol = corev1.ProtocolUDP
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// checkSockets says what becomes of ports that the new holder has not.
func checkSockets(in *Input, p *Plan, from, to []socket) {
	var left []socket
	for _, s := range from {
		if !slices.Contains(to, s) {
			left = append(left, s)
		}
	}
	switch {
	case len(left) == 0:
	case len(left) == len(from):
		p.note(Blocked, "ports", fmt.Sprintf("%s has none of the ports of %s (%s).", in.To, in.From, joined(from)), "Name another holder, or give it the ports.")
	case in.Options.Ports == PortsDrop:
		p.note(Lost, "ports", fmt.Sprintf("%s has no %s: what clients have there ends with the takeover, as --ports drop says.", in.To, joined(left)), "")
	case in.Options.Ports == PortsKeep:
		p.Until = Shared
		p.note(Stays, "ports", fmt.Sprintf("%s has no %s, which %s serves on. So the takeover ends at Shared: both hold the address, and new connections to the other ports may come to either.", in.To, joined(left), in.From),
			"Do not delete the old holder. It goes on to Done by itself once the new one has the ports.")
	default:
		p.note(Blocked, "ports", fmt.Sprintf("%s has no %s%s.", in.To, joined(left), unknown(left)),
			"Give the new holder these ports, or choose what becomes of them: --ports keep (the old holder serves them on, and stays beside the new one) or --ports drop.")
	}
}

// unknown tells of protocols that no Gateway has.
func unknown(left []socket) string {
	if slices.ContainsFunc(left, func(s socket) bool { return s.protocol == corev1.ProtocolSCTP }) {
		return " (the Gateway API knows no SCTP)"
	}
	return ""
}
