package findings

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/golden"
	"github.com/fairlead/fairlead/gateway"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func named(ns, name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }

func condition(kind string, status metav1.ConditionStatus, reason, message string) []metav1.Condition {
	return []metav1.Condition{{Type: kind, Status: status, Reason: reason, Message: message}}
}

func node(name string, ready corev1.ConditionStatus) corev1.Node {
	return corev1.Node{ObjectMeta: named("", name), Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}}
}

func speaker(name string, edit func(*v1alpha1.SpeakerStatusStatus)) v1alpha1.SpeakerStatus {
	s := v1alpha1.SpeakerStatus{ObjectMeta: named("", name)}
	s.Status.Conditions = condition(v1alpha1.SpeakerReady, metav1.ConditionTrue, "Works", "")
	edit(&s.Status)
	return s
}

func address(a string, edit func(*v1alpha1.Address)) v1alpha1.Address {
	o := v1alpha1.Address{ObjectMeta: named("", a), Spec: v1alpha1.AddressSpec{Address: a, Pool: "public", State: v1alpha1.AddressBound}}
	o.Status.Layer2 = &v1alpha1.Layer2Announcement{Node: "node1"}
	edit(&o)
	return o
}

func lb(ns, name string, class *string, conditions ...metav1.Condition) corev1.Service {
	s := corev1.Service{ObjectMeta: named(ns, name), Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: class}}
	s.Status.Conditions = conditions
	return s
}

func pool(name string, assigned, available int64, edit func(*v1alpha1.IPAddressPool)) v1alpha1.IPAddressPool {
	p := v1alpha1.IPAddressPool{ObjectMeta: named("", name)}
	p.Status.AssignedIPv4, p.Status.AvailableIPv4 = assigned, available
	p.Status.Conditions = condition(v1alpha1.PoolReady, metav1.ConditionTrue, "InUse", "")
	if assigned > 0 && available == 0 {
		p.Status.Conditions = append(p.Status.Conditions, condition(v1alpha1.PoolExhausted, metav1.ConditionTrue, "NoAddressLeft", "All IPv4 addresses are in use.")...)
	}
	edit(&p)
	return p
}

func none[T any](*T) {}

func fine() *Snapshot {
	class := gatewayv1.GatewayClass{ObjectMeta: named("", "fairlead"), Spec: gatewayv1.GatewayClassSpec{ControllerName: gateway.ControllerName}}
	web := gatewayv1.Gateway{ObjectMeta: named("shop", "web"), Spec: gatewayv1.GatewaySpec{GatewayClassName: "fairlead"}}
	web.Status.Conditions = append(condition("Accepted", metav1.ConditionTrue, "Accepted", ""), condition("Programmed", metav1.ConditionTrue, "Programmed", "")...)
	other := gatewayv1.Gateway{ObjectMeta: named("shop", "other"), Spec: gatewayv1.GatewaySpec{GatewayClassName: "istio"}}
	up := &v1alpha1.SpeakerBGP{Sessions: []v1alpha1.SpeakerSession{{Peer: "tor-1", Address: "10.0.0.1", State: v1alpha1.SessionEstablished}}}
	peer := v1alpha1.BGPPeer{ObjectMeta: named("", "tor-1")}
	peer.Status.Conditions = condition(v1alpha1.PeerReady, metav1.ConditionTrue, "InUse", "")
	return &Snapshot{
		Addresses: []v1alpha1.Address{address("192.0.2.1", none), address("192.0.2.2", func(a *v1alpha1.Address) { a.Spec.State, a.Status.Layer2 = v1alpha1.AddressReserved, nil })},
		Pools: []v1alpha1.IPAddressPool{
			pool("public", 5, 100, none), pool("single", 1, 0, none), pool("named", 8, 0, func(p *v1alpha1.IPAddressPool) { p.Spec.AutoAssign = ptr.To(false) }),
			pool("small", 1, 3, none), pool("leaving", 3, 0, func(p *v1alpha1.IPAddressPool) {
				p.Spec.Draining = true
				p.Status.Conditions[0].Status, p.Status.Conditions[0].Reason = metav1.ConditionFalse, "Draining"
			}),
		},
		Speakers:    []v1alpha1.SpeakerStatus{speaker("node1", func(s *v1alpha1.SpeakerStatusStatus) { s.BGP = up })},
		Peers:       []v1alpha1.BGPPeer{peer},
		L2:          []v1alpha1.L2Advertisement{{ObjectMeta: named("", "all")}},
		Communities: []v1alpha1.Community{{ObjectMeta: named("", "names"), Status: v1alpha1.CommunityStatus{Conditions: condition(v1alpha1.CommunityReady, metav1.ConditionFalse, notUsed, "")}}},
		Nodes:       []corev1.Node{node("node1", corev1.ConditionTrue)},
		Services:    []corev1.Service{lb("shop", "foreign", ptr.To("example.com/x")), lb("shop", "unclaimed", nil), {ObjectMeta: named("shop", "inside")}},
		Gateways:    []gatewayv1.Gateway{web, other},
		Classes:     []gatewayv1.GatewayClass{class},
		Now:         noon,
	}
}

