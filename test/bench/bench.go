package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

const (
	clusterNodes = 3
	// namespace, pool and advertisement of the part that is running.
	namespace = "bench"
	backend   = "echo"
	// creators is how many Services are created at the same time.
	creators = 16

	controllerDeployment = lab.ReleaseName + "-controller"
	speakerDaemonSet     = lab.ReleaseName + "-speaker"
)

// Addresses that parts give out. Those that a client asks for lie on the
// segment of the testbed; many lie where no host is.
const (
	manyIPv4    = "198.18.0.0/16"
	segmentIPv4 = "172.30.0.100-172.30.0.250"
	segmentIPv6 = "fd00:30::100-fd00:30::2ff"
)

// bench is a run: what its parts share.
type bench struct {
	name  string
	quick bool
	began time.Time

	dir     string // for files of this run
	cluster *testbed.Cluster
	lab     *lab.Lab
	broken  error // why there is no cluster
}

func (b *bench) say(format string, args ...any) {
	fmt.Printf("%6s  "+format+"\n", append([]any{time.Since(b.began).Round(time.Second)}, args...)...)
}

// pick is the full size, or the small one of a quick run.
func (b *bench) pick(full, quick int) int {
	if b.quick {
		return quick
	}
	return full
}

// up brings the cluster with Fairlead up, once.
func (b *bench) up(ctx context.Context) error {
	if b.lab != nil || b.broken != nil {
		return b.broken
	}
	if err := b.bringUp(ctx); err != nil {
		b.broken = fmt.Errorf("there is no cluster to measure on: %w", err)
	}
	return b.broken
}

func (b *bench) bringUp(ctx context.Context) error {
	var err error
	if b.dir, err = os.MkdirTemp("", "fairlead-bench-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	flags, err := b.writeAuditPolicy()
	if err != nil {
		return err
	}
	b.cluster, err = testbed.Up(ctx, testbed.Config{
		Name: b.name, Nodes: clusterNodes, Progress: testbed.NewProgress(os.Stdout),
		ExtraArgs: map[string][]string{testbed.APIServer: flags},
	})
	if err != nil {
		return err
	}
	l, err := lab.New(b.cluster)
	if err != nil {
		return err
	}
	b.say("building and loading Fairlead's images")
	if err := l.LoadImages(ctx, "bench"); err != nil {
		return err
	}
	b.say("installing the chart with its defaults")
	if err := l.Install(ctx, nil); err != nil {
		l.Dump(ctx, os.Stdout)
		return err
	}
	b.lab = l
	return nil
}

// down removes all that the run made, also when the run was interrupted.
func (b *bench) down() {
	if b.cluster != nil {
		if err := b.cluster.Down(); err != nil {
			b.say("removing the cluster: %v", err)
		}
	}
	if b.dir != "" {
		os.RemoveAll(b.dir)
	}
}

// scene is what a cluster part works in: a namespace with backends, a pool and
// an advertisement, gone when it ends.
type scene struct {
	addresses []string
	backends  []string // nodes with a backend; each has one
	from      []string // nodes that announce; empty: all
	envoys    int      // of a class of Gateways; 0: one on each node, as by default
	both      bool     // a scene with a router announces on layer 2 as well
}

// stage sets a scene, and returns what clears it.
func (b *bench) stage(ctx context.Context, s scene) (clear func() error, err error) {
	if err := b.up(ctx); err != nil {
		return nil, err
	}
	clear = func() error {
		if ctx.Err() != nil { // interrupted: the cluster goes as a whole
			return nil
		}
		return b.clear(ctx)
	}
	pool := lab.Pool(namespace, s.addresses...)
	pool.Spec.ReuseDelay, pool.Spec.Retain = &metav1.Duration{}, &metav1.Duration{}
	advertisement := &v1alpha1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	advertisement.Spec.IPAddressPools = []string{namespace}
	for _, n := range s.from {
		advertisement.Spec.NodeSelectors = append(advertisement.Spec.NodeSelectors,
			metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelHostname: n}})
	}
	objects := []client.Object{lab.MakeNamespace(namespace), pool, advertisement}
	for _, n := range s.backends {
		objects = append(objects, backendOn(n))
	}
	if err := b.lab.Apply(ctx, objects...); err != nil {
		return nil, errors.Join(err, clear())
	}
	for _, n := range s.backends {
		if err := b.lab.AwaitReady(ctx, namespace, backendOn(n).Name); err != nil {
			return nil, errors.Join(err, clear())
		}
	}
	return clear, nil
}

