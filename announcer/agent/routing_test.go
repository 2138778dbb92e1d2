package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/reference"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer/bfd"
	"github.com/fairlead/fairlead/announcer/bgp"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// fakeRouter notes what it is asked for.
type fakeRouter struct {
	onEvent func(bgp.Event)

	mu       sync.Mutex
	peers    []bgp.Peer
	routes   map[netip.Prefix]map[string]bgp.Attributes
	sessions map[string]bgp.Session
	downs    []string
	ups      []string
	parting  []string
	left     bool
}

func newFakeRouter() *fakeRouter {
	return &fakeRouter{routes: map[netip.Prefix]map[string]bgp.Attributes{}, sessions: map[string]bgp.Session{}}
}

func (f *fakeRouter) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (f *fakeRouter) Flush(context.Context) error   { return nil }

func (f *fakeRouter) SetPeers(peers []bgp.Peer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.peers = peers
	return nil
}

func (f *fakeRouter) Set(p netip.Prefix, peers map[string]bgp.Attributes) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes[p] = peers
	return nil
}

func (f *fakeRouter) Parting() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.parting
}

// parts sets whose sessions are not closed yet.
func (f *fakeRouter) parts(peers ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parting = peers
}

func (f *fakeRouter) Up(peer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ups = append(f.ups, peer)
}

// let is how often a peer's session was let up.
func (f *fakeRouter) let(peer string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(f.ups), func(p string) bool { return p != peer }))
}

func (f *fakeRouter) Down(peer, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.downs = append(f.downs, peer+": "+why)
}

func (f *fakeRouter) Leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = true
}

func (f *fakeRouter) Sessions() []bgp.Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []bgp.Session
	for _, p := range f.peers {
		s := f.sessions[p.Name]
		s.Peer = p.Name
		out = append(out, s)
	}
	return out
}

// establish makes a session stand, and says so.
func (f *fakeRouter) establish(peer, remote string) {
	s := bgp.Session{Peer: peer, State: bgp.Established, Since: time.Now(), Remote: netip.AddrPortFrom(netip.MustParseAddr(remote), 179), PeerASN: 64513}
	f.mu.Lock()
	f.sessions[peer] = s
	f.mu.Unlock()
	f.onEvent(bgp.Event{Session: s, Was: bgp.Connect})
}

// says is what the router was asked to announce, in words.
func (f *fakeRouter) says() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for p, peers := range f.routes {
		for name, a := range peers {
			words := fmt.Sprintf("%s to %s", p, name)
			if len(a.Communities) > 0 {
				words += fmt.Sprintf(" %v", a.Communities)
			}
			if a.GracefulShutdown {
				words += " draining"
			}
			out = append(out, words)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// password is that which a peer was given, with whether there is such a peer.
func (f *fakeRouter) password(peer string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.peers {
		if p.Name == peer {
			return p.Password, true
		}
	}
	return "", false
}

// fakeWatchdog notes what it is asked to watch.
type fakeWatchdog struct {
	onEvent func(bfd.Event)
	mu      sync.Mutex
	want    []bfd.Session
	blind   bool   // it sees nobody
	trouble string // what keeps it from working
}

func (f *fakeWatchdog) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (f *fakeWatchdog) Sync(want []bfd.Session) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.want = want
	return nil
}

func (f *fakeWatchdog) Sessions() (out []bfd.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := bfd.Up
	if f.blind {
		state = bfd.Down
	}
	for _, s := range f.want {
		out = append(out, bfd.Status{Session: s.Name, State: state, Trouble: f.trouble})
	}
	return out
}

// fails says what keeps it from working; empty: nothing.
func (f *fakeWatchdog) fails(trouble string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble = trouble
}

func (f *fakeWatchdog) watched() []bfd.Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.want
}

// routing runs a speaker with a fake router and a fake watchdog.
func (w *world) routing(node string) (*speaker, *fakeRouter, *fakeWatchdog) {
	w.t.Helper()
	router, watchdog := newFakeRouter(), &fakeWatchdog{}
	return w.route(node, router, watchdog), router, watchdog
}

func (w *world) route(node string, router *fakeRouter, watchdog *fakeWatchdog) *speaker {
	w.t.Helper()
	return w.speak(node, func(_ *speaker, cfg *Config) {
		scheme, err := Scheme()
		if err != nil {
			w.t.Fatal(err)
		}
		cfg.PasswordSecret = "passwords"
		if cfg.Passwords, err = NewPasswords(rest.CopyConfig(apiServer), scheme, testNamespace, cfg.PasswordSecret); err != nil {
			w.t.Fatal(err)
		}
		cfg.NewRouter = func(onEvent func(bgp.Event)) Router { router.onEvent = onEvent; return router }
		cfg.NewWatchdog = func(onEvent func(bfd.Event)) Watchdog { watchdog.onEvent = onEvent; return watchdog }
	})
}

// recorder notes the Events that it is given.
type recorder struct {
	scheme *runtime.Scheme
	mu     sync.Mutex
	said   []string
}

// Eventf is for the speaker.
func (r *recorder) Eventf(of, _ runtime.Object, kind, reason, _, note string, args ...any) {
	words := "of nothing"
	if ref, err := reference.GetReference(r.scheme, of); err == nil && ref.UID != "" {
		words = ref.Kind + " " + ref.Name
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, fmt.Sprintf("%s: %s %s: ", words, kind, reason)+fmt.Sprintf(note, args...))
}

func (r *recorder) says() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.said)
}

func (w *world) peer(name, address string, edit func(*v1alpha1.BGPPeerSpec)) {
	w.t.Helper()
	p := &v1alpha1.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: address}}
	if edit != nil {
		edit(&p.Spec)
	}
	w.create(p)
}

func (w *world) advertiseBGP(name string, communities ...v1alpha1.CommunityReference) {
	w.t.Helper()
	w.create(&v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.BGPAdvertisementSpec{Communities: communities}})
}

func (w *world) awaitRoutes(f *fakeRouter, want string) {
	w.t.Helper()
	w.await(fmt.Sprintf("for the routes %q, not %q", want, f.says()), func() bool { return f.says() == want })
}

func TestRoutesFollowTheLedger(t *testing.T) {
	w := newWorld(t, "node1")
	w.peer("r1", "192.0.2.1", nil)
	w.advertiseBGP("all", "64512:7")
	_, router, _ := w.routing("node1")
	w.endpoints("node1")
	w.bind("172.30.0.1", nil)
	w.awaitRoutes(router, "172.30.0.1/32 to r1 [64512:7]")
	w.peer("r2", "192.0.2.2", nil)
	w.awaitRoutes(router, "172.30.0.1/32 to r1 [64512:7]; 172.30.0.1/32 to r2 [64512:7]")
	w.endpoints()
	w.awaitRoutes(router, "")
	w.endpoints("node1")
	w.awaitRoutes(router, "172.30.0.1/32 to r1 [64512:7]; 172.30.0.1/32 to r2 [64512:7]")
	if err := w.client.DeleteAllOf(w.ctx, &v1alpha1.Address{}); err != nil {
		t.Fatal(err)
	}
	w.awaitRoutes(router, "")
}

// A peer whose password is not there yet is not tried, and is once it comes; the status says so, and lists those that were
// not reached yet.
func TestPasswordsOfPeers(t *testing.T) {
	w := newWorld(t, "node1")
	w.peer("r1", "192.0.2.1", func(s *v1alpha1.BGPPeerSpec) { s.PasswordSecret = &v1alpha1.PasswordSecretReference{Name: "r1"} })
	w.peer("r2", "192.0.2.2", func(s *v1alpha1.BGPPeerSpec) { s.Password = "open" })
	_, router, _ := w.routing("node1")
	w.await("for the other peer", func() bool { p, _ := router.password("r2"); return p == "open" })
	if _, known := router.password("r1"); known {
		t.Error("a peer without its password is tried")
	}
	w.await("for the status to say so", func() bool {
		s := w.sessions("node1")
		return len(s) == 2 && s[0].State == v1alpha1.SessionIdle && strings.Contains(s[0].LastError.Message, "Secret r1") &&
			s[1].State == v1alpha1.SessionActive && s[1].LastError == nil
	})
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: "passwords"}, Data: map[string][]byte{"r1": []byte("first")}}
	w.create(secret)
	w.await("for the password", func() bool { p, _ := router.password("r1"); return p == "first" })
	secret.Data["r1"] = []byte("second")
	if err := w.client.Update(w.ctx, secret); err != nil {
		t.Fatal(err)
	}
	w.await("for the new password", func() bool { p, _ := router.password("r1"); return p == "second" })
}

