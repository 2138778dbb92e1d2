package service

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
)

const ingressFields = `{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}`

// fight lets a rival act on every change that it sees, and us on every change
// and at every wake, for so long. The rival returns whether it wrote.
func (c *cluster) fight(long time.Duration, rival func() bool) {
	c.t.Helper()
	const latency = 5 * time.Millisecond
	seenByUs, seenByRival := "", ""
	for end := c.now.Add(long); c.now.Before(end); c.now = c.now.Add(latency) {
		if rival != nil && c.svc.ResourceVersion != seenByRival {
			seenByRival = c.svc.ResourceVersion
			if rival() {
				seenByRival = c.svc.ResourceVersion
			}
		}
		due := !c.wake.IsZero() && !c.now.Before(c.wake)
		if c.svc.ResourceVersion != seenByUs || due {
			seenByUs = c.svc.ResourceVersion
			c.reconcile()
		}
	}
}

// replacer writes an ingress list of its own over whatever stands there.
func replacer(c *cluster, list ...corev1.LoadBalancerIngress) func() bool {
	return func() bool {
		if cmp.Equal(c.svc.Status.LoadBalancer.Ingress, list) {
			return false
		}
		c.rival("chisel-operator", "status", ingressFields, showing(list...))
		return true
	}
}

// TestStatusReplacer is the fight of ChiselOperator: an ingress list with an
// address outside the pools, written on every event.
func TestStatusReplacer(t *testing.T) {
	c := newCluster(t, newService())
	foreign := corev1.LoadBalancerIngress{IP: "203.0.113.9"}
	c.fight(30*time.Second, replacer(c, foreign))
	if n := len(c.writes); n < 3 || n > 6 {
		t.Errorf("%d writes in the first 30 s: %v", n, c.writes)
	}
	told := c.condition(ConditionContested)
	if told == nil || told.Status != "True" || told.Reason != ReasonStatusRewritten {
		t.Fatalf("the condition is %+v", told)
	}
	for _, part := range []string{
		`"chisel-operator"`, "status.loadBalancer.ingress 203.0.113.9 over 172.30.0.100", " times since 10:00:00 UTC",
		"The address stays ours and is announced", "the next correction is not before 10:00:", "loadBalancerClass", "second Service",
	} {
		if !strings.Contains(told.Message, part) {
			t.Errorf("%q lacks %q", told.Message, part)
		}
	}
	if d := cmp.Diff([]string{EventAddressAssigned, EventContested}, c.eventReasons()); d != "" {
		t.Error(d)
	}
	if c.moves != 0 || !slices.Equal(c.held, []netip.Addr{ip("172.30.0.100")}) {
		t.Errorf("the address moved %d times, to %v", c.moves, c.held)
	}
	if !c.contest.Contested() {
		t.Error("no contest is going on")
	}

	var third bytes.Buffer
	if err := json.Indent(&third, []byte(c.writes[2].patch), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "contested.json", append(third.Bytes(), '\n'))

	before := len(c.writes)
	c.fight(time.Hour-30*time.Second, replacer(c, foreign))
	if n := len(c.writes) - before; n < 10 || n > 18 {
		t.Errorf("%d writes in the rest of the hour", n)
	}
	c.settlesDown()
	if !slices.ContainsFunc(c.svc.Status.LoadBalancer.Ingress, func(e corev1.LoadBalancerIngress) bool { return e.IP == foreign.IP }) {
		t.Error("the foreign entry did not survive the last correction")
	}
}

// settlesDown lets the rival stop and checks that everything is right and quiet
// afterwards.
func (c *cluster) settlesDown() {
	t := c.t
	t.Helper()
	before := len(c.writes)
	c.fight(11*time.Minute, nil)
	if n := len(c.writes) - before; n > 2 {
		t.Errorf("%d writes after the rival stopped, one to put it right and one to end the contest are enough", n)
	}
	if c.condition(ConditionContested) != nil || c.contest.Contested() {
		t.Errorf("the contest goes on: %+v", c.condition(ConditionContested))
	}
	if !slices.ContainsFunc(c.svc.Status.LoadBalancer.Ingress, func(e corev1.LoadBalancerIngress) bool { return says(e, c.held[0]) }) {
		t.Errorf("the status is not right again: %v", c.svc.Status.LoadBalancer.Ingress)
	}
	if n := slices.Index(c.eventReasons(), EventContestEnded); n < 0 || n != len(c.events)-1 {
		t.Errorf("the last Event is not the end of the contest: %v", c.eventReasons())
	}
	quiet := len(c.writes)
	c.fight(time.Hour, nil)
	if len(c.writes) != quiet {
		t.Errorf("%d more writes when all is quiet", len(c.writes)-quiet)
	}
}

