package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/l2"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Reasons of the condition Announced that a speaker writes itself; the others
// are those of package announcer.
const (
	reasonLayer2 = "Layer2"
	reasonInUse  = "AddressInUse"
	// reasonBGPOnly: another host has the address on layer 2, and it is announced by BGP.
	reasonBGPOnly = "BGPOnly"
)

// standing is how an address stands on the node that announces it.
type standing struct {
	node, protocol string
	since          time.Time
	interfaces     []string
	// takenBy is the hardware address of another host that has the address, seen on
	// the interface takenOn.
	takenBy, takenOn string
}

// said says whether there is anything to write yet.
func (s standing) said() bool { return len(s.interfaces) > 0 || s.takenBy != "" }

func (s standing) same(as standing) bool {
	return s.node == as.node && s.protocol == as.protocol && s.since.Equal(as.since) && slices.Equal(s.interfaces, as.interfaces) &&
		s.takenBy == as.takenBy && s.takenOn == as.takenOn
}

// wish is what the status of an address should be, as far as it is ours.
type wish struct {
	// standing is set while we announce; otherwise our entry is to be taken out,
	// with decision saying why nobody announces.
	standing *standing
	decision announcer.Decision
}

func (v wish) same(as wish) bool {
	if v.standing == nil || as.standing == nil {
		return v.standing == as.standing && v.decision.Reason == as.decision.Reason && v.decision.Message == as.decision.Message
	}
	return v.standing.same(*as.standing)
}

// statusWriter writes who announces an address into its status, beside the
// loop: each address at most once at a time, only if something differs, not
// more often than the rate allows, and again until it succeeds.
//
// Speakers change their minds at different moments, hear of each other's writes
// late, and their writes can overtake one another. So a wish is no order that is
// carried out once: it stands until there is another one, and every change of
// the Address is held against it. Where two speakers differ, the one that
// announces has a wish, and the one that does not has none or only takes out its
// own entry.
type statusWriter struct {
	cfg     *Config
	metrics *metrics
	queue   workqueue.TypedRateLimitingInterface[netip.Addr]
	rate    flowcontrol.RateLimiter
	events  flowcontrol.RateLimiter
	pace    *pace

	mu     sync.Mutex
	wishes map[netip.Addr]wish
	// mended is when what a status said was last put right, or will be.
	mended map[netip.Addr]time.Time
}

// rewriteWait is how often the same status is put right at most: while a network
// is split, two speakers are right.
const rewriteWait = 5 * time.Second

func newStatusWriter(cfg *Config, m *metrics) *statusWriter {
	return &statusWriter{
		cfg: cfg, metrics: m,
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[netip.Addr](100*time.Millisecond, 15*time.Second),
			workqueue.TypedRateLimitingQueueConfig[netip.Addr]{Clock: cfg.Clock}),
		rate:   flowcontrol.NewTokenBucketRateLimiter(float32(cfg.StatusRate), cfg.StatusRate),
		events: flowcontrol.NewTokenBucketRateLimiter(2, 50),
		pace:   newPace(),
		wishes: map[netip.Addr]wish{}, mended: map[netip.Addr]time.Time{},
	}
}

func (w *statusWriter) start(ctx context.Context, wg *sync.WaitGroup) {
	for range w.cfg.StatusWorkers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for w.next(ctx) {
			}
		}()
	}
	wg.Add(1)
	go func() {
		defer wg.Done()
		<-ctx.Done()
		w.queue.ShutDown()
	}()
}

// want says how an address stands that we announce. While there is nothing to
// say yet, what was to be said before no longer holds.
func (w *statusWriter) want(ip netip.Addr, s standing) {
	if !s.said() {
		w.leave(ip)
		return
	}
	w.wish(ip, wish{standing: &s})
}

// clear says that nobody announces an address, as far as we know.
func (w *statusWriter) clear(ip netip.Addr, d announcer.Decision) { w.wish(ip, wish{decision: d}) }

func (w *statusWriter) wish(ip netip.Addr, new wish) {
	w.mu.Lock()
	old, had := w.wishes[ip]
	w.wishes[ip] = new
	w.mu.Unlock()
	// One that stood already is being written, or is as the status was last seen.
	if !had || !old.same(new) {
		w.queue.Add(ip)
	}
}

// leave says that another node announces an address: it writes its own entry
// over ours.
func (w *statusWriter) leave(ip netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.wishes, ip)
	delete(w.mended, ip)
}

