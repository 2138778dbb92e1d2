package service

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/allocator"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s: %s", file, d)
	}
}

// status reads a Service and answers it with a decision.
func status(svc *corev1.Service, d allocator.Decision, changes ...func(*Input)) Outcome {
	held := addressesOf(d.Addresses)
	asking, contest := Contest{}.Ask(svc, read(svc), held, start)
	in := Input{Service: svc, Asking: asking, Decision: d, InPool: pools, Contest: contest, Now: start}
	for _, c := range changes {
		c(&in)
	}
	return Status(in)
}

// done applies an outcome to a Service.
func done(svc *corev1.Service, out Outcome) *corev1.Service {
	svc = svc.DeepCopy()
	svc.Status.LoadBalancer.Ingress, svc.Status.Conditions = out.Ingress, out.Conditions
	return svc
}

func vip(s string) corev1.LoadBalancerIngress { return ingressEntry(ip(s)) }

func foreignCondition() metav1.Condition {
	return metav1.Condition{Type: "example.com/Ready", Status: metav1.ConditionTrue, Reason: "Fine", Message: "as it is", ObservedGeneration: 7, LastTransitionTime: metav1.NewTime(start.Add(-time.Hour))}
}

// TestPatches are the patches of typical changes, byte by byte.
func TestPatches(t *testing.T) {
	condition := func(svc *corev1.Service) { svc.Status.Conditions = []metav1.Condition{foreignCondition()} }
	had := done(newService(condition, showing(corev1.LoadBalancerIngress{IP: "203.0.113.9"})), status(
		newService(condition, showing(corev1.LoadBalancerIngress{IP: "203.0.113.9"})), assigned("public", "", "172.30.0.100")))
	refusal := &allocator.Refusal{Reason: allocator.AddressTaken, Address: ip("172.30.0.100"), Elsewhere: true, Origin: "annotation fairlead.dev/addresses"}
	moved := assigned("public", "annotation fairlead.dev/addresses", "172.30.0.101")
	moved.Leaving = []netip.Addr{ip("172.30.0.100")}
	both := assigned("public", "", "172.30.0.101", "fd00:30::100")
	for name, out := range map[string]Outcome{
		"assigned":   status(newService(), assigned("public", "", "172.30.0.100")),
		"deprecated": status(newService(loadBalancerIP("172.30.0.100")), assigned("public", "spec.loadBalancerIP", "172.30.0.100")),
		"dualstack":  status(newService(dual(corev1.IPFamilyPolicyRequireDualStack, corev1.IPv4Protocol, corev1.IPv6Protocol)), both),
		"beside":     status(newService(condition, showing(corev1.LoadBalancerIngress{Hostname: "lb.example.com"})), assigned("public", "", "172.30.0.100")),
		"taken":      status(newService(annotated("fairlead.dev/addresses", "172.30.0.100")), allocator.Decision{Refusal: refusal}),
		"moved":      status(had, moved),
		"unannounced": status(had, assigned("public", "", "172.30.0.100"), func(in *Input) {
			in.Unannounced = &Announcement{Reason: "NoAdvertisement", Message: "No L2Advertisement or BGPAdvertisement selects pool public."}
		}),
		"cleared": Clear(had, []netip.Addr{ip("172.30.0.100")}, Contest{}, start),
	} {
		t.Run(name, func(t *testing.T) {
			var pretty any
			if err := json.Unmarshal(out.Patch(), &pretty); err != nil {
				t.Fatalf("%s: %v", out.Patch(), err)
			}
			got, err := json.MarshalIndent(map[string]any{"patch": pretty, "events": out.Events}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", append(got, '\n'))
		})
	}
}

func TestMergeIngress(t *testing.T) {
	proxy, mode := corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP
	ported := vip("172.30.0.100")
	ported.Ports = []corev1.PortStatus{{Port: 80, Protocol: "TCP"}}
	bare := corev1.LoadBalancerIngress{IP: "172.30.0.100"}
	other, host := corev1.LoadBalancerIngress{IP: "203.0.113.9", IPMode: &proxy}, corev1.LoadBalancerIngress{Hostname: "a.example.com"}
	type list = []corev1.LoadBalancerIngress
	for _, tt := range []struct {
		name    string
		list    list
		have    string
		want    list
		changed bool
	}{
		{"nothing at all", nil, "", nil, false},
		{"new", nil, "172.30.0.100", list{vip("172.30.0.100")}, true},
		{"right", list{vip("172.30.0.100")}, "172.30.0.100", list{vip("172.30.0.100")}, false},
		{"right with ports that others added", list{ported}, "172.30.0.100", list{ported}, false},
		{"right without an ipMode", list{bare}, "172.30.0.100", list{bare}, false},
		{"right behind others", list{host, other, vip("172.30.0.100")}, "172.30.0.100", list{host, other, vip("172.30.0.100")}, false},
		{"right in another order", list{vip("fd00:30::1"), host, vip("172.30.0.100")}, "172.30.0.100 fd00:30::1", list{vip("fd00:30::1"), host, vip("172.30.0.100")}, false},
		{"wrong mode", list{{IP: "172.30.0.100", IPMode: &proxy}}, "172.30.0.100", list{vip("172.30.0.100")}, true},
		{"a hostname at our address", list{{IP: "172.30.0.100", Hostname: "x", IPMode: &mode}}, "172.30.0.100", list{vip("172.30.0.100")}, true},
		{"another spelling", list{{IP: "::ffff:172.30.0.100"}}, "172.30.0.100", list{vip("172.30.0.100")}, true},
		{"twice", list{ported, vip("172.30.0.100")}, "172.30.0.100", list{ported}, true},
		{"an address in our pools that is not the Service's", list{vip("172.30.0.7"), other}, "172.30.0.100", list{vip("172.30.0.100"), other}, true},
		{"waiting, with such an address", list{vip("172.30.0.7"), host}, "", list{host}, true},
		{"others alone", list{other, host, {IP: "rubbish"}, {}}, "", list{other, host, {IP: "rubbish"}, {}}, false},
		{"beside others, in their order", list{other, host}, "172.30.0.100", list{vip("172.30.0.100"), other, host}, true},
		{"a second one, the first kept as it is", list{ported, host}, "172.30.0.100 fd00:30::1", list{ported, vip("fd00:30::1"), host}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var have []netip.Addr
			for _, s := range strings.Fields(tt.have) {
				have = append(have, ip(s))
			}
			before := slices.Clone(tt.list)
			got, changed := mergeIngress(tt.list, have, pools)
			if d := cmp.Diff(tt.want, got); d != "" || changed != tt.changed {
				t.Errorf("changed %v: %s", changed, d)
			}
			if d := cmp.Diff(before, tt.list); d != "" {
				t.Errorf("the list given was changed: %s", d)
			}
			if again, changed := mergeIngress(got, have, pools); changed {
				t.Errorf("a second time it changes to %v", again)
			}
		})
	}
}

