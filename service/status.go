package service

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

// Our conditions in Service.status.conditions.
const (
	// ConditionAddress is True while the Service has an address, and says from
	// which pool; False while it waits, and says why.
	ConditionAddress = "fairlead.dev/Address"
	// ConditionContested is there, True, only while another writer keeps
	// undoing what we wrote, or keeps changing what is asked for.
	ConditionContested = "fairlead.dev/Contested"
	// ConditionAnnounced is there, False, only while nobody announces an
	// address that the Service has.
	ConditionAnnounced = "fairlead.dev/Announced"
)

// Reasons of our conditions, beside the reasons of allocator.Refusal and of
// announcements. ReasonWishInvalid and ReasonWishClash are reasons of Events too.
const (
	ReasonAssigned        = "Assigned"        // Address: the wish is met
	ReasonKept            = "Kept"            // Address: the wish is not met, and the Service keeps what it has
	ReasonWishInvalid     = "WishInvalid"     // Address: a wish cannot be understood
	ReasonWishClash       = "WishClash"       // Address: wishes contradict each other
	ReasonPending         = "Pending"         // Address: not decided yet
	ReasonStatusRewritten = "StatusRewritten" // Contested: by a writer of our status
	ReasonWishRewritten   = "WishRewritten"   // Contested: by writers of what is asked for
	ReasonHandedOver      = "HandedOver"      // Address: another holder serves what the Service had
)

// Reasons of Events, beside ReasonWishInvalid and ReasonWishClash.
const (
	EventAddressAssigned = "AddressAssigned"
	EventAddressChanged  = "AddressChanged"
	EventAddressReleased = "AddressReleased"
	EventAddressPending  = "AddressPending"
	EventDeprecated      = "LoadBalancerIPDeprecated"
	EventContested       = "Contested"
	EventContestEnded    = "ContestEnded"
)

// Takeover is what is said of a takeover that the Service is a side of.
type Takeover struct {
	Done            bool
	Reason, Message string
	// Hidden are addresses that the Service has and does not serve yet.
	Hidden []netip.Addr
	// HandedOver says who serves the addresses now; empty: the Service does.
	HandedOver string
}

// Announcement says that nobody announces an address of the Service.
type Announcement struct {
	// Reason is fit for a condition, such as NoAdvertisement.
	Reason string
	// Message says what is, why, and what to do.
	Message string
}

// Input is all that the status of a Service of ours follows from.
type Input struct {
	// Service as it was read.
	Service *corev1.Service
	// Asking is what Contest.Ask gave for it.
	Asking Asking
	// Decision is the answer of the books to Asking.Claim, with the ledger
	// written. Zero when Asking.Decide is
	// false.
	Decision allocator.Decision
	// Unannounced is nil while somebody announces the addresses, or while it
	// is not known.
	Unannounced *Announcement
	// Takeover is nil where the Service is no side of one.
	Takeover *Takeover
	// InPool tells whether an address lies in one of our pools.
	InPool func(netip.Addr) bool
	// Contest is the state kept for this Service, as Contest.Ask left it.
	Contest Contest
	Now     time.Time
}

// Event is to be told once the write that it goes with has succeeded.
type Event struct {
	Type   string // Normal or Warning
	Reason string
	Action string // machine-readable, for events.k8s.io
	Note   string // at most 1024 bytes
}

// Outcome is what the status should say and what to do about it.
type Outcome struct {
	// Ingress and Conditions are the status as it should be, with the entries
	// and conditions of others as they are.
	Ingress    []corev1.LoadBalancerIngress
	Conditions []metav1.Condition
	// Changed is set when the status differs from that in a way that matters
	// (always, when the Service as read is older than our own last write).
	// Addresses that the Service has left may be freed when it is not set, or
	// after the write.
	Changed bool
	// Write is set when Patch is to be written now. Changed without Write is
	// a contest waiting for its turn (Wake), or a Service as read that is
	// older than our own last write (its newer state is on its way).
	Write bool
	// Wake is when to come back although nothing has happened; zero: never.
	Wake time.Time
	// Events to tell once Patch has been written; none when it has not.
	Events []Event
	// Contest is the state to keep. After the write, put it through Wrote or
	// Failed.
	Contest Contest

	patch, again []byte
}

// Patch is the strategic merge patch of the status subresource that makes the
// status what the Outcome says: one patch for entries and conditions, bound to
// the resourceVersion and UID of the Service as it was read. Nil when there is
// nothing to write.
func (o Outcome) Patch() []byte { return o.patch }

