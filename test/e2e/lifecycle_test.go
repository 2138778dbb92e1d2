//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/test/chart"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// install changes the release and puts it back when the test ends.
func (w *world) install(values chart.Values) {
	w.Helper()
	if err := w.Install(w.ctx, values); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := w.Install(ctx, defaultValues()); err != nil {
			w.Errorf("putting the release back: %v", err)
		}
	})
}

// writes is every write that the controller makes for a Service.
var writes = []string{"address.create", "address.update", "service.status"}

// A controller that is killed before or after any of its writes loses nothing
// and gives nothing twice.
func TestControllerKilledAtEachWrite(t *testing.T) {
	for _, point := range writes {
		for _, when := range []string{"before", "after"} {
			t.Run(point+"-"+when, func(t *testing.T) {
				w := newWorld(t, "172.30.0.220-172.30.0.229", "fd00:30::220-fd00:30::22f")
				w.install(chart.Values{
					"speaker":    defaultValues()["speaker"],
					"controller": chart.Values{"replicas": 1, "extraEnv": []any{chart.Values{"name": "FAIRLEAD_FAILPOINT", "value": fmt.Sprintf("%s.%s:2", point, when)}}},
				})
				for i := range 3 {
					w.apply(lab.LoadBalancer(w.namespace, fmt.Sprintf("d%d", i), "echo", lab.DualStack))
				}
				w.restarted()
				w.install(defaultValues())
				seen := map[netip.Addr]bool{}
				for i := range 3 {
					got, err := w.AwaitAddresses(w.ctx, w.namespace, fmt.Sprintf("d%d", i), 2)
					if err != nil {
						t.Fatal(err)
					}
					for _, a := range got {
						if seen[a] {
							t.Errorf("%s is given twice", a)
						}
						seen[a] = true
					}
				}
				w.ledgerAgrees(seen)
			})
		}
	}
}

// restarted waits until a controller has been killed.
func (w *world) restarted() {
	w.Helper()
	w.await("the controller to be killed at its failpoint", func(ctx context.Context) error {
		pods, err := w.Pods(ctx, "controller")
		if err != nil {
			return err
		}
		for _, p := range pods {
			for _, c := range p.Status.ContainerStatuses {
				if c.RestartCount > 0 {
					return nil
				}
			}
		}
		return errors.New("it has not been restarted")
	})
}

// ledgerAgrees waits until the ledger has exactly these addresses for holders
// of this world, all Bound.
func (w *world) ledgerAgrees(want map[netip.Addr]bool) {
	w.Helper()
	w.await("the ledger to agree with the Services", func(ctx context.Context) error {
		var all v1alpha1.AddressList
		if err := w.Client.List(ctx, &all); err != nil {
			return err
		}
		found := 0
		for _, a := range all.Items {
			if !slices.ContainsFunc(a.Spec.Holders, func(h v1alpha1.AddressHolder) bool { return h.Namespace == w.namespace }) {
				continue
			}
			if a.Spec.State != v1alpha1.AddressBound || !want[netip.MustParseAddr(a.Spec.Address)] {
				return fmt.Errorf("%s is %s and held by %s", a.Name, a.Spec.State, a.Spec.Summary)
			}
			found++
		}
		if found != len(want) {
			return fmt.Errorf("%d of %d addresses are in the ledger", found, len(want))
		}
		return nil
	})
}

// A second controller takes over within seconds when the first is killed.
func TestStandbyTakesOver(t *testing.T) {
	w := newWorld(t, "172.30.0.220-172.30.0.229")
	w.service("before", "echo", 1)
	leader := w.leader()
	no := int64(0)
	if err := w.Client.Delete(w.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: lab.Namespace, Name: leader}}, &client.DeleteOptions{GracePeriodSeconds: &no}); err != nil {
		t.Fatal(err)
	}
	w.service("after", "echo", 1)
}

// leader is the pod that holds the lease.
func (w *world) leader() string {
	w.Helper()
	out, err := w.Cluster.Kubectl(w.ctx, "-n", lab.Namespace, "get", "lease", "fairlead-controller", "-o", "jsonpath={.spec.holderIdentity}")
	if err != nil {
		w.Fatal(err)
	}
	for i, r := range out {
		if r == '_' {
			return out[:i]
		}
	}
	return out
}

