package agent

import (
	"reflect"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/bgp"
	"github.com/fairlead/fairlead/announcer/l2"
	"github.com/fairlead/fairlead/announcer/members"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// pending is what happened since the last pass.
type pending struct {
	mu sync.Mutex
	// addresses that changed, by name, and when that was first seen.
	addresses map[string]time.Time
	services  map[types.NamespacedName]bool
	// world: a node, a pool or an advertisement changed.
	world bool
	// members: membership changed.
	members bool
	secret  bool
	// passwords: the password of a BGP peer changed.
	passwords bool
	events    []l2.Event
	sessions  []bgp.Event
	messages  []members.Message
	// due: a deadline has passed.
	due bool
	// gathered: the loop is woken soon for what has been gathered.
	gathered bool

	wake chan struct{}
}

func newPending() *pending {
	return &pending{addresses: map[string]time.Time{}, services: map[types.NamespacedName]bool{}, wake: make(chan struct{}, 1)}
}

// note changes what is pending and wakes the loop.
func (p *pending) note(change func()) {
	p.mu.Lock()
	change()
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// gather changes what is pending, without waking the loop. It returns whether
// nobody sees to that yet.
func (p *pending) gather(change func()) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	first = !p.gathered
	p.gathered = true
	return first
}

// taken is what one pass works on.
type taken struct {
	addresses              map[string]time.Time
	services               map[types.NamespacedName]bool
	world, members, secret bool
	passwords              bool
	events                 []l2.Event
	sessions               []bgp.Event
	messages               []members.Message
}

func (p *pending) take() taken {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := taken{p.addresses, p.services, p.world, p.members, p.secret, p.passwords, p.events, p.sessions, p.messages}
	p.addresses, p.services = map[string]time.Time{}, map[types.NamespacedName]bool{}
	p.world, p.members, p.secret, p.passwords, p.due, p.gathered = false, false, false, false, false, false
	p.events, p.sessions, p.messages = nil, nil, nil
	return t
}

// object takes the last state out of what a deleted one left.
func object(o any) (client.Object, bool) {
	if d, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	c, ok := o.(client.Object)
	return c, ok
}

func (a *Agent) addressEvents() toolscache.ResourceEventHandler {
	note := func(o any) {
		if c, ok := object(o); ok {
			a.status.pace.arrived(a.cfg.Clock.Now())
			a.noteAddress(func() {
				if _, known := a.pending.addresses[c.GetName()]; !known {
					a.pending.addresses[c.GetName()] = a.cfg.Clock.Now()
				}
			})
		}
	}
	observe := func(o any) {
		if c, ok := o.(*v1alpha1.Address); ok {
			a.status.observed(c)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { note(o); observe(o) }, DeleteFunc: note,
		UpdateFunc: func(before, after any) {
			b, ok1 := before.(*v1alpha1.Address)
			c, ok2 := after.(*v1alpha1.Address)
			if !ok1 || !ok2 || !equality.Semantic.DeepEqual(b.Spec, c.Spec) || b.UID != c.UID {
				note(after)
			}
			// After a watch ended, one update can bring a new status with a new spec.
			observe(after)
		},
	}
}

func (a *Agent) worldEvents() toolscache.ResourceEventHandler {
	note := func() { a.pending.note(func() { a.pending.world = true }) }
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { note() }, DeleteFunc: func(any) { note() },
		UpdateFunc: func(before, after any) {
			b, ok1 := before.(client.Object)
			c, ok2 := after.(client.Object)
			// A status does not raise the generation. What was deleted and made anew while the
			// watch was down is an update too, and its generation may be that of the old one.
			if ok1 && ok2 && b.GetUID() == c.GetUID() && b.GetGeneration() == c.GetGeneration() && reflect.DeepEqual(b.GetLabels(), c.GetLabels()) {
				return
			}
			note()
		},
	}
}

// nodeEvents ignores the heartbeats of kubelets.
func (a *Agent) nodeEvents() toolscache.ResourceEventHandler {
	note := func() { a.pending.note(func() { a.pending.world = true }) }
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { note() }, DeleteFunc: func(any) { note() },
		UpdateFunc: func(before, after any) {
			b, ok1 := before.(*corev1.Node)
			c, ok2 := after.(*corev1.Node)
			if ok1 && ok2 && b.UID == c.UID && reflect.DeepEqual(announcer.FromNode(b), announcer.FromNode(c)) {
				return
			}
			note()
		},
	}
}

func (a *Agent) sliceEvents() toolscache.ResourceEventHandler {
	note := func(o any) {
		c, ok := object(o)
		if !ok {
			return
		}
		n := types.NamespacedName{Namespace: c.GetNamespace(), Name: c.GetLabels()[discoveryv1.LabelServiceName]}
		a.pending.note(func() { a.pending.services[n] = true })
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: note, DeleteFunc: note,
		UpdateFunc: func(before, after any) { note(before); note(after) },
	}
}

func (a *Agent) secretEvents(mark func()) toolscache.ResourceEventHandler {
	note := func(any) { a.pending.note(mark) }
	return toolscache.ResourceEventHandlerFuncs{AddFunc: note, DeleteFunc: note, UpdateFunc: func(_, after any) { note(after) }}
}

// noteAddress changes what is pending of an address. While that happens by the
// hundreds, the loop takes up several at once.
func (a *Agent) noteAddress(change func()) {
	if !a.status.pace.busy(a.cfg.Clock.Now()) {
		a.pending.note(change)
		return
	}
	if a.pending.gather(change) {
		a.later(gathering)
	}
}

func (a *Agent) onMembers() { a.pending.note(func() { a.pending.members = true }) }

func (a *Agent) onMessage(m members.Message) {
	a.pending.note(func() { a.pending.messages = append(a.pending.messages, m) })
}

func (a *Agent) onEngine(e l2.Event) {
	note := a.pending.note
	if e.Address.IsValid() {
		note = a.noteAddress
	}
	note(func() { a.pending.events = append(a.pending.events, e) })
}

// later wakes the loop after a time.
func (a *Agent) later(d time.Duration) {
	t := a.cfg.Clock.NewTimer(d)
	a.wg.Add(1)
	go func() {
		defer a.wg.Done()
		defer t.Stop()
		select {
		case <-t.C():
			a.pending.note(func() { a.pending.due = true })
		case <-a.stopped:
		}
	}()
}
