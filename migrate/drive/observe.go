package drive

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/migrate/plan"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

// again is how long to wait after the API server did not answer.
const again = time.Second

// observe follows the holders of a plan until the context ends. An API server that
// is away is asked again and again: the takeover goes on meanwhile.
func (d *Driver) observe(ctx context.Context, p *plan.Plan) (<-chan sight, func()) {
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan sight)
	var all sync.WaitGroup
	for _, h := range holders(p) {
		all.Go(func() { d.observeOne(ctx, p, h, out) })
	}
	return out, func() { cancel(); all.Wait() }
}

func (d *Driver) observeOne(ctx context.Context, p *plan.Plan, h plan.Holder, out chan<- sight) {
	for ctx.Err() == nil {
		err := d.observeOnce(ctx, p, h, out)
		if err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// observeOnce reads a holder and follows it for as long as the API server lets it.
func (d *Driver) observeOnce(ctx context.Context, p *plan.Plan, h plan.Holder, out chan<- sight) error {
	o := empty(h)
	err := d.client.Get(ctx, client.ObjectKeyFromObject(o), o)
	switch {
	case apierrors.IsNotFound(err):
		send(ctx, out, sight{holder: h, gone: true})
		return err
	case err != nil:
		return err
	}
	send(ctx, out, see(p, h, o))
	w, err := d.client.Watch(ctx, listOf(h), client.InNamespace(h.Namespace), &client.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", h.Name.Name),
		Raw:           &metav1.ListOptions{ResourceVersion: o.GetResourceVersion()},
	})
	if err != nil {
		return err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, open := <-w.ResultChan():
			if !open {
				return nil
			}
			if err := d.heard(ctx, p, h, e, out); err != nil {
				return err
			}
		}
	}
}

// heard passes on what a watch tells.
func (d *Driver) heard(ctx context.Context, p *plan.Plan, h plan.Holder, e watch.Event, out chan<- sight) error {
	switch e.Type {
	case watch.Added, watch.Modified:
		if o, ok := e.Object.(client.Object); ok {
			send(ctx, out, see(p, h, o))
		}
	case watch.Deleted:
		send(ctx, out, sight{holder: h, gone: true})
	case watch.Error:
		return apierrors.FromObject(e.Object)
	}
	return nil
}

func send(ctx context.Context, out chan<- sight, s sight) {
	select {
	case <-ctx.Done():
	case out <- s:
	}
}

func listOf(h plan.Holder) client.ObjectList {
	if h.Kind == plan.Gateway {
		return &gatewayv1.GatewayList{}
	}
	return &corev1.ServiceList{}
}

// see reads what a holder says.
func see(p *plan.Plan, h plan.Holder, o client.Object) sight {
	s := sight{holder: h, asked: true, condition: conditionOf(o)}
	for _, a := range p.Annotations {
		if a.On == h && a.Value != "" && o.GetAnnotations()[a.Key] != a.Value {
			s.asked = false
		}
	}
	return s
}

func conditionOf(o client.Object) *metav1.Condition {
	switch o := o.(type) {
	case *corev1.Service:
		return meta.FindStatusCondition(o.Status.Conditions, tell.Condition)
	case *gatewayv1.Gateway:
		return meta.FindStatusCondition(o.Status.Conditions, tell.Condition)
	}
	return nil
}
