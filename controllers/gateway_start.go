package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/endpoints"
	"github.com/fairlead/fairlead/gateway/feed"
	"github.com/fairlead/fairlead/gateway/fleet"
)

// GatewayOptions say how Gateways are served. The zero value serves none.
type GatewayOptions struct {
	// Enabled serves Gateways, as soon as the API server has their kinds.
	Enabled bool
	// Fleet is what holds for all fleets of Envoys. Its Namespace is
	// Options.Namespace.
	Fleet fleet.Settings
	// Listen is where Envoys reach the leader, such as ":18000".
	Listen string
}

// lookForKinds is the wait between two looks whether the API server has the
// kinds of the Gateway API.
const lookForKinds = 5 * time.Second

// addGateways adds the controllers of Gateways, now or when the CRDs of the
// Gateway API are installed.
func (s *shell) addGateways(mgr manager.Manager) error {
	if !s.Gateways.Enabled {
		return nil
	}
	g := s.newGateways(mgr)
	s.gateways.Store(g)
	if g.kindsServed(mgr) {
		return g.start(mgr)
	}
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		mgr.GetLogger().Info("Gateways are not served: the CRDs of the Gateway API are not installed. They are as soon as these are there.")
		for !g.kindsServed(mgr) {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(lookForKinds):
			}
		}
		mgr.GetLogger().Info("The CRDs of the Gateway API are there: Gateways are served")
		return g.start(mgr)
	}))
}

func (s *shell) newGateways(mgr manager.Manager) *gateways {
	g := &gateways{
		shell: s, fleet: s.Gateways.Fleet, known: map[types.NamespacedName]*serving{}, states: map[types.NamespacedName]string{}, ports: map[string]*fleet.Ports{},
		said: map[subject]map[types.NamespacedName]answer{}, spoken: map[types.NamespacedName]spoken{},
		noted: make(chan struct{}), opened: make(chan struct{}), settings: map[types.NamespacedName]fleet.Config{}, running: map[string]string{},
		log: mgr.GetLogger().WithName("gateways"),
	}
	g.fleet.Namespace = s.Namespace
	g.feed = feed.New(mgr.GetLogger().WithName("xds"), clock.RealClock{}, feed.Options{
		Families: familiesForEnvoys(g.fleet.Families),
		Sent:     func(kind string, n int) { xdsSent.WithLabelValues(kind).Add(float64(n)) },
		Rejected: func(kind string) { xdsRejections.WithLabelValues(kind).Inc() },
		Changed: func(_ string, names []gateway.Name) {
			for _, n := range names {
				g.progress.add(requestFor(n.Namespace, n.Name))
			}
		},
	})
	return g
}

func familiesForEnvoys(list []corev1.IPFamily) endpoints.Families {
	var out endpoints.Families
	for _, f := range list {
		out.IPv4 = out.IPv4 || f == corev1.IPv4Protocol
		out.IPv6 = out.IPv6 || f == corev1.IPv6Protocol
	}
	return out
}

// kindsServed tells whether the API server has all kinds that are watched.
func (g *gateways) kindsServed(mgr manager.Manager) bool {
	for _, o := range append(routeKinds(), &gatewayv1.GatewayClass{}, &gatewayv1.Gateway{}, &gatewayv1.ListenerSet{}, &gatewayv1.ReferenceGrant{}, &gatewayv1.BackendTLSPolicy{}) {
		if !served(mgr, o) {
			return false
		}
	}
	return true
}

func (g *gateways) start(mgr manager.Manager) error {
	if err := g.add(mgr); err != nil {
		return err
	}
	g.watching.Store(true)
	return g.addServer(mgr, g.Gateways.Listen)
}

// addFirst notes which Gateways of ours there are at the start, and the ports that
// their Services have at the Envoys. Until each was built once, no Envoy is
// answered and no status of a route is written: both would lose what the others
// say.
func (g *gateways) addFirst(mgr manager.Manager) error {
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		if err := g.await(ctx); err != nil {
			return nil
		}
		for {
			err := g.noteFirst(ctx)
			if err == nil {
				return nil
			}
			mgr.GetLogger().Error(err, "Gateways cannot be listed yet; none is served before they are")
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(recoverEvery):
			}
		}
	}))
}

func (g *gateways) noteFirst(ctx context.Context) error {
	if err := g.adoptFirst(ctx); err != nil {
		return err
	}
	var list gatewayv1.GatewayList
	if err := g.client.List(ctx, &list); err != nil {
		return fmt.Errorf("listing Gateways: %w", err)
	}
	first := map[types.NamespacedName]struct{}{}
	var names []types.NamespacedName
	for i := range list.Items {
		gw := &list.Items[i]
		class, err := g.classOf(ctx, gw)
		if err != nil {
			return err
		}
		if class == nil || gw.DeletionTimestamp != nil {
			continue
		}
		config, _, err := g.configFor(ctx, class, gw)
		if err != nil {
			return err
		}
		if err := g.notePorts(ctx, gw, fleetFor(class, gw, config)); err != nil {
			return err
		}
		names = append(names, client.ObjectKeyFromObject(gw))
		first[client.ObjectKeyFromObject(gw)] = struct{}{}
	}
	g.mu.Lock()
	g.first = first
	g.mu.Unlock()
	close(g.noted)
	g.open()
	for _, n := range names {
		g.build.add(requestFor(n.Namespace, n.Name))
	}
	return nil
}

// notePorts enters into the books the ports that the Service of a Gateway says.
func (g *gateways) notePorts(ctx context.Context, gw *gatewayv1.Gateway, id fleet.ID) error {
	svc := &corev1.Service{}
	key := client.ObjectKey{Namespace: gw.Namespace, Name: fleet.FrontName(gw.Name, string(gw.Spec.GatewayClassName))}
	if err := g.client.Get(ctx, key, svc); err != nil {
		return client.IgnoreNotFound(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range fleet.PortsOf(svc) {
		// Of two that say the same port the second gets another one.
		_ = g.portsOf(id).Keep(fleet.PortKey{Gateway: gateway.Name{Namespace: gw.Namespace, Name: gw.Name}, Number: p.Number, Transport: p.Transport}, p.Envoy)
	}
	return nil
}

// sayFirst says of routes and policies what follows from a Gateway that was there at the
// start, before statuses are written: what it has not said would be taken out of them,
// and written again a moment later.
func (g *gateways) sayFirst(ctx context.Context, s *serving) {
	g.mu.Lock()
	_, first := g.first[s.name]
	g.mu.Unlock()
	if first {
		said := s.built.Status(gateway.Progress{})
		g.say(ctx, s.name, said.Routes, said.Policies)
	}
}

// builtFirst notes that a Gateway was built.
func (g *gateways) builtFirst(name types.NamespacedName) {
	g.mu.Lock()
	_, was := g.first[name]
	delete(g.first, name)
	g.mu.Unlock()
	if was {
		g.open()
	}
}

// open lets Envoys be answered and statuses be written, once all Gateways of the
// start were built.
func (g *gateways) open() {
	g.mu.Lock()
	left := len(g.first)
	g.mu.Unlock()
	if left > 0 {
		return
	}
	g.opening.Do(func() {
		close(g.opened)
		for _, r := range g.allClasses(context.Background()) {
			g.classes.add(r)
		}
	})
}
