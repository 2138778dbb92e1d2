package controllers

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
)

// BenchmarkFleetRollout replaces all Envoys of a fleet as a rolling update of its
// DaemonSet does, and counts the EndpointSlices of all its Gateways: writes, and
// changes, which would be the writes if each change of an Envoy was written by itself.
// Time is simulated.
func BenchmarkFleetRollout(b *testing.B) {
	const nodes = 150
	for _, gateways := range []int{10, 200} {
		b.Run(fmt.Sprintf("nodes=%d/gateways=%d", nodes, gateways), func(b *testing.B) {
			var sum rolled
			for b.Loop() {
				sum = rollFleet(b, nodes, gateways)
			}
			b.ReportMetric(float64(sum.writes), "writes")
			b.ReportMetric(float64(sum.changes), "changes")
			b.ReportMetric(sum.took.Seconds(), "simulated-s")
		})
	}
}

// No difference of an endpoint is overlooked.
func TestSameEndpoint(t *testing.T) {
	text, yes := "x", true
	variants := []discoveryv1.Endpoint{
		{Addresses: []string{text}},
		{Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
		{Conditions: discoveryv1.EndpointConditions{Serving: &yes}},
		{Conditions: discoveryv1.EndpointConditions{Terminating: &yes}},
		{Hostname: &text},
		{TargetRef: &corev1.ObjectReference{Name: text}},
		{DeprecatedTopology: map[string]string{text: text}},
		{NodeName: &text},
		{Zone: &text},
		{Hints: &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: text}}}},
	}
	fields := reflect.TypeFor[discoveryv1.Endpoint]().NumField() - 1 + reflect.TypeFor[discoveryv1.EndpointConditions]().NumField()
	if fields != len(variants) {
		t.Errorf("an endpoint has %d fields, and %d are looked at", fields, len(variants))
	}
	for i, a := range variants {
		if !sameEndpoint(a, *a.DeepCopy()) {
			t.Errorf("%+v is not like itself", a)
		}
		for j, b := range append(variants, discoveryv1.Endpoint{}) {
			if i != j && sameEndpoint(a, b) {
				t.Errorf("%+v is like %+v", a, b)
			}
		}
	}
}

// A rollout costs each Gateway far fewer writes than its Envoys change, and in the end
// its slices say what there is.
func TestRolloutOfFleetIsWrittenTogether(t *testing.T) {
	const nodes, gateways = 40, 2
	got := rollFleet(t, nodes, gateways)
	if steps := 4 * nodes * gateways; got.changes != steps {
		t.Fatalf("%d Envoys in %d Gateways change %d times: want four times each", nodes, gateways, got.changes)
	}
	if got.writes == 0 || got.writes > got.changes/2 {
		t.Errorf("%d writes for %d changes: want less than half", got.writes, got.changes)
	}
}

// rolled is what a rollout came to.
type rolled struct {
	writes, changes int
	took            time.Duration
}

// rollFleet simulates a rollout over nodes that each have an Envoy.
func rollFleet(tb testing.TB, nodes, gateways int) rolled {
	tb.Helper()
	r := newRolling(nodes, gateways)
	r.lookAtAll(tb)
	r.store.writes = 0 // those of the start
	for _, s := range rolloutOf(nodes) {
		r.runTo(tb, s.at)
		before := r.want(0)
		s.change(r.envoys)
		for i, now := range r.want(0) {
			if !sameSlice(before[i], now) {
				r.changes += gateways
			}
		}
		r.lookAtAll(tb)
	}
	took := r.now
	r.runTo(tb, took+time.Hour)
	for i, s := range r.serving {
		have := r.store.of[s.front.Name()]
		for _, want := range r.want(i) {
			if h, ok := have[want.Name]; !ok || !sameSlice(&h, want) {
				tb.Fatalf("in the end slice %s lists %d Envoys, want %d", want.Name, len(h.Endpoints), len(want.Endpoints))
			}
		}
	}
	return rolled{r.store.writes, r.changes, took}
}

// rolling is a fleet in a rollout, and the Gateways that it serves.
type rolling struct {
	g       *gateways
	clock   *clocktesting.FakeClock
	store   *sliceStore
	serving []*serving
	envoys  map[string]fleet.Envoy
	now     time.Duration   // since the beginning
	looks   []time.Duration // when a Gateway is looked at again; 0: when something changes
	changes int
}

func newRolling(nodes, count int) *rolling {
	r := &rolling{
		clock: clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0)), store: &sliceStore{of: map[string]map[string]discoveryv1.EndpointSlice{}},
		envoys: map[string]fleet.Envoy{}, looks: make([]time.Duration, count),
	}
	r.g = &gateways{shell: &shell{Options: Options{Clock: r.clock}, client: r.store}}
	for i := range count {
		name := types.NamespacedName{Namespace: "shop", Name: fmt.Sprintf("g%d", i)}
		r.serving = append(r.serving, &serving{name: name, uid: types.UID(name.Name), front: fleet.Front{
			Gateway: gatewayName(name), UID: types.UID(name.Name), Class: "c", Fleet: fleet.ID{Class: "c"},
			Ports: []fleet.FrontPort{{Number: 80, Transport: gateway.TCP, Envoy: uint16(10080 + i)}},
		}})
	}
	for i := range nodes {
		e := envoyOf(i, "old")
		e.Ready, e.Serving = true, true
		r.envoys[e.Name] = e
	}
	return r
}