// backendOn is a backend that stays on a node, also while it is being drained or
// not ready.
func backendOn(node string) *appsv1.Deployment {
	d := lab.Echo(namespace, backend+"-"+node, 1)
	labels := map[string]string{"app": backend, "on": node}
	d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = labels, labels
	d.Spec.Template.Spec.TopologySpreadConstraints = nil
	d.Spec.Template.Spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
	d.Spec.Template.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	return d
}

// clear removes what stage made and what the part added, and waits until the
// ledger is empty.
func (b *bench) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	b.say("clearing up")
	if err := b.startController(ctx); err != nil {
		return err
	}
	if err := b.removeServices(ctx); err != nil {
		return err
	}
	objects := []client.Object{
		lab.MakeNamespace(namespace), lab.Pool(namespace),
		&v1alpha1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
	}
	for _, o := range objects {
		if err := b.lab.Client.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("removing %T %s: %w", o, o.GetName(), err)
		}
	}
	return lab.Await(ctx, 2*time.Minute, "the namespace to be gone", func(ctx context.Context) error {
		err := b.lab.Client.Get(ctx, client.ObjectKey{Name: namespace}, &corev1.Namespace{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is still there"), err)
	})
}

// removeServices deletes all Services and waits until their addresses are gone.
func (b *bench) removeServices(ctx context.Context) error {
	// One request for all of them takes longer than the API server allows.
	var all corev1.ServiceList
	if err := b.lab.Client.List(ctx, &all, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("listing Services: %w", err)
	}
	err := inParallel(ctx, creators, 0, len(all.Items), func(ctx context.Context, i int) error {
		return client.IgnoreNotFound(b.lab.Client.Delete(ctx, &all.Items[i]))
	})
	if err != nil {
		return fmt.Errorf("removing Services: %w", err)
	}
	return awaitSlowly(ctx, 5*time.Minute, time.Second, "the ledger to be empty", func(ctx context.Context) error {
		var some v1alpha1.AddressList
		if err := b.lab.Client.List(ctx, &some, client.Limit(1)); err != nil {
			return err
		}
		if len(some.Items) > 0 {
			return fmt.Errorf("it has %d addresses, one is %s: %+v", listed(len(some.Items), &some), some.Items[0].Name, some.Items[0].Spec)
		}
		return nil
	})
}

// listed is how many there are in all, where a list was cut short.
func listed(items int, list metav1.ListInterface) int {
	if more := list.GetRemainingItemCount(); more != nil {
		return items + int(*more)
	}
	return items
}

func serviceName(i int) string { return fmt.Sprintf("s-%05d", i) }

// creation is when a Service was sent to the API server, and when that answered.
type creation struct{ sent, answered time.Time }

// createServices creates Services [from, to), several at a time, and returns when
// each was.
func (b *bench) createServices(ctx context.Context, from, to int, edits ...func(*corev1.Service)) (map[string]creation, error) {
	var mu sync.Mutex
	created := make(map[string]creation, to-from)
	err := inParallel(ctx, creators, from, to, func(ctx context.Context, i int) error {
		s := lab.LoadBalancer(namespace, serviceName(i), backend, edits...)
		c := creation{sent: time.Now()}
		if err := b.lab.Client.Create(ctx, s); err != nil {
			return fmt.Errorf("creating Service %s: %w", s.Name, err)
		}
		c.answered = time.Now()
		mu.Lock()
		defer mu.Unlock()
		created[s.Name] = c
		return nil
	})
	return created, err
}

// inParallel calls f with every number of [from, to), by so many workers.
func inParallel(ctx context.Context, workers, from, to int, f func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	next := make(chan int)
	group.Go(func() error {
		defer close(next)
		for i := from; i < to; i++ {
			select {
			case next <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range workers {
		group.Go(func() error {
			for i := range next {
				if err := f(ctx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// awaitSlices waits until Kubernetes has made the EndpointSlices of n Services,
// so that its work is not measured as ours.
func (b *bench) awaitSlices(ctx context.Context, n int) error {
	kube, err := b.cluster.Client()
	if err != nil {
		return err
	}
	return awaitSlowly(ctx, 5*time.Minute, time.Second, "the EndpointSlices", func(ctx context.Context) error {
		list, err := kube.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil {
			return err
		}
		if have := listed(len(list.Items), list); have < n {
			return fmt.Errorf("%d of %d are there", have, n)
		}
		return nil
	})
}

// awaitAnnounced waits until the ledger has n addresses and names who announces
// each.
func (b *bench) awaitAnnounced(ctx context.Context, n int) error {
	return awaitSlowly(ctx, 10*time.Minute, 3*time.Second, fmt.Sprintf("%d addresses to be announced", n), func(ctx context.Context) error {
		var all v1alpha1.AddressList
		if err := b.lab.Client.List(ctx, &all); err != nil {
			return err
		}
		announced := 0
		for _, a := range all.Items {
			if a.Status.Layer2 != nil && a.Status.Layer2.Node != "" {
				announced++
			}
		}
		if announced != n || len(all.Items) != n {
			return fmt.Errorf("%d of %d in the ledger are", announced, len(all.Items))
		}
		return nil
	})
}

// awaitSlowly is lab.Await for checks that cost the cluster much.
func awaitSlowly(ctx context.Context, timeout, every time.Duration, what string, check func(context.Context) error) error {
	deadline := time.Now().Add(timeout)
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting %s for %s: %w", timeout, what, err)
		}
		if err := sleep(ctx, every); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// controllerReplicas is what the chart asks for.
const controllerReplicas = 2

func (b *bench) stopController(ctx context.Context) error { return b.scaleController(ctx, 0) }

// startController starts the controllers and waits until they are ready; it does
// nothing when they run.
func (b *bench) startController(ctx context.Context) error {
	return b.scaleController(ctx, controllerReplicas)
}

func (b *bench) scaleController(ctx context.Context, replicas int32) error {
	if err := b.askReplicas(ctx, replicas); err != nil {
		return err
	}
	return lab.Await(ctx, 2*time.Minute, fmt.Sprintf("%d controllers", replicas), func(ctx context.Context) error {
		pods, err := b.lab.Pods(ctx, "controller")
		if err != nil {
			return err
		}
		ready := 0
		for i := range pods {
			if podReady(&pods[i]) {
				ready++
			}
		}
		if len(pods) != int(replicas) || ready != int(replicas) {
			return fmt.Errorf("there are %d, %d of them ready", len(pods), ready)
		}
		return nil
	})
}

func (b *bench) askReplicas(ctx context.Context, replicas int32) error {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: lab.Namespace, Name: controllerDeployment}}
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	if err := b.lab.Client.Patch(ctx, d, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		return fmt.Errorf("scaling the controller to %d: %w", replicas, err)
	}
	return nil
}

func podReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil
		}
	}
	return false
}

// controllerWorkers is how many Services the installed controller works on at
// once.
func (b *bench) controllerWorkers(ctx context.Context) (int, error) {
	var d appsv1.Deployment
	if err := b.lab.Client.Get(ctx, client.ObjectKey{Namespace: lab.Namespace, Name: controllerDeployment}, &d); err != nil {
		return 0, fmt.Errorf("reading the controller's Deployment: %w", err)
	}
	for _, a := range d.Spec.Template.Spec.Containers[0].Args {
		if n, ok := strings.CutPrefix(a, "--workers="); ok {
			return strconv.Atoi(n)
		}
	}
	return 0, fmt.Errorf("the controller has no argument --workers: %v", d.Spec.Template.Spec.Containers[0].Args)
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }
