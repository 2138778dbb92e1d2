package plan

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/gateway/fleet"
)

// notes tells of what a Service has and a Gateway has not, or has otherwise.
func (t *toGateway) notes() {
	holds, _ := fleet.Merge(t.in.Cluster.configOf(t.class), t.in.Cluster.ownConfig(t.live))
	t.noteClients(&holds)
	t.noteAffinity()
	t.noteStreams(&holds)
	t.noteRequests(&holds)
	t.noteNodePorts()
	t.noteMode()
	t.noteElse()
	if t.live != nil {
		t.noteOwnAddress()
	}
}

func (t *toGateway) has(match func(way) bool) []string {
	var out []string
	for _, w := range t.ways {
		if match(w) {
			out = append(out, fmt.Sprintf("%d/%s", w.port.Port, protocolOf(&w.port)))
		}
	}
	return out
}

func portsWords(ports []string) string {
	if len(ports) == 1 {
		return "port " + ports[0]
	}
	return "ports " + strings.Join(ports, ", ")
}

func (t *toGateway) noteClients(holds *fleet.Config) {
	streams := t.has(func(w way) bool { return !w.requests() })
	why, weight := "Pods are reached from Envoys, and see an Envoy's address in place of the client's or a node's.", Changed
	if t.local() && len(streams) > 0 {
		weight = Lost
		why = fmt.Sprintf("The Service is Local, so pods see the client's address. Behind a Gateway they see an Envoy's; on %s nothing tells them the client's.", portsWords(streams))
	}
	if len(streams) < len(t.ways) {
		why += " Requests of HTTP bring it in X-Forwarded-For."
	}
	t.p.note(weight, "client addresses", why, "NetworkPolicies of the pods must admit the Envoys, which run in Fairlead's namespace. Envoys log the client's address (accessLog of a GatewayConfig).")
	if !t.local() && holds.TrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		t.p.note(Changed, "spec.externalTrafficPolicy", "The Service is Cluster: any node serves it. The Gateway is Local: the address is announced only from nodes with an Envoy that serves it.",
			"With a fleet that runs on few nodes, see that an advertisement selects these.")
	}
}

func (t *toGateway) noteAffinity() {
	if t.svc.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return
	}
	t.p.note(Lost, "spec.sessionAffinity", "ClientIP keeps a client on one pod. Envoys choose a pod for each connection, and for each request of HTTP.",
		"For HTTP set sessionPersistence in the HTTPRoute (a cookie or header). For TCP and UDP there is none: keep the Service if the pods need it.")
}

