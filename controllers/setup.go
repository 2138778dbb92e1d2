package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/time/rate"
	appsv1 "k8s.io/api/apps/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/migrate/takeover"
	"github.com/fairlead/fairlead/service"
)

// Options of the controllers. The zero value of a field takes its default.
type Options struct {
	// Service says which Services are ours.
	Service service.Config
	// Namespace is the controller's own, where the gossip key is kept. Empty:
	// no key is made.
	Namespace string
	// GossipSecret is the name of the Secret with the speakers' key,
	// PasswordSecret that of the Secret with the passwords of BGP peers.
	GossipSecret, PasswordSecret string
	// Workers is how many Services are worked on at once. Default 24.
	Workers int
	// Settle is how long an address may go unannounced before its status says
	// why. Default 2 s.
	Settle time.Duration
	// PoolStatusEvery is the shortest time between two status writes of one
	// pool. Default 700 ms.
	PoolStatusEvery time.Duration
	// IgnoreExcludeLabel is the speakers' option of that name.
	IgnoreExcludeLabel bool
	// Clock defaults to the real one.
	Clock clock.PassiveClock
	// Tracer defaults to none.
	Tracer trace.TracerProvider
	// Pace of contests; the zero value is service's default.
	Pace service.Pace
	// Takeover is how long takeovers stay in their phases; default: DefaultPace.
	Takeover takeover.Pace
	// Failpoint is for tests.
	Failpoint Failpoint
	// Gateways says how Gateways are served.
	Gateways GatewayOptions
}

func (o *Options) defaults() {
	o.GossipSecret = cmpOr(o.GossipSecret, DefaultGossipSecret)
	o.PasswordSecret = cmpOr(o.PasswordSecret, DefaultPasswordSecret)
	o.Workers = cmpOr(o.Workers, 24)
	o.Takeover = cmpOr(o.Takeover, takeover.DefaultPace)
	o.Settle = cmpOr(o.Settle, 2*time.Second)
	o.PoolStatusEvery = cmpOr(o.PoolStatusEvery, 700*time.Millisecond)
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Tracer == nil {
		o.Tracer = noop.NewTracerProvider()
	}
}

func cmpOr[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Scheme has the kinds that the controllers read and write, and no others.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	var errs []error
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, discoveryv1.AddToScheme, eventsv1.AddToScheme, networkingv1.AddToScheme,
		coordinationv1.AddToScheme, metav1.AddMetaToScheme, v1alpha1.AddToScheme,
		certificatesv1.AddToScheme, certificatesv1beta1.AddToScheme, gatewayv1.Install, appsv1.AddToScheme, policyv1.AddToScheme,
	} {
		errs = append(errs, add(s))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("registering kinds: %w", err)
	}
	return s, nil
}

// ManagerOptions are the options of a manager that Add works well with: caches
// that keep only what is read, and no limit on the client, as every write is
// bounded by what changed.
func ManagerOptions(scheme *runtime.Scheme) manager.Options {
	return manager.Options{
		Scheme:        scheme,
		Cache:         CacheOptions(),
		NewCache:      newLeaderCache,
		Controller:    config.Controller{UsePriorityQueue: ptr.To(true), RecoverPanic: ptr.To(true)},
		LeaseDuration: ptr.To(6 * time.Second), RenewDeadline: ptr.To(4 * time.Second), RetryPeriod: ptr.To(time.Second),
		LeaderElectionReleaseOnCancel: true,
	}
}

// Unlimited takes the client-side rate limit from a configuration.
func Unlimited(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst = -1, -1
	return cfg
}

// shell is what the reconcilers share.
type shell struct {
	Options
	client client.Client // reads from the cache, writes directly
	live   client.Reader // reads past the cache
	ledger *Ledger
	events *eventWriter
	tracer trace.Tracer
	// ready is closed when the books are rebuilt; nothing is served before.
	ready chan struct{}

	services, addresses, pools, announcements, bgp queue

	surroundings surroundings
	configuring  sync.Mutex
	configured   atomic.Pointer[configured]

	contests  contests
	passwords passwordKeeper
	// asking is since when Services wait for an address.
	asking since
	// refused is what was told of addresses that others wrote and that cannot be
	// announced.
	refused memory[string]
	// dark is since when an Address is not announced, or announced otherwise than its
	// status says.
	dark memory[time.Time]
	// stood are the takers of takeovers whose giver has been in front since before them, as this controller has seen.
	stood memory[bool]
	world indexOf
	// gave is when the last address was given, in Unix nanoseconds.
	gave     atomic.Int64
	statuses *rate.Limiter
	// serving is held while a Service is served, and taken alone while pools
	// are replaced and statuses adopted.
	serving sync.RWMutex
	// unconfirmed are names of Services that the ledger knew at the start and
	// the cache has not shown yet.
	unconfirmed sync.Map
	// looked is called for every look at a Service; for tests.
	looked func(types.NamespacedName)
	// kick makes expire look again.
	kick chan struct{}
	// gateways are set where Gateways are served.
	gateways atomic.Pointer[gateways]
}

