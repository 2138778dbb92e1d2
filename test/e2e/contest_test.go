//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/fairlead/fairlead/test/lab"
)

// A controller that replaces the ingress list on every event, as an operator
// that is not told to leave our Services alone does: the address stays and
// answers, the rival is named, and all is right once it stops.
func TestRivalThatRewritesTheStatus(t *testing.T) {
	w := newWorld(t, "172.30.0.240-172.30.0.249")
	w.backend("echo", 2)
	a := w.service("s", "echo", 1)[0]
	w.answers(a, 80)
	w.announcer(a, "any node", anyNode)
	client, err := kubernetes.NewForConfig(w.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() { ended <- rewriteStatus(ctx, client, w.namespace, "s", "203.0.113.9") }()
	c := w.condition("s", "fairlead.dev/Contested", metav1.ConditionTrue, "")
	if !strings.Contains(c.Message, "rival") || !strings.Contains(c.Message, "203.0.113.9") {
		t.Errorf("the condition names neither the rival nor what it writes: %q", c.Message)
	}
	o, err := w.address(w.ctx, a)
	if err != nil || len(o.Spec.Holders) != 1 || o.Spec.Holders[0].Name != "s" || o.Status.Layer2 == nil {
		t.Errorf("the ledger has %+v, %v", o, err)
	}
	if macs, err := w.whoHas(w.ctx, a); err != nil || len(macs) != 1 {
		t.Errorf("during the contest %v answer for the address, %v", macs, err)
	}
	w.service("bystander", "echo", 1)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	w.await("the address to be in the status again", func(ctx context.Context) error {
		s, err := client.CoreV1().Services(w.namespace).Get(ctx, "s", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, got := range lab.Addresses(s) {
			if got == a {
				return nil
			}
		}
		return errors.New("it is not")
	})
	w.answers(a, 80)
}

// rewriteStatus is the rival: on each event it reads the status and replaces the
// ingress list by a merge patch with the resourceVersion that it read, without
// looking whether that changes anything.
func rewriteStatus(ctx context.Context, client kubernetes.Interface, namespace, name, ip string) error {
	services := client.CoreV1().Services(namespace)
	events, err := services.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		return err
	}
	defer events.Stop()
	for range events.ResultChan() {
		s, err := services.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			break
		}
		patch, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"resourceVersion": s.ResourceVersion},
			"status":   map[string]any{"loadBalancer": corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: ip}}}},
		})
		if err != nil {
			return err
		}
		_, err = services.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "rival"}, "status")
		if err != nil && !apierrors.IsConflict(err) && ctx.Err() == nil {
			return err
		}
	}
	if ctx.Err() == nil {
		return errors.New("the rival's watch ended before it was stopped")
	}
	return nil
}
