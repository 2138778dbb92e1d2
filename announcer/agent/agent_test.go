package agent

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/members"
	"github.com/fairlead/fairlead/announcer/reject"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

type fakeRejecter struct {
	mu      sync.Mutex
	vips    map[netip.Addr]reject.VIP
	changes int // addresses that were spoken of
	removed bool
}

func (f *fakeRejecter) Change(vips []reject.VIP, gone []netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.vips == nil {
		f.vips = map[netip.Addr]reject.VIP{}
	}
	for _, a := range gone {
		delete(f.vips, a)
	}
	for _, v := range vips {
		f.vips[v.Address] = v
	}
	f.changes += len(vips) + len(gone)
	return nil
}

func (f *fakeRejecter) spoken() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

func (f *fakeRejecter) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
func (f *fakeRejecter) Remove() error { f.mu.Lock(); f.removed = true; f.mu.Unlock(); return nil }
func (f *fakeRejecter) get() []reject.VIP {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(maps.Values(f.vips), func(a, b reject.VIP) int { return a.Address.Compare(b.Address) })
}

// One address that changes among many is the only one that the reject table hears
// of: with thousands the whole of them costs more than all else.
func TestRejectTableHearsOfWhatChanges(t *testing.T) {
	w := newWorld(t, "node1")
	w.endpoints("node1")
	for i := range 20 {
		w.bind(fmt.Sprintf("172.30.0.%d", 10+i), nil)
	}
	s := w.speak("node1")
	w.await("for the reject table", func() bool { return len(s.rejects.get()) == 20 })
	before := s.rejects.spoken()
	w.bind("172.30.0.1", nil)
	w.await("for one more", func() bool { return len(s.rejects.get()) == 21 })
	if n := s.rejects.spoken() - before; n != 1 {
		t.Errorf("the reject table heard of %d addresses, want the one that is new", n)
	}
}

func TestAnnouncesAndSaysSo(t *testing.T) {
	w := newWorld(t, "node1")
	w.endpoints("node1")
	first := w.bind("172.30.0.1", nil)
	s := w.speak("node1")
	w.await("for the status", func() bool { return w.announced(first) == "node1 True Layer2" })
	if a, _ := s.engine.get(first); !a.Probe || !slices.Equal(a.Interfaces, []string{"eth0"}) {
		t.Errorf("announced as %+v: nobody had the address before, so it should be probed for", a)
	}
	status := w.status(first)
	if status.Announced != "node1 L2" || !strings.HasPrefix(status.Conditions[0].Message, "node1 answers ARP on eth0 since 20") {
		t.Errorf("status %+v", status)
	}
	second := w.bind("172.30.0.2", nil)
	w.await("for a second address", func() bool { return w.announced(second) == "node1 True Layer2" })
	w.await("for the reject table", func() bool { return len(s.rejects.get()) == 2 })
	if v := s.rejects.get()[0]; v.Address != first || !slices.Equal(v.Held, []reject.PortProto{{Port: 80, Protocol: 6}, {Port: 53, Protocol: 17}}) {
		t.Errorf("reject table has %+v", v)
	}
	if n := metric(t, s.Agent, "fairlead_speaker_packets_total"); n != 7 {
		t.Errorf("%v packets are counted, want the 7 of the engine", n)
	}
	self := &v1alpha1.SpeakerStatus{}
	w.await("for the SpeakerStatus", func() bool {
		return w.client.Get(w.ctx, client.ObjectKey{Name: "node1"}, self) == nil && self.Status.Layer2.Addresses == 2
	})
	if len(self.OwnerReferences) != 1 || self.OwnerReferences[0].Kind != "Node" || self.Status.Members.Summary != "1 of 1" || self.Status.Conditions[0].Status != metav1.ConditionTrue {
		t.Errorf("SpeakerStatus %+v", self)
	}

	// A restart moves nothing, asks nobody, and writes nothing but that it started.
	s.stop()
	if !s.rejects.removed {
		t.Error("the reject table stays behind")
	}
	before := w.status(first)
	w.writes.Store(0)
	s = w.speak("node1")
	w.await("for the SpeakerStatus of the second life", func() bool {
		_ = w.client.Get(w.ctx, client.ObjectKey{Name: "node1"}, self)
		return self.Status.Layer2.Addresses == 2 && w.writes.Load() > 0
	})
	if a, _ := s.engine.get(first); a.Probe {
		t.Error("an address that we announced before is probed for")
	}
	if after := w.status(first); !after.Layer2.Since.Equal(&before.Layer2.Since) || after.Conditions[0] != before.Conditions[0] {
		t.Errorf("a restart changed the status from %+v to %+v", before, after)
	}
	if n := w.writes.Load(); n > 3 {
		t.Errorf("a restart cost %d writes", n)
	}
}

