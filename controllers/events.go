package controllers

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/fairlead/fairlead/service"
)

const (
	// reportingController names us in Events.
	reportingController = "fairlead.dev/controller"
	// eventWorkers is how many Events are written at once: few, so that they
	// never take the API server's time from addresses and statuses.
	eventWorkers = 3
	// eventsQueued is how many Events may wait. More are dropped and counted.
	eventsQueued = 1 << 16
	// flushing is how long Events are written after the end.
	flushing = time.Second
	// maxNote is the most bytes of an Event's note.
	maxNote = 1024
)

// eventWriter writes Events behind the back of those who tell them. It does not
// merge or repeat them: only changes are told.
type eventWriter struct {
	client   client.Client
	clock    clock.PassiveClock
	log      logr.Logger
	queue    chan *eventsv1.Event
	instance string
	seq      sync.Mutex
	last     int64
}

func newEventWriter(c client.Client, clk clock.PassiveClock, log logr.Logger) *eventWriter {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	instance := reportingController + "-" + host
	if len(instance) > 128 {
		instance = instance[:128]
	}
	return &eventWriter{client: c, clock: clk, log: log, queue: make(chan *eventsv1.Event, eventsQueued), instance: instance}
}

// Start writes Events until the context ends, and then for a moment what is left.
func (w *eventWriter) Start(ctx context.Context) error {
	var group sync.WaitGroup
	for range eventWorkers {
		group.Go(func() {
			for {
				select {
				case <-ctx.Done():
					w.flush(ctx)
					return
				case e := <-w.queue:
					w.write(ctx, e)
				}
			}
		})
	}
	group.Wait()
	return nil
}

func (w *eventWriter) flush(ended context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ended), flushing)
	defer cancel()
	for ctx.Err() == nil {
		select {
		case e := <-w.queue:
			w.write(ctx, e)
		default:
			return
		}
	}
}

func (w *eventWriter) write(ctx context.Context, e *eventsv1.Event) {
	err := w.client.Create(ctx, e)
	if apierrors.IsAlreadyExists(err) {
		return // told before
	}
	if err != nil {
		eventsWritten.WithLabelValues("failed").Inc()
		w.log.V(1).Info("An Event was not written", "reason", e.Reason, "about", e.Regarding.Name, "cause", err.Error())
		return
	}
	eventsWritten.WithLabelValues("written").Inc()
}

// tell queues an Event about an object.
func (w *eventWriter) tell(about client.Object, e service.Event) {
	w.tellOnce(about, fmt.Sprintf("%x", w.number(w.clock.Now().UnixNano())), e)
}

// tellOnce queues an Event that is not told again under the same mark.
func (w *eventWriter) tellOnce(about client.Object, mark string, e service.Event) {
	gvk, err := apiutil.GVKForObject(about, w.client.Scheme())
	if err != nil {
		w.log.Error(err, "An Event about an unknown kind was dropped", "reason", e.Reason)
		return
	}
	select {
	case w.queue <- w.event(about, gvk, mark, e):
	default:
		eventsWritten.WithLabelValues("dropped").Inc()
	}
}

func (w *eventWriter) event(about client.Object, gvk schema.GroupVersionKind, mark string, e service.Event) *eventsv1.Event {
	now := w.clock.Now()
	namespace := about.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	name := about.GetName()
	if len(name) > 200 {
		name = name[:200]
	}
	note := e.Note
	if len(note) > maxNote {
		note = note[:maxNote-4] + " ..."
	}
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: name + "." + mark, Namespace: namespace},
		EventTime:  metav1.NewMicroTime(now), ReportingController: reportingController, ReportingInstance: w.instance,
		Action: e.Action, Reason: e.Reason, Type: e.Type, Note: note,
		Regarding: corev1.ObjectReference{
			APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Namespace: about.GetNamespace(),
			Name: about.GetName(), UID: about.GetUID(), ResourceVersion: about.GetResourceVersion(),
		},
	}
}

// number makes names of Events differ that are told in the same nanosecond.
func (w *eventWriter) number(nanos int64) int64 {
	w.seq.Lock()
	defer w.seq.Unlock()
	w.last = max(w.last+1, nanos)
	return w.last
}
