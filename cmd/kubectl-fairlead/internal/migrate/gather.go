package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/migrate/plan"
)

// gatherer reads what a plan follows from.
type gatherer struct {
	// need is for what a plan cannot do without, want for what it can.
	need, want *kube.Reader
	in         *plan.Input
}

// gather fills the cluster of an input.
func (g *gatherer) gather(ctx context.Context) error {
	c := &g.in.Cluster
	c.Namespaces = map[string]map[string]string{}
	for _, step := range []func(context.Context, *plan.Cluster) error{g.books, g.namespaces, g.holders, g.classes, g.routes, g.grants, g.dataplane} {
		if err := step(ctx, c); err != nil {
			return err
		}
	}
	if g.need.Absent(&gatewayv1.Gateway{}) && (g.in.From.Kind == plan.Gateway || g.in.To.Kind == plan.Gateway) {
		return errors.New("this cluster does not know Gateways: install the CRDs of the Gateway API (see docs/gateways.md)")
	}
	return nil
}

// all are the holders that a plan is about: those who are named and, if they go along,
// those who share the address. It is for after the books were read.
func (g *gatherer) all() []plan.Holder {
	out := []plan.Holder{g.in.From, g.in.To}
	if g.in.Options.WithSharers {
		out = append(out, g.in.Sharers()...)
	}
	return out
}

// spaces are the namespaces of the holders.
func (g *gatherer) spaces() []string {
	var out []string
	for _, h := range g.all() {
		if !slices.Contains(out, h.Namespace) {
			out = append(out, h.Namespace)
		}
	}
	return out
}

// namespaces reads their labels. Where those may not be read, there is the one that
// every namespace has.
func (g *gatherer) namespaces(ctx context.Context, c *plan.Cluster) error {
	for _, name := range g.spaces() {
		ns := &corev1.Namespace{}
		found, err := g.want.Get(ctx, client.ObjectKey{Name: name}, ns)
		if err != nil {
			return err
		}
		c.Namespaces[name] = map[string]string{corev1.LabelMetadataName: name}
		if found {
			c.Namespaces[name] = ns.Labels
		}
	}
	return nil
}

