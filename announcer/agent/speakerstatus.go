package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer/l2"
	"github.com/fairlead/fairlead/announcer/members"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

const (
	// selfEvery is how often the speaker's own status is written at most, and how
	// long a change must last: while a node is busy, such as when the controllers
	// start on it, another speaker may seem away for a moment and be back.
	selfEvery = 5 * time.Second
	// selfRounds is how many times selfEvery a status that goes on changing waits.
	selfRounds = 3
	// selfSoon is how long a change is gathered that is told early: that a session
	// stands otherwise, for which somebody may wait.
	selfSoon = 300 * time.Millisecond
	// selfBurst is how many writes may be early, one after the other. Each write
	// counts, and one more may be early for each selfEvery that passes, so that
	// sessions that come and go are told of at the common pace.
	selfBurst = 4
)

// maxMissing is how many nodes without a speaker a SpeakerStatus names.
const maxMissing = 64

// selfWriter writes the SpeakerStatus of our node when it has changed.
type selfWriter struct {
	cfg     *Config
	started metav1.Time
	changed chan struct{}
	// hurried says that the change is to be written early; early are the writes that may be.
	hurried chan struct{}
	early   *rate.Limiter

	mu sync.Mutex
	// node is our Node, with which the object goes; owned says that the object there is does.
	node  types.UID
	owned bool
	want  v1alpha1.SpeakerStatusStatus
	// wrote is the substance of what the API server has; nil: not known.
	wrote  *v1alpha1.SpeakerStatusStatus
	errors map[string]v1alpha1.SpeakerError
}

func newSelfWriter(cfg *Config) *selfWriter {
	started := metav1.NewTime(cfg.Clock.Now().Truncate(time.Second))
	return &selfWriter{
		cfg: cfg, started: started, changed: make(chan struct{}, 1), hurried: make(chan struct{}, 1),
		early: rate.NewLimiter(rate.Every(selfEvery), selfBurst), errors: map[string]v1alpha1.SpeakerError{},
		want: v1alpha1.SpeakerStatusStatus{Version: cfg.Version, Started: started},
	}
}

// update changes what the status should say.
func (w *selfWriter) update(change func(s *v1alpha1.SpeakerStatusStatus)) {
	w.mu.Lock()
	before := substance(&w.want)
	change(&w.want)
	same := reflect.DeepEqual(before, substance(&w.want))
	w.mu.Unlock()
	if same {
		return
	}
	w.signal()
}

// setNode says which Node is ours. One that was deleted and made anew is another, and
// the object goes with the old one.
func (w *selfWriter) setNode(uid types.UID) {
	w.mu.Lock()
	before := w.node
	if w.node = uid; before != uid {
		w.owned, w.wrote = false, nil
	}
	w.mu.Unlock()
	if before != uid && before != "" {
		w.signal()
	}
}

func (w *selfWriter) setInterfaces(in []l2.Interface) {
	out := make([]v1alpha1.SpeakerInterface, 0, len(in))
	for _, i := range in {
		// Interfaces that nobody would use, such as lo, are not worth a line.
		if i.ARP || i.NDP {
			out = append(out, v1alpha1.SpeakerInterface{Name: i.Name, ARP: i.ARP, NDP: i.NDP, Error: cut(i.Reason, 512)})
		}
	}
	slices.SortFunc(out, func(a, b v1alpha1.SpeakerInterface) int { return strings.Compare(a.Name, b.Name) })
	w.update(func(s *v1alpha1.SpeakerStatusStatus) { s.Layer2.Interfaces = out[:min(len(out), 64)] })
}

func (w *selfWriter) setWork(addresses int, m members.Stats) {
	w.update(func(s *v1alpha1.SpeakerStatusStatus) {
		s.Layer2.Addresses = int64(addresses)
		s.Members.Summary = fmt.Sprintf("%d of %d", m.Alive, m.Expected)
		s.Members.Missing = m.Missing[:min(len(m.Missing), maxMissing)]
	})
}