// TestRivalsOfTheStatus are other ways to undo what we wrote.
func TestRivalsOfTheStatus(t *testing.T) {
	strip := func(svc *corev1.Service) { svc.Status = corev1.ServiceStatus{} }
	for name, tt := range map[string]struct {
		change   func(*corev1.Service)
		undone   func(*corev1.Service) bool
		contests bool
	}{
		"empties the status": {strip, func(svc *corev1.Service) bool { return len(svc.Status.LoadBalancer.Ingress) > 0 }, true},
		"takes our condition away": {func(svc *corev1.Service) { svc.Status.Conditions = nil }, func(svc *corev1.Service) bool {
			return len(svc.Status.Conditions) > 0
		}, true},
		"adds an address of our pools": {func(svc *corev1.Service) {
			svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, vip("172.30.0.66"))
		}, func(svc *corev1.Service) bool { return len(svc.Status.LoadBalancer.Ingress) == 1 }, true},
		"makes it a proxy": {func(svc *corev1.Service) {
			svc.Status.LoadBalancer.Ingress[0].IPMode = ptr(corev1.LoadBalancerIPModeProxy)
		}, func(svc *corev1.Service) bool {
			return len(svc.Status.LoadBalancer.Ingress) > 0 && *svc.Status.LoadBalancer.Ingress[0].IPMode != corev1.LoadBalancerIPModeProxy
		}, true},
		"adds ports, as kube-vip does": {func(svc *corev1.Service) {
			svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "172.30.0.100", Ports: []corev1.PortStatus{{Port: 80, Protocol: "TCP"}}}}
		}, func(svc *corev1.Service) bool {
			return len(svc.Status.LoadBalancer.Ingress) > 0 && len(svc.Status.LoadBalancer.Ingress[0].Ports) == 0
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, newService())
			rival := func() bool {
				if !tt.undone(c.svc) {
					return false
				}
				c.rival("rival", "status", ingressFields, tt.change)
				return true
			}
			c.fight(30*time.Second, rival)
			if n := len(c.writes); n > 6 || tt.contests != (n > 1) {
				t.Errorf("%d writes in 30 s", n)
			}
			if c.contest.Contested() != tt.contests {
				t.Errorf("a contest is going on: %v", c.contest.Contested())
			}
			if c.moves != 0 {
				t.Errorf("the address moved %d times", c.moves)
			}
			if n := strings.Count(fmt.Sprint(c.eventReasons()), EventAddressAssigned); n != 1 {
				t.Errorf("the address is told %d times: %v", n, c.eventReasons())
			}
			if tt.contests {
				c.settlesDown()
			}
		})
	}
}

// TestSlowRival comes every 30 s: it is recognised at its second deed.
func TestSlowRival(t *testing.T) {
	c := newCluster(t, newService())
	c.reconcile()
	undo := replacer(c, corev1.LoadBalancerIngress{IP: "203.0.113.9"})
	for range 20 {
		undo()
		c.fight(30*time.Second, nil)
	}
	if !c.contest.Contested() || len(c.writes) > 12 {
		t.Errorf("contested %v after %d writes", c.contest.Contested(), len(c.writes))
	}
	c.settlesDown()
}

// TestOneForeignWriteIsNoContest: it is put right at once, and forgotten.
func TestOneForeignWriteIsNoContest(t *testing.T) {
	c := newCluster(t, newService())
	c.reconcile()
	undo := replacer(c)
	for range 3 {
		undo()
		out := c.reconcile()
		if !out.Write || c.contest.Contested() {
			t.Fatalf("write %v, contested %v", out.Write, c.contest.Contested())
		}
		c.fight(6*time.Minute, nil)
	}
	if len(c.writes) != 4 {
		t.Errorf("%d writes", len(c.writes))
	}
}