func (w *world) sessions(node string) []v1alpha1.SpeakerSession {
	s := &v1alpha1.SpeakerStatus{}
	if err := w.client.Get(w.ctx, client.ObjectKey{Name: node}, s); err != nil || s.Status.BGP == nil {
		return nil
	}
	return s.Status.BGP.Sessions
}

// Sessions that come up and are lost are Events of their BGPPeers. What else changes is none.
func TestSessionsAreTold(t *testing.T) {
	w := newWorld(t, "node1")
	w.peer("r1", "192.0.2.1", nil)
	router, told := newFakeRouter(), &recorder{}
	w.speak("node1", func(_ *speaker, cfg *Config) {
		cfg.NewRouter = func(onEvent func(bgp.Event)) Router { router.onEvent = onEvent; return router }
		told.scheme, cfg.Events = w.client.Scheme(), told
	})
	w.await("for the peer", func() bool { _, known := router.password("r1"); return known })
	event := func(state, was bgp.State, why string, closed bool) {
		router.onEvent(bgp.Event{Session: bgp.Session{Peer: "r1", State: state, Why: why}, Was: was, Closed: closed})
	}
	event(bgp.Connect, 0, "connection refused", false)
	event(bgp.Connect, bgp.Connect, "no route to host", false)
	router.establish("r1", "192.0.2.1")
	event(bgp.Connect, bgp.Established, "the hold timer expired", false)
	event(bgp.Idle, bgp.Connect, "held", false)
	event(bgp.Connect, bgp.Connect, "the peer is configured anew", true)
	router.establish("r1", "192.0.2.1")
	want := []string{
		"BGPPeer r1: Normal SessionEstablished: Node node1 has a session with 192.0.2.1.",
		"BGPPeer r1: Warning SessionLost: Node node1 has lost its session: the hold timer expired.",
		"BGPPeer r1: Normal SessionEstablished: Node node1 has a session with 192.0.2.1.",
	}
	w.await("for three Events", func() bool { return len(told.says()) >= len(want) })
	if got := told.says(); !slices.Equal(got, want) {
		t.Errorf("the Events are %q, want %q", got, want)
	}
}

// What BFD sees takes the sessions of BGP with that peer down, unless the peer has ended it by intent.
func TestBFDTakesSessionsDown(t *testing.T) {
	w := newWorld(t, "node1")
	interval, multiplier := int32(100), int32(3)
	w.create(&v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Spec: v1alpha1.BFDProfileSpec{
		ReceiveInterval: &interval, TransmitInterval: &interval, DetectMultiplier: &multiplier,
	}})
	watched := func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "fast" }
	w.peer("r1", "192.0.2.1", watched)
	w.peer("r1b", "192.0.2.1", func(s *v1alpha1.BGPPeerSpec) { watched(s); s.VRF = "blue" })
	w.peer("unnumbered", "", func(s *v1alpha1.BGPPeerSpec) { watched(s); s.Interface = "eth1" })
	w.peer("unwatched", "192.0.2.4", nil)
	_, router, watchdog := w.routing("node1")
	w.await("for the first session of BFD", func() bool { return len(watchdog.watched()) == 1 })
	router.establish("unnumbered", "fe80::9%eth1")
	w.await("for that of the unnumbered peer", func() bool { return len(watchdog.watched()) == 2 })
	first := watchdog.watched()[0]
	if first.Peer != netip.MustParseAddr("192.0.2.1") || first.TransmitInterval != 100*time.Millisecond || first.DetectMultiplier != 3 {
		t.Errorf("BFD watches %+v", first)
	}
	watchdog.onEvent(bfd.Event{Session: first.Name, State: bfd.Down, Was: bfd.Up, Cause: bfd.CausePeerAdminDown})
	watchdog.onEvent(bfd.Event{Session: first.Name, State: bfd.Down, Was: bfd.Init, Cause: bfd.CauseSilence})
	watchdog.onEvent(bfd.Event{Session: first.Name, State: bfd.Down, Was: bfd.Up, Cause: bfd.CauseSilence})
	router.mu.Lock()
	defer router.mu.Unlock()
	if len(router.downs) != 1 || !strings.HasPrefix(router.downs[0], "r1: BFD: no packet") {
		t.Errorf("taken down: %q", router.downs)
	}
}