func TestNobodyAnnounces(t *testing.T) {
	w := newWorld(t, "node1")
	w.endpoints("node1")
	ip := w.bind("172.30.0.1", nil)
	s := w.speak("node1")
	w.await("for the status", func() bool { return w.announced(ip) == "node1 True Layer2" })
	w.endpoints()
	w.await("for the end of it", func() bool { return s.engine.answers(ip) == "" && w.announced(ip) == "False NoReadyEndpoint" })
	if status := w.status(ip); status.Announced != "" {
		t.Errorf("the status still says %q", status.Announced)
	}
	w.endpoints("node9")
	w.await("for its return", func() bool { return w.announced(ip) == "node1 True Layer2" })
	if err := w.client.Delete(w.ctx, &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: "172.30.0.1"}}); err != nil {
		t.Fatal(err)
	}
	w.await("for a deleted address to be withdrawn", func() bool { return s.engine.answers(ip) == "" })
}

// The controller, which lists the Envoys of a Gateway, may be away when one dies.
func TestDeadEnvoyLosesItsAddress(t *testing.T) {
	w := newWorld(t, "node1")
	w.envoys([]string{"node1"}, map[string]bool{"node1": true})
	ip := w.bind("172.30.0.1", nil)
	s := w.speak("node1")
	w.await("for the status", func() bool { return w.announced(ip) == "node1 True Layer2" })
	for name, own := range map[string]map[string]bool{"not ready": {"node1": false}, "gone": {"node2": true}} {
		w.envoys([]string{"node1"}, own)
		w.await("for the end of an Envoy that is "+name, func() bool { return s.engine.answers(ip) == "" && w.announced(ip) == "False NoReadyEndpoint" })
		w.envoys([]string{"node1"}, map[string]bool{"node1": true})
		w.await("for its return", func() bool { return w.announced(ip) == "node1 True Layer2" })
	}
}

func TestConflictIsSaidAndGoes(t *testing.T) {
	w := newWorld(t, "node1")
	w.endpoints("node1")
	ip := netip.MustParseAddr("172.30.0.1")
	s := w.speak("node1", func(s *speaker, _ *Config) { s.engine.taken[ip] = net.HardwareAddr{0xaa, 0xbb, 0xcc, 0, 0, 1} })
	w.bind(ip.String(), nil)
	w.await("for the conflict", func() bool { return w.announced(ip) == "node1 False AddressInUse" })
	if l := w.status(ip).Layer2; l.TakenBy != "aa:bb:cc:00:00:01" {
		t.Errorf("the status does not name the other host: %+v", l)
	}

	// BGP announces it all the same, and then does not.
	w.byBGP(ip, &v1alpha1.BGPAnnouncement{Nodes: 1, Peers: 2, Since: metav1.Now(), Summary: "1 node to 2 peers"})
	w.await("for what announces it, and what does not", func() bool { return w.announced(ip) == "node1 True BGPOnly" })
	said := meta.FindStatusCondition(w.status(ip).Conditions, v1alpha1.AddressAnnounced).Message
	if !strings.HasPrefix(said, "Announced by BGP: 1 node to 2 peers. Another host, aa:bb:cc:00:00:01 on eth0 of node1, ") {
		t.Errorf("the status says %q", said)
	}
	w.byBGP(ip, nil)
	w.await("for the conflict alone", func() bool { return w.announced(ip) == "node1 False AddressInUse" })
	w.byBGP(ip, &v1alpha1.BGPAnnouncement{Nodes: 1, Peers: 1, Since: metav1.Now(), Summary: "1 node to 1 peer"})
	w.await("for BGP again", func() bool { return w.announced(ip) == "node1 True BGPOnly" })
	s.engine.release(ip)
	w.await("for its end", func() bool { return w.announced(ip) == "node1 True Layer2" })
	if l := w.status(ip).Layer2; l.TakenBy != "" {
		t.Errorf("the status still names the other host: %+v", l)
	}
}

