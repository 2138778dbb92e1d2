package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/bfd"
	"github.com/fairlead/fairlead/announcer/bgp"
	"github.com/fairlead/fairlead/announcer/l2"
	"github.com/fairlead/fairlead/announcer/members"
	"github.com/fairlead/fairlead/announcer/reject"
)

// Engine answers ARP and NDP. *l2.Engine is one.
type Engine interface {
	Run(ctx context.Context) error
	Set(addr netip.Addr, want *l2.Announcement)
	Refresh(addr netip.Addr)
	Sync(ctx context.Context) error
	Interfaces() []l2.Interface
	Snapshot() []l2.Count
}

// Rejecter refuses what nobody serves. *reject.Table is one.
type Rejecter interface {
	Change(vips []reject.VIP, gone []netip.Addr) error
	Run(ctx context.Context) error
	Remove() error
}

// Membership knows the other speakers. *members.Members is one.
type Membership interface {
	SetPeers(peers []members.Peer)
	SetInterfaces(interfaces []announcer.Interface)
	SetKeys(keys [][]byte) error
	Joined(ctx context.Context)
	Prepare()
	Serve()
	Depart()
	Stop()
	Members() []announcer.Member
	IncarnationOf(node string) uint64
	Tell(node string, kind members.MessageKind, addresses []netip.Addr) error
	Stats() members.Stats
}

// Config is what a speaker needs.
type Config struct {
	Log logr.Logger
	// Clock is the system's if nil.
	Clock clock.WithTicker
	// Node is the name of the node that the speaker runs on.
	Node string
	// Version is written into the SpeakerStatus.
	Version string
	Options announcer.Options

	// Cache is made by NewCache and started by Run.
	Cache cache.Cache
	// Passwords is a cache of the Secret PasswordSecret alone, made by NewPasswords and started by Run; nil: there are none.
	Passwords      cache.Cache
	PasswordSecret string
	// Client writes statuses.
	Client client.Client
	// Events tells of moves and conflicts; nil: they are not told.
	Events events.EventRecorder
	// Tracer continues the traces of addresses; nil: there are none.
	Tracer trace.TracerProvider

	// Namespace and Secret are where the gossip keys are.
	Namespace, Secret string

	// NewEngine makes the packet engine; it is called once.
	NewEngine func(onEvent func(l2.Event), known func(net.HardwareAddr) bool) (Engine, error)
	// NewMembers joins the other speakers; it is called once.
	NewMembers func(ctx context.Context, s Gossip) (Membership, error)
	// NewRouter makes what speaks BGP; it is called once. Nil: nothing is announced by BGP.
	NewRouter func(onEvent func(bgp.Event)) Router
	// NewWatchdog makes what watches peers by BFD; it is called once. Nil: nothing does.
	NewWatchdog func(onEvent func(bfd.Event)) Watchdog
	// NewRejecter makes the reject table for a node with these addresses; nil: there is none.
	NewRejecter func(addresses []netip.Addr) Rejecter

	// StatusRate is how many address statuses are written in a second at most
	// (default 100), StatusWorkers how many at a time (default 8).
	StatusRate, StatusWorkers int
}

// Gossip is what NewMembers is given.
type Gossip struct {
	// Address is our node's, Nodes how many there are.
	Address   netip.Addr
	Nodes     int
	Keys      [][]byte
	OnChange  func()
	OnMessage func(members.Message)
}

func (c *Config) complete() error {
	if c.Node == "" {
		return errors.New("the name of the node is not known: set --node-name or the environment variable NODE_NAME (spec.nodeName)")
	}
	if c.Cache == nil || c.Client == nil || c.NewEngine == nil || c.NewMembers == nil {
		return errors.New("agent: Cache, Client, NewEngine and NewMembers must be set")
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Tracer == nil {
		c.Tracer = noop.NewTracerProvider()
	}
	if c.StatusRate == 0 {
		c.StatusRate = 100
	}
	if c.StatusWorkers == 0 {
		c.StatusWorkers = 8
	}
	return nil
}

const (
	// handoverWait is how long a node goes on answering for an address that moved
	// away, if its successor does not say that it answers.
	handoverWait = time.Second
	// departWait is how long a stopping speaker waits for its deputies.
	departWait = time.Second
	// joinWait is how long the start waits for the other speakers.
	joinWait = 2 * time.Second
	// interfaceWait is how long the start waits for the node's interfaces.
	interfaceWait = 2 * time.Second

	fieldManager = "fairlead-speaker"
)