// BFD signs its packets with the key of the profile, and does not watch the peer before that is there; the status says so.
func TestBFDSignsItsPackets(t *testing.T) {
	w := newWorld(t, "node1")
	profile := &v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: "signed"}}
	profile.Spec.Authentication = &v1alpha1.BFDAuthentication{
		Type: v1alpha1.BFDMeticulousKeyedSHA1, KeyID: new(int32(7)), PasswordSecret: v1alpha1.BFDKeyReference{Name: "keys"},
	}
	w.create(profile)
	w.peer("r1", "192.0.2.1", func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "signed" })
	_, router, watchdog := w.routing("node1")
	w.await("for the peer", func() bool { _, known := router.password("r1"); return known })
	w.await("for the status to say what is missing", func() bool {
		s := w.sessions("node1")
		return len(s) == 1 && s[0].BFD == "Down" && strings.HasPrefix(s[0].BFDError, "The key of BFD is not there: is there a Secret keys ")
	})
	if got := watchdog.watched(); len(got) != 0 {
		t.Errorf("without the key BFD watches %+v", got)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: "passwords"}, Data: map[string][]byte{"bfd_signed": []byte("first")}}
	w.create(secret)
	key := func() (a bfd.Auth) {
		if got := watchdog.watched(); len(got) == 1 {
			a = got[0].Auth
		}
		return a
	}
	want := bfd.Auth{Kind: bfd.MeticulousSHA1, KeyID: 7, Key: "first"}
	w.await("for the key", func() bool { return key() == want })
	w.await("for the status to be clear", func() bool {
		s := w.sessions("node1")
		return len(s) == 1 && s[0].BFD == "Up" && s[0].BFDError == ""
	})
	secret.Data["bfd_signed"] = []byte("second")
	if err := w.client.Update(w.ctx, secret); err != nil {
		t.Fatal(err)
	}
	want.Key = "second"
	w.await("for the new key", func() bool { return key() == want })
}

// What a profile asks for and a peer cannot have keeps no peer from being watched: BFD takes each of the sessions.
func TestBFDWithEchoMode(t *testing.T) {
	w := newWorld(t, "node1")
	w.create(&v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: "echo"}, Spec: v1alpha1.BFDProfileSpec{EchoMode: true}})
	watched := func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "echo" }
	w.peer("v4", "192.0.2.1", watched)
	w.peer("v6", "2001:db8::1", watched)
	w.peer("far", "192.0.2.2", func(s *v1alpha1.BGPPeerSpec) { watched(s); s.EBGPMultiHop = true })
	w.peer("unnumbered", "", func(s *v1alpha1.BGPPeerSpec) { watched(s); s.Interface = "eth1" })
	_, router, watchdog := w.routing("node1")
	w.await("for the peers with an address", func() bool { return len(watchdog.watched()) == 3 })
	router.establish("unnumbered", "fe80::9%eth1")
	w.await("for the unnumbered peer", func() bool { return len(watchdog.watched()) == 4 })
	echoes := map[string]bool{"192.0.2.1": true, "2001:db8::1": true, "192.0.2.2 over several hops": false, "fe80::9%eth1": false}
	for _, s := range watchdog.watched() {
		want, known := echoes[s.Name]
		if !known || s.Echo != want || (s.EchoInterval > 0) != want {
			t.Errorf("session %q has echoes: %t, every %s; want %t", s.Name, s.Echo, s.EchoInterval, want)
		}
		if err := s.Validate(); err != nil {
			t.Errorf("BFD does not take it: %v", err)
		}
	}
}