// TestOwnChangesInAContest: a change of ours goes out at once while the status
// stands as we wrote it, and waits for the next correction while it does not.
func TestOwnChangesInAContest(t *testing.T) {
	c := newCluster(t, newService())
	rival := replacer(c, corev1.LoadBalancerIngress{IP: "203.0.113.9"})
	c.fight(20*time.Second, rival)
	c.svc = c.svc.DeepCopy()
	annotated("fairlead.dev/addresses", "172.30.0.7")(c.svc)
	c.wrote("kubectl", "", `{"f:metadata":{"f:annotations":{"f:fairlead.dev/addresses":{}}}}`)
	before := len(c.writes)
	c.fight(5*time.Second, rival)
	if len(c.writes) != before {
		t.Errorf("%d writes before the next correction was due", len(c.writes)-before)
	}
	c.settlesDown()
	if c.held[0] != ip("172.30.0.7") {
		t.Errorf("the new wish was not followed: %v", c.held)
	}
}

// TestStaleCache: a Service as it was before our own write is no rival's work.
func TestStaleCache(t *testing.T) {
	c := newCluster(t, newService())
	old := c.svc.DeepCopy()
	c.reconcile()
	now := c.svc
	for range 3 {
		c.svc = old.DeepCopy()
		if out := c.reconcile(); out.Write || !out.Changed {
			t.Fatalf("write %v, changed %v", out.Write, out.Changed)
		}
	}
	c.svc = now
	if out := c.reconcile(); out.Write || out.Changed || c.contest.Contested() {
		t.Errorf("write %v, changed %v, contested %v", out.Write, out.Changed, c.contest.Contested())
	}
}

// TestFailedWrites: attempts that the API server refuses are bounded too, by a
// rival or without one.
func TestFailedWrites(t *testing.T) {
	for name, applied := range map[string]bool{"the first write": false, "a correction": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, newService())
			if applied {
				c.reconcile()
				replacer(c)()
			}
			attempts := 0
			for ; c.now.Before(start.Add(30 * time.Second)); c.now = c.now.Add(5 * time.Millisecond) {
				svc := c.svc.DeepCopy()
				asking, contest := c.contest.Ask(svc, Read(svc, Surroundings{InPool: pools}, c.cfg), c.held, c.now)
				out := Status(Input{Service: svc, Asking: asking, Decision: assigned("public", "", "172.30.0.100"), InPool: pools, Contest: contest, Now: c.now})
				c.contest = out.Contest
				if out.Write {
					if again := out.PatchAgain() != nil; again != (attempts > 0) {
						t.Fatalf("attempt %d is made again: %v", attempts, again)
					}
					attempts++
					c.contest = c.contest.Failed(c.now)
				} else if out.Wake.IsZero() {
					t.Fatal("it waits for ever")
				}
				c.wrote("somebody", "", `{"f:metadata":{}}`)
			}
			if attempts < 3 || attempts > 8 {
				t.Errorf("%d attempts in 30 s", attempts)
			}
		})
	}
}

// TestRestartInAContest: nothing is told again, and the contest goes on.
func TestRestartInAContest(t *testing.T) {
	c := newCluster(t, newService())
	rival := replacer(c, corev1.LoadBalancerIngress{IP: "203.0.113.9"})
	c.fight(30*time.Second, rival)
	since := c.condition(ConditionContested).LastTransitionTime
	writes, events := len(c.writes), len(c.events)
	for range 3 {
		c.contest, c.wake = Contest{}, time.Time{}
		c.fight(5*time.Second, rival)
	}
	if n := len(c.writes) - writes; n > 3 {
		t.Errorf("%d writes in three restarts", n)
	}
	if len(c.events) != events {
		t.Errorf("told again: %v", c.eventReasons()[events:])
	}
	if told := c.condition(ConditionContested); told == nil || !told.LastTransitionTime.Equal(&since) {
		t.Errorf("the condition is %+v", told)
	}
	c.settlesDown()
}

