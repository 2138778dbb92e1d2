package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Reader reads with the caller's rights. What the caller may not read counts as not
// there and is remembered, and so are kinds that the cluster does not know. It is
// for one goroutine.
type Reader struct {
	client client.Client
	gaps   []Gap
	absent map[schema.GroupKind]bool
}

// NewReader is a Reader over a client.
func NewReader(c client.Client) *Reader {
	return &Reader{client: c, absent: map[schema.GroupKind]bool{}}
}

// List fills a list. It stays empty where the caller may not list, or the cluster
// does not know the kind.
func (r *Reader) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	gk, err := kindOf(r.client, list)
	if err != nil {
		return err
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	err = r.client.List(ctx, list, opts...)
	return r.excuse(err, "listing", gk, Gap{Verb: "list", Namespace: o.Namespace})
}

// Get reads an object and tells whether it is there, and may be read.
func (r *Reader) Get(ctx context.Context, key client.ObjectKey, o client.Object) (bool, error) {
	gk, err := kindOf(r.client, o)
	if err != nil {
		return false, err
	}
	err = r.client.Get(ctx, key, o)
	if err == nil {
		return true, nil
	}
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return false, r.excuse(err, "reading "+key.String()+" of", gk, Gap{Verb: "get", Namespace: key.Namespace, Name: key.Name})
}

// Need fills lists of Fairlead's own kinds, without which the command has nothing
// to say: it is an error if the cluster does not know them.
func (r *Reader) Need(ctx context.Context, lists ...client.ObjectList) error {
	for _, list := range lists {
		if err := r.List(ctx, list); err != nil {
			return err
		}
		if r.Absent(list) {
			return ErrNotInstalled
		}
	}
	return nil
}

// Controllers are the Deployments of Fairlead's controller, by the labels of the chart.
func (r *Reader) Controllers(ctx context.Context) ([]appsv1.Deployment, error) {
	var list appsv1.DeploymentList
	err := r.List(ctx, &list, client.MatchingLabels{"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": "controller"})
	return list.Items, err
}

// ErrNotInstalled says that the cluster has no Fairlead.
var ErrNotInstalled = errors.New("this cluster does not know the kinds of " + v1alpha1.GroupVersion.Group +
	": Fairlead is not installed there. Install its chart, or name another cluster with --context")

// Absent tells whether the cluster does not know the kind of what was read.
func (r *Reader) Absent(o runtime.Object) bool {
	gk, err := kindOf(r.client, o)
	return err == nil && r.absent[gk]
}

// Gaps are what the caller may not read, each once.
func (r *Reader) Gaps() []Gap { return slices.Clone(r.gaps) }

// excuse keeps what may be missing from being an error.
func (r *Reader) excuse(err error, doing string, gk schema.GroupKind, gap Gap) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		gap.Resource = resourceOf(err, gk)
		if !slices.Contains(r.gaps, gap) {
			r.gaps = append(r.gaps, gap)
		}
		return nil
	case meta.IsNoMatchError(err) || apierrors.IsNotFound(err):
		r.absent[gk] = true
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, gk, err)
}

// kindOf is the kind of an object, or of what is in a list.
func kindOf(c client.Client, o runtime.Object) (schema.GroupKind, error) {
	gvk, err := apiutil.GVKForObject(o, c.Scheme())
	if err != nil {
		return schema.GroupKind{}, fmt.Errorf("finding the kind of %T: %w", o, err)
	}
	return schema.GroupKind{Group: gvk.Group, Kind: strings.TrimSuffix(gvk.Kind, "List")}, nil
}

// resourceOf is the resource that was refused, as it stands in a Role:
// "services", "addresses.fairlead.dev".
func resourceOf(err error, gk schema.GroupKind) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		if d := status.Status().Details; d != nil && d.Kind != "" {
			return schema.GroupResource{Group: d.Group, Resource: d.Kind}.String()
		}
	}
	return gk.String()
}