// lasting shows a time as people write it.
func lasting(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (t *toGateway) noteStreams(holds *fleet.Config) {
	tcp := t.has(func(w way) bool { return !w.requests() && !w.udp() })
	if idle := holds.Timeouts.TCPIdle; len(tcp) > 0 && idle > 0 {
		t.p.note(Changed, portsWords(tcp), fmt.Sprintf("Envoy closes a connection on which nothing was sent for %s. kube-proxy leaves them open for days.", lasting(idle)),
			"If clients stay silent for longer, set timeouts.tcpIdle in the GatewayConfig of the class.")
	}
	if udp := t.has(way.udp); len(udp) > 0 {
		t.p.note(Changed, portsWords(udp), fmt.Sprintf("A UDP client that sends nothing for %s begins anew, perhaps with another pod. Flows that are open during the takeover may move to the Gateway at once.", lasting(holds.Timeouts.UDPIdle)),
			"Protocols that ask once and are answered once (DNS) do not notice.")
	}
}

func (t *toGateway) noteRequests(holds *fleet.Config) {
	ports := t.has(way.requests)
	if len(ports) == 0 {
		return
	}
	why := fmt.Sprintf("Envoy reads and writes the requests: it sets X-Forwarded-For and X-Request-Id, refuses what is not HTTP, and headers above %d KiB.", holds.Limits.RequestHeadersKiB)
	if idle := holds.Timeouts.StreamIdle; idle > 0 {
		why += fmt.Sprintf(" A request or WebSocket on which nothing is sent for %s ends.", lasting(idle))
	}
	do := "Set limits and timeouts in the GatewayConfig of the class"
	if n := t.has(func(w way) bool { return w.requests() && w.kind != "GRPCRoute" }); len(n) > 0 {
		do += ", or have the port carried as bytes: --tcp " + strings.Split(n[0], "/")[0]
	}
	t.p.note(Changed, portsWords(ports), why, do+".")
}

func (t *toGateway) noteNodePorts() {
	var ports []string
	for _, port := range t.svc.Spec.Ports {
		if port.NodePort != 0 {
			ports = append(ports, fmt.Sprint(port.NodePort))
		}
	}
	if len(ports) > 0 {
		t.p.note(Stays, "node ports", fmt.Sprintf("%s go on while the Service is of type LoadBalancer or NodePort. The Gateway has none.", strings.Join(ports, ", ")),
			"If nobody uses them, there is nothing to do.")
	}
	if n := t.svc.Spec.HealthCheckNodePort; n != 0 {
		t.p.note(Stays, "spec.healthCheckNodePort", fmt.Sprintf("%d goes on to tell of the Service's pods, and nothing like it tells of the Gateway's Envoys.", n),
			"If a balancer of yours asks it, have that one ask for the address itself.")
	}
}

func (t *toGateway) noteMode() {
	for _, i := range t.svc.Status.LoadBalancer.Ingress {
		if i.IPMode != nil && *i.IPMode == corev1.LoadBalancerIPModeProxy {
			t.p.note(Changed, "ipMode", "The Service's address has ipMode Proxy: clients inside of the cluster go out to it. That of a Gateway is VIP: kube-proxy takes them to an Envoy at once.", "")
			return
		}
	}
}

func (t *toGateway) noteElse() {
	s := &t.svc.Spec
	if len(s.ExternalIPs) > 0 {
		t.p.note(Stays, "spec.externalIPs", fmt.Sprintf("%s stay with the Service: kube-proxy serves them whoever has the address.", strings.Join(s.ExternalIPs, ", ")),
			"They are deprecated in Kubernetes 1.36; ask for such an address in spec.addresses of a Gateway.")
	}
	if s.TrafficDistribution != nil {
		t.p.note(Changed, "spec.trafficDistribution", fmt.Sprintf("%s counts for kube-proxy. Envoys choose among all ready pods.", *s.TrafficDistribution), "")
	}
	if s.LoadBalancerIP != "" {
		t.p.note(Stays, "spec.loadBalancerIP", "It is deprecated. A new Gateway asks for the address in spec.addresses.",
			"Remove it from the Service when the takeover is done.")
	}
	if raw := t.svc.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey]; raw != "" && len(s.LoadBalancerSourceRanges) == 0 {
		t.p.note(Stays, "annotation "+corev1.AnnotationLoadBalancerSourceRangesKey, "kube-proxy does not follow it, so nobody is kept out today, nor will be.", "If somebody should be, write spec.loadBalancerSourceRanges and plan again.")
	}
}

// noteOwnAddress tells of addresses that the Gateway has already.
func (t *toGateway) noteOwnAddress() {
	var other []string
	for _, a := range t.live.Status.Addresses {
		mine := false
		for _, b := range t.p.Addresses {
			mine = mine || a.Value == b.String()
		}
		if !mine {
			other = append(other, a.Value)
		}
	}
	if len(other) > 0 {
		t.p.note(Lost, t.in.To.String(), fmt.Sprintf("It has %s, and is to have %s in its place: in the end it gives up what it has of the same family. All its listeners are reached by %s then.", strings.Join(other, ", "), addressWords(t.p.Addresses), addressWords(t.p.Addresses)),
			"If clients use its own address, use a Gateway of its own (--create).")
	}
}