// byBGP is what the controller says of BGP in the status of an address.
func (w *world) byBGP(ip netip.Addr, b *v1alpha1.BGPAnnouncement) {
	w.t.Helper()
	w.await("to say what BGP does", func() bool {
		o := &v1alpha1.Address{}
		if err := w.client.Get(w.ctx, client.ObjectKey{Name: v1alpha1.AddressName(ip)}, o); err != nil {
			return false
		}
		o.Status.BGP = b
		return w.client.Status().Update(w.ctx, o, client.FieldOwner("controller")) == nil
	})
}

// What BGP announces goes on being announced when layer 2 ends.
func TestTheEndOfLayer2LeavesBGP(t *testing.T) {
	w := newWorld(t, "node1")
	w.endpoints("node1")
	ip := w.bind("172.30.0.1", nil)
	w.speak("node1")
	w.await("for layer 2", func() bool { return w.announced(ip) == "node1 True Layer2" })
	w.byBGP(ip, &v1alpha1.BGPAnnouncement{Nodes: 1, Peers: 1, Since: metav1.Now(), Summary: "1 node to 1 peer"})
	if err := w.client.DeleteAllOf(w.ctx, &v1alpha1.L2Advertisement{}); err != nil {
		t.Fatal(err)
	}
	w.await("for BGP alone", func() bool { return w.announced(ip) == "True BGP" })
}

func TestMakeBeforeBreak(t *testing.T) {
	w := newWorld(t, "node1", "node2")
	w.endpoints("node1")
	ips := w.bindMany(20)
	s := w.speak("node1")
	w.await("to have all", func() bool { return count(s.engine, ips) == 20 })
	s.fake.set(other("node2", 2, announcer.Alive))
	// The other node says that it answers for some; those are let go.
	s.fake.gossip.OnMessage(members.Message{Kind: members.Announcing, From: "node2", Addresses: ips})
	w.await("to have about half", func() bool { n := count(s.engine, ips); return n > 3 && n < 17 })
	kept := count(s.engine, ips)

	w.await("to tell node2 what stays here", func() bool { return len(s.fake.toldOf("node2")) == kept })
	s.fake.forget()

	// Node2 dies without a word: all come back, and are not probed for.
	s.fake.set()
	w.await("to have all again", func() bool { return count(s.engine, ips) == 20 })
	probes := 0
	for _, ip := range ips {
		if a, _ := s.engine.get(ip); a.Probe {
			probes++
		}
	}
	if probes > kept {
		t.Errorf("%d addresses are probed for, and only %d were ours from the beginning", probes, kept)
	}
	if moved := metric(t, s.Agent, "fairlead_speaker_takeovers_total"); int(moved) != 20-kept {
		t.Errorf("%v takeovers were counted, want %d", moved, 20-kept)
	}
	if told := s.fake.told["node2"]; len(told) != 20-kept {
		t.Errorf("node2 was told of %d addresses, want %d", len(told), 20-kept)
	}
	w.await("for all statuses", func() bool {
		for _, ip := range ips {
			if w.announced(ip) != "node1 True Layer2" {
				return false
			}
		}
		return true
	})
	// Node2 comes back and says nothing: we let go in the end.
	s.fake.set(other("node2", 2, announcer.Alive))
	w.await("to let go of node2's", func() bool { return count(s.engine, ips) == kept })
}

func TestAfterASplitOneAnnouncerIsLeftAtOnce(t *testing.T) {
	w := newWorld(t, "node1", "node2")
	w.endpoints("node1")
	ips := w.bindMany(20)
	// Time stands still: nothing is let go for having been waited for.
	s := w.speak("node1", func(_ *speaker, c *Config) { c.Clock = clocktesting.NewFakeClock(time.Now()) })
	w.await("to have all", func() bool { return count(s.engine, ips) == 20 })
	s.fake.gossip.OnMessage(members.Message{Kind: members.Announcing, From: "node2", Addresses: ips})
	s.fake.set(other("node2", 2, announcer.Alive))
	w.await("to let go of node2's", func() bool { n := count(s.engine, ips); return n > 3 && n < 17 })
	kept := count(s.engine, ips)
	w.await("to tell node2 what stays here", func() bool { return len(s.fake.toldOf("node2")) == kept })
}

