package findings

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/words"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
	"github.com/fairlead/fairlead/plural"
	"github.com/fairlead/fairlead/service"
)

// addresses finds those in use that nobody announces, and those outside of pools.
func addresses(s *Snapshot) []Finding {
	var out []Finding
	for i := range s.Addresses {
		a := &s.Addresses[i]
		f := Finding{Kind: "Address", Name: a.Spec.Address, See: "kubectl fairlead explain address " + a.Spec.Address}
		if c := words.NotAnnounced(a); c != nil {
			f.Severity, f.What, f.Why = Down, "not announced: "+c.Reason, strings.TrimSpace(c.Message+" "+words.Remedy(c.Reason))
			out = append(out, f)
			continue
		}
		if c := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.AddressInPool); c != nil && c.Status == metav1.ConditionFalse && a.Spec.State == v1alpha1.AddressBound {
			f.Severity, f.What, f.Why = Warning, "in use and in no pool", c.Message
			out = append(out, f)
		}
	}
	words.ByAddress(out, func(f *Finding) string { return f.Name })
	return out
}

// ourGateways are those whose class is Fairlead's.
func (s *Snapshot) ourGateways() []*gatewayv1.Gateway {
	ours := map[gatewayv1.ObjectName]bool{}
	for i := range s.Classes {
		if s.Classes[i].Spec.ControllerName == gateway.ControllerName {
			ours[gatewayv1.ObjectName(s.Classes[i].Name)] = true
		}
	}
	var out []*gatewayv1.Gateway
	for i := range s.Gateways {
		if ours[s.Gateways[i].Spec.GatewayClassName] {
			out = append(out, &s.Gateways[i])
		}
	}
	return out
}

// gateways finds Gateways that are not accepted or not programmed, and those of which
// Envoy does not take a part. One that was
// programmed before may serve on.
func gateways(s *Snapshot) []Finding {
	var out []Finding
	for _, gw := range s.ourGateways() {
		f := Finding{
			Severity: Down, Kind: gateway.KindGateway, Namespace: gw.Namespace, Name: gw.Name,
			See: fmt.Sprintf("kubectl fairlead explain gateway -n %s %s", gw.Namespace, gw.Name),
		}
		for _, kind := range []gatewayv1.GatewayConditionType{gatewayv1.GatewayConditionAccepted, gatewayv1.GatewayConditionProgrammed} {
			c := meta.FindStatusCondition(gw.Status.Conditions, string(kind))
			switch {
			case c == nil || c.Status == metav1.ConditionUnknown:
				f.What, f.Why = "no controller has taken it", "Does the controller run, and does one lead? Look at its pods and log."
			case c.Status == metav1.ConditionFalse:
				f.What, f.Why = fmt.Sprintf("not %s: %s", kind, c.Reason), c.Message
			default:
				continue
			}
			out = append(out, f)
			break
		}
		if c := meta.FindStatusCondition(gw.Status.Conditions, gateway.ConditionRejected); c != nil {
			f.Severity, f.What, f.Why = Degraded, "Envoy does not take a part", c.Message
			out = append(out, f)
		}
	}
	return out
}