func TestRestartWhenAllIsQuiet(t *testing.T) {
	c := newCluster(t, newService(loadBalancerIP("172.30.0.100")))
	c.fight(time.Minute, nil)
	writes := len(c.writes)
	for range 3 {
		c.contest, c.wake = Contest{}, time.Time{}
		c.fight(time.Minute, nil)
	}
	if writes != 1 || len(c.writes) != 1 {
		t.Errorf("%d writes at first, %d after restarts", writes, len(c.writes)-writes)
	}
}

func TestRecreatedServiceStartsAnew(t *testing.T) {
	c := newCluster(t, newService())
	c.fight(30*time.Second, replacer(c, corev1.LoadBalancerIngress{IP: "203.0.113.9"}))
	writes := len(c.writes)
	c.svc = newService(func(svc *corev1.Service) { svc.UID, svc.ResourceVersion = "uid-2", "10000" })
	c.fight(time.Minute, nil)
	if len(c.writes)-writes != 1 || c.contest.Contested() {
		t.Errorf("%d writes, contested %v", len(c.writes)-writes, c.contest.Contested())
	}
}

// flapper makes two owners alternate what is asked for, each on sight of the
// other's value.
func flapper(c *cluster, fields string, values ...func(*corev1.Service)) func() bool {
	n := 0
	return func() bool {
		c.rival(fmt.Sprintf("owner-%d", n%len(values)+1), "", fields, values[n%len(values)])
		n++
		return true
	}
}

// TestRivalsOfTheWish change what is asked for back and forth.
func TestRivalsOfTheWish(t *testing.T) {
	const key = "metallb.io/loadBalancerIPs"
	unset := func(svc *corev1.Service) { delete(svc.Annotations, key) }
	for name, tt := range map[string]struct {
		place, fields string
		values        []func(*corev1.Service)
	}{
		"two owners alternate annotations": {
			"annotation " + key, `{"f:metadata":{"f:annotations":{"f:` + key + `":{}}}}`,
			[]func(*corev1.Service){annotated(key, "172.30.0.101"), annotated(key, "172.30.0.102")},
		},
		"one deletes what another writes": {
			"annotation " + key, `{"f:metadata":{"f:annotations":{"f:` + key + `":{}}}}`,
			[]func(*corev1.Service){annotated(key, "172.30.0.101"), unset},
		},
		"spec.loadBalancerIP": {
			"spec.loadBalancerIP", `{"f:spec":{"f:loadBalancerIP":{}}}`,
			[]func(*corev1.Service){loadBalancerIP("172.30.0.101"), loadBalancerIP("172.30.0.102")},
		},
		"spec.externalIPs": {
			"spec.externalIPs", `{"f:spec":{"f:externalIPs":{}}}`,
			[]func(*corev1.Service){externalIPs("172.30.0.101"), externalIPs("172.30.0.102"), externalIPs()},
		},
		"rubbish and back": {
			"spec.loadBalancerIP", `{"f:spec":{"f:loadBalancerIP":{}}}`,
			[]func(*corev1.Service){loadBalancerIP("x"), loadBalancerIP("172.30.0.102"), loadBalancerIP("y")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, newService())
			c.fight(time.Minute, nil)
			if c.held[0] != ip("172.30.0.100") {
				t.Fatalf("it begins with %v", c.held)
			}
			writes := len(c.writes)
			rival := flapper(c, tt.fields, tt.values...)
			beat := time.Time{}
			paced := func() bool {
				if c.now.Before(beat) {
					return false
				}
				beat = c.now.Add(100 * time.Millisecond)
				return rival()
			}
			for range 300 {
				paced()
				c.fight(100*time.Millisecond, nil)
			}
			if c.moves != 0 || c.held[0] != ip("172.30.0.100") {
				t.Errorf("the address moved %d times, to %v", c.moves, c.held)
			}
			if n := len(c.writes) - writes; n > 2 {
				t.Errorf("%d writes: %v", n, c.writes)
			}
			told := c.condition(ConditionContested)
			if told == nil || told.Reason != ReasonWishRewritten {
				t.Fatalf("the condition is %+v", told)
			}
			for _, part := range []string{`"owner-`, tt.place, "The Service keeps 172.30.0.100", "followed when it has not changed for 1m0s", "fairlead.dev/addresses"} {
				if !strings.Contains(told.Message, part) {
					t.Errorf("%q lacks %q", told.Message, part)
				}
			}
			if strings.Count(fmt.Sprint(c.eventReasons()), EventContested) != 1 {
				t.Errorf("told: %v", c.eventReasons())
			}

			// The last of them stays: it is followed, once.
			loadBalancerIP("172.30.0.110")(c.svc)
			externalIPs()(c.svc)
			unset(c.svc)
			c.wrote("kubectl", "", tt.fields)
			c.fight(6*time.Minute, nil)
			if c.held[0] != ip("172.30.0.110") || c.condition(ConditionContested) != nil || c.moves != 1 {
				t.Errorf("afterwards it has %v after %d moves, with %+v", c.held, c.moves, c.condition(ConditionContested))
			}
			if !slices.Contains(c.eventReasons(), EventContestEnded) {
				t.Errorf("told: %v", c.eventReasons())
			}
		})
	}
}