// failed remembers an error until it is mended; the status shows the last.
func (w *selfWriter) failed(now time.Time, key, message string) {
	w.update(func(s *v1alpha1.SpeakerStatusStatus) {
		w.errors[key] = v1alpha1.SpeakerError{Message: cut(message, 1024), At: metav1.NewTime(now.Truncate(time.Second))}
		s.LastError = w.last()
	})
}

func (w *selfWriter) mended(key string) {
	w.update(func(s *v1alpha1.SpeakerStatusStatus) {
		if _, ok := w.errors[key]; ok {
			delete(w.errors, key)
			s.LastError = w.last()
		}
	})
}

func (w *selfWriter) last() (out *v1alpha1.SpeakerError) {
	for _, e := range w.errors {
		if out == nil || out.At.Before(&e.At) || out.At.Equal(&e.At) && e.Message < out.Message {
			out = &e
		}
	}
	return out
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

func (w *selfWriter) start(ctx context.Context, wg *sync.WaitGroup) {
	wg.Add(1)
	go func() {
		defer wg.Done()
		backoff := time.Second
		for w.awaitDue(ctx) {
			if err := w.write(ctx); err == nil {
				backoff = time.Second
				continue
			} else if ctx.Err() == nil {
				w.cfg.Log.V(1).Info("The SpeakerStatus cannot be written", "error", err.Error())
			}
			w.signal()
			if !w.sleep(ctx, backoff) {
				return
			}
			backoff = min(2*backoff, time.Minute)
		}
	}()
}

// awaitDue waits until there is something to write, and returns false when ctx
// has ended. What is back as it was is not written; the first write waits for
// nothing.
func (w *selfWriter) awaitDue(ctx context.Context) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-w.changed:
		}
		if !w.settle(ctx) {
			return false
		}
		if w.due() {
			return true
		}
	}
}

// settle waits until what changed has lasted, or for a moment only if it is to be
// written early. It returns false when ctx has ended.
func (w *selfWriter) settle(ctx context.Context) bool {
	for round := 0; round < selfRounds && w.known(); round++ {
		select {
		case <-ctx.Done():
			return false
		case <-w.hurried:
			now := w.cfg.Clock.Now()
			return w.sleep(ctx, max(selfSoon, w.early.ReserveN(now, 1).DelayFrom(now)))
		case <-w.cfg.Clock.After(selfEvery):
		}
		if !lowered(w.changed) {
			break
		}
	}
	w.early.AllowN(w.cfg.Clock.Now(), 1)
	return true
}

func (w *selfWriter) signal() { raise(w.changed) }

// hurry has what changed written early.
func (w *selfWriter) hurry() { raise(w.hurried) }

func raise(flag chan struct{}) {
	select {
	case flag <- struct{}{}:
	default:
	}
}

// lowered lowers a flag, and returns whether it was raised.
func lowered(flag chan struct{}) bool {
	select {
	case <-flag:
		return true
	default:
		return false
	}
}

// sleep returns false when ctx has ended.
func (w *selfWriter) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-w.cfg.Clock.After(d):
		return true
	}
}

func (w *selfWriter) known() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrote != nil
}

func (w *selfWriter) due() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrote == nil || !reflect.DeepEqual(*w.wrote, substance(&w.want))
}

// substance is what of a status is worth a write: not its conditions, which follow
// from the rest, and not that a peer which is not there was once more not reached.
func substance(s *v1alpha1.SpeakerStatusStatus) v1alpha1.SpeakerStatusStatus {
	out := *s.DeepCopy()
	out.Conditions = nil
	if out.BGP != nil {
		for i := range out.BGP.Sessions {
			if e := out.BGP.Sessions[i].LastError; e != nil {
				e.At = metav1.Time{}
			}
		}
	}
	return out
}