func TestDeputyAnswersWithTheAbsentNodesAddress(t *testing.T) {
	w := newWorld(t, "node1", "node2")
	w.endpoints("node1")
	ips := w.bindMany(10)
	s := w.speak("node1", func(s *speaker, _ *Config) { s.fake.others = []announcer.Member{other("node2", 2, announcer.Alive)} })
	w.await("to have ours", func() bool { return count(s.engine, ips) > 0 })
	ours := count(s.engine, ips)
	s.fake.set(other("node2", 2, announcer.Held))
	w.await("to answer for all", func() bool { return count(s.engine, ips) == 10 })
	for _, ip := range ips {
		a, _ := s.engine.get(ip)
		if mac := s.engine.answers(ip); a.Deputy != nil && mac != "02:00:00:00:00:02" {
			t.Errorf("%s is answered for with %s, want node2's hardware address", ip, mac)
		}
	}
	w.await("to tell node2", func() bool {
		s.fake.mu.Lock()
		defer s.fake.mu.Unlock()
		_, told := s.fake.told["node2"]
		return told
	})
	if n := len(s.rejects.get()); n != ours {
		t.Errorf("%d addresses in the reject table, want the %d whose packets come here", n, ours)
	}
	s.fake.set(other("node2", 2, announcer.Alive))
	w.await("to stop deputizing", func() bool { return count(s.engine, ips) == ours })
	s.fake.set(other("node2", 2, announcer.Held))
	w.await("to answer for all", func() bool { return count(s.engine, ips) == 10 })
	s.fake.set()
	w.await("to have all as our own", func() bool {
		for _, ip := range ips {
			if s.engine.answers(ip) != "02:00:00:00:00:01" {
				return false
			}
		}
		return true
	})
}

func TestTakeoverWhileTheAPIServerIsAway(t *testing.T) {
	w := newWorld(t, "node1", "node2")
	w.endpoints("node1")
	ips := w.bindMany(10)
	s := w.speak("node1", func(s *speaker, _ *Config) { s.fake.others = []announcer.Member{other("node2", 2, announcer.Alive)} })
	w.await("to have ours", func() bool { return count(s.engine, ips) > 0 })
	w.away.Store(true)
	s.fake.set()
	w.await("to have all", func() bool { return count(s.engine, ips) == 10 })
	w.away.Store(false)
	w.await("for the statuses to be written in the end", func() bool {
		for _, ip := range ips {
			if w.announced(ip) != "node1 True Layer2" {
				return false
			}
		}
		return true
	})
}

func TestSteadyStateWritesNothing(t *testing.T) {
	w := newWorld(t, "node1")
	w.endpoints("node1")
	ip := w.bind("172.30.0.1", nil)
	s := w.speak("node1")
	w.await("for the status", func() bool { return w.announced(ip) == "node1 True Layer2" })
	self := &v1alpha1.SpeakerStatus{}
	w.await("for the SpeakerStatus", func() bool {
		return w.client.Get(w.ctx, client.ObjectKey{Name: "node1"}, self) == nil && self.Status.Layer2.Addresses == 1
	})
	w.writes.Store(0)
	asked := s.engine.asked[ip]
	// Heartbeats, foreign statuses and repeated membership change nothing.
	for n := range 20 {
		node := &corev1.Node{}
		if err := w.client.Get(w.ctx, client.ObjectKey{Name: "node1"}, node); err != nil {
			t.Fatal(err)
		}
		node.Status.Conditions[0].LastHeartbeatTime = metav1.NewTime(time.Unix(int64(n), 0))
		if err := w.client.Status().Update(w.ctx, node); err != nil {
			t.Fatal(err)
		}
		s.fake.gossip.OnChange()
		s.pending.note(func() { s.pending.world = true })
	}
	w.endpoints("node1") // deleted and made anew: the only change that counts
	w.await("for the address to be announced", func() bool { return s.engine.answers(ip) != "" && w.announced(ip) == "node1 True Layer2" })
	// The Address and the SpeakerStatus, each when the endpoints went and came.
	if n := w.writes.Load(); n > 4 {
		t.Errorf("%d writes, want at most those of the endpoints that went and came", n)
	}
	if n := s.engine.asked[ip] - asked; n > 2 {
		t.Errorf("the packet engine was asked %d times", n)
	}
}