// TestMergeIngressKeepsOthers: whatever stands there, entries of others survive
// in their order, ours are all there once, and a second time changes nothing.
func TestMergeIngressKeepsOthers(t *testing.T) {
	ips := []string{"172.30.0.1", "172.30.0.2", "fd00:30::1", "203.0.113.1", "203.0.113.2", "::ffff:172.30.0.1", "rubbish", ""}
	proxy := corev1.LoadBalancerIPModeProxy
	rapid.Check(t, func(t *rapid.T) {
		entry := rapid.Custom(func(t *rapid.T) corev1.LoadBalancerIngress {
			e := corev1.LoadBalancerIngress{IP: rapid.SampledFrom(ips).Draw(t, "ip"), Hostname: rapid.SampledFrom([]string{"", "", "h"}).Draw(t, "host")}
			if rapid.Bool().Draw(t, "proxy") {
				e.IPMode = &proxy
			}
			return e
		})
		list := rapid.SliceOfN(entry, 0, 8).Draw(t, "list")
		var have []netip.Addr
		for _, s := range rapid.SliceOfNDistinct(rapid.SampledFrom(ips[:3]), 0, 3, rapid.ID[string]).Draw(t, "have") {
			have = append(have, ip(s))
		}
		others := func(l []corev1.LoadBalancerIngress) (out []corev1.LoadBalancerIngress) {
			for _, e := range l {
				if a, ok := entryAddress(e); !ok || !pools(a) {
					out = append(out, e)
				}
			}
			return out
		}
		got, _ := mergeIngress(list, have, pools)
		if d := cmp.Diff(others(list), others(got)); d != "" {
			t.Fatal(d)
		}
		ours := 0
		for _, e := range got {
			if a, ok := entryAddress(e); ok && pools(a) {
				ours++
				if !slices.Contains(have, a) || !says(e, a) {
					t.Fatalf("%v stands there", e)
				}
			}
		}
		if ours != len(have) {
			t.Fatalf("%d of %d addresses stand in %v", ours, len(have), got)
		}
		if _, changed := mergeIngress(got, have, pools); changed {
			t.Fatal("a second time changes something")
		}
	})
}

func TestAddressCondition(t *testing.T) {
	prefer := dual(corev1.IPFamilyPolicyPreferDualStack, corev1.IPv4Protocol, corev1.IPv6Protocol)
	noV6 := &allocator.Refusal{Reason: allocator.FamilyUnavailable, Family: allocator.IPv6, Pool: "public"}
	taken := &allocator.Refusal{Reason: allocator.AddressTaken, Address: ip("172.30.0.7"), Origin: "annotation fairlead.dev/addresses", Kept: true}
	with := func(d allocator.Decision, r *allocator.Refusal) allocator.Decision { d.Refusal = r; return d }
	two := assigned("public", "", "172.30.0.100")
	two.Addresses = append(two.Addresses, allocator.Assigned{Address: ip("fd00:30::1"), Pool: "six"})
	draining := assigned("old", "spec.loadBalancerIP", "172.30.0.100")
	draining.Note = &allocator.Refusal{Reason: allocator.PoolDraining, Pool: "old", Kept: true}
	for _, tt := range []struct {
		name   string
		svc    *corev1.Service
		d      allocator.Decision
		status metav1.ConditionStatus
		reason string
		parts  []string
	}{
		{"assigned", newService(), assigned("public", "", "172.30.0.100"), "True", "Assigned", []string{"172.30.0.100 from pool public."}},
		{"asked for", newService(loadBalancerIP("172.30.0.100")), assigned("public", "spec.loadBalancerIP", "172.30.0.100"), "True", "Assigned", []string{"172.30.0.100 from pool public, asked for by spec.loadBalancerIP.", "fairlead.dev/addresses=172.30.0.100"}},
		{"from two pools", newService(prefer), two, "True", "Assigned", []string{"172.30.0.100, fd00:30::1 from pools public, six."}},
		{"in no pool any more", newService(), assigned("", "", "203.0.113.1"), "True", "Assigned", []string{"203.0.113.1 (in no pool)."}},
		{"drained", newService(), draining, "True", "Assigned", []string{"172.30.0.100 from pool old", "drained"}},
		{"one of two families that are preferred", newService(prefer), with(assigned("public", "", "172.30.0.100"), noV6), "True", "Assigned", []string{"172.30.0.100 from pool public. Pool public has no IPv6 addresses."}},
		{"a new wish is not met", newService(annotated("fairlead.dev/addresses", "172.30.0.7")), with(assigned("public", "", "172.30.0.100"), taken), "True", "Kept", []string{"172.30.0.100 from pool public.", "172.30.0.7, asked for by annotation fairlead.dev/addresses, is held elsewhere", "kept"}},
		{"a new wish is not met, families preferred", newService(prefer, annotated("fairlead.dev/addresses", "172.30.0.7")), with(assigned("public", "", "172.30.0.100"), taken), "True", "Kept", nil},
		{"refused", newService(annotated("fairlead.dev/addresses", "172.30.0.7")), with(allocator.Decision{}, &allocator.Refusal{Reason: allocator.AddressTaken, Address: ip("172.30.0.7")}), "False", "AddressTaken", []string{"172.30.0.7 is held elsewhere"}},
		{"unknown pool of another controller", newService(annotated("metallb.io/address-pool", "gone")), with(allocator.Decision{}, &allocator.Refusal{Reason: allocator.PoolUnknown, Pool: "gone", Origin: "annotation metallb.io/address-pool"}), "False", "PoolUnknown", []string{"gone", "annotation metallb.io/address-pool"}},
		{"a wish that cannot be read, with nothing", newService(loadBalancerIP("x")), allocator.Decision{}, "False", "WishInvalid", []string{`spec.loadBalancerIP "x" is not an IP address. Write`, "given no address until then"}},
		{"a wish that cannot be read, with an address", newService(loadBalancerIP("x")), assigned("public", "", "172.30.0.100"), "True", "Kept", []string{"172.30.0.100 from pool public.", `spec.loadBalancerIP "x" is not`, "keeps what it has"}},
		{"a clash, with an address", newService(annotated("metallb.io/loadBalancerIPs", "172.30.0.1", "purelb.io/addresses", "172.30.0.2")), assigned("public", "", "172.30.0.100"), "True", "Kept", []string{"172.30.0.1", "172.30.0.2", "contradict"}},
		{"a clash, with nothing", newService(annotated("metallb.io/loadBalancerIPs", "172.30.0.1", "purelb.io/addresses", "172.30.0.2")), allocator.Decision{}, "False", "WishClash", nil},
		{"nothing decided", newService(), allocator.Decision{}, "False", "Pending", []string{"No address has been decided on yet."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := status(tt.svc, tt.d)
			got := condition(out.Conditions, ConditionAddress)
			if got == nil || got.Status != tt.status || got.Reason != tt.reason {
				t.Fatalf("got %+v", got)
			}
			for _, p := range tt.parts {
				if !strings.Contains(got.Message, p) {
					t.Errorf("%q lacks %q", got.Message, p)
				}
			}
			if got.ObservedGeneration != 1 || !got.LastTransitionTime.Time.Equal(start) {
				t.Errorf("generation %d, time %v", got.ObservedGeneration, got.LastTransitionTime)
			}
			again := status(done(tt.svc, out), tt.d)
			if again.Changed || again.Write || len(again.Events) > 0 {
				t.Errorf("a second look changes it: %s %v", again.Patch(), again.Events)
			}
		})
	}
}

