package lab

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// quickly is how long pods of a namespace that is emptied may take to end, in seconds: nobody asks them any more.
const quickly = 1

// Empty removes the Gateways, Services and pods of a namespace, and returns when they are gone. It is much quicker than to
// remove the namespace, which Kubernetes begins after five seconds only, and leaves pods all the time that they ask for.
func (l *Lab) Empty(ctx context.Context, namespace string) error {
	for _, o := range []client.Object{
		&gatewayv1.Gateway{}, &corev1.Service{}, &appsv1.DaemonSet{}, &appsv1.Deployment{}, &appsv1.ReplicaSet{}, &corev1.Pod{},
	} {
		options := []client.DeleteAllOfOption{client.InNamespace(namespace)}
		if _, pods := o.(*corev1.Pod); pods {
			options = append(options, client.GracePeriodSeconds(quickly))
		}
		if err := l.deleteAllOf(ctx, o, options...); err != nil && !meta.IsNoMatchError(err) {
			return fmt.Errorf("removing %T of namespace %s: %w", o, namespace, err)
		}
	}
	return Await(ctx, 3*time.Minute, "namespace "+namespace+" to be empty", func(ctx context.Context) error {
		for _, list := range []client.ObjectList{&gatewayv1.GatewayList{}, &corev1.ServiceList{}, &corev1.PodList{}} {
			if err := l.Client.List(ctx, list, client.InNamespace(namespace)); meta.IsNoMatchError(err) {
				continue
			} else if err != nil {
				return err
			}
			if n := meta.LenList(list); n > 0 {
				return fmt.Errorf("%d of %T are there", n, list)
			}
		}
		return nil
	})
}

// deleteAllOf asks again when the API server has run out of the minute that it gives a request: it deletes one object after
// the other, and hundreds of Services take longer on a machine that has other work.
func (l *Lab) deleteAllOf(ctx context.Context, o client.Object, options ...client.DeleteAllOfOption) error {
	for {
		if err := l.Client.DeleteAllOf(ctx, o, options...); !apierrors.IsTimeout(err) || ctx.Err() != nil {
			return err
		}
	}
}