// TestSlowFlapping: owners that alternate slowly move the address a few times at
// most, never at the pace of their changes.
func TestSlowFlapping(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second, 90 * time.Second} {
		t.Run(every.String(), func(t *testing.T) {
			c := newCluster(t, newService())
			c.reconcile()
			rival := flapper(c, `{"f:spec":{"f:loadBalancerIP":{}}}`, loadBalancerIP("172.30.0.101"), loadBalancerIP("172.30.0.102"))
			for range 40 {
				rival()
				c.fight(every, nil)
			}
			if c.moves > 4 || !c.contest.Contested() {
				t.Errorf("%d moves, contested %v", c.moves, c.contest.Contested())
			}
		})
	}
}

// TestADeliberateChange is followed after the first delay, and needs no more
// than the one write; so does one that was written in two steps.
func TestADeliberateChange(t *testing.T) {
	c := newCluster(t, newService())
	c.reconcile()
	c.rival("kubectl", "", "{}", annotated("fairlead.dev/addresses", "172.30.0.10"))
	if out := c.reconcile(); out.Write || !out.Wake.Equal(start.Add(2*time.Second)) {
		t.Errorf("at once: write %v, wake %v", out.Write, out.Wake)
	}
	c.fight(time.Second, nil)
	c.rival("kubectl", "", "{}", annotated("fairlead.dev/addresses", "172.30.0.11"))
	c.fight(10*time.Second, nil)
	if c.held[0] != ip("172.30.0.11") || c.moves != 1 || len(c.writes) != 2 || c.contest.Contested() {
		t.Errorf("it has %v after %d moves and %d writes", c.held, c.moves, len(c.writes))
	}
	// Back to what it was, which is no contest yet.
	c.rival("kubectl", "", "{}", func(svc *corev1.Service) { svc.Annotations["fairlead.dev/addresses"] = "172.30.0.100" })
	c.fight(time.Minute, nil)
	if c.held[0] != ip("172.30.0.100") || c.contest.Contested() {
		t.Errorf("it has %v, contested %v", c.held, c.contest.Contested())
	}
}

// TestAMendedWishIsFollowedAtOnce, as there is nothing to protect.
func TestAMendedWishIsFollowedAtOnce(t *testing.T) {
	c := newCluster(t, newService(loadBalancerIP("x")))
	c.reconcile()
	if len(c.held) != 0 {
		t.Fatalf("it has %v", c.held)
	}
	c.rival("kubectl", "", "{}", loadBalancerIP("172.30.0.7"))
	if c.reconcile(); len(c.held) != 1 || c.held[0] != ip("172.30.0.7") {
		t.Errorf("it has %v", c.held)
	}
}

