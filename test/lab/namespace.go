package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// quickly is how long pods of a namespace that is emptied may take to end, in seconds: nobody asks them any more.
const quickly = 1

// Empty removes the Gateways, Services and pods of a namespace, and returns when they are gone. It is much quicker than to
// remove the namespace, which Kubernetes begins after five seconds only, and leaves pods all the time that they ask for.
func (l *Lab) Empty(ctx context.Context, namespace string) error {
	for _, list := range []client.ObjectList{
		&gatewayv1.GatewayList{}, &corev1.ServiceList{}, &appsv1.DaemonSetList{}, &appsv1.DeploymentList{}, &appsv1.ReplicaSetList{}, &corev1.PodList{},
	} {
		var options []client.DeleteOption
		if _, pods := list.(*corev1.PodList); pods {
			options = append(options, client.GracePeriodSeconds(quickly))
		}
		if err := l.deleteAll(ctx, list, namespace, options...); err != nil && !meta.IsNoMatchError(err) {
			return fmt.Errorf("removing all of %T of namespace %s: %w", list, namespace, err)
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

// deleteAll removes the objects of a kind, some at a time. Asked for all in one request, the API server deletes one after the
// other, and cuts the request off after a minute, which hundreds of Services can take on a machine that has other work.
func (l *Lab) deleteAll(ctx context.Context, list client.ObjectList, namespace string, options ...client.DeleteOption) error {
	if err := l.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	err := meta.EachListItem(list, func(o runtime.Object) error {
		group.Go(func() error { return client.IgnoreNotFound(l.Client.Delete(ctx, o.(client.Object), options...)) })
		return nil
	})
	return errors.Join(err, group.Wait())
}