// TestNothingToWrite are differences that are no reason to write.
func TestNothingToWrite(t *testing.T) {
	d := assigned("public", "", "172.30.0.100")
	full := func(used uint64) allocator.Decision {
		return allocator.Decision{Refusal: &allocator.Refusal{Reason: allocator.PoolExhausted, Family: allocator.IPv4, Pool: "public", InUse: used, Capacity: 151}}
	}
	for _, tt := range []struct {
		name   string
		before allocator.Decision
		change func(*corev1.Service)
		after  allocator.Decision
	}{
		{"nothing", d, func(*corev1.Service) {}, d},
		{"a new generation", d, func(svc *corev1.Service) { svc.Generation = 9 }, d},
		{"ports added to our entry", d, func(svc *corev1.Service) {
			svc.Status.LoadBalancer.Ingress[0].Ports = []corev1.PortStatus{{Port: 80, Protocol: "TCP"}}
		}, d},
		{"the ipMode taken from our entry", d, func(svc *corev1.Service) { svc.Status.LoadBalancer.Ingress[0].IPMode = nil }, d},
		{"an entry of somebody else", d, func(svc *corev1.Service) {
			svc.Status.LoadBalancer.Ingress = append([]corev1.LoadBalancerIngress{{IP: "203.0.113.9"}}, svc.Status.LoadBalancer.Ingress...)
		}, d},
		{"a condition of somebody else", d, func(svc *corev1.Service) {
			svc.Status.Conditions = append([]metav1.Condition{foreignCondition()}, svc.Status.Conditions...)
		}, d},
		{"counts in a refusal", full(150), func(*corev1.Service) {}, full(151)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			svc := done(newService(), status(newService(), tt.before))
			tt.change(svc)
			if out := status(svc, tt.after); out.Changed || out.Write || out.Patch() != nil {
				t.Errorf("it writes %s", out.Patch())
			}
		})
	}
}

func TestConditionTimes(t *testing.T) {
	later := func(in *Input) { in.Now = start.Add(time.Hour) }
	svc := done(newService(), status(newService(), assigned("public", "", "172.30.0.100")))
	svc.Generation = 5
	moved := condition(status(svc, assigned("second", "", "172.30.0.100"), later).Conditions, ConditionAddress)
	if moved.ObservedGeneration != 5 || !moved.LastTransitionTime.Time.Equal(start) {
		t.Errorf("without a change of status: %+v", moved)
	}
	lost := condition(status(svc, allocator.Decision{}, later).Conditions, ConditionAddress)
	if lost.Status != "False" || !lost.LastTransitionTime.Time.Equal(start.Add(time.Hour)) {
		t.Errorf("with a change of status: %+v", lost)
	}
}

func TestConditionsOfOthersStay(t *testing.T) {
	svc := newService(func(svc *corev1.Service) { svc.Status.Conditions = []metav1.Condition{foreignCondition()} })
	c := newCluster(t, svc)
	c.reconcile()
	if len(c.svc.Status.Conditions) != 2 || c.condition("example.com/Ready").ObservedGeneration != 7 {
		t.Errorf("after the first write: %+v", c.svc.Status.Conditions)
	}
	out := Clear(c.svc, c.held, c.contest, c.now)
	c.apply(out.Patch())
	if len(c.svc.Status.Conditions) != 1 || len(c.svc.Status.LoadBalancer.Ingress) != 0 {
		t.Errorf("after clearing: %+v", c.svc.Status)
	}
	if got := c.svc.Status.Conditions[0]; got.Type != "example.com/Ready" || got.ObservedGeneration != 7 || got.Message != "as it is" {
		t.Errorf("the foreign condition is %+v", got)
	}
	if out := Clear(c.svc, c.held, Contest{}, c.now); out.Changed || out.Write || len(out.Events) > 0 {
		t.Errorf("clearing again writes %s", out.Patch())
	}
}