// ready is the condition Ready: the speaker works and sees the others.
func ready(s *v1alpha1.SpeakerStatusStatus, started metav1.Time) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.SpeakerReady, Status: metav1.ConditionTrue, Reason: "Serving", Message: "The speaker answers and sees the other speakers.", LastTransitionTime: started}
	switch {
	case len(s.Layer2.Interfaces) == 0:
		c.Status, c.Reason = metav1.ConditionFalse, "NoInterface"
		c.Message = "No interface of the node can be announced on: it must be up, be able to broadcast, and not be excluded."
	case len(s.Members.Missing) > 0:
		c.Status, c.Reason = metav1.ConditionFalse, "SpeakersMissing"
		c.Message = fmt.Sprintf("No speaker is seen on %s. Is its pod running, and does the network let gossip through?", cut(strings.Join(s.Members.Missing, ", "), 1024))
	}
	return c
}

func (w *selfWriter) write(ctx context.Context) error {
	lowered(w.hurried) // what hurried is in this write
	w.mu.Lock()
	status := *w.want.DeepCopy()
	w.wrote = nil // a write that seems to fail may have arrived
	w.mu.Unlock()
	wrote := substance(&status)
	status.Conditions = []metav1.Condition{w.transition(ready(&status, w.started))}
	name := metav1.ObjectMeta{Name: w.cfg.Node}
	data, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "SpeakerStatus",
		"metadata": map[string]any{"name": w.cfg.Node}, "status": status,
	})
	if err != nil {
		return fmt.Errorf("writing SpeakerStatus %s: %w", w.cfg.Node, err)
	}
	err = retry.OnError(retry.DefaultRetry, apierrors.IsNotFound, func() error {
		err := w.cfg.Client.Status().Patch(ctx, &v1alpha1.SpeakerStatus{ObjectMeta: name},
			client.RawPatch(types.ApplyPatchType, data), client.ForceOwnership, client.FieldOwner(fieldManager))
		if apierrors.IsNotFound(err) {
			if err := w.create(ctx); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("writing SpeakerStatus %s: %w", w.cfg.Node, err)
	}
	if err := w.own(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owned { // and not made another Node's meanwhile
		w.wrote = &wrote
	}
	return nil
}

// own finds out whether the object goes with our Node. One that goes with a Node which
// is gone will be taken away, and has to be made again after that.
func (w *selfWriter) own(ctx context.Context) error {
	w.mu.Lock()
	node, owned := w.node, w.owned
	w.mu.Unlock()
	if owned {
		return nil
	}
	o := &v1alpha1.SpeakerStatus{}
	if err := w.cfg.Client.Get(ctx, types.NamespacedName{Name: w.cfg.Node}, o); err != nil {
		return fmt.Errorf("reading SpeakerStatus %s: %w", w.cfg.Node, err)
	}
	for _, ref := range o.OwnerReferences {
		if ref.Kind == "Node" && ref.UID != node {
			return fmt.Errorf("SpeakerStatus %s goes with a Node of that name which is gone, and is made again when it has gone", w.cfg.Node)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owned = w.node == node
	return nil
}

// transition keeps the time of a condition that stays as it is.
func (w *selfWriter) transition(c metav1.Condition) metav1.Condition {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.want.Conditions) == 1 && w.want.Conditions[0].Status == c.Status {
		c.LastTransitionTime = w.want.Conditions[0].LastTransitionTime
	} else if len(w.want.Conditions) == 1 {
		c.LastTransitionTime = metav1.NewTime(w.cfg.Clock.Now().Truncate(time.Second))
	}
	w.want.Conditions = []metav1.Condition{c}
	return c
}

// create makes the object, which goes with its Node.
func (w *selfWriter) create(ctx context.Context) error {
	w.mu.Lock()
	node := w.node
	w.mu.Unlock()
	err := w.cfg.Client.Create(ctx, &v1alpha1.SpeakerStatus{ObjectMeta: metav1.ObjectMeta{
		Name:            w.cfg.Node,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: w.cfg.Node, UID: node}},
	}}, client.FieldOwner(fieldManager))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making SpeakerStatus %s: %w", w.cfg.Node, err)
	}
	return nil
}