func broken() *Snapshot {
	s := fine()
	dark := condition(v1alpha1.AddressAnnounced, metav1.ConditionFalse, "NoAdvertisement", "No L2Advertisement selects pool public. Create one.")
	s.Addresses = append(s.Addresses, address("192.0.2.20", func(a *v1alpha1.Address) { a.Status = v1alpha1.AddressStatus{Conditions: dark} }),
		address("192.0.2.3", func(a *v1alpha1.Address) { a.Status.Layer2 = nil }),
		address("203.0.113.9", func(a *v1alpha1.Address) {
			a.Status.Conditions = condition(v1alpha1.AddressInPool, metav1.ConditionFalse, "OutsidePools", "203.0.113.9 lies in no pool.")
		}))
	s.Pools = append(s.Pools, pool("full", 9, 0, none), pool("nearly", 98, 2, none), pool("new", 0, 9, func(p *v1alpha1.IPAddressPool) { p.Status.Conditions = nil }),
		pool("wrong", 0, 0, func(p *v1alpha1.IPAddressPool) {
			p.Status.Conditions = append(condition(v1alpha1.PoolReady, metav1.ConditionFalse, "InvalidSpec", "It ends before it begins."),
				condition(v1alpha1.PoolOverlapping, metav1.ConditionTrue, "Overlapping", "Pool public has some of it.")...)
		}))
	down := func(message string, at time.Time) []v1alpha1.SpeakerSession {
		return []v1alpha1.SpeakerSession{{Peer: "tor-1", Address: "10.0.0.1", State: v1alpha1.SessionActive, LastError: &v1alpha1.SpeakerError{Message: message, At: metav1.NewTime(at)}}}
	}
	blind := v1alpha1.SpeakerSession{
		Peer: "tor-2", Address: "10.0.0.2", State: v1alpha1.SessionEstablished, BFD: "Down", BFDError: "UDP port 3784 is in use on this node. Stop the other program.",
	}
	s.Speakers = append(s.Speakers,
		speaker("node3", func(x *v1alpha1.SpeakerStatusStatus) {
			x.BGP = &v1alpha1.SpeakerBGP{Sessions: down("OPEN refused: Bad Peer AS.", noon)}
			x.Members.Missing = []string{"node4"}
		}),
		speaker("node2", func(x *v1alpha1.SpeakerStatusStatus) {
			x.BGP = &v1alpha1.SpeakerBGP{Sessions: append(down("Older.", noon.Add(-time.Hour)), blind)}
			x.LastError = &v1alpha1.SpeakerError{Message: "eth7 is gone."}
		}),
		speaker("node5", func(x *v1alpha1.SpeakerStatusStatus) {
			x.Conditions = condition(v1alpha1.SpeakerReady, metav1.ConditionFalse, "NoSocket", "It may not open a socket.")
		}))
	s.Nodes = append(s.Nodes, node("node2", corev1.ConditionTrue), node("node3", corev1.ConditionUnknown), node("node4", corev1.ConditionTrue), node("node5", corev1.ConditionTrue))
	s.Peers = append(s.Peers,
		v1alpha1.BGPPeer{ObjectMeta: named("", "nobody"), Status: v1alpha1.BGPPeerStatus{Conditions: condition(v1alpha1.PeerEstablished, metav1.ConditionFalse, "NoNode", "No node is to have a session with the peer.")}},
		v1alpha1.BGPPeer{ObjectMeta: named("", "secret"), Status: v1alpha1.BGPPeerStatus{Conditions: condition(v1alpha1.PeerReady, metav1.ConditionFalse, "PasswordMissing", "There is no Secret tor.")}})
	s.L2[0].Status.Conditions = condition(v1alpha1.AdvertisementReady, metav1.ConditionFalse, "PoolNotFound", "There is no IPAddressPool x.")
	s.BGP = []v1alpha1.BGPAdvertisement{{ObjectMeta: named("", "wide"), Status: v1alpha1.BGPAdvertisementStatus{Conditions: condition(v1alpha1.AdvertisementReady, metav1.ConditionFalse, "AggregationTooWide", "It reaches outside of the pool.")}}}
	s.Services = append(s.Services, lb("shop", "api", nil,
		append(condition("fairlead.dev/Contested", metav1.ConditionTrue, "StatusRewritten", "chisel-operator wrote it 14 times."), condition("fairlead.dev/Address", metav1.ConditionTrue, "Kept", "It keeps 192.0.2.1.")...)...),
		lb("shop", "late", nil, condition("fairlead.dev/Address", metav1.ConditionFalse, "PoolExhausted", "Pool public is full.")...),
		lb("shop", "unseen", ptr.To(v1alpha1.LoadBalancerClass)))
	unseen := gatewayv1.Gateway{ObjectMeta: named("edge", "unseen"), Spec: gatewayv1.GatewaySpec{GatewayClassName: "fairlead"}}
	waiting := gatewayv1.Gateway{ObjectMeta: named("edge", "waiting"), Spec: gatewayv1.GatewaySpec{GatewayClassName: "fairlead"}}
	waiting.Status.Conditions = append(condition("Accepted", metav1.ConditionTrue, "Accepted", ""), condition("Programmed", metav1.ConditionFalse, "Pending", "No Envoy serves the listeners yet.")...)
	rejected := gatewayv1.Gateway{ObjectMeta: named("edge", "partly"), Spec: gatewayv1.GatewaySpec{GatewayClassName: "fairlead"}}
	rejected.Status.Conditions = append(condition("Accepted", metav1.ConditionTrue, "Accepted", ""), condition("Programmed", metav1.ConditionTrue, "Programmed", "")...)
	rejected.Status.Conditions = append(rejected.Status.Conditions,
		condition(gateway.ConditionRejected, metav1.ConditionTrue, gateway.ReasonRejected, "Envoy does not take RouteConfiguration edge/partly/table/http/80: bad value.")...)
	s.Gateways = append(s.Gateways, unseen, waiting, rejected)
	return s
}

func TestStatus(t *testing.T) {
	golden.Result(t, "fine.txt", Of(fine()))
	golden.Result(t, "broken.txt", Of(broken()))
	partly := fine()
	partly.Partly = true
	partly.Peers, partly.Nodes = nil, nil
	golden.Result(t, "partly.txt", Of(partly))
}