func TestClearLeavesWhatIsNotOurs(t *testing.T) {
	// An address in our pools that we never gave to this Service may be
	// somebody else's business: the Service is not ours.
	svc := newService(showing(vip("172.30.0.7"), corev1.LoadBalancerIngress{IP: "203.0.113.9"}))
	if out := Clear(svc, nil, Contest{}, start); out.Changed {
		t.Errorf("it writes %s", out.Patch())
	}
	svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, vip("203.0.113.10"))
	out := Clear(svc, []netip.Addr{ip("203.0.113.10")}, Contest{}, start)
	if d := cmp.Diff([]corev1.LoadBalancerIngress{vip("172.30.0.7"), {IP: "203.0.113.9"}}, out.Ingress); d != "" {
		t.Error(d)
	}
}

// TestAnAddressThatLeftItsPoolGoes: an entry outside every pool is removed when
// the books say that it was the Service's.
func TestAnAddressThatLeftItsPoolGoes(t *testing.T) {
	svc := done(newService(), status(newService(), assigned("", "", "203.0.113.1")))
	d := assigned("public", "", "172.30.0.100")
	d.Leaving = []netip.Addr{ip("203.0.113.1")}
	if d := cmp.Diff([]corev1.LoadBalancerIngress{vip("172.30.0.100")}, status(svc, d).Ingress); d != "" {
		t.Error(d)
	}
}

func TestUnannounced(t *testing.T) {
	d := assigned("public", "", "172.30.0.100")
	dark := func(in *Input) { in.Unannounced = &Announcement{Reason: "NoEligibleNode", Message: "No node."} }
	svc := done(newService(), status(newService(), d, dark))
	got := condition(svc.Status.Conditions, ConditionAnnounced)
	if got == nil || got.Status != "False" || got.Reason != "NoEligibleNode" || got.Message != "No node." {
		t.Fatalf("%+v", got)
	}
	if out := status(svc, d, dark); out.Changed {
		t.Errorf("again: %s", out.Patch())
	}
	if out := status(svc, d); condition(out.Conditions, ConditionAnnounced) != nil || !out.Write {
		t.Errorf("announced again: %+v", out.Conditions)
	}
	if out := status(newService(), allocator.Decision{}, dark); condition(out.Conditions, ConditionAnnounced) != nil {
		t.Error("a Service without an address is said not to be announced")
	}
}

func reasons(list []Event) []string {
	var out []string
	for _, e := range list {
		out = append(out, e.Reason)
	}
	return out
}