func (g *gatherer) holders(ctx context.Context, c *plan.Cluster) error {
	for _, h := range g.all() {
		if err := g.holder(ctx, c, h); err != nil {
			return err
		}
	}
	if !g.in.Options.WithSharers {
		return nil
	}
	for _, h := range g.in.Companions() {
		if err := g.holder(ctx, c, h); err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) holder(ctx context.Context, c *plan.Cluster, h plan.Holder) error {
	key := client.ObjectKey{Namespace: h.Namespace, Name: h.Name.Name}
	if h.Kind == plan.Service {
		svc := &corev1.Service{}
		found, err := g.need.Get(ctx, key, svc)
		if found {
			c.Services = append(c.Services, svc)
		}
		return err
	}
	gw := &gatewayv1.Gateway{}
	found, err := g.need.Get(ctx, key, gw)
	if found {
		c.Gateways = append(c.Gateways, gw)
	}
	return err
}

// books reads the ledger.
func (g *gatherer) books(ctx context.Context, c *plan.Cluster) error {
	gaps := len(g.need.Gaps())
	var list v1alpha1.AddressList
	if err := g.need.Need(ctx, &list); err != nil {
		return err
	}
	c.Addresses = pointers(list.Items)
	c.BooksClosed = len(g.need.Gaps()) > gaps
	return nil
}

// classes reads GatewayClasses, and the GatewayConfigs that they and the Gateways
// refer to.
func (g *gatherer) classes(ctx context.Context, c *plan.Cluster) error {
	if g.in.From.Kind == plan.Service && g.in.To.Kind == plan.Service {
		return nil
	}
	var list gatewayv1.GatewayClassList
	if err := g.need.List(ctx, &list); err != nil {
		return err
	}
	c.Classes = pointers(list.Items)
	names := map[gateway.Name]bool{g.in.To.Name: true, g.in.From.Name: true}
	for _, class := range c.Classes {
		if p := class.Spec.ParametersRef; gateway.Ours(class) && p != nil && p.Namespace != nil {
			names[gateway.Name{Namespace: string(*p.Namespace), Name: p.Name}] = true
		}
	}
	for _, gw := range c.Gateways {
		if i := gw.Spec.Infrastructure; i != nil && i.ParametersRef != nil {
			names[gateway.Name{Namespace: gw.Namespace, Name: i.ParametersRef.Name}] = true
		}
	}
	for n := range names {
		config := &v1alpha1.GatewayConfig{}
		found, err := g.need.Get(ctx, client.ObjectKey{Namespace: n.Namespace, Name: n.Name}, config)
		if err != nil {
			return err
		}
		if found {
			c.Configs = append(c.Configs, config)
		}
	}
	return nil
}

// routes reads those of all namespaces, or where that may not be those of the
// holders'.
func (g *gatherer) routes(ctx context.Context, c *plan.Cluster) error {
	if g.in.From.Kind == plan.Service && g.in.To.Kind == plan.Service {
		return nil
	}
	gaps := len(g.want.Gaps())
	if err := listRoutes(ctx, g.want, &c.Routes); err != nil || len(g.want.Gaps()) == gaps {
		return err
	}
	c.Routes = gateway.Routes{}
	for _, ns := range g.spaces() {
		if err := listRoutes(ctx, g.need, &c.Routes, client.InNamespace(ns)); err != nil {
			return err
		}
	}
	return nil
}

func listRoutes(ctx context.Context, r *kube.Reader, into *gateway.Routes, opts ...client.ListOption) error {
	var (
		http gatewayv1.HTTPRouteList
		grpc gatewayv1.GRPCRouteList
		tls  gatewayv1.TLSRouteList
		tcp  gatewayv1.TCPRouteList
		udp  gatewayv1.UDPRouteList
	)
	for _, list := range []client.ObjectList{&http, &grpc, &tls, &tcp, &udp} {
		if err := r.List(ctx, list, opts...); err != nil {
			return err
		}
	}
	into.HTTP = append(into.HTTP, pointers(http.Items)...)
	into.GRPC = append(into.GRPC, pointers(grpc.Items)...)
	into.TLS = append(into.TLS, pointers(tls.Items)...)
	into.TCP = append(into.TCP, pointers(tcp.Items)...)
	into.UDP = append(into.UDP, pointers(udp.Items)...)
	return nil
}

func (g *gatherer) grants(ctx context.Context, c *plan.Cluster) error {
	for _, ns := range g.spaces() {
		if ns == g.in.To.Namespace {
			continue
		}
		var list gatewayv1.ReferenceGrantList
		if err := g.need.List(ctx, &list, client.InNamespace(ns)); err != nil {
			return err
		}
		c.Grants = append(c.Grants, pointers(list.Items)...)
	}
	return nil
}

// Where Cilium stands, and where it says whether it replaces kube-proxy.
const (
	ciliumNamespace = "kube-system"
	ciliumDaemonSet = "cilium"
	ciliumConfig    = "cilium-config"
	ciliumReplaces  = "kube-proxy-replacement"
)

// dataplane finds out whether Cilium replaces kube-proxy.
func (g *gatherer) dataplane(ctx context.Context, c *plan.Cluster) error {
	running, err := g.want.Get(ctx, client.ObjectKey{Namespace: ciliumNamespace, Name: ciliumDaemonSet}, &appsv1.DaemonSet{})
	if err != nil || !running {
		return err
	}
	config := &corev1.ConfigMap{}
	found, err := g.want.Get(ctx, client.ObjectKey{Namespace: ciliumNamespace, Name: ciliumConfig}, config)
	if err != nil {
		return fmt.Errorf("finding out whether Cilium replaces kube-proxy: %w", err)
	}
	if found {
		value := config.Data[ciliumReplaces]
		c.RefusesSecondOwner = value == "true" || value == "strict"
	}
	return nil
}

func pointers[T any](list []T) []*T {
	out := make([]*T, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}