// A peer that is removed is watched until its session of BGP is closed: it must not take the end of BFD for the end of the
// path. Another one at the same address is watched by its own session at once.
func TestBFDEndsAfterBGP(t *testing.T) {
	w := newWorld(t, "node1")
	w.create(&v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: "fast"}})
	watched := func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "fast" }
	w.peer("gone", "192.0.2.1", watched)
	w.peer("moved", "192.0.2.2", watched)
	w.peer("stays", "192.0.2.3", watched)
	_, router, watchdog := w.routing("node1")
	awaitWatched := func(what string, want ...string) {
		t.Helper()
		w.await(fmt.Sprintf("%s: BFD with %q", what, want), func() bool {
			var got []string
			for _, s := range watchdog.watched() {
				got = append(got, s.Name)
			}
			return slices.Equal(got, want)
		})
	}
	awaitWatched("at first", "192.0.2.1", "192.0.2.2", "192.0.2.3")
	router.parts("gone", "moved")
	if err := w.client.Delete(w.ctx, &v1alpha1.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}); err != nil {
		t.Fatal(err)
	}
	moved := &v1alpha1.BGPPeer{}
	if err := w.client.Get(w.ctx, client.ObjectKey{Name: "moved"}, moved); err != nil {
		t.Fatal(err)
	}
	moved.Spec.PeerAddress = "192.0.2.4"
	if err := w.client.Update(w.ctx, moved); err != nil {
		t.Fatal(err)
	}
	awaitWatched("with both sessions open", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
	watchdog.onEvent(bfd.Event{Session: "192.0.2.2", State: bfd.Down, Was: bfd.Up, Cause: bfd.CauseSilence})
	if n := len(router.downs); n != 0 {
		t.Errorf("what BFD says of the address that a peer had took down %q", router.downs)
	}
	closed := func(peer string) {
		router.onEvent(bgp.Event{Session: bgp.Session{Peer: peer, State: bgp.Connect}, Was: bgp.Connect, Closed: true})
	}
	router.parts("gone")
	closed("moved")
	awaitWatched("with one closed", "192.0.2.1", "192.0.2.3", "192.0.2.4")
	router.parts()
	closed("gone")
	awaitWatched("with both closed", "192.0.2.3", "192.0.2.4")
	router.parts("stays")
	if err := w.client.Delete(w.ctx, &v1alpha1.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "stays"}}); err != nil {
		t.Fatal(err)
	}
	w.create(&v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: "strict"}, Spec: v1alpha1.BFDProfileSpec{Strict: true}})
	w.peer("follows", "192.0.2.3", func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "strict" })
	w.await("for the one that follows to be let up", func() bool { return router.let("follows") > 0 })
	awaitWatched("with another peer at the address", "192.0.2.3", "192.0.2.4")
}

// A strict profile holds sessions back until BFD sees the peer, and again when it does not any longer; other sessions may be
// tried again at once.
func TestStrictBFDHoldsSessionsBack(t *testing.T) {
	w := newWorld(t, "node1")
	for name, strict := range map[string]bool{"strict": true, "loose": false} {
		w.create(&v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.BFDProfileSpec{Strict: strict}})
	}
	w.peer("held", "192.0.2.1", func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "strict" })
	w.peer("free", "192.0.2.2", func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "loose" })
	w.peer("unnumbered", "", func(s *v1alpha1.BGPPeerSpec) { s.Interface, s.BFDProfile = "eth1", "strict" })
	router, watchdog := newFakeRouter(), &fakeWatchdog{blind: true}
	w.route("node1", router, watchdog)
	w.await("for both sessions of BFD", func() bool { return len(watchdog.watched()) == 2 })
	router.mu.Lock()
	for _, p := range router.peers {
		if want := p.Name == "held"; p.Hold != want {
			t.Errorf("peer %s is held: %t, want %t", p.Name, p.Hold, want)
		}
	}
	router.mu.Unlock()
	if n := router.let("held"); n != 0 {
		t.Fatalf("the session was let up %d times before BFD saw the peer", n)
	}
	event := func(at string, state, was bfd.State) {
		watchdog.onEvent(bfd.Event{Session: at, State: state, Was: was, Cause: bfd.CauseSilence})
	}
	event("192.0.2.1", bfd.Up, bfd.Init)
	event("192.0.2.2", bfd.Up, bfd.Init)
	if held, free := router.let("held"), router.let("free"); held != 1 || free != 0 {
		t.Errorf("after BFD saw both, the strict session was let up %d times, want 1, the other %d, want 0", held, free)
	}
	event("192.0.2.1", bfd.Down, bfd.Up)
	event("192.0.2.2", bfd.Down, bfd.Up)
	if held, free := router.let("held"), router.let("free"); held != 1 || free != 1 {
		t.Errorf("after BFD lost both, the strict session was let up %d times in all, want 1, the other %d, want 1", held, free)
	}
}

