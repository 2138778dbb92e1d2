// Package rivals holds other controllers as they are met in the wild: each writes
// into Services that Fairlead serves, as the one it is modelled on does. The
// tests let Fairlead live beside them.
package rivals

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// pause is the wait of a rival after an error, a conflict among them.
const pause = 50 * time.Millisecond

// Rival is another controller that writes into one Service.
type Rival struct {
	// Name says what it does, for tests.
	Name string
	// Manager is the field manager under which it writes.
	Manager string
	// Status is set when it writes the Service's status, which makes a contest.
	Status bool
	// act is called with the Service after every event of it. What it returns
	// is counted: whether it has written.
	act func(ctx context.Context, c kubernetes.Interface, svc *corev1.Service) (bool, error)
}

// Fight is a rival at work.
type Fight struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	writes atomic.Int64
}

// Writes is how often the rival has written.
func (f *Fight) Writes() int64 { return f.writes.Load() }

// Stop ends the rival and waits for it.
func (f *Fight) Stop() {
	f.cancel()
	f.done.Wait()
}

// Start lets the rival work on a Service until Stop, or until the context ends. Without
// a name it works on all Services of the namespace.
func (r Rival) Start(ctx context.Context, c kubernetes.Interface, name types.NamespacedName) *Fight {
	ctx, cancel := context.WithCancel(ctx)
	f := &Fight{cancel: cancel}
	f.done.Go(func() {
		for ctx.Err() == nil {
			if err := r.follow(ctx, c, name, f); err != nil {
				rest(ctx)
			}
		}
	})
	return f
}

func rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}

// follow watches the Service and acts on each event, with an error after which
// the watch is opened again.
func (r Rival) follow(ctx context.Context, c kubernetes.Interface, name types.NamespacedName, f *Fight) error {
	var options metav1.ListOptions
	if name.Name != "" {
		options.FieldSelector = fields.OneTermEqualSelector("metadata.name", name.Name).String()
	}
	w, err := c.CoreV1().Services(name.Namespace).Watch(ctx, options)
	if err != nil {
		return fmt.Errorf("watching %s: %w", name, err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		svc, ok := e.Object.(*corev1.Service)
		if !ok || e.Type == watch.Deleted {
			continue
		}
		wrote, err := r.act(ctx, c, svc)
		if wrote && err == nil {
			f.writes.Add(1)
		}
		if apierrors.IsConflict(err) {
			rest(ctx)
		}
		if err != nil {
			// Its queue brings the Service up again.
			return err
		}
	}
	return nil
}
