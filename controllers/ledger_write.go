package controllers

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/pools"
)

// rewriting bounds how often one write is tried again after a conflict.
const rewriting = 8

// AnnotationTraceparent carries the W3C trace context of an allocation to the
// speaker that announces the address.
const AnnotationTraceparent = "fairlead.dev/traceparent"

type verb string

const (
	verbNone   verb = ""
	verbCreate verb = "create"
	verbUpdate verb = "update"
	verbDelete verb = "delete"
)

// write makes the Address object of an address what the books say.
func (l *Ledger) write(ctx context.Context, a netip.Addr) error {
	r, unlock := l.lock(a)
	defer unlock()
	for range rewriting {
		v, object := l.plan(a, r)
		if v == verbNone {
			return nil
		}
		err := l.carryOut(ctx, a, r, v, object)
		ledgerWrites.WithLabelValues(string(v), resultOf(err)).Inc()
		switch {
		case err == nil:
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
			if err := l.reread(ctx, a, r); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s of Address %s: %w", v, v1alpha1.AddressName(a), err)
		}
	}
	return fmt.Errorf("writing Address %s: %w", v1alpha1.AddressName(a), errMoved)
}

// plan compares the books with the object and says what to write.
func (l *Ledger) plan(a netip.Addr, r *row) (verb, *v1alpha1.Address) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.books.Entry(a)
	if !ok {
		return planRemoval(r.object)
	}
	want := specOf(e)
	if r.object == nil {
		if len(want.Holders) == 0 && want.Released == nil {
			return verbNone, nil
		}
		o := &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AddressName(a)}, Spec: want}
		setFinalizer(o, len(want.Holders) > 0)
		return verbCreate, o
	}
	if sameSpec(&r.object.Spec, &want) && hasFinalizer(r.object) == (len(want.Holders) > 0) {
		return verbNone, nil
	}
	o := r.object.DeepCopy()
	o.Spec = want
	setFinalizer(o, len(want.Holders) > 0)
	return verbUpdate, o
}

// planRemoval removes an object that the books do not have: first our
// finalizer, then the object.
func planRemoval(o *v1alpha1.Address) (verb, *v1alpha1.Address) {
	switch {
	case o == nil:
		return verbNone, nil
	case hasFinalizer(o) || len(o.Spec.Holders) > 0:
		o = o.DeepCopy()
		setFinalizer(o, false)
		o.Spec.Holders, o.Spec.State = nil, v1alpha1.AddressRetained
		o.Spec.Summary = summaryOf(&o.Spec)
		return verbUpdate, o
	case o.DeletionTimestamp != nil:
		return verbNone, nil
	}
	return verbDelete, o
}

func (l *Ledger) carryOut(ctx context.Context, a netip.Addr, r *row, v verb, o *v1alpha1.Address) error {
	ctx, span := l.tracer.Start(ctx, "ledger.write", trace.WithAttributes(
		attribute.String("fairlead.address", a.String()), attribute.String("fairlead.verb", string(v))))
	defer span.End()
	switch v {
	case verbCreate:
		annotateTrace(ctx, o)
		return l.fail.around(ctx, PointAddressCreate, func() error {
			if err := l.writer.Create(ctx, o, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
				return err
			}
			l.learn(a, r, o)
			return nil
		})
	case verbUpdate:
		return l.fail.around(ctx, PointAddressUpdate, func() error {
			answer, err := l.update(ctx, r.object, o)
			if err != nil {
				return err
			}
			l.learn(a, r, answer)
			return nil
		})
	}
	return l.fail.around(ctx, PointAddressDelete, func() error {
		err := l.writer.Delete(ctx, o, client.Preconditions{UID: &o.UID, ResourceVersion: &o.ResourceVersion})
		if err != nil {
			return err
		}
		l.learnGone(a, r, o)
		return nil
	})
}

// annotateTrace lets the speaker continue a sampled trace. It is written only
// together with a new Address, never for its own sake.
func annotateTrace(ctx context.Context, o *v1alpha1.Address) {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	if tp := carrier["traceparent"]; tp != "" {
		o.Annotations = map[string]string{AnnotationTraceparent: tp}
	}
}