// What keeps BFD from working is in the SpeakerStatus for as long as it does, although BFD tells of no change: such a
// session has not been up.
func TestSpeakerStatusSaysWhyBFDDoesNotWork(t *testing.T) {
	w := newWorld(t, "node1")
	w.create(&v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: "loose"}})
	w.peer("tor1", "192.0.2.1", func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "loose" })
	w.peer("unwatched", "192.0.2.2", nil)
	router, watchdog := newFakeRouter(), &fakeWatchdog{blind: true}
	w.route("node1", router, watchdog)
	says := func(want string) func() bool {
		return func() bool {
			s := w.sessions("node1")
			return len(s) == 2 && s[0].BFD == "Down" && strings.HasPrefix(s[0].BFDError, want) && (want == "") == (s[0].BFDError == "") && s[1].BFDError == ""
		}
	}
	w.await("for the sessions to be told of", says(""))
	watchdog.fails("UDP port 3784 is in use on this node")
	w.await("for the trouble to be told of", says("UDP port 3784 is in use on this node. "))
	watchdog.fails("")
	w.await("for the trouble to be over", says(""))
}

// A peer whose address BFD watches already for another is not held back for ever.
func TestStrictBFDKnowsWhatItSees(t *testing.T) {
	w := newWorld(t, "node1")
	w.create(&v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: "strict"}, Spec: v1alpha1.BFDProfileSpec{Strict: true}})
	w.peer("held", "192.0.2.1", func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "strict" })
	_, router, _ := w.routing("node1")
	w.await("for the session to be let up", func() bool { return router.let("held") > 0 })
}

// Peers that would drop the routes at once are asked to prefer others before the speaker stops; those with graceful
// restart only where the node itself goes.
func TestPeersAreDrained(t *testing.T) {
	for _, cordoned := range []bool{false, true} {
		t.Run(fmt.Sprintf("cordoned %t", cordoned), func(t *testing.T) {
			w := newWorld(t, "node1")
			w.peer("keeps", "192.0.2.1", func(s *v1alpha1.BGPPeerSpec) { s.EnableGracefulRestart = true })
			w.peer("drops", "192.0.2.2", nil)
			w.advertiseBGP("all")
			s, router, _ := w.routing("node1")
			w.endpoints("node1")
			w.bind("172.30.0.1", nil)
			w.awaitRoutes(router, "172.30.0.1/32 to drops; 172.30.0.1/32 to keeps")
			if cordoned {
				node := &corev1.Node{}
				if err := w.client.Get(w.ctx, client.ObjectKey{Name: "node1"}, node); err != nil {
					t.Fatal(err)
				}
				node.Spec.Unschedulable = true
				if err := w.client.Update(w.ctx, node); err != nil {
					t.Fatal(err)
				}
				w.await("for the speaker to know", func() bool { return s.nodeGoes(w.ctx) })
			}
			s.stop()
			want := "172.30.0.1/32 to drops draining; 172.30.0.1/32 to keeps"
			if cordoned {
				want += " draining"
			}
			if got := router.says(); got != want || router.left != cordoned {
				t.Errorf("at the end the routes are %q, want %q; it left for good: %v", got, want, router.left)
			}
		})
	}
}
