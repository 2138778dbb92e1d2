package service

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

// bout remembers what we applied to the status of a Service, and how it was
// undone.
type bout struct {
	begun bool

	// What stood in the status when it was last right.
	known      bool
	version    string // its resourceVersion; empty when we did not write it
	ours       []netip.Addr
	ingress    []corev1.LoadBalancerIngress
	conditions map[string]signature

	want []netip.Addr // what Status last found should stand there

	corrections int       // attempts to put it right, in this bout
	next        time.Time // not before this comes the next
	last        time.Time // something was undone, or put right
	rewrites    int       // how often it was undone
	counted     string    // the undoing that was counted last
	contested   bool
	since       time.Time // of the first undoing
	undoing     undoing   // the last one

	failures int
	hold     time.Time // no write before this, after failures
}

// undoing is how somebody else changed what we applied.
type undoing struct {
	field   string // the field; empty: nothing was undone
	ours    string // what we wrote there
	theirs  string // what stands there now
	manager string
}

// ourConditions are the types of conditions that are ours, in their order.
var ourConditions = []string{ConditionAddress, ConditionContested, ConditionAnnounced, tell.Condition}

func condition(list []metav1.Condition, kind string) *metav1.Condition {
	for i := range list {
		if list[i].Type == kind {
			return &list[i]
		}
	}
	return nil
}

func conditionField(kind string) string { return "status.conditions[" + kind + "]" }

func signCondition(c *metav1.Condition) signature {
	return sign(c.Type, string(c.Status), c.Reason, c.Message)
}

// applied takes note of a status that is right.
func (b *bout) applied(svc *corev1.Service) {
	b.note(svc)
	b.version = svc.ResourceVersion
	b.counted = ""
}

func (b *bout) note(svc *corev1.Service) {
	b.known, b.ours, b.ingress = true, b.want, svc.Status.LoadBalancer.Ingress
	b.conditions = nil
	for _, kind := range ourConditions {
		if c := condition(svc.Status.Conditions, kind); c != nil {
			if b.conditions == nil {
				b.conditions = map[string]signature{}
			}
			b.conditions[kind] = signCondition(c)
		}
	}
}

// stale tells whether a Service was read before our own last write.
func (b *bout) stale(svc *corev1.Service) bool {
	if b.version == "" || svc.ResourceVersion == b.version {
		return false
	}
	older, err := resourceversion.CompareResourceVersion(svc.ResourceVersion, b.version)
	return err == nil && older < 0
}

// undone finds what of the applied status somebody else has changed.
func (b *bout) undone(svc *corev1.Service, wrong func(netip.Addr) bool) undoing {
	if !b.known {
		return undoing{}
	}
	list := svc.Status.LoadBalancer.Ingress
	intact := true
	for _, a := range b.ours {
		intact = intact && slices.ContainsFunc(list, func(e corev1.LoadBalancerIngress) bool { return says(e, a) })
	}
	for _, e := range list {
		a, ok := entryAddress(e)
		added := ok && !slices.Contains(b.ours, a) && wrong(a) &&
			!slices.ContainsFunc(b.ingress, func(was corev1.LoadBalancerIngress) bool { return was.IP == e.IP })
		intact = intact && !added
	}
	if !intact {
		return undoing{
			field: placeIngress, ours: shownAddresses(b.ours), theirs: shown(list),
			manager: rewriter(svc, "f:status", "f:loadBalancer", "f:ingress"),
		}
	}
	for _, kind := range ourConditions {
		was, had := b.conditions[kind]
		if !had {
			continue
		}
		u := undoing{field: conditionField(kind), ours: "ours", theirs: "nothing"}
		if c := condition(svc.Status.Conditions, kind); c != nil {
			if signCondition(c) == was {
				continue
			}
			u.theirs = string(c.Status) + " " + c.Reason
		}
		u.manager = rewriter(svc, "f:status", "f:conditions", `k:{"type":"`+kind+`"}`)
		return u
	}
	return undoing{}
}

func shownAddresses(list []netip.Addr) string {
	if len(list) == 0 {
		return "nothing"
	}
	return joined(list)
}

// turn is what a bout says about writing.
type turn struct {
	write   bool
	correct bool      // the write puts something right
	wake    time.Time // when to look again
}

// judge decides whether a status that should change is written now.
func (b *bout) judge(u undoing, changed bool, p Pace, now time.Time) turn {
	if !changed {
		return turn{}
	}
	if u.field == "" {
		if now.Before(b.hold) {
			return turn{wake: b.hold}
		}
		return turn{write: true}
	}
	b.count(u, now)
	if b.corrections > 1 || b.corrections == 1 && b.rewrites > 1 {
		b.contested = true
	}
	wait := b.hold
	if b.corrections > 0 && b.next.After(wait) {
		wait = b.next
	}
	if now.Before(wait) {
		return turn{wake: wait}
	}
	b.corrections++
	b.next = now.Add(p.delay(b.corrections))
	return turn{write: true, correct: true}
}

// count takes note of an undoing, once.
func (b *bout) count(u undoing, now time.Time) {
	what := u.field + " " + u.theirs
	if what == b.counted {
		return
	}
	b.counted, b.undoing = what, u
	b.rewrites++
	b.last = now
	if b.since.IsZero() {
		b.since = now
	}
}

// rest ends a bout in which nothing has been undone for long enough. It tells
// when to look again, as long as the contest goes on. While something is undone
// and waits to be put right, there is no rest.
func (b *bout) rest(p Pace, now time.Time) time.Time {
	if b.corrections == 0 && !b.contested || b.counted != "" {
		return time.Time{}
	}
	if end := b.last.Add(p.Quiet); now.Before(end) {
		if b.contested {
			return end
		}
		return time.Time{}
	}
	b.corrections, b.rewrites, b.contested = 0, 0, false
	b.next, b.last, b.since, b.undoing, b.counted = time.Time{}, time.Time{}, time.Time{}, undoing{}, ""
	return time.Time{}
}

var timesSince = regexp.MustCompile(` (\d{1,9}) times since `)

// resume takes up a contest that stands in the conditions, where it was. One
// correction is free again.
func (b *bout) resume(told *metav1.Condition, now time.Time) {
	b.contested, b.since, b.last, b.next = true, told.LastTransitionTime.Time, now, now
	b.corrections, b.rewrites = 2, 1
	if m := timesSince.FindStringSubmatch(told.Message); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			b.rewrites, b.corrections = n, max(2, min(n, 32))
		}
	}
}