// learn remembers what the API server has now, and tells the books. An object
// that was only kept by our finalizer is gone with it: a person has deleted it.
func (l *Ledger) learn(a netip.Addr, r *row, o *v1alpha1.Address) {
	if o.DeletionTimestamp != nil && len(o.Finalizers) == 0 {
		l.learnGone(a, r, o)
		return
	}
	strip(o)
	e, err := pools.ReadAddress(o)
	if err != nil {
		return
	}
	l.mu.Lock()
	before, _ := l.books.Entry(a)
	known := r.object
	if known != nil && len(known.Spec.Holders) > 0 && e.ReservedFor != nil && *e.ReservedFor == pools.Nobody {
		// Emptied by a foreign hand: that is no reservation.
		e.ReservedFor = nil
	}
	r.object = o
	l.books.Load(e)
	after, _ := l.books.Entry(a)
	wake := append(l.concerned(before, after), l.books.Woken()...)
	used := l.poolsOf(nil, []netip.Addr{a})
	l.mu.Unlock()
	if known != nil && sameSpec(&known.Spec, &o.Spec) {
		used = nil
	}
	if known != nil && darkness(known) != darkness(o) {
		for _, h := range after.Holders {
			wake = append(wake, h.Key)
		}
	}
	l.report(wake, used)
}

// darkness is what an Address says of not being announced, which its holders
// repeat.
func darkness(o *v1alpha1.Address) string {
	for _, c := range o.Status.Conditions {
		if c.Type == v1alpha1.AddressAnnounced && c.Status == metav1.ConditionFalse {
			return c.Reason + ": " + c.Message
		}
	}
	return ""
}

// learnGone remembers that the API server has no object for an address. Holders
// keep the address, and the object is made again; what only waited is given up.
func (l *Ledger) learnGone(a netip.Addr, r *row, o *v1alpha1.Address) {
	l.mu.Lock()
	used := l.poolsOf(nil, []netip.Addr{a})
	r.object = nil
	if o != nil {
		r.gone = o.UID
	}
	l.books.Unload(a)
	wake := l.books.Woken()
	l.mu.Unlock()
	l.report(wake, used)
}

// reread brings in what the API server has, after it refused a write. The books
// merge it with what they have decided; whoever decided looks again.
func (l *Ledger) reread(ctx context.Context, a netip.Addr, r *row) error {
	o := &v1alpha1.Address{}
	err := l.live.Get(ctx, client.ObjectKey{Name: v1alpha1.AddressName(a)}, o)
	switch {
	case apierrors.IsNotFound(err):
		l.learnGone(a, r, r.object)
	case err != nil:
		return fmt.Errorf("reading Address %s: %w", v1alpha1.AddressName(a), err)
	default:
		l.learn(a, r, o)
	}
	return nil
}

// concerned are the holders that somebody else put in or took out, and whoever
// the address is reserved for now. The caller holds mu.
func (l *Ledger) concerned(before, after allocator.Entry) []allocator.Key {
	var out []allocator.Key
	has := func(in []allocator.Holding, k allocator.Key) bool {
		return slices.ContainsFunc(in, func(h allocator.Holding) bool { return h.Key == k })
	}
	for _, h := range before.Holders {
		if !has(after.Holders, h.Key) {
			out = append(out, h.Key)
			l.orphans[h.Key] = struct{}{}
		}
	}
	for _, h := range after.Holders {
		if !has(before.Holders, h.Key) {
			out = append(out, h.Key)
		}
	}
	if r := after.ReservedFor; r != nil && *r != pools.Nobody && (before.ReservedFor == nil || *before.ReservedFor != *r) {
		out = append(out, *r)
	}
	return out
}

// sameSpec compares without regard to nil and empty.
func sameSpec(a, b *v1alpha1.AddressSpec) bool { return equality.Semantic.DeepEqual(a, b) }

func hasFinalizer(o *v1alpha1.Address) bool {
	return slices.Contains(o.Finalizers, v1alpha1.AddressFinalizer)
}

// setFinalizer puts or removes our finalizer. None can be added to an object
// that is being deleted.
func setFinalizer(o *v1alpha1.Address, on bool) {
	switch {
	case on && !hasFinalizer(o) && o.DeletionTimestamp == nil:
		o.Finalizers = append(o.Finalizers, v1alpha1.AddressFinalizer)
	case !on:
		o.Finalizers = slices.DeleteFunc(o.Finalizers, func(f string) bool { return f == v1alpha1.AddressFinalizer })
	}
}

// strip drops what the ledger never looks at.
func strip(o *v1alpha1.Address) { o.ManagedFields = nil }