// observed takes what the status of an address says now, and has it put right if
// a write that arrived late made it wrong.
func (w *statusWriter) observed(a *v1alpha1.Address) {
	ip, err := v1alpha1.ParseAddressName(a.Name)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	v, ok := w.wishes[ip]
	if !ok || w.apply(a, v) == nil {
		return
	}
	now := w.cfg.Clock.Now()
	at, before := w.mended[ip]
	switch {
	case before && at.After(now):
		// It is due already; but the queue may have had an earlier look to come, which
		// took its place and is over.
	case !before || now.Sub(at) >= rewriteWait:
		at = now
	default:
		at = at.Add(rewriteWait)
	}
	w.mended[ip] = at
	w.queue.AddAfter(ip, at.Sub(now))
}

func (w *statusWriter) next(ctx context.Context) bool {
	ip, shutdown := w.queue.Get()
	if shutdown {
		return false
	}
	defer w.queue.Done(ip)
	err := w.write(ctx, ip)
	switch {
	case err == nil:
		w.queue.Forget(ip)
	case ctx.Err() != nil:
	default:
		if w.queue.NumRequeues(ip) == 3 {
			w.cfg.Log.Info("Status cannot be written; announcing goes on", "address", ip.String(), "error", err.Error())
		}
		w.metrics.statusErrors.Inc()
		w.queue.AddRateLimited(ip)
	}
	return true
}

// due is what has to be written now, or nil.
func (w *statusWriter) due(ctx context.Context, ip netip.Addr) (*applied, error) {
	w.mu.Lock()
	v, ok := w.wishes[ip]
	w.mu.Unlock()
	if !ok {
		return nil, nil
	}
	have := &v1alpha1.Address{}
	name := types.NamespacedName{Name: v1alpha1.AddressName(ip)}
	if err := w.cfg.Cache.Get(ctx, name, have); err != nil {
		if apierrors.IsNotFound(err) {
			w.drop(ip)
			return nil, nil
		}
		return nil, fmt.Errorf("reading Address %s: %w", name.Name, err)
	}
	return w.apply(have, v), nil
}

func (w *statusWriter) write(ctx context.Context, ip netip.Addr) error {
	if body, err := w.due(ctx, ip); err != nil || body == nil {
		return err
	}
	if err := w.turn(ctx); err != nil {
		return err
	}
	// The wait may have been long, and the address somebody else's by now.
	body, err := w.due(ctx, ip)
	if err != nil || body == nil {
		return err
	}
	name := body.Metadata.Name
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("writing the status of Address %s: %w", name, err)
	}
	err = w.cfg.Client.Status().Patch(ctx, &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: name}},
		client.RawPatch(types.ApplyPatchType, data), client.ForceOwnership, client.FieldOwner(fieldManager))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing the status of Address %s: %w", name, err)
	}
	w.metrics.statusWrites.Inc()
	return nil
}

