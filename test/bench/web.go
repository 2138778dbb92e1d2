package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/test/lab"
)

// mainGateway is the Gateway that a part of Gateways asks.
const mainGateway = "main"

// web is what the parts of Gateways work with: a class with Envoys of its own, a
// Gateway that answers, and a Service that it leads to.
type web struct {
	*bench
	class  string
	envoys int // 0: one on each node
	*asker
}

// stageWeb sets a scene with a Gateway of a class of that name, and returns what
// clears it.
func (b *bench) stageWeb(ctx context.Context, class string, s scene) (w *web, clear func() error, err error) {
	clearScene, err := b.stage(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	w = &web{bench: b, class: class, envoys: s.envoys}
	clear = func() error {
		if ctx.Err() != nil { // interrupted: the cluster goes as a whole
			return nil
		}
		return errors.Join(w.clear(ctx), clearScene())
	}
	if err := w.set(ctx); err != nil {
		return nil, nil, errors.Join(err, clear())
	}
	return w, clear, nil
}

func (w *web) set(ctx context.Context) error {
	class := lab.GatewayClass(w.class)
	if w.envoys > 0 {
		config := w.config()
		class.Spec.ParametersRef = &gatewayv1.ParametersReference{
			Group: gatewayv1.Group(v1alpha1.GroupVersion.Group), Kind: "GatewayConfig", Name: config.Name, Namespace: new(gatewayv1.Namespace(config.Namespace)),
		}
		if err := w.lab.Apply(ctx, config); err != nil {
			return err
		}
	}
	err := w.lab.Apply(ctx, class, lab.ClusterIP(namespace, backend, backend),
		lab.Gateway(namespace, mainGateway, w.class), w.route(0))
	if err != nil {
		return err
	}
	a, err := w.awaitProgrammed(ctx, mainGateway)
	if err != nil {
		return err
	}
	if err := w.awaitEnvoys(ctx); err != nil {
		return err
	}
	w.asker = w.newAsker(a)
	_, err = w.until(ctx, hostOf(0), served)
	return err
}

// config asks for as many Envoys as the scene has.
func (w *web) config() *v1alpha1.GatewayConfig {
	c := &v1alpha1.GatewayConfig{ObjectMeta: metav1.ObjectMeta{Namespace: lab.Namespace, Name: w.class}}
	c.Spec.Fleet = &v1alpha1.FleetConfig{Workload: v1alpha1.FleetDeployment, Replicas: new(int32(w.envoys))}
	return c
}

// hostOf is the hostname of route i; all are as long, for equal work.
func hostOf(i int) string { return fmt.Sprintf("r-%06d.bench.example", i) }

func routeName(i int) string { return fmt.Sprintf("r-%06d", i) }

// route has a hostname of its own.
func (w *web) route(i int) *gatewayv1.HTTPRoute {
	r := lab.HTTPRoute(namespace, routeName(i), mainGateway, backend)
	r.Spec.Hostnames = []gatewayv1.Hostname{gatewayv1.Hostname(hostOf(i))}
	return r
}

// addRoutes creates routes [from, to), and waits until the Gateway serves them and
// the controller has said so.
func (w *web) addRoutes(ctx context.Context, from, to int) error {
	w.say("routes %d to %d", from, to)
	err := inParallel(ctx, creators, from, to, func(ctx context.Context, i int) error {
		if err := w.lab.Client.Create(ctx, w.route(i)); err != nil {
			return fmt.Errorf("creating HTTPRoute %s: %w", routeName(i), err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The creators are done at different times: the last number need not be the
	// last route.
	for i := max(from, to-creators); i < to; i++ {
		if _, err := w.until(ctx, hostOf(i), served); err != nil {
			return err
		}
	}
	return w.awaitNoWrites(ctx)
}

// removeRoutes removes routes [from, to), and waits until the Gateway does not
// serve them.
func (w *web) removeRoutes(ctx context.Context, from, to int) error {
	err := inParallel(ctx, creators, from, to, func(ctx context.Context, i int) error {
		return client.IgnoreNotFound(w.lab.Client.Delete(ctx, w.route(i)))
	})
	if err != nil {
		return fmt.Errorf("removing HTTPRoutes: %w", err)
	}
	for i := max(from, to-creators); i < to; i++ {
		if _, err := w.until(ctx, hostOf(i), unknown); err != nil {
			return err
		}
	}
	return w.awaitNoWrites(ctx)
}

// awaitProgrammed waits until a Gateway is, and gives its first address.
func (b *bench) awaitProgrammed(ctx context.Context, name string) (a netip.Addr, err error) {
	err = lab.Await(ctx, 2*time.Minute, "Gateway "+name+" to be programmed", func(ctx context.Context) error {
		var gw gatewayv1.Gateway
		if err := b.lab.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &gw); err != nil {
			return err
		}
		var ok bool
		if a, ok = programmed(&gw); !ok {
			return fmt.Errorf("it has %+v", gw.Status.Conditions)
		}
		return nil
	})
	return a, err
}

// programmed tells whether a Gateway is, as it is now, and its first address.
func programmed(gw *gatewayv1.Gateway) (netip.Addr, bool) {
	for _, c := range gw.Status.Conditions {
		if c.Type != string(gatewayv1.GatewayConditionProgrammed) || c.Status != metav1.ConditionTrue || c.ObservedGeneration != gw.Generation {
			continue
		}
		if len(gw.Status.Addresses) == 0 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(gw.Status.Addresses[0].Value)
		return a, err == nil
	}
	return netip.Addr{}, false
}

// envoyPods are the pods of the class's Envoys, also ending ones.
func (w *web) envoyPods(ctx context.Context) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := w.lab.Client.List(ctx, &pods, client.InNamespace(lab.Namespace),
		client.MatchingLabels{fleet.FleetLabel: fleet.ID{Class: w.class}.Name()})
	if err != nil {
		return nil, fmt.Errorf("listing the Envoys of class %s: %w", w.class, err)
	}
	return pods.Items, nil
}

// awaitEnvoys waits until all of the class's Envoys are ready.
func (w *web) awaitEnvoys(ctx context.Context) error {
	wanted := w.envoys
	if wanted == 0 {
		wanted = clusterNodes
	}
	return lab.Await(ctx, 2*time.Minute, "the class's Envoys", func(ctx context.Context) error {
		pods, err := w.envoyPods(ctx)
		if err != nil {
			return err
		}
		ready := 0
		for i := range pods {
			if podReady(&pods[i]) {
				ready++
			}
		}
		if ready != wanted {
			return fmt.Errorf("%d of %d are ready", ready, wanted)
		}
		return nil
	})
}

// clear removes Gateways, routes, the class and its Envoys. The Gateways go first,
// so that the controller has no work with every route that goes.
func (w *web) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	w.say("removing Gateways and routes")
	if w.asker != nil {
		w.client.CloseIdleConnections() // Envoys that end wait for their clients
	}
	var gateways gatewayv1.GatewayList
	var routes gatewayv1.HTTPRouteList
	for _, list := range []client.ObjectList{&gateways, &routes} {
		if err := w.lab.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return fmt.Errorf("listing what is to be removed: %w", err)
		}
	}
	var all []client.Object
	for i := range gateways.Items {
		all = append(all, &gateways.Items[i])
	}
	for i := range routes.Items {
		all = append(all, &routes.Items[i])
	}
	err := inParallel(ctx, creators, 0, len(all), func(ctx context.Context, i int) error {
		return client.IgnoreNotFound(w.lab.Client.Delete(ctx, all[i]))
	})
	if err != nil {
		return fmt.Errorf("removing Gateways and routes: %w", err)
	}
	class := lab.GatewayClass(w.class)
	if err := w.lab.Client.Delete(ctx, class); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing the class: %w", err)
	}
	if err := w.lab.Client.Delete(ctx, w.config()); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing the class's GatewayConfig: %w", err)
	}
	return awaitSlowly(ctx, 3*time.Minute, time.Second, "the class and its Envoys to be gone", func(ctx context.Context) error {
		pods, err := w.envoyPods(ctx)
		if err != nil {
			return err
		}
		if err := w.lab.Client.Get(ctx, client.ObjectKeyFromObject(class), class); !apierrors.IsNotFound(err) {
			return errors.Join(errors.New("the class is there"), err)
		}
		if len(pods) > 0 {
			return fmt.Errorf("%d Envoys are there", len(pods))
		}
		return nil
	})
}

// envoy is a role of processes, see usage.
const envoy = "Envoy (the busiest of them)"

// usage is also that of the class's Envoys.
func (w *web) usage(ctx context.Context) (usage, error) {
	out, err := w.bench.usage(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := w.envoyPods(ctx)
	if err != nil {
		return nil, err
	}
	all, err := lab.Processes(w.name, "envoy", pods)
	if err != nil {
		return nil, err
	}
	if len(all) != len(pods) {
		return nil, fmt.Errorf("found %d processes envoy of %d pods: %v", len(all), len(pods), all)
	}
	for _, p := range all {
		if out[p.PID], err = usedBy(p.PID, envoy); err != nil {
			return nil, err
		}
	}
	return out, nil
}
