package inhabit

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/fairlead/fairlead/controllers"
	"github.com/fairlead/fairlead/service"
)

// Cluster does in a test what a cluster does by itself: pods of Deployments become ready, and Fairlead's controller, the real
// one, runs as its Deployment says. It notes each Service whose addresses change.
type Cluster struct {
	T      *testing.T
	Config *rest.Config
	Client client.Client
	// Flag is the one that Fairlead's controller runs with; empty: it does not run. Only what Live is given may read it.
	Flag string
	stop func() // ends the controller

	mu    sync.Mutex
	moved []string
	first map[string]string
}

// again is the pause between two rounds.
const again = 50 * time.Millisecond

// NewCluster makes one of an API server. It does nothing before Live.
func NewCluster(t *testing.T, cfg *rest.Config, c client.Client) *Cluster {
	return &Cluster{T: t, Config: cfg, Client: c, stop: func() {}, first: map[string]string{}}
}

// Live begins, and does more in each round, until the end of the test.
func (k *Cluster) Live(more ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for tick := time.NewTicker(again); ctx.Err() == nil; {
			if err := k.round(ctx, more); err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
				k.T.Errorf("the cluster: %v", err)
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
		k.stop()
	})
	k.T.Cleanup(func() { cancel(); all.Wait() })
}

func (k *Cluster) round(ctx context.Context, more []func(context.Context) error) error {
	for _, do := range append([]func(context.Context) error{k.watch, k.deployments}, more...) {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// watch notes each Service whose addresses change.
func (k *Cluster) watch(ctx context.Context) error {
	var list corev1.ServiceList
	if err := k.Client.List(ctx, &list); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range list.Items {
		name, now := list.Items[i].Namespace+"/"+list.Items[i].Name, fmt.Sprint(service.Shown(&list.Items[i]))
		if before, ok := k.first[name]; ok && before != now {
			k.moved = append(k.moved, name+" from "+before+" to "+now)
		} else {
			k.first[name] = now
		}
	}
	return nil
}

// WantUnmoved fails the test if a Service ever showed other addresses than at first.
func (k *Cluster) WantUnmoved() {
	k.T.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.moved) > 0 {
		k.T.Errorf("addresses changed: %s", strings.Join(k.moved, "; "))
	}
}

func (k *Cluster) deployments(ctx context.Context) error {
	var list appsv1.DeploymentList
	if err := k.Client.List(ctx, &list); err != nil {
		return err
	}
	for i := range list.Items {
		d := &list.Items[i]
		if strings.Contains(d.Spec.Template.Spec.Containers[0].Image, "fairlead") {
			k.fairlead(d.Spec.Template.Spec.Containers[0].Args[0])
		}
		n := ptr.Deref(d.Spec.Replicas, 1)
		if d.Status.ObservedGeneration == d.Generation && d.Status.ReadyReplicas == n {
			continue
		}
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
		if err := k.Client.Status().Update(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// byDefault is the flag of a controller that serves Services without a class, or does not.
func byDefault(on bool) string { return fmt.Sprintf("--default-class=%t", on) }

// fairlead runs the controller with a flag.
func (k *Cluster) fairlead(flag string) {
	if k.Flag == flag {
		return
	}
	k.stop()
	k.Flag = flag
	scheme, err := controllers.Scheme()
	if err != nil {
		k.T.Error(err)
		return
	}
	m := controllers.ManagerOptions(scheme)
	m.Metrics = metricsserver.Options{BindAddress: "0"}
	m.Controller.SkipNameValidation = ptr.To(true)
	mgr, err := manager.New(controllers.Unlimited(k.Config), m)
	if err == nil {
		err = controllers.Add(mgr, controllers.Options{Service: service.Config{Default: flag == byDefault(true)}, Settle: time.Hour})
	}
	if err != nil {
		k.T.Error(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	k.stop = func() {
		cancel()
		if err := <-done; err != nil {
			k.T.Errorf("Fairlead's controller: %v", err)
		}
		k.stop = func() {}
	}
}

// Helm sets whether Fairlead is the default, as the commands ask people to.
func (k *Cluster) Helm(on bool) {
	k.T.Helper()
	d := &appsv1.Deployment{}
	d.Namespace, d.Name = "fairlead-system", "fairlead-controller"
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/args","value":[%q]}]`, byDefault(on))
	if err := k.Client.Patch(k.T.Context(), d, client.RawPatch(types.JSONPatchType, []byte(patch))); err != nil {
		k.T.Error(err)
	}
}

// Await waits until something holds.
func (k *Cluster) Await(what string, holds func(ctx context.Context) bool) {
	k.T.Helper()
	ctx, cancel := context.WithTimeout(k.T.Context(), time.Minute)
	defer cancel()
	for !holds(ctx) {
		select {
		case <-ctx.Done():
			k.T.Fatalf("waiting for %s: %v", what, ctx.Err())
		case <-time.After(again):
		}
	}
}
