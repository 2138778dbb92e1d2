package plan

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// way is how a port of a Service is carried by a Gateway.
type way struct {
	port     corev1.ServicePort
	protocol gatewayv1.ProtocolType
	kind     string   // of the route
	hosts    []string // of a TLSRoute
}

// udp tells whether the port takes datagrams.
func (w way) udp() bool { return w.protocol == gatewayv1.UDPProtocolType }

// requests tells whether Envoy reads requests on the port.
func (w way) requests() bool { return w.protocol == gatewayv1.HTTPProtocolType }

func portName(p *corev1.ServicePort) string { return fmt.Sprintf("port %d/%s", p.Port, protocolOf(p)) }

func protocolOf(p *corev1.ServicePort) corev1.Protocol {
	if p.Protocol == "" {
		return corev1.ProtocolTCP
	}
	return p.Protocol
}

// chooseWays says how each port is carried.
func chooseWays(in *Input, p *Plan, svc *corev1.Service) []way {
	var out []way
	for i := range svc.Spec.Ports {
		port := &svc.Spec.Ports[i]
		switch protocolOf(port) {
		case corev1.ProtocolTCP:
			out = append(out, chooseTCP(in, p, port))
		case corev1.ProtocolUDP:
			out = append(out, way{port: *port, protocol: gatewayv1.UDPProtocolType, kind: "UDPRoute"})
		}
	}
	return out
}

// chooseTCP says how a port of protocol TCP is carried.
func chooseTCP(in *Input, p *Plan, port *corev1.ServicePort) way {
	w := way{port: *port, protocol: gatewayv1.TCPProtocolType, kind: "TCPRoute"}
	said := ""
	if port.AppProtocol != nil {
		said = strings.ToLower(*port.AppProtocol)
	}
	switch {
	case slices.Contains(in.Options.Streams, port.Port):
	case len(in.Options.TLS[port.Port]) > 0:
		w.protocol, w.kind, w.hosts = gatewayv1.TLSProtocolType, "TLSRoute", in.Options.TLS[port.Port]
	case said == "grpc":
		w.protocol, w.kind = gatewayv1.HTTPProtocolType, "GRPCRoute"
	case slices.Contains(in.Options.HTTP, port.Port), said == "http", said == "kubernetes.io/h2c", said == "kubernetes.io/ws":
		w.protocol, w.kind = gatewayv1.HTTPProtocolType, "HTTPRoute"
	case said == "https", said == "kubernetes.io/wss", said == "tls":
		p.note(Stays, portName(port), fmt.Sprintf("appProtocol %s: TLS goes through to the pods untouched, as bytes.", *port.AppProtocol),
			fmt.Sprintf("To tell hosts apart on the port, pass it through by name: --tls %d=HOST.", port.Port))
	case said == "http2":
		p.note(Stays, portName(port), "appProtocol http2 is no name that Kubernetes knows, so the port is carried as bytes.",
			"Write kubernetes.io/h2c for HTTP/2 without TLS, and plan again.")
	}
	return w
}

func noSuchPort(p *Plan) string {
	if len(p.Also) > 0 {
		return fmt.Sprintf("None of %s has such a port of protocol TCP.", p.GiverWords())
	}
	return fmt.Sprintf("%s has no such port of protocol TCP.", p.From)
}

// checkPortsAsked finds ports of options that no Service has.
func checkPortsAsked(in *Input, p *Plan, ways []way) {
	asked := slices.Concat(in.Options.HTTP, in.Options.Streams)
	for n := range in.Options.TLS {
		asked = append(asked, n)
	}
	slices.Sort(asked)
	seen := map[int32]bool{}
	for _, n := range asked {
		if seen[n] {
			p.note(Blocked, fmt.Sprintf("port %d", n), "It is asked for in more than one way.", "Name it once in --http, --tcp and --tls.")
		}
		seen[n] = true
		if !slices.ContainsFunc(ways, func(w way) bool { return w.port.Port == n && !w.udp() }) {
			p.note(Blocked, fmt.Sprintf("port %d", n), noSuchPort(p), "Leave it out, or name one that it has.")
		}
	}
}