// A Node that is deleted and made anew takes the SpeakerStatus along. The speaker, which
// went on, makes it again, and for the new Node.
func TestTheSpeakerStatusComesBackWithANewNode(t *testing.T) {
	w := newWorld(t, "node1")
	w.speak("node1")
	self, node := &v1alpha1.SpeakerStatus{}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}
	owner := func() types.UID {
		if w.client.Get(w.ctx, client.ObjectKey{Name: "node1"}, self) != nil || len(self.OwnerReferences) != 1 {
			return ""
		}
		return self.OwnerReferences[0].UID
	}
	w.await("for the SpeakerStatus", func() bool { return owner() != "" && self.Status.Members.Summary == "1 of 1" })
	old := owner()
	if err := w.client.Delete(w.ctx, node); err != nil {
		t.Fatal(err)
	}
	w.createNode("node1", "127.77.0.1")
	if err := w.client.Get(w.ctx, client.ObjectKey{Name: "node1"}, node); err != nil {
		t.Fatal(err)
	}
	w.await("for the SpeakerStatus of the new Node", func() bool {
		is := owner()
		if is == old {
			_ = w.client.Delete(w.ctx, self) // as the garbage collector does
		}
		return is == node.UID && self.Status.Members.Summary == "1 of 1"
	})
}

func TestTraceGoesOn(t *testing.T) {
	w := newWorld(t, "node1")
	w.endpoints("node1")
	spans := tracetest.NewInMemoryExporter()
	w.speak("node1", func(_ *speaker, c *Config) { c.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)) })
	w.bind("172.30.0.1", map[string]string{AnnotationTraceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
	w.await("for the span", func() bool { return len(spans.GetSpans()) == 1 })
	if id := spans.GetSpans()[0].SpanContext.TraceID().String(); id != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("the announcement is in trace %s", id)
	}
}

// Three speakers with real membership: whoever restarts, every address is
// answered for, always with the hardware address of the same node.
func TestRollingRestartMovesNothing(t *testing.T) {
	w := newWorld(t, "node1", "node2", "node3")
	w.endpoints("node1")
	var ips []netip.Addr
	for n := range 30 {
		ips = append(ips, w.bind(fmt.Sprintf("172.30.0.%d", n+1), nil))
	}
	speakers := map[string]*speaker{}
	for _, n := range w.nodes {
		speakers[n] = w.gossip(n)
	}
	spread := func() map[netip.Addr]string {
		out := map[netip.Addr]string{}
		for _, ip := range ips {
			for _, s := range speakers {
				if mac := s.engine.answers(ip); mac != "" && out[ip] == "" {
					out[ip] = mac
				} else if mac != "" && out[ip] != mac {
					out[ip] = "several"
				}
			}
		}
		return out
	}
	nodesOf := func(m map[netip.Addr]string) map[string]int {
		out := map[string]int{}
		for _, mac := range m {
			out[mac]++
		}
		return out
	}
	w.await("for the addresses to be spread", func() bool {
		n := nodesOf(spread())
		return len(n) == 3 && n["several"] == 0 && n["02:00:00:00:00:01"] > 0 && n["02:00:00:00:00:03"] > 0 && settledAll(speakers)
	})
	before := spread()
	for _, n := range w.nodes {
		s := speakers[n]
		s.stop()
		delete(speakers, n)
		for ip, mac := range spread() {
			if mac != before[ip] {
				t.Errorf("%s was answered for by %s, and by %q when the speaker of %s had stopped", ip, before[ip], mac, n)
			}
		}
		for ip, mac := range before {
			if spread()[ip] == "" {
				t.Errorf("%s, which is %s's, is answered for by nobody when the speaker of %s has stopped", ip, mac, n)
			}
		}
		speakers[n] = w.gossip(n)
		w.await("for the deputies to stop", func() bool { return deputies(speakers) == 0 && settledAll(speakers) })
		for ip, mac := range spread() {
			if mac != before[ip] {
				t.Errorf("%s moved from %s to %q when the speaker of %s was back", ip, before[ip], mac, n)
			}
		}
	}
}

func settledAll(speakers map[string]*speaker) bool {
	for _, s := range speakers {
		seen := 0
		for _, m := range s.members.Members() {
			if m.Settled && m.Presence == announcer.Alive {
				seen++
			}
		}
		if seen != len(speakers) {
			return false
		}
	}
	return true
}

func deputies(speakers map[string]*speaker) (n int) {
	for _, s := range speakers {
		s.engine.mu.Lock()
		for _, a := range s.engine.want {
			if a.Deputy != nil {
				n++
			}
		}
		s.engine.mu.Unlock()
	}
	return n
}

func count(f *fakeEngine, ips []netip.Addr) (n int) {
	for _, ip := range ips {
		if f.answers(ip) != "" {
			n++
		}
	}
	return n
}