// TestEvents: what follows from a change is told once, also over a restart.
func TestEvents(t *testing.T) {
	taken := allocator.Decision{Refusal: &allocator.Refusal{Reason: allocator.AddressTaken, Address: ip("172.30.0.7")}}
	excluded := allocator.Decision{Refusal: &allocator.Refusal{Reason: allocator.AddressExcluded, Address: ip("172.30.0.7"), Pool: "public"}}
	kept := assigned("public", "", "172.30.0.100")
	kept.Refusal = taken.Refusal
	invalid, field := loadBalancerIP("x"), loadBalancerIP("172.30.0.100")
	clash := annotated("metallb.io/loadBalancerIPs", "172.30.0.1", "purelb.io/addresses", "172.30.0.2")
	type step struct {
		change func(*corev1.Service)
		d      allocator.Decision
		want   []string
	}
	same := func(*corev1.Service) {}
	one, two := assigned("public", "", "172.30.0.100"), assigned("public", "", "172.30.0.101")
	for name, steps := range map[string][]step{
		"assigned, changed, lost, waiting": {
			{same, one, []string{EventAddressAssigned}},
			{same, two, []string{EventAddressChanged}},
			{same, taken, []string{EventAddressReleased, EventAddressPending}},
			{same, excluded, []string{EventAddressPending}},
			{same, one, []string{EventAddressAssigned}},
		},
		"kept, then met":               {{same, one, []string{EventAddressAssigned}}, {same, kept, []string{EventAddressPending}}, {same, one, nil}},
		"another pool":                 {{same, one, []string{EventAddressAssigned}}, {same, assigned("other", "", "172.30.0.100"), nil}},
		"invalid, mended":              {{invalid, allocator.Decision{}, []string{ReasonWishInvalid}}, {loadBalancerIP(""), one, []string{EventAddressAssigned}}},
		"clash with an address":        {{same, one, []string{EventAddressAssigned}}, {clash, one, []string{ReasonWishClash}}},
		"deprecated":                   {{field, one, []string{EventAddressAssigned, EventDeprecated}}, {field, kept, []string{EventAddressPending}}, {field, one, nil}},
		"deprecated, waiting at first": {{field, taken, []string{EventAddressPending, EventDeprecated}}, {field, one, []string{EventAddressAssigned}}},
	} {
		t.Run(name, func(t *testing.T) {
			svc := newService()
			for i, s := range steps {
				svc = svc.DeepCopy()
				s.change(svc)
				out := status(svc, s.d)
				if d := cmp.Diff(s.want, reasons(out.Events)); d != "" {
					t.Errorf("step %d: %s", i, d)
				}
				for _, e := range out.Events {
					if e.Note == "" || e.Action == "" || (e.Type != corev1.EventTypeNormal && e.Type != corev1.EventTypeWarning) {
						t.Errorf("step %d: %+v", i, e)
					}
				}
				svc = done(svc, out)
				if out := status(svc, s.d); out.Write || len(out.Events) > 0 {
					t.Errorf("step %d, after a restart: %s %v", i, out.Patch(), out.Events)
				}
			}
		})
	}
}

func TestWordsAreCapped(t *testing.T) {
	if got := capped("abc", 3); got != "abc" {
		t.Error(got)
	}
	for n := 3; n < 40; n++ {
		if got := capped("äöüß€😀äöüß€😀", n); len(got) > n || !utf8.ValidString(got) {
			t.Errorf("capped to %d: %q", n, got)
		}
	}
	out := status(newService(annotated("metallb.io/address-pool", "gone")), allocator.Decision{Refusal: &allocator.Refusal{
		Reason: allocator.PoolUnknown, Pool: strings.Repeat("ä", 40000),
	}})
	c := condition(out.Conditions, ConditionAddress)
	if len(c.Message) > 32768 || !utf8.ValidString(c.Message) {
		t.Errorf("a message of %d bytes", len(c.Message))
	}
	for _, e := range out.Events {
		if len(e.Note) > 1024 || !utf8.ValidString(e.Note) {
			t.Errorf("a note of %d bytes", len(e.Note))
		}
	}
}

func TestSameWords(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"Pool a (1 of 2 in use, 3 more wait).", "Pool a (2 of 2 in use, 14 more wait).", true},
		{"Pool 5 is full (1 of 2).", "Pool 6 is full (1 of 2).", false},
		{"(172.30.0.1)", "(172.30.0.2)", false},
		{"(1)", "(x)", false},
		{"a (1) b (2) 3", "a (9) b (8) 3", true},
		{"a (1) b (2) 3", "a (1) b (2) 4", false},
		{"", "", true},
		{")) 1", ")) 2", false},
	} {
		if got := sameWords(tt.a, tt.b); got != tt.same {
			t.Errorf("%q and %q: %v", tt.a, tt.b, got)
		}
	}
}

func TestAssignedWordsCanBeReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []allocator.Assigned
		for i, n := 0, rapid.IntRange(1, 4).Draw(t, "n"); i < n; i++ {
			a := netip.AddrFrom4([4]byte{172, 30, rapid.Byte().Draw(t, "a"), byte(i)})
			if rapid.Bool().Draw(t, "v6") {
				a = netip.AddrFrom16([16]byte{0xfd, 15: rapid.Byte().Draw(t, "b"), 14: byte(i)})
			}
			list = append(list, allocator.Assigned{
				Address: a, Pool: rapid.SampledFrom([]string{"", "public", "1.2.3.4", "::1"}).Draw(t, "pool"),
				Origin: rapid.SampledFrom([]string{"", "spec.loadBalancerIP"}).Draw(t, "origin"),
			})
		}
		if got := addressesIn(assignedWords(list)); !slices.Equal(got, addressesOf(list)) {
			t.Fatalf("%q reads back as %v", assignedWords(list), got)
		}
	})
}