// peerNames are all peers that are known, also by their sessions alone.
func peerNames(s *Snapshot) []string {
	names := map[string]bool{}
	for i := range s.Peers {
		names[s.Peers[i].Name] = true
	}
	for i := range s.Speakers {
		if b := s.Speakers[i].Status.BGP; b != nil {
			for _, session := range b.Sessions {
				names[session.Peer] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// peers finds peers that some node has no session with, and sessions that BFD should watch and cannot.
func peers(s *Snapshot) []Finding {
	var out []Finding
	for _, name := range peerNames(s) {
		var up int
		var down []string
		var last *v1alpha1.SpeakerError
		address := ""
		for i := range s.Speakers {
			b := s.Speakers[i].Status.BGP
			if b == nil {
				continue
			}
			for _, session := range b.Sessions {
				switch {
				case session.Peer != name:
					continue
				case session.State == v1alpha1.SessionEstablished:
					up++
				default:
					down = append(down, s.Speakers[i].Name)
					if e := session.LastError; e != nil && (last == nil || last.At.Before(&e.At)) {
						last = e
					}
				}
				address = cmp.Or(address, session.Address)
			}
		}
		if f := s.peer(name, address, up, down, last); f != nil {
			out = append(out, *f)
		}
		if f := s.blind(name); f != nil {
			out = append(out, *f)
		}
	}
	return out
}

// blind is that BFD does not work for established sessions with a peer. Of those that are not established, more is wrong.
func (s *Snapshot) blind(name string) *Finding {
	var nodes []string
	sessions, why := 0, ""
	for i := range s.Speakers {
		b := s.Speakers[i].Status.BGP
		if b == nil {
			continue
		}
		for j := range b.Sessions {
			session := &b.Sessions[j]
			if session.Peer != name {
				continue
			}
			sessions++
			if session.BFDError != "" && session.State == v1alpha1.SessionEstablished {
				nodes, why = append(nodes, s.Speakers[i].Name), cmp.Or(why, session.BFDError)
			}
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	slices.Sort(nodes)
	return &Finding{
		Severity: Degraded, Kind: "BGPPeer", Name: name, See: "kubectl fairlead peers",
		What: fmt.Sprintf("no BFD on %d of %s", len(nodes), plural.Count(sessions, "node")), Why: "On " + plural.Some(nodes) + ". " + why,
	}
}

// peer is what is wrong with one peer.
func (s *Snapshot) peer(name, address string, up int, down []string, last *v1alpha1.SpeakerError) *Finding {
	f := &Finding{Severity: Degraded, Kind: "BGPPeer", Name: name, See: "kubectl fairlead peers"}
	i := slices.IndexFunc(s.Peers, func(p v1alpha1.BGPPeer) bool { return p.Name == name })
	if i >= 0 {
		if c := meta.FindStatusCondition(s.Peers[i].Status.Conditions, v1alpha1.PeerReady); c != nil && c.Status == metav1.ConditionFalse {
			f.What, f.Why = "not in use: "+c.Reason, c.Message
			return f
		}
	}
	switch {
	case len(down) > 0:
		slices.Sort(down)
		f.What = fmt.Sprintf("down on %d of %s", len(down), plural.Count(up+len(down), "node"))
		f.Why = "On " + plural.Some(down) + "."
		if address != "" {
			f.What = address + " " + f.What
		}
		if last != nil {
			f.Why += " " + last.Message
		}
	case up == 0 && i >= 0:
		f.Severity, f.What = Warning, "no node has a session"
		if c := meta.FindStatusCondition(s.Peers[i].Status.Conditions, v1alpha1.PeerEstablished); c != nil {
			f.Why = c.Message
		}
	default:
		return nil
	}
	return f
}

// speakers finds those that are gone, not ready, or have an error.
func speakers(s *Snapshot) []Finding {
	var out []Finding
	has := map[string]bool{}
	for i := range s.Speakers {
		sp := &s.Speakers[i]
		has[sp.Name] = true
		f := Finding{Severity: Degraded, Kind: "SpeakerStatus", Name: sp.Name, See: "kubectl fairlead announcers"}
		c := meta.FindStatusCondition(sp.Status.Conditions, v1alpha1.SpeakerReady)
		switch {
		case c != nil && c.Status != metav1.ConditionTrue:
			f.What, f.Why = "not ready: "+c.Reason, c.Message
		case len(sp.Status.Members.Missing) > 0:
			f.What, f.Why = "does not see all others", "Missing: "+plural.Some(sp.Status.Members.Missing)+". Port 7950, TCP and UDP, must be open between nodes."
		case sp.Status.LastError != nil:
			f.What, f.Why = "has an error", sp.Status.LastError.Message
		default:
			continue
		}
		out = append(out, f)
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		f := Finding{Severity: Degraded, Kind: "Node", Name: n.Name, See: "kubectl fairlead announcers"}
		switch {
		case !ready(n):
			f.What, f.Why = "not Ready", "Nothing is announced from it. See: kubectl describe node "+n.Name
		case !has[n.Name] && len(s.Speakers) > 0:
			f.Severity, f.What, f.Why = Warning, "no speaker", "Is its pod running there? Look at the DaemonSet of the speakers, and at the taints of the node."
		default:
			continue
		}
		out = append(out, f)
	}
	return out
}

func ready(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// services finds those that are contested, and those that wait.
func services(s *Snapshot) []Finding {
	var out []Finding
	for i := range s.Services {
		svc := &s.Services[i]
		if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		f := Finding{
			Kind: service.KindService, Namespace: svc.Namespace, Name: svc.Name,
			See: fmt.Sprintf("kubectl fairlead explain service -n %s %s", svc.Namespace, svc.Name),
		}
		if c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionContested); c != nil && c.Status == metav1.ConditionTrue {
			f.Severity, f.What, f.Why = Degraded, "contested: "+c.Reason, c.Message
			out = append(out, f)
		}
		if c := meta.FindStatusCondition(svc.Status.Conditions, tell.Condition); tell.Refused(c) {
			f.Severity, f.What, f.Why = Waiting, "its takeover is refused", c.Message
			out = append(out, f)
		}
		c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAddress)
		class := svc.Spec.LoadBalancerClass
		switch {
		case c != nil && c.Reason == service.ReasonHandedOver: // it has no address, and shall have none
			continue
		case c != nil && c.Status != metav1.ConditionTrue:
			f.Severity, f.What, f.Why = Waiting, "waits: "+c.Reason, c.Message
		case c != nil && c.Reason == service.ReasonKept:
			f.Severity, f.What, f.Why = Waiting, "keeps what it has", c.Message
		case c == nil && class != nil && *class == v1alpha1.LoadBalancerClass:
			f.Severity, f.What, f.Why = Down, "no controller has taken it", "Does the controller run, and does one lead? Look at its pods and log."
		default:
			continue
		}
		out = append(out, f)
	}
	return out
}