// turn waits until a write may go out.
func (w *statusWriter) turn(ctx context.Context) error {
	for {
		wait := w.pace.wait(w.cfg.Clock.Now())
		if wait == 0 {
			return w.rate.Wait(ctx)
		}
		select {
		case <-w.cfg.Clock.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drop forgets that the entry of an address that is gone is to be taken out. One
// to announce stays: the Address may come back.
func (w *statusWriter) drop(ip netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v, ok := w.wishes[ip]; ok && v.standing == nil {
		delete(w.wishes, ip)
		delete(w.mended, ip)
	}
}

// applied is what is applied to the server: our part of an Address.
type applied struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        appliedMeta   `json:"metadata"`
	Status          appliedStatus `json:"status"`
}

type appliedMeta struct {
	Name string `json:"name"`
	// ResourceVersion makes the write fail if somebody else was faster.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

type appliedStatus struct {
	Announced  string                       `json:"announced,omitempty"`
	Layer2     *v1alpha1.Layer2Announcement `json:"layer2,omitempty"`
	Conditions []metav1.Condition           `json:"conditions,omitempty"`
}

// apply is what has to be written so that a status is as wished, or nil if it is.
func (w *statusWriter) apply(have *v1alpha1.Address, v wish) *applied {
	body := &applied{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Address"},
		Metadata: appliedMeta{Name: have.Name},
	}
	old := have.Status.Layer2
	condition := metav1.Condition{Type: v1alpha1.AddressAnnounced}
	if v.standing == nil {
		if old == nil || old.Node != w.cfg.Node {
			return nil
		}
		// Somebody may just be writing that it announces the address.
		body.Metadata.ResourceVersion = have.ResourceVersion
		condition.Status, condition.Reason, condition.Message = left(v.decision, have.Status.BGP)
	} else {
		s := *v.standing
		since := metav1.NewTime(s.since.Truncate(time.Second))
		if old != nil && old.Node == s.node && old.TakenBy == s.takenBy {
			since = old.Since // a restart of the speaker is no move
		}
		body.Status.Layer2 = &v1alpha1.Layer2Announcement{Node: s.node, Interfaces: s.interfaces, Since: since, TakenBy: s.takenBy}
		condition.Status, condition.Reason, condition.Message = s.words(since.Time, have.Status.BGP)
		if s.takenBy == "" {
			body.Status.Announced = s.node + " L2"
		}
	}
	before := meta.FindStatusCondition(have.Status.Conditions, condition.Type)
	if before != nil && before.Status == condition.Status {
		condition.LastTransitionTime = before.LastTransitionTime
	} else {
		condition.LastTransitionTime = metav1.NewTime(w.cfg.Clock.Now().Truncate(time.Second))
	}
	if same(old, body.Status.Layer2) && have.Status.Announced == body.Status.Announced &&
		before != nil && before.Reason == condition.Reason && before.Message == condition.Message && before.Status == condition.Status {
		return nil
	}
	body.Status.Conditions = []metav1.Condition{condition}
	return body
}

func same(a, b *v1alpha1.Layer2Announcement) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Node == b.Node && a.TakenBy == b.TakenBy && a.Since.Equal(&b.Since) && slices.Equal(a.Interfaces, b.Interfaces)
}

// left is the condition Announced of an address that is no longer announced on layer 2.
func left(why announcer.Decision, bgp *v1alpha1.BGPAnnouncement) (metav1.ConditionStatus, string, string) {
	if bgp != nil {
		return metav1.ConditionTrue, announcer.ByBGP, announcer.AnnouncedByBGP(bgp.Summary)
	}
	return metav1.ConditionFalse, string(why.Reason), why.Message
}

// words are the condition Announced, with what the status says of BGP.
func (s standing) words(since time.Time, bgp *v1alpha1.BGPAnnouncement) (metav1.ConditionStatus, string, string) {
	if s.takenBy == "" {
		return metav1.ConditionTrue, reasonLayer2, fmt.Sprintf("%s answers %s on %s since %s.",
			s.node, s.protocol, strings.Join(s.interfaces, ", "), since.UTC().Format(time.RFC3339))
	}
	taken := fmt.Sprintf("Another host, %s on %s of %s, already answers for the address. It is not announced on layer 2 while that host does: give the host another address, or exclude this one from its pool.",
		s.takenBy, s.takenOn, s.node)
	if bgp != nil {
		return metav1.ConditionTrue, reasonBGPOnly, announcer.AnnouncedByBGP(bgp.Summary) + " " + taken
	}
	return metav1.ConditionFalse, reasonInUse, taken
}

// moved tells of an address that we took over.
func (w *statusWriter) moved(ip netip.Addr, from string) {
	w.event(ip, corev1.EventTypeNormal, "Moved", "Announce", fmt.Sprintf("%s announces %s, which %s announced before.", w.cfg.Node, ip, from))
}

// conflicted tells of another host that has the address.
func (w *statusWriter) conflicted(ev l2.Event) {
	what := "It is not announced on layer 2 while that host answers."
	if ev.Held {
		what = "It stays announced and is defended."
	}
	w.event(ev.Address, corev1.EventTypeWarning, reasonInUse, "Announce",
		fmt.Sprintf("Another host, %s on %s of %s, claims %s. %s", ev.MAC, ev.Interface, w.cfg.Node, ev.Address, what))
}

func (w *statusWriter) event(ip netip.Addr, kind, reason, action, note string) {
	// A takeover of thousands of addresses is told by their statuses.
	if w.cfg.Events == nil || !w.events.TryAccept() {
		return
	}
	w.cfg.Events.Eventf(&v1alpha1.Address{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Address"},
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AddressName(ip)},
	}, nil, kind, reason, action, "%s", note)
}
