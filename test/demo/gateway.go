package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// class is the GatewayClass of the demo, web its Gateway.
const (
	class = "fairlead-demo"
	web   = "web"
)

// door is a listener of the demo's Gateway.
type door struct {
	listener gatewayv1.Listener
	what     string
}

func doors() []door {
	return []door{
		{gatewayv1.Listener{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}, "an HTTPRoute, HTTP :80 / (through Envoy)"},
		{gatewayv1.Listener{Name: "tcp", Port: 9000, Protocol: gatewayv1.TCPProtocolType}, "a TCPRoute, TCP :9000 (through Envoy)"},
	}
}

// gatewayObjects are a class, a Gateway with a route on each listener, and the
// Service that they lead to.
func gatewayObjects() []client.Object {
	gw := &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: web},
		Spec:       gatewayv1.GatewaySpec{GatewayClassName: class},
	}
	for _, d := range doors() {
		gw.Spec.Listeners = append(gw.Spec.Listeners, d.listener)
	}
	inside := lab.LoadBalancer(namespace, "inside", "echo")
	inside.Spec.Type, inside.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, nil
	port := gatewayv1.PortNumber(80)
	backend := gatewayv1.BackendRef{BackendObjectReference: gatewayv1.BackendObjectReference{Name: "inside", Port: &port}}
	parent := func(listener gatewayv1.SectionName) gatewayv1.CommonRouteSpec {
		return gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{Name: web, SectionName: &listener}}}
	}
	return []client.Object{
		&gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Spec: gatewayv1.GatewayClassSpec{ControllerName: gateway.ControllerName}},
		inside, gw,
		&gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pages"}, Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: parent("http"),
			Rules:           []gatewayv1.HTTPRouteRule{{BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: backend}}}},
		}},
		&gatewayv1.TCPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "bytes"}, Spec: gatewayv1.TCPRouteSpec{
			CommonRouteSpec: parent("tcp"),
			Rules:           []gatewayv1.TCPRouteRule{{BackendRefs: []gatewayv1.BackendRef{backend}}},
		}},
	}
}

// servesGateways says whether a cluster has the kinds of the Gateway API that the
// demo uses.
func servesGateways(c client.Client) bool {
	for _, kind := range []string{"GatewayClass", "Gateway", "HTTPRoute", "TCPRoute"} {
		if _, err := c.RESTMapper().RESTMapping(schema.GroupKind{Group: gatewayv1.GroupName, Kind: kind}, "v1"); err != nil {
			return false
		}
	}
	return true
}

// awaitGateway waits until the Gateway is programmed, and gives its addresses.
func awaitGateway(ctx context.Context, c client.Client) ([]netip.Addr, error) {
	var out []netip.Addr
	err := lab.Await(ctx, time.Minute, "Gateway "+namespace+"/"+web+" to be programmed", func(ctx context.Context) error {
		gw := &gatewayv1.Gateway{}
		if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: web}, gw); err != nil {
			return err
		}
		programmed := meta.FindStatusCondition(gw.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed))
		if programmed == nil || programmed.Status != metav1.ConditionTrue || programmed.ObservedGeneration != gw.Generation {
			return fmt.Errorf("it says %+v", gw.Status.Conditions)
		}
		out = nil
		for _, a := range gw.Status.Addresses {
			ip, err := netip.ParseAddr(a.Value)
			if err != nil {
				return err
			}
			out = append(out, ip)
		}
		return nil
	})
	return out, err
}

// visitGateway fetches from every listener of the Gateway.
func visitGateway(ctx context.Context, l *lab.Lab) ([]row, error) {
	addresses, err := awaitGateway(ctx, l.Client)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, d := range doors() {
		for _, a := range addresses {
			r, err := visitOne(ctx, l, a, uint16(d.listener.Port))
			if err != nil {
				return nil, err
			}
			r.what, r.asked = "gateway "+namespace+"/"+web, d.what
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// visitOne fetches from an address as a client outside of the cluster.
func visitOne(ctx context.Context, l *lab.Lab, a netip.Addr, port uint16) (row, error) {
	answer, err := l.AwaitAnswer(ctx, testbed.Client, a, port)
	if err != nil {
		return row{}, err
	}
	node, err := awaitAnnouncer(ctx, l.Client, a, "")
	if err != nil {
		return row{}, err
	}
	how := "ARP"
	if a.Is6() {
		how = "NDP"
	}
	return row{address: a.String(), by: answer.Pod, announced: node + " (" + how + ")"}, nil
}
