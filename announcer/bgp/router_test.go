// The listener of gobgp's server takes no TCP-MD5 where Go makes it a multipath one.
//
//go:debug multipathtcp=0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	gobgplog "github.com/osrg/gobgp/v3/pkg/log"
	"github.com/osrg/gobgp/v3/pkg/server"
)

const (
	patience = 30 * time.Second
	tick     = 5 * time.Millisecond
)

// eventually waits for a condition.
func eventually(t testing.TB, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !met(); {
		if time.Now().After(end) {
			t.Fatalf("in vain awaited: %s", what)
		}
		time.Sleep(tick)
	}
}

type silentLog struct{}

func (silentLog) Panic(m string, _ gobgplog.Fields) { panic(m) }
func (silentLog) Fatal(m string, _ gobgplog.Fields) { panic(m) }
func (silentLog) Error(string, gobgplog.Fields)     {}
func (silentLog) Warn(string, gobgplog.Fields)      {}
func (silentLog) Info(string, gobgplog.Fields)      {}
func (silentLog) Debug(string, gobgplog.Fields)     {}
func (silentLog) SetLevel(gobgplog.LogLevel)        {}
func (silentLog) GetLevel() gobgplog.LogLevel       { return gobgplog.ErrorLevel }

// router is a BGP server of gobgp on a loopback address.
type router struct {
	t    testing.TB
	s    *server.BgpServer
	addr netip.AddrPort
}

func newRouter(t testing.TB, addr string, asn uint32) *router {
	t.Helper()
	ap := freePort(t, addr)
	s := server.NewBgpServer(server.LoggerOption(silentLog{}))
	go s.Serve()
	err := s.StartBgp(t.Context(), &api.StartBgpRequest{Global: &api.Global{
		Asn: asn, RouterId: "192.0.2.250", ListenPort: int32(ap.Port()), ListenAddresses: []string{ap.Addr().String()},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	return &router{t: t, s: s, addr: ap}
}

func freePort(t testing.TB, addr string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return addrPort(l.Addr())
}

// knows makes the router accept sessions of a speaker.
func (r *router) knows(speaker string, asn uint32, change func(*api.Peer)) {
	r.t.Helper()
	p := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: speaker, PeerAsn: asn},
		Transport: &api.Transport{PassiveMode: true, LocalAddress: r.addr.Addr().String()},
		Timers:    &api.Timers{Config: &api.TimersConfig{HoldTime: 9, KeepaliveInterval: 3}},
	}
	for _, f := range []*api.Family{familyV4, familyV6} {
		p.AfiSafis = append(p.AfiSafis, &api.AfiSafi{Config: &api.AfiSafiConfig{Family: f, Enabled: true}})
	}
	if change != nil {
		change(p)
	}
	if err := r.s.AddPeer(r.t.Context(), &api.AddPeerRequest{Peer: p}); err != nil {
		r.t.Fatal(err)
	}
}

var (
	familyV4 = &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}
	familyV6 = &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}
)

// learned is what the router has heard of a family, as text by prefix.
func (r *router) learned(f *api.Family) map[string]*api.Path {
	out := map[string]*api.Path{}
	err := r.s.ListPath(context.Background(), &api.ListPathRequest{TableType: api.TableType_GLOBAL, Family: f}, func(d *api.Destination) {
		for _, p := range d.Paths {
			if !p.IsWithdraw {
				out[d.Prefix] = p
			}
		}
	})
	if err != nil {
		r.t.Error(err)
	}
	return out
}

func (r *router) count(f *api.Family) int {
	table, err := r.s.GetTable(context.Background(), &api.GetTableRequest{TableType: api.TableType_GLOBAL, Family: f})
	if err != nil {
		r.t.Error(err)
		return -1
	}
	return int(table.NumPath)
}

// speaker is an Engine that runs until the test ends.
type speaker struct {
	*Engine
	t      testing.TB
	mu     sync.Mutex
	events []Event
	stop   func()
	set    map[netip.Prefix]bool
}

// route is a prefix to announce, and who gets it with which attributes.
type route struct {
	Prefix netip.Prefix
	Peers  map[string]Attributes
}

var quick = Timings{RetryMin: 10 * time.Millisecond, LimitRetryMin: 10 * time.Millisecond, CloseWait: 200 * time.Millisecond}

func newSpeaker(t testing.TB, cfg Config) *speaker {
	t.Helper()
	s := &speaker{t: t}
	if cfg.Timings == (Timings{}) {
		cfg.Timings = quick
	}
	if !cfg.RouterID.IsValid() {
		cfg.RouterID = netip.MustParseAddr("192.0.2.1")
	}
	cfg.OnEvent = func(e Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, e)
	}
	s.run(New(cfg))
	return s
}

func runEngine(t testing.TB, e *Engine) *speaker {
	s := &speaker{t: t}
	s.run(e)
	return s
}

func (s *speaker) run(e *Engine) {
	s.Engine = e
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := e.Run(ctx); err != nil {
			s.t.Error(err)
		}
	}()
	var once sync.Once
	s.stop = func() { once.Do(func() { cancel(); <-done }) }
	s.t.Cleanup(s.stop)
}

// sync sets peers and all routes, and takes back those set before that are no longer there.
func (s *speaker) sync(peers []Peer, routes []route) {
	s.t.Helper()
	errs := []error{s.SetPeers(peers)}
	now := map[netip.Prefix]bool{}
	for _, r := range routes {
		now[r.Prefix] = true
		errs = append(errs, s.Set(r.Prefix, r.Peers))
	}
	for p := range s.set {
		if !now[p] {
			errs = append(errs, s.Set(p, nil))
		}
	}
	s.set = now
	if err := errors.Join(errs...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *speaker) session(name string) Session {
	for _, v := range s.Sessions() {
		if v.Peer == name {
			return v
		}
	}
	return Session{}
}

func (s *speaker) awaitUp(names ...string) {
	s.t.Helper()
	for _, n := range names {
		eventually(s.t, "a session with "+n, func() bool { return s.session(n).State == Established })
	}
}

func (s *speaker) awaitWhy(name string, why ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("the words %q for %s, not %q", why, name, s.session(name).Why), func() bool {
		return slices.Contains(why, s.session(name).Why)
	})
}

func to(r *router, name, source string, change ...func(*Peer)) Peer {
	p := Peer{
		Name: name, MyASN: 64512, PeerASN: 64513, Address: r.addr.Addr(), Port: r.addr.Port(), Source: netip.MustParseAddr(source),
		HoldTime: 9 * time.Second, ConnectTime: time.Second,
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func prefixes(n int) []netip.Prefix {
	out := make([]netip.Prefix, n)
	for i := range n {
		out[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	return out
}

func routes(all []netip.Prefix, a Attributes, names ...string) []route {
	to := map[string]Attributes{}
	for _, n := range names {
		to[n] = a
	}
	out := make([]route, len(all))
	for i, p := range all {
		out[i] = route{Prefix: p, Peers: to}
	}
	return out
}