// killLeader kills the controller that leads, which has no time to say so, and tells which it was.
func (w *world) killLeader() string {
	w.Helper()
	leader := w.leader()
	pods, err := w.Pods(w.ctx, "controller")
	if err != nil {
		w.Fatal(err)
	}
	for i := range pods {
		if pods[i].Name != leader {
			continue
		}
		if err := w.kill(&pods[i], "fairlead-controller"); err != nil {
			w.Fatal(err)
		}
		return leader
	}
	w.Fatalf("%s leads, and is none of %d controllers", leader, len(pods))
	return ""
}

// versions are the resourceVersions of everything of this world that Fairlead
// writes.
func (w *world) versions(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	var services corev1.ServiceList
	var addresses v1alpha1.AddressList
	var pools v1alpha1.IPAddressPoolList
	var advertisements v1alpha1.L2AdvertisementList
	mine := client.MatchingLabels{"world": w.namespace}
	if err := errors.Join(
		w.Client.List(ctx, &services, client.InNamespace(w.namespace)), w.Client.List(ctx, &addresses),
		w.Client.List(ctx, &pools, mine), w.Client.List(ctx, &advertisements, mine)); err != nil {
		return nil, err
	}
	for _, o := range services.Items {
		all["Service "+o.Name] = o.ResourceVersion
	}
	for _, o := range addresses.Items {
		if o.Spec.Pool == w.pool {
			all["Address "+o.Name] = o.ResourceVersion
		}
	}
	for _, o := range pools.Items {
		all["IPAddressPool "+o.Name] = o.ResourceVersion
	}
	for _, o := range advertisements.Items {
		all["L2Advertisement "+o.Name] = o.ResourceVersion
	}
	return all, w.gatewayVersions(ctx, all)
}