// Add adds all controllers to a manager.
func Add(mgr manager.Manager, o Options) error {
	_, err := add(mgr, o)
	return err
}

func add(mgr manager.Manager, o Options) (*shell, error) {
	o.defaults()
	waitToLead(mgr)
	s := &shell{
		Options: o, client: mgr.GetClient(), live: mgr.GetAPIReader(),
		tracer: o.Tracer.Tracer("github.com/fairlead/fairlead/controllers"), ready: make(chan struct{}), kick: make(chan struct{}, 1),
	}
	s.contests.pace = o.Pace
	s.ledger = NewLedger(s.client, s.live, o.Clock, s.tracer, o.Failpoint, LedgerHooks{Wake: s.wake, Used: s.used, Retry: s.retry})
	s.events = newEventWriter(s.client, o.Clock, mgr.GetLogger().WithName("events"))
	for _, add := range []func(manager.Manager) error{
		s.addRecovery, s.addServices, s.addAddresses, s.addPools, s.addAnnouncements, s.addAdvertisements, s.addPasswords, s.addBGP, s.addGossipKey, s.addMeter,
		s.addGateways,
	} {
		if err := add(mgr); err != nil {
			return nil, fmt.Errorf("setting up the controllers: %w", err)
		}
	}
	return s, mgr.Add(s.events)
}

// wake asks for new decisions.
func (s *shell) wake(keys []allocator.Key) {
	for _, k := range keys {
		switch g := s.gateways.Load(); {
		case k.Kind == service.KindService:
			s.services.add(requestFor(k.Namespace, k.Name))
		case k.Kind == gateway.KindGateway && g != nil:
			g.build.add(requestFor(k.Namespace, k.Name))
		}
	}
}

// used asks for the status of pools, coalesced.
func (s *shell) used(pools []string) {
	for _, p := range pools {
		s.pools.addAfter(requestFor("", p), s.PoolStatusEvery)
	}
}

// retry asks for writes of the ledger that failed or are due.
func (s *shell) retry(addresses []netip.Addr) {
	for _, a := range addresses {
		s.addresses.add(requestFor("", v1alpha1.AddressName(a)))
	}
}

func requestFor(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}}
}

// await waits until the books are rebuilt.
func (s *shell) await(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isReady tells whether the books are rebuilt, which a standby's are not.
func (s *shell) isReady() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// CacheOptions keep in memory only what is read. Services keep their
// managedFields: they name the other writer in a contest.
func CacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Service{}:            {Transform: keep, UnsafeDisableDeepCopy: ptr.To(true)},
			&v1alpha1.Address{}:          {UnsafeDisableDeepCopy: ptr.To(true)},
			&corev1.Node{}:               {Transform: slimNode},
			&discoveryv1.EndpointSlice{}: {Transform: slimSlice},
			&corev1.Secret{}:             {Transform: slimSecret, Field: fields.OneTermEqualSelector("type", string(corev1.SecretTypeTLS))},
			&corev1.ConfigMap{}:          {Transform: slimConfigMap},
			&corev1.ServiceAccount{}:     {Label: labels.SelectorFromSet(labels.Set{"app.kubernetes.io/managed-by": fleet.Manager})},
			&metav1.PartialObjectMetadata{TypeMeta: namespaceKind()}: {Transform: cache.TransformStripManagedFields()},
		},
	}
}

// KeepFleets keeps in memory what runs Envoys, in the one namespace where the
// controllers may see it.
func KeepFleets(o *cache.Options, namespace string) {
	here := cache.ByObject{Namespaces: map[string]cache.Config{namespace: {LabelSelector: ofFleets()}}}
	o.ByObject[&appsv1.DaemonSet{}], o.ByObject[&appsv1.Deployment{}] = here, here
}

// ofFleets selects what runs Envoys.
func ofFleets() labels.Selector {
	r, err := labels.NewRequirement(fleet.FleetLabel, selection.Exists, nil)
	if err != nil {
		panic(err) // a label of ours that is none
	}
	return labels.NewSelector().Add(*r)
}