// TestAProblemKeepsWhatThereIs: the claim is for what the Service has, of the
// families that it has them of, and nothing else.
func TestAProblemKeepsWhatThereIs(t *testing.T) {
	prefer := dual(corev1.IPFamilyPolicyPreferDualStack, corev1.IPv6Protocol, corev1.IPv4Protocol)
	svc := newService(prefer, loadBalancerIP("x"), annotated("fairlead.dev/pool", "other", "fairlead.dev/sharing-key", "k"))
	asking, _ := Contest{}.Ask(svc, read(svc), []netip.Addr{ip("172.30.0.7"), ip("fd00:30::7")}, start)
	if !asking.Decide || addresses(asking.Claim) != "[172.30.0.7  fd00:30::7 ]" || len(asking.Claim.Pools) != 0 || asking.Claim.SharingKey.Value != "k" {
		t.Errorf("asks %+v", asking.Claim)
	}
	if want := []allocator.Family{allocator.IPv6, allocator.IPv4}; !slices.Equal(asking.Claim.Families, want) {
		t.Errorf("families %v", asking.Claim.Families)
	}
	asking, _ = Contest{}.Ask(svc, read(svc), []netip.Addr{ip("172.30.0.7")}, start)
	if want := []allocator.Family{allocator.IPv4}; !slices.Equal(asking.Claim.Families, want) || asking.Claim.Policy != allocator.Require {
		t.Errorf("families %v policy %v", asking.Claim.Families, asking.Claim.Policy)
	}
	if asking, _ = (Contest{}).Ask(svc, read(svc), nil, start); asking.Decide {
		t.Errorf("asks %+v although it has nothing", asking.Claim)
	}
}

// TestHeldBackFollowsTheRest: while a wish is held back, ports and labels are
// followed all the same.
func TestHeldBackFollowsTheRest(t *testing.T) {
	svc := newService(annotated("metallb.io/loadBalancerIPs", "172.30.0.7", "metallb.io/allow-shared-ip", "k"))
	held := []netip.Addr{ip("172.30.0.7")}
	_, contest := Contest{}.Ask(svc, read(svc), held, start)
	svc = svc.DeepCopy()
	annotated("metallb.io/loadBalancerIPs", "172.30.0.8", "metallb.io/allow-shared-ip", "l")(svc)
	svc.Spec.Ports, svc.Labels = []corev1.ServicePort{{Port: 443}}, map[string]string{"a": "b"}
	asking, _ := contest.Ask(svc, read(svc), held, start.Add(time.Second))
	if !asking.HeldBack || addresses(asking.Claim) != "[172.30.0.7 annotation metallb.io/loadBalancerIPs]" || asking.Claim.SharingKey.Value != "k" ||
		asking.Claim.Ports[0].Port != 443 || asking.Claim.Labels["a"] != "b" {
		t.Errorf("asks %+v", asking)
	}
}

// TestRestartInAContestOverTheWish: the wish that stands there now is not
// followed before it has stood for long enough, and what is told stays.
func TestRestartInAContestOverTheWish(t *testing.T) {
	c := newCluster(t, newService(loadBalancerIP("172.30.0.100")))
	c.reconcile()
	rival := flapper(c, `{"f:spec":{"f:loadBalancerIP":{}}}`, loadBalancerIP("172.30.0.101"), loadBalancerIP("172.30.0.100"))
	for range 11 {
		rival()
		c.fight(100*time.Millisecond, nil)
	}
	writes := len(c.writes)
	c.contest, c.wake = Contest{}, time.Time{}
	c.fight(30*time.Second, nil)
	if len(c.writes) != writes || c.held[0] != ip("172.30.0.100") || c.condition(ConditionContested) == nil {
		t.Errorf("%d writes, it has %v", len(c.writes)-writes, c.held)
	}
	c.fight(time.Minute, nil)
	if len(c.writes) != writes+1 || c.held[0] != ip("172.30.0.101") || c.condition(ConditionContested) != nil {
		t.Errorf("%d writes, it has %v, with %+v", len(c.writes)-writes, c.held, c.condition(ConditionContested))
	}
}

func TestPace(t *testing.T) {
	p := Pace{First: 2 * time.Second, Max: 5 * time.Minute}
	for n, want := range map[int]time.Duration{0: 2 * time.Second, 1: 2 * time.Second, 2: 4 * time.Second, 8: 256 * time.Second, 9: 5 * time.Minute, 1 << 30: 5 * time.Minute} {
		if got := p.delay(n); got != want {
			t.Errorf("delay %d is %v", n, got)
		}
	}
}