func envoyOf(node int, generation string) fleet.Envoy {
	ip := netip.AddrFrom4([4]byte{10, byte(len(generation)), byte(node >> 8), byte(node)})
	return fleet.Envoy{Namespace: "system", Name: fmt.Sprintf("%s-%d", generation, node), Node: fmt.Sprintf("node%d", node), IPs: []netip.Addr{ip}}
}

// step is a change of an Envoy.
type step struct {
	at     time.Duration
	change func(map[string]fleet.Envoy)
}

// rolloutOf are the steps of a rolling update of a DaemonSet: a tenth of the nodes at a
// time gets the new Envoy beside the old one, and a node is done when the new one has
// been ready for five seconds; the old one then goes when its clients have.
func rolloutOf(nodes int) []step {
	chance := rand.New(rand.NewPCG(1, 2)) // the same in each run
	upTo := func(d time.Duration) time.Duration { return time.Duration(chance.Int64N(int64(d))) }
	free := make([]time.Duration, (nodes+9)/10) // when the next node may begin
	var out []step
	for i := range nodes {
		slot := slices.Index(free, slices.Min(free))
		next, old := envoyOf(i, "next"), envoyOf(i, "old")
		started := free[slot]
		ready := started + 2*time.Second + upTo(3*time.Second)
		ending := ready + 5*time.Second
		gone := ending + 5*time.Second + upTo(30*time.Second)
		free[slot] = ending
		out = append(out,
			step{started, func(all map[string]fleet.Envoy) { all[next.Name] = next }},
			step{ready, func(all map[string]fleet.Envoy) {
				next.Ready, next.Serving = true, true
				all[next.Name] = next
			}},
			step{ending, func(all map[string]fleet.Envoy) {
				old.Serving, old.Terminating = true, true
				all[old.Name] = old
			}},
			step{gone, func(all map[string]fleet.Envoy) { delete(all, old.Name) }},
		)
	}
	slices.SortStableFunc(out, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	return out
}

func (r *rolling) listed() []fleet.Envoy {
	return slices.SortedFunc(maps.Values(r.envoys), func(a, b fleet.Envoy) int { return strings.Compare(a.Name, b.Name) })
}

// want are the slices that a Gateway should have.
func (r *rolling) want(i int) []*discoveryv1.EndpointSlice {
	f := r.serving[i].front
	return f.Slices(r.listed(), len(r.store.of[f.Name()]))
}

// lookAtAll has the controller look at all Gateways, as it does when an Envoy changes.
func (r *rolling) lookAtAll(tb testing.TB) {
	tb.Helper()
	for i := range r.serving {
		r.lookAt(tb, i)
	}
}

func (r *rolling) lookAt(tb testing.TB, i int) {
	tb.Helper()
	s := r.serving[i]
	look, err := r.g.writeSlices(tb.Context(), s, s.front, r.listed())
	if err != nil {
		tb.Fatal(err)
	}
	r.looks[i] = 0
	if look > 0 {
		r.looks[i] = r.now + look
	}
}

// runTo lets the time pass, and has the controller look at Gateways when it said that
// it would.
func (r *rolling) runTo(tb testing.TB, at time.Duration) {
	tb.Helper()
	for {
		next := at
		for _, l := range r.looks {
			if l > 0 {
				next = min(next, l)
			}
		}
		r.clock.Step(next - r.now)
		r.now = next
		if next == at {
			return
		}
		for i, l := range r.looks {
			if l == next {
				r.lookAt(tb, i)
			}
		}
	}
}

// sliceStore keeps EndpointSlices by Service, as the API server does, and counts their
// writes.
type sliceStore struct {
	client.Client
	of     map[string]map[string]discoveryv1.EndpointSlice
	writes int
}

func (s *sliceStore) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(opts)
	service, _ := o.FieldSelector.RequiresExactMatch(sliceService)
	list.(*discoveryv1.EndpointSliceList).Items = slices.Collect(maps.Values(s.of[service]))
	return nil
}

func (s *sliceStore) Apply(_ context.Context, o runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	var slice discoveryv1.EndpointSlice
	if err := json.Unmarshal(text, &slice); err != nil {
		return err
	}
	service := slice.Labels[discoveryv1.LabelServiceName]
	if s.of[service] == nil {
		s.of[service] = map[string]discoveryv1.EndpointSlice{}
	}
	s.of[service][slice.Name] = slice
	s.writes++
	return nil
}
