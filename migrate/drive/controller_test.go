package drive

import (
	"context"
	"errors"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/plan"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

// controller stands for Fairlead's: it takes the steps of a script once both
// annotations are there, and rolls back when one goes.
type controller struct {
	w *world
	// script are the reasons of the condition, one after another.
	script []string
	// deaf: it does not roll back.
	deaf bool
	// next lets it take one more step.
	next chan struct{}
}

// controlled runs one until the test is over.
func (w *world) controlled(script ...string) *controller {
	c := &controller{w: w, script: script, next: make(chan struct{}, 100)}
	c.run()
	return c
}

func (c *controller) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	changed := make(chan struct{}, 1)
	for _, list := range []client.ObjectList{&corev1.ServiceList{}, &gatewayv1.GatewayList{}} {
		watching, err := c.w.c.Watch(ctx, list, client.InNamespace(c.w.namespace))
		c.w.must(err)
		all.Go(func() { nudge(watching, changed) })
	}
	all.Go(func() {
		if err := c.loop(ctx, changed); err != nil && !errors.Is(err, context.Canceled) {
			c.w.t.Errorf("the controller: %v", err)
		}
	})
	c.w.t.Cleanup(func() { cancel(); all.Wait() })
}

func nudge(w watch.Interface, changed chan<- struct{}) {
	for range w.ResultChan() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

func (c *controller) loop(ctx context.Context, changed <-chan struct{}) error {
	for taken, open := 0, 1; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-c.next:
			open++
		}
		asked, err := c.asked(ctx)
		switch {
		case err != nil:
			return err
		case !asked && taken > 0 && !c.deaf:
			taken, open = 0, 1
			if err := c.say(ctx, ""); err != nil {
				return err
			}
		case asked:
			for ; taken < min(open, len(c.script)); taken++ {
				if err := c.say(ctx, c.script[taken]); err != nil {
					return err
				}
			}
		}
	}
}

// objects are the Services and the Gateway; none where one is missing.
func (c *controller) objects(ctx context.Context) ([]*corev1.Service, *gatewayv1.Gateway, error) {
	var services []*corev1.Service
	for _, name := range c.w.givers() {
		svc := &corev1.Service{}
		if err := c.w.c.Get(ctx, client.ObjectKey{Namespace: c.w.namespace, Name: name}, svc); err != nil {
			return nil, nil, client.IgnoreNotFound(err)
		}
		services = append(services, svc)
	}
	gw := &gatewayv1.Gateway{}
	if err := c.w.c.Get(ctx, client.ObjectKey{Namespace: c.w.namespace, Name: "web"}, gw); err != nil {
		return nil, nil, client.IgnoreNotFound(err)
	}
	return services, gw, nil
}

func (c *controller) asked(ctx context.Context) (bool, error) {
	services, gw, err := c.objects(ctx)
	if err != nil || services == nil {
		return false, err
	}
	for _, svc := range services {
		if svc.Annotations[v1alpha1.AnnotationHandover] != "gateway/web" {
			return false, nil
		}
	}
	return gw.Annotations[v1alpha1.AnnotationTakeover] == c.w.takes(), nil
}

// takes is how the Gateway names all who hand over to it.
func (w *world) takes() string { return "service/" + strings.Join(w.givers(), ",service/") }

// say writes the condition of all; without a reason it takes it away.
func (c *controller) say(ctx context.Context, reason string) error {
	for {
		services, gw, err := c.objects(ctx)
		if err != nil || services == nil {
			return err
		}
		set(&gw.Status.Conditions, reason)
		err = c.w.c.Status().Update(ctx, gw)
		for _, svc := range services {
			set(&svc.Status.Conditions, reason)
			err = errors.Join(err, c.w.c.Status().Update(ctx, svc))
		}
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

func set(conditions *[]metav1.Condition, reason string) {
	if reason == "" {
		meta.RemoveStatusCondition(conditions, tell.Condition)
		return
	}
	status := metav1.ConditionFalse
	if reason == plan.Done {
		status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(conditions, metav1.Condition{Type: tell.Condition, Status: status, Reason: reason, Message: "words of " + reason})
}