// TestRewriter names the newest foreign manager that owns the field.
func TestRewriter(t *testing.T) {
	entry := func(manager, subresource, fields string, age time.Duration) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Subresource: subresource, Time: ptr(metav1.NewTime(start.Add(-age))), FieldsV1: metav1.NewFieldsV1(fields)}
	}
	svc := newService(func(svc *corev1.Service) {
		svc.ManagedFields = []metav1.ManagedFieldsEntry{
			entry("older", "status", ingressFields, time.Hour),
			entry("rival", "status", ingressFields, time.Minute),
			entry("fairlead", "status", ingressFields, 0),
			entry("spec-writer", "", `{"f:spec":{"f:loadBalancerIP":{}}}`, 0),
			entry("annotator", "", `{"f:metadata":{"f:annotations":{".":{},"f:metallb.io/address-pool":{}}}}`, time.Minute),
			entry("conditions", "status", `{"f:status":{"f:conditions":{"k:{\"type\":\"x\"}":{}}}}`, 0),
			entry("broken", "status", `{`, 0),
			{Manager: "empty", Subresource: "status"},
		}
	})
	if got := rewriter(svc, "f:status", "f:loadBalancer", "f:ingress"); got != "rival" {
		t.Errorf("the ingress was rewritten by %q", got)
	}
	if got := rewriter(svc, "f:status", "f:conditions", `k:{"type":"x"}`); got != "conditions" {
		t.Errorf("the condition was rewritten by %q", got)
	}
	if got := rewriter(newService(), "f:status"); got != "" || named(got) != "Another writer" {
		t.Errorf("without managedFields: %q", got)
	}
	for place, want := range map[string]string{"annotation metallb.io/address-pool": "annotator", "spec.loadBalancerIP": "spec-writer", "annotation gone": "spec-writer"} {
		if got := changer(svc, []change{{place: place, was: "a", is: "b"}}); got != want {
			t.Errorf("%s was changed by %q", place, got)
		}
	}
	if got := changer(svc, []change{{place: "annotation metallb.io/address-pool", was: "a"}}); got != "spec-writer" {
		t.Errorf("a removal is by %q", got)
	}
}

// FuzzManagers: managedFields come from others.
func FuzzManagers(f *testing.F) {
	f.Add(ingressFields, "m")
	f.Add(`{"f:status":[]}`, "")
	f.Add(`null`, "x")
	f.Fuzz(func(t *testing.T, fields, manager string) {
		svc := newService(func(svc *corev1.Service) {
			svc.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: manager, Subresource: "status", FieldsV1: metav1.NewFieldsV1(fields)}}
		})
		if got := rewriter(svc, "f:status", "f:loadBalancer", "f:ingress"); got != "" && got != manager {
			t.Errorf("named %q", got)
		}
	})
}

// FuzzStatus: whatever stands in a status, what comes out is a patch that the
// API server can apply, after which nothing is left to do.
func FuzzStatus(f *testing.F) {
	f.Add("172.30.0.100", "host", "fairlead.dev/Address", "True", "172.30.0.100 from pool public.", "12")
	f.Add("::ffff:172.30.0.100", "", "fairlead.dev/Contested", "StatusRewritten", "x 99999999999 times since y", "x")
	f.Add("", "", "", "WishRewritten", " 7 times since ", "")
	f.Fuzz(func(t *testing.T, addr, host, kind, reason, message, version string) {
		for _, s := range []*string{&addr, &host, &kind, &reason, &message} {
			*s = strings.ToValidUTF8(*s, "?")
		}
		svc := newService(showing(corev1.LoadBalancerIngress{IP: addr, Hostname: host}))
		if n, err := strconv.Atoi(version); err == nil && n > 0 {
			svc.ResourceVersion = strconv.Itoa(n % 1e6)
		}
		if kind != "" {
			svc.Status.Conditions = []metav1.Condition{{Type: kind, Status: "True", Reason: reason, Message: message}}
		}
		if b, err := json.Marshal(svc); err != nil || len(b) == 0 {
			t.Skip()
		}
		c := newCluster(t, svc)
		c.reconcile()
		if out := c.reconcile(); out.Changed {
			t.Errorf("a second look changes something: %s", out.Patch())
		}
		if kind != "" && !slices.Contains(ourConditions, kind) && c.condition(kind) == nil {
			t.Errorf("the foreign condition %q is gone", kind)
		}
	})
}
