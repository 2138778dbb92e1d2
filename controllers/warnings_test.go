package controllers

import (
	"context"
	"errors"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// warnings keeps those that reach it.
type warnings struct {
	mu   sync.Mutex
	seen []string
}

func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, text)
}

func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

func TestTheAPIServerDoesNotWarnOfThePrescribedFinalizer(t *testing.T) {
	w := newWorld(t)
	class := w.class()
	all, left := &warnings{}, &warnings{}
	for _, tt := range []struct {
		finalizer string
		want      bool
	}{{gatewayv1.GatewayClassFinalizerGatewaysExist, false}, {"unqualified.example.com", true}} {
		for _, keep := range []*warnings{all, left} {
			cfg := Unlimited(apiServer)
			cfg.WarningHandlerWithContext = keep
			if keep == left {
				cfg.WarningHandlerWithContext = WithoutPrescribed(keep)
			}
			c, err := client.New(cfg, client.Options{Scheme: w.c.Scheme()})
			if err != nil {
				t.Fatal(err)
			}
			set := func(finalizers ...string) error {
				o := &gatewayv1.GatewayClass{}
				if err := c.Get(w.ctx(), types.NamespacedName{Name: class}, o); err != nil {
					return err
				}
				before := o.DeepCopy()
				o.Finalizers = finalizers
				return c.Patch(w.ctx(), o, client.MergeFrom(before))
			}
			if err := errors.Join(set(tt.finalizer), set()); err != nil {
				t.Fatal(err)
			}
		}
		if len(all.take()) == 0 {
			t.Errorf("the API server does not warn of %s", tt.finalizer)
		}
		if got := left.take(); (len(got) > 0) != tt.want {
			t.Errorf("of %s comes %q", tt.finalizer, got)
		}
	}
}
