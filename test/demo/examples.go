package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
)

const namespace = "shop"

// example is a Service of the demo.
type example struct {
	service *corev1.Service
	what    string
	n       int // addresses it should get
}

type examples struct {
	ranges   []string
	services []example
	// gateway: the cluster has the kinds of the Gateway API.
	gateway bool
}

// examplesFor are Services as users of other load-balancer controllers have
// them, with addresses taken from the first range.
func examplesFor(ranges ...string) examples {
	first, _, _ := strings.Cut(strings.Split(ranges[0], "-")[0], "/")
	base, err := netip.ParseAddr(strings.TrimSpace(first))
	if err != nil {
		base = netip.Addr{}
	}
	at := func(n int) string {
		a := base
		for range n {
			a = a.Next()
		}
		return a.String()
	}
	service := func(name string, edits ...func(*corev1.Service)) *corev1.Service {
		return lab.LoadBalancer(namespace, name, "echo", edits...)
	}
	return examples{ranges: ranges, services: []example{
		{service("legacy", lab.LoadBalancerIP(at(10))), "spec.loadBalancerIP", 1},
		{service("metallb", lab.Annotate("metallb.io/loadBalancerIPs", at(11))), "metallb.io/loadBalancerIPs", 1},
		{service("kube-vip", lab.Annotate("kube-vip.io/loadbalancerIPs", at(12))), "kube-vip.io/loadbalancerIPs", 1},
		{service("plain"), "nothing asked for", 1},
		{service("dual", lab.DualStack), "IPv4 and IPv6", 2},
		{service("shared-web", lab.Annotate(v1alpha1.AnnotationSharingKey, "shop")), "shares an address, port 80", 1},
		{service("shared-alt", lab.Annotate(v1alpha1.AnnotationSharingKey, "shop"), lab.Port(8080)), "shares it, port 8080", 1},
		{service("local", lab.Local), "externalTrafficPolicy: Local", 1},
	}}
}

func (e examples) summary() string {
	text := fmt.Sprintf("1 pool, 1 advertisement, %d Services", len(e.services))
	if e.gateway {
		text += ", 1 GatewayClass, 1 Gateway, 2 routes"
	}
	return text
}

// fixed is an address that a Service of externalTrafficPolicy Cluster asks for.
func (e examples) fixed() netip.Addr {
	a, _ := netip.ParseAddr(e.services[0].service.Spec.LoadBalancerIP)
	return a
}

type applyFunc func(context.Context, ...client.Object) error

func (e examples) apply(ctx context.Context, apply applyFunc, ready func(ctx context.Context, namespace, name string) error) error {
	if err := apply(ctx, lab.MakeNamespace(namespace), lab.Pool("demo", e.ranges...), lab.Everywhere(), lab.Echo(namespace, "echo", 3)); err != nil {
		return err
	}
	if err := ready(ctx, namespace, "echo"); err != nil {
		return err
	}
	for _, x := range e.services {
		if err := apply(ctx, x.service.DeepCopy()); err != nil {
			return err
		}
	}
	if !e.gateway {
		return nil
	}
	return apply(ctx, gatewayObjects()...)
}

// row is a line of the table that the demo ends with.
type row struct{ what, address, by, announced, asked string }

// visit fetches every address of every Service from the client host.
func (e examples) visit(ctx context.Context, l *lab.Lab) ([]row, error) {
	var rows []row
	for _, x := range e.services {
		addresses, err := l.AwaitAddresses(ctx, namespace, x.service.Name, x.n)
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			r, err := visitOne(ctx, l, a, uint16(x.service.Spec.Ports[0].Port))
			if err != nil {
				return nil, err
			}
			r.what, r.asked = "service "+namespace+"/"+x.service.Name, x.what
			rows = append(rows, r)
		}
	}
	if !e.gateway {
		return rows, nil
	}
	more, err := visitGateway(ctx, l)
	return append(rows, more...), err
}

func printRows(rows []row) {
	fmt.Printf("\n      %-22s %-16s %-24s %-12s  %s\n", "WHAT", "ADDRESS", "ANSWERED BY", "ANNOUNCED BY", "ASKED BY")
	for _, r := range rows {
		fmt.Printf("      %-22s %-16s %-24s %-12s  %s\n", r.what, r.address, r.by, r.announced, r.asked)
	}
	fmt.Println()
}

// awaitAnnouncer waits until the ledger says which node announces the address,
// a node other than not.
func awaitAnnouncer(ctx context.Context, c client.Client, address netip.Addr, not string) (string, error) {
	var node string
	err := lab.Await(ctx, 30*time.Second, "somebody to announce "+address.String(), func(ctx context.Context) error {
		var a v1alpha1.Address
		if err := c.Get(ctx, client.ObjectKey{Name: v1alpha1.AddressName(address)}, &a); err != nil {
			return err
		}
		if a.Status.Layer2 == nil || a.Status.Layer2.Node == "" || a.Status.Layer2.Node == not {
			return fmt.Errorf("its status is %+v", a.Status)
		}
		node = a.Status.Layer2.Node
		return nil
	})
	return node, err
}
