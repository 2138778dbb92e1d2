package adopting

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/migrate/adopt"
	"github.com/fairlead/fairlead/migrate/drive"
	"github.com/fairlead/fairlead/migrate/plan"
)

const owner = client.FieldOwner(plan.FieldManager)

// write does what is to be written, in its order or all together, and gives what it has
// done.
func write(ctx context.Context, c client.Client, list []adopt.Write, together bool) ([]adopt.Write, error) {
	var done []adopt.Write
	if together {
		errs := make([]error, len(list))
		var all sync.WaitGroup
		for i, w := range list {
			all.Go(func() { errs[i] = one(ctx, c, w) })
		}
		all.Wait()
		for i, w := range list {
			if errs[i] == nil {
				done = append(done, w)
			}
		}
		return done, errors.Join(errs...)
	}
	for _, w := range list {
		if err := one(ctx, c, w); err != nil {
			return done, err
		}
		done = append(done, w)
	}
	return done, nil
}

func one(ctx context.Context, c client.Client, w adopt.Write) error {
	o := w.Object()
	var err error
	switch {
	case w.Before == nil:
		err = c.Create(ctx, w.After.DeepCopy(), owner)
	case w.After == nil:
		err = client.IgnoreNotFound(c.Delete(ctx, w.Before.DeepCopy()))
	case o.GetKind() == "Node":
		// Kubelets write Nodes all the time, and only a label of ours is changed.
		err = c.Patch(ctx, w.After.DeepCopy(), client.MergeFrom(w.Before), owner)
	default:
		err = c.Patch(ctx, w.After.DeepCopy(), client.MergeFromWithOptions(w.Before, client.MergeFromWithOptimisticLock{}), owner)
	}
	if w.Before != nil && apierrors.IsNotFound(err) {
		err = fmt.Errorf("%w: %w", errGone, err)
	}
	if err != nil {
		return fmt.Errorf("writing %s %s: %w", o.GetKind(), client.ObjectKeyFromObject(o), err)
	}
	return nil
}

// errGone is of an object that was to be changed, and that somebody has removed, as the
// controller does with Addresses that nobody holds any more.
var errGone = errors.New("it was removed meanwhile")

// passes tells whether an error is one that a second look may mend: somebody else was
// faster, or a webhook does not answer yet.
func passes(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || errors.Is(err, errGone) || unanswered(err)
}

// unanswered tells whether a webhook of somebody did not answer.
func unanswered(err error) bool {
	return apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook")
}

// missing are the rights for some writes that the caller lacks.
func missing(ctx context.Context, c client.Client, list []adopt.Write) ([]drive.Right, error) {
	var needs []drive.Right
	for _, w := range list {
		r, err := rightFor(c, w)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(needs, r) {
			needs = append(needs, r)
		}
	}
	return drive.Lacking(ctx, c, needs)
}

// rightFor is the right for a write, for all objects of a kind in a namespace.
func rightFor(c client.Client, w adopt.Write) (drive.Right, error) {
	o, verb := w.Object(), "patch"
	switch {
	case w.Before == nil:
		verb = "create"
	case w.After == nil:
		verb = "delete"
	}
	return drive.RightTo(c, verb, o.GroupVersionKind(), o.GetNamespace())
}