// gatewayVersions adds those of the world's Gateways with their class, routes and
// slices, and of the objects of their fleet.
func (w *world) gatewayVersions(ctx context.Context, all map[string]string) error {
	here := client.InNamespace(w.namespace)
	fleetOf := client.MatchingLabels{fleet.FleetLabel: fleet.ID{Class: w.namespace}.Name()}
	for list, where := range map[client.ObjectList][]client.ListOption{
		&gatewayv1.GatewayClassList{}:       {client.MatchingFields{"metadata.name": w.namespace}},
		&gatewayv1.GatewayList{}:            {here},
		&gatewayv1.HTTPRouteList{}:          {here},
		&discoveryv1.EndpointSliceList{}:    {here},
		&appsv1.DaemonSetList{}:             {client.InNamespace(lab.Namespace), fleetOf},
		&corev1.ServiceList{}:               {client.InNamespace(lab.Namespace), fleetOf},
		&corev1.ServiceAccountList{}:        {client.InNamespace(lab.Namespace), fleetOf},
		&corev1.SecretList{}:                {client.InNamespace(lab.Namespace), fleetOf},
		&corev1.ConfigMapList{}:             {client.InNamespace(lab.Namespace), fleetOf},
		&policyv1.PodDisruptionBudgetList{}: {client.InNamespace(lab.Namespace), fleetOf},
	} {
		if err := w.Client.List(ctx, list, where...); err != nil {
			return err
		}
		err := apimeta.EachListItem(list, func(o runtime.Object) error {
			have, err := apimeta.Accessor(o)
			if err == nil {
				all[fmt.Sprintf("%T %s/%s", o, have.GetNamespace(), have.GetName())] = have.GetResourceVersion()
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// A restart of the controllers, and with it a look at every object, writes
// nothing.
func TestRestartOfControllersWritesNothing(t *testing.T) {
	w := newWorld(t, "172.30.0.220-172.30.0.239", "fd00:30::220-fd00:30::23f")
	w.backend("echo", 1)
	for i := range 5 {
		for _, a := range w.service(fmt.Sprintf("s%d", i), "echo", 2, lab.DualStack) {
			w.announcer(a, "any node", anyNode)
		}
	}
	class := w.class()
	w.apply(w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"))
	a := w.gateway("web", class)[0]
	w.answers(a, 80)
	w.announcer(a, "any node", anyNode)
	w.allListed("web", class)
	before := w.atRest()
	for _, kind := range []string{"*v1.GatewayClass", "*v1.Gateway", "*v1.HTTPRoute", "*v1.EndpointSlice", "*v1.DaemonSet", "*v1.Service", "*v1.Secret"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(before)), func(what string) bool { return strings.HasPrefix(what, kind+" ") }) {
			t.Errorf("no %s is compared", kind)
		}
	}
	if _, err := w.Cluster.Kubectl(w.ctx, "-n", lab.Namespace, "rollout", "restart", "deployment/fairlead-controller"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Cluster.Kubectl(w.ctx, "-n", lab.Namespace, "rollout", "status", "deployment/fairlead-controller", "--timeout=120s"); err != nil {
		t.Fatal(err)
	}
	// The new leader has looked at everything once it serves a new Service.
	w.apply(lab.LoadBalancer(w.namespace, "last", "echo"))
	if _, err := w.AwaitAddresses(w.ctx, w.namespace, "last", 1); err != nil {
		t.Fatal(err)
	}
	after, err := w.versions(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for what, version := range before {
		if what == "IPAddressPool "+w.pool {
			continue // it counts the new Service
		}
		if now := after[what]; now != version {
			t.Errorf("%s was written: resourceVersion %s, before %s", what, now, version)
		}
	}
}

// atRest waits until nothing of this world has been written for a while, and
// returns its versions.
func (w *world) atRest() map[string]string {
	w.Helper()
	var last map[string]string
	quiet := 0
	w.await("the cluster to be at rest", func(ctx context.Context) error {
		now, err := w.versions(ctx)
		if err != nil {
			return err
		}
		if !equal(last, now) {
			last, quiet = now, 0
			return errors.New("something is still being written")
		}
		if quiet++; quiet < 60 {
			return errors.New("not at rest for long enough")
		}
		return nil
	})
	return last
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// Removing the chart takes no address away; installing it again finds them all.
func TestUninstallAndReinstallKeepAddresses(t *testing.T) {
	w := newWorld(t, "172.30.0.220-172.30.0.229")
	w.backend("echo", 1)
	a := w.service("s", "echo", 1)[0]
	w.answers(a, 80)
	release, err := w.Release()
	if err != nil {
		t.Fatal(err)
	}
	if err := release.Uninstall(time.Minute); err != nil {
		t.Fatal(err)
	}
	reinstalled := false
	defer func() {
		if !reinstalled {
			w.Install(context.Background(), defaultValues())
		}
	}()
	if got, err := w.AwaitAddresses(w.ctx, w.namespace, "s", 1); err != nil || got[0] != a {
		t.Errorf("without the chart the Service shows %v, %v; want %s", got, err, a)
	}
	if _, err := w.address(w.ctx, a); err != nil {
		t.Errorf("without the chart the ledger's entry is gone: %v", err)
	}
	if err := w.Install(w.ctx, defaultValues()); err != nil {
		t.Fatal(err)
	}
	reinstalled = true
	w.answers(a, 80)
	if next := w.service("next", "echo", 1)[0]; next == a {
		t.Errorf("%s was given a second time", a)
	}
	if got, err := w.AwaitAddresses(w.ctx, w.namespace, "s", 1); err != nil || got[0] != a {
		t.Errorf("after the reinstallation the Service has %v, %v; want %s", got, err, a)
	}
}

// An upgrade to other images and the way back fail no new connection.
func TestUpgradeAndRollbackUnderTraffic(t *testing.T) {
	w := newWorld(t, "172.30.0.220-172.30.0.229")
	w.backend("echo", 3)
	a := w.service("s", "echo", 1)[0]
	w.answers(a, 80)
	first := w.Version
	defer func() { w.Version = first }()
	w.none(w.probing(a, func() {
		if err := w.LoadImages(w.ctx, "e2e-2"); err != nil {
			t.Fatal(err)
		}
		if err := w.Install(w.ctx, defaultValues()); err != nil {
			t.Fatal(err)
		}
		w.service("during", "echo", 1)
		release, err := w.Release()
		if err != nil {
			t.Fatal(err)
		}
		if err := release.Rollback(2 * time.Minute); err != nil {
			t.Fatal(err)
		}
	}), "upgrade and rollback")
	if got, err := w.AwaitAddresses(w.ctx, w.namespace, "s", 1); err != nil || got[0] != a {
		t.Errorf("the Service has %v, %v; want %s", got, err, a)
	}
}

// A Service that is deleted and made again, as by a change of its class, gets
// its address back, whatever its UID and its turn.
func TestServiceMadeAgainGetsItsAddressBack(t *testing.T) {
	w := newWorld(t, "172.30.0.220-172.30.0.239")
	p := &v1alpha1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: w.pool}}
	edit(w, p, func(p *v1alpha1.IPAddressPool) { p.Spec.Retain = &metav1.Duration{Duration: 10 * time.Minute} })
	w.backend("echo", 1)
	want := map[string]netip.Addr{}
	for _, name := range []string{"a", "b", "c"} {
		want[name] = w.service(name, "echo", 1)[0]
	}
	for name := range want {
		if err := w.Client.Delete(w.ctx, lab.LoadBalancer(w.namespace, name, "echo")); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"c", "a", "b"} {
		if got := w.service(name, "echo", 1)[0]; got != want[name] {
			t.Errorf("Service %s has %s when made again, had %s", name, got, want[name])
		}
		w.answers(want[name], 80)
	}
}

// A restore from a backup makes Services and Addresses anew, with other UIDs and
// without statuses. The one who restores may write the ledger.
func TestRestoreWithNewUIDs(t *testing.T) {
	w := newWorld(t, "172.30.0.220-172.30.0.239")
	w.backend("echo", 1)
	names := []string{"a", "b", "c"}
	want := map[string]netip.Addr{}
	var backup []client.Object
	for _, name := range names {
		want[name] = w.service(name, "echo", 1)[0]
		w.answers(want[name], 80)
	}
	for _, name := range names {
		o, err := w.address(w.ctx, want[name])
		if err != nil {
			t.Fatal(err)
		}
		backup = append(backup, &v1alpha1.Address{
			ObjectMeta: metav1.ObjectMeta{Name: o.Name, Finalizers: o.Finalizers}, Spec: o.Spec,
		})
	}
	values := defaultValues()
	values["admission"] = chart.Values{"ledgerWriters": []any{w.whoAmI()}}
	values["controller"] = chart.Values{"replicas": 0}
	w.install(values)
	for _, name := range names {
		if err := w.Client.Delete(w.ctx, lab.LoadBalancer(w.namespace, name, "echo")); err != nil {
			t.Fatal(err)
		}
		o, err := w.address(w.ctx, want[name])
		if err != nil {
			t.Fatal(err)
		}
		edit(w, o, func(o *v1alpha1.Address) { o.Finalizers = nil })
		if err := w.Client.Delete(w.ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	w.apply(backup...)
	for _, name := range []string{"c", "b", "a"} {
		w.apply(lab.LoadBalancer(w.namespace, name, "echo"))
	}
	w.install(defaultValues())
	for _, name := range names {
		got, err := w.AwaitAddresses(w.ctx, w.namespace, name, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got[0] != want[name] {
			t.Errorf("Service %s has %s after the restore, had %s", name, got[0], want[name])
		}
		w.answers(want[name], 80)
	}
}

// whoAmI is the name of the user that the test writes as.
func (w *world) whoAmI() string {
	w.Helper()
	review := &authenticationv1.SelfSubjectReview{}
	if err := w.Client.Create(w.ctx, review); err != nil {
		w.Fatal(err)
	}
	return review.Status.UserInfo.Username
}

// Pools that are edited, drained and deleted take no address from anybody who
// asked for it, and move the others only where another pool has room.
func TestPoolEditsKeepAddresses(t *testing.T) {
	w := newWorld(t, "172.30.0.220-172.30.0.224")
	w.backend("echo", 2)
	asked := w.service("asked", "echo", 1, lab.Annotate(v1alpha1.AnnotationAddresses, "172.30.0.222"))[0]
	plain := w.service("plain", "echo", 1)[0]
	class := w.class()
	w.apply(w.clusterIP("inside", "echo"), w.httpRoute("all", "web", "inside"))
	web := w.gateway("web", class, func(g *gatewayv1.Gateway) {
		g.Spec.Addresses = []gatewayv1.GatewaySpecAddress{{Type: new(gatewayv1.IPAddressType), Value: "172.30.0.221"}}
	})[0]
	moves := w.gateway("moves", class)[0]
	w.answers(web, 80)
	w.settled(web)
	atWeb := w.StartProbe(w.ctx, testbed.Client, web, 80, probeEvery, probeTimeout)
	w.none(w.probing(asked, func() {
		w.answers(asked, 80)
		pool := &v1alpha1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: w.pool}}
		edit(w, pool, func(p *v1alpha1.IPAddressPool) {
			p.Spec.Addresses = []v1alpha1.AddressRange{"172.30.0.224/32"}
		})
		// Pools and Services are watched apart: a Service made now could be seen first.
		w.await("the edit to be seen", func(ctx context.Context) error {
			if err := w.Client.Get(ctx, client.ObjectKeyFromObject(pool), pool); err != nil {
				return err
			}
			if pool.Status.ObservedGeneration != pool.Generation {
				return fmt.Errorf("the status is of generation %d, the pool of %d", pool.Status.ObservedGeneration, pool.Generation)
			}
			return nil
		})
		if next := w.service("next", "echo", 1)[0]; next.String() != "172.30.0.224" {
			t.Errorf("after the edit the next address is %s", next)
		}
		w.keeps("asked", asked)
		w.keeps("plain", plain)
		w.gatewayKeeps("web", web)
		w.gatewayKeeps("moves", moves)
		edit(w, pool, func(p *v1alpha1.IPAddressPool) { p.Spec.Draining = true })
		w.keeps("plain", plain) // there is nowhere to go yet
		w.gatewayKeeps("moves", moves)
		w.apply(w.ownPool(w.pool+"-2", "172.30.0.225-172.30.0.229"))
		w.await("the Service that asked for nothing to move", func(ctx context.Context) error {
			got, err := w.AwaitAddresses(ctx, w.namespace, "plain", 1)
			if err == nil && got[0].Compare(netip.MustParseAddr("172.30.0.225")) < 0 {
				err = fmt.Errorf("it still has %s", got[0])
			}
			return err
		})
		w.await("the Gateway that asked for nothing to move", func(context.Context) error {
			if got := w.programmed("moves"); len(got) != 1 || got[0].Compare(netip.MustParseAddr("172.30.0.225")) < 0 {
				return fmt.Errorf("it has %v", got)
			}
			return nil
		})
		w.keeps("asked", asked)
		w.gatewayKeeps("web", web)
		w.none(atWeb.Stop(), "pool edits, at the Gateway")
		if err := w.Client.Delete(w.ctx, pool); err != nil {
			t.Fatal(err)
		}
		w.service("last", "echo", 1)
		w.keeps("asked", asked)
		// Nothing selects a pool that is not there, so the address is not announced any more; it is the Gateway's all the same.
		w.gatewaySays("web", gatewayv1.GatewayConditionProgrammed, metav1.ConditionFalse, string(gatewayv1.GatewayReasonPending))
		w.gatewayHas("web", web)
	}), "pool edits")
}

func (w *world) keeps(service string, a netip.Addr) {
	w.Helper()
	if got, err := w.AwaitAddresses(w.ctx, w.namespace, service, 1); err != nil || got[0] != a {
		w.Errorf("Service %s has %v, %v; want it to keep %s", service, got, err, a)
	}
}

// gatewayHas checks that a Gateway has this address, announced or not.
func (w *world) gatewayHas(name string, a netip.Addr) {
	w.Helper()
	gw := &gatewayv1.Gateway{}
	if err := w.Client.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, gw); err != nil {
		w.Fatal(err)
	}
	if got := gw.Status.Addresses; len(got) != 1 || got[0].Value != a.String() {
		w.Errorf("Gateway %s has %v; want it to keep %s", name, got, a)
	}
}

// gatewayKeeps checks that a Gateway is programmed, at this address.
func (w *world) gatewayKeeps(name string, a netip.Addr) {
	w.Helper()
	if got := w.programmed(name); len(got) != 1 || got[0] != a {
		w.Errorf("Gateway %s has %v; want it to keep %s", name, got, a)
	}
}

// The API server restarts under load: everything asked for is given, once.
func TestAPIServerRestart(t *testing.T) {
	w := newWorld(t, "198.51.100.0/25")
	w.many(50)
	if err := w.Cluster.KillProcess(testbed.Control, testbed.APIServer); err != nil {
		t.Fatal(err)
	}
	if err := w.Cluster.StartProcess(testbed.Control, testbed.APIServer); err != nil {
		t.Fatal(err)
	}
	if err := w.Cluster.AwaitAPI(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.await("all Services to have an address", func(ctx context.Context) error {
		have, _, err := w.census(ctx)
		if err == nil && len(have) != 50 {
			err = fmt.Errorf("%d have one", len(have))
		}
		return err
	})
}