// PatchAgain is there, and to be written in place of Patch, when the write before
// this one failed: the same change as a JSON patch (RFC 6902), bound to the UID
// and to the status as it was read. Against somebody who rewrites the rest of the
// Service without a pause, what is bound to its resourceVersion may never win.
// The API server answers Invalid when the status is another by now.
func (o Outcome) PatchAgain() []byte { return o.again }

// write sets what is to be written: the draft that the Outcome was made of.
func (o *Outcome) write(d *draft) {
	o.Write, o.patch = true, d.patch()
	if o.Contest.bout.failures > 0 {
		o.again = patchAgain(d.in.Service, o.Ingress, o.Conditions)
	}
}

// Status says what the status of a Service of ours should say, whether that is
// to be written now, and what to tell. It expects statuses of earlier
// controllers to be adopted already: an address in our pools that the Service
// does not have is wrong there.
func Status(in Input) Outcome {
	svc := in.Service
	c := in.Contest.of(svc, in.Now)
	out := Outcome{
		Ingress: svc.Status.LoadBalancer.Ingress, Conditions: svc.Status.Conditions,
		Wake: in.Asking.Wake, Contest: c,
	}
	if c.bout.stale(svc) {
		out.Changed = true
		return out
	}
	has := in.has()
	was := slices.Concat(in.Decision.Leaving, in.Decision.Freed, c.bout.ours)
	wrong := func(a netip.Addr) bool {
		return !slices.Contains(has, a) && (in.InPool != nil && in.InPool(a) || slices.Contains(was, a))
	}
	undone := c.bout.undone(svc, wrong)
	c.bout.want = has
	if undone.field == "" {
		c.bout.counted = ""
	}
	out.Wake = sooner(out.Wake, c.bout.rest(c.Pace, in.Now))

	d := draft{in: &in, has: has, want: map[string]*metav1.Condition{}}
	d.ingress, d.ingressChanged = mergeIngress(svc.Status.LoadBalancer.Ingress, has, wrong)
	address := addressCondition(&in, has)
	d.want[ConditionAddress], d.want[ConditionAnnounced], d.want[tell.Condition] = &address, announcedCondition(&in, has), in.Takeover.condition()
	told := condition(svc.Status.Conditions, ConditionContested)
	altered := told != nil && undone.field == conditionField(ConditionContested)
	d.contest(&c, told, altered)

	out.Changed = d.changed() || altered
	t := c.bout.judge(undone, out.Changed, c.Pace, in.Now)
	if !out.Changed {
		c.bout.note(svc)
	}
	if t.correct {
		d.contest(&c, told, true)
	}
	out.Wake = sooner(out.Wake, t.wake)
	out.Ingress, out.Conditions = d.ingress, d.conditions()
	out.Contest = c
	if t.write {
		out.write(&d)
		out.Events = d.events(&c)
	}
	return out
}

// Clear takes from the status of a Service that is not ours (any more) what is
// ours: our conditions, and the entries of the addresses that it held. It may
// be called for any Service, at any time; where nothing is ours it changes
// nothing.
func Clear(svc *corev1.Service, held []netip.Addr, contest Contest, now time.Time) Outcome {
	c := contest.of(svc, now)
	if c.bout.stale(svc) {
		return Outcome{Ingress: svc.Status.LoadBalancer.Ingress, Conditions: svc.Status.Conditions, Changed: true, Contest: c}
	}
	for _, a := range c.bout.ours {
		held = appendNew(slices.Clip(held), a)
	}
	in := Input{Service: svc, Now: now}
	d := draft{in: &in, want: map[string]*metav1.Condition{}}
	d.ingress, d.ingressChanged = mergeIngress(svc.Status.LoadBalancer.Ingress, nil,
		func(a netip.Addr) bool { return slices.Contains(held, a) })
	out := Outcome{Ingress: d.ingress, Conditions: d.conditions(), Changed: d.changed(), Contest: c}
	if !out.Changed {
		return out
	}
	out.write(&d)
	old := condition(svc.Status.Conditions, ConditionAddress)
	gone := held
	if old != nil && old.Status == metav1.ConditionTrue {
		gone = addressesIn(old.Message)
	}
	if d.ingressChanged || old != nil && old.Status == metav1.ConditionTrue {
		out.Events = []Event{event(corev1.EventTypeNormal, EventAddressReleased, "Release",
			shownAddresses(gone)+" is released: the Service is not Fairlead's any more.")}
	}
	return out
}

func addressesOf(list []allocator.Assigned) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		out = appendNew(out, a.Address.Unmap())
	}
	return out
}

// sooner is the earlier of two times, of which a zero one is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
