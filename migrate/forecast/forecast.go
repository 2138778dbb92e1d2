// Package forecast says what Fairlead would do with the Services of a cluster: it
// keeps books of its own, adopts what statuses show and decides every Service as
// the controller does at its start, and compares.
//
// It is pure. What it says is true for the moment of the snapshot.
package forecast

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/pools"
	"github.com/fairlead/fairlead/service"
)

// Cluster is a snapshot.
type Cluster struct {
	Pools []v1alpha1.IPAddressPool
	// Ledger are the Addresses that are there already.
	Ledger []v1alpha1.Address
	// Ranges are what the cluster uses itself.
	Ranges []allocator.ClusterRange
	// Namespaces are labels by the name of a namespace.
	Namespaces map[string]map[string]string
	Services   []corev1.Service
	// Config says which Services are Fairlead's.
	Config service.Config
	Now    time.Time
}

// Verdict says what would become of a Service's addresses.
type Verdict string

// The verdicts.
const (
	// Same: it keeps what it has, which it asks for or which is in the ledger.
	Same Verdict = "Same"
	// Adopted: it keeps what its status shows.
	Adopted Verdict = "Adopted"
	// NotTaken: it belongs to another controller by its class, and stays so.
	NotTaken Verdict = "NotTaken"
	// Waits: it has no address and gets none.
	Waits Verdict = "Waits"
	// Given: it has no address and gets one.
	Given Verdict = "Given"
	// Changes: it gets other addresses than it has.
	Changes Verdict = "Changes"
	// Conflict: it cannot keep an address that it has.
	Conflict Verdict = "Conflict"
)

// Quiet tells whether nothing changes.
func (v Verdict) Quiet() bool { return v == Same || v == Adopted || v == NotTaken || v == Waits }

// Outcome is what would become of one Service.
type Outcome struct {
	Service types.NamespacedName
	// Has are the addresses that its status shows; Gets those that it would have.
	Has  []netip.Addr
	Gets []allocator.Assigned
	// Asks are the wishes that count, and where they are written.
	Asks    []Wish
	Verdict Verdict
	// Why are sentences that say what is in the way and what to do.
	Why []string
}

// Wish is something that a Service asks for.
type Wish struct{ Value, Origin string }

// Of gives the outcome of every Service of type LoadBalancer, by namespace and name.
func Of(c Cluster) []Outcome {
	f := &forecast{Cluster: c, books: allocator.New(), refused: map[allocator.Key][]allocator.Refusal{}, began: map[allocator.Key][]netip.Addr{}}
	f.load()
	mine := f.mine()
	f.adopt(mine)
	decisions := f.decide(mine)
	var out []Outcome
	for i := range c.Services {
		svc := &c.Services[i]
		if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		out = append(out, f.outcome(svc, decisions[service.KeyOf(svc)]))
	}
	slices.SortFunc(out, func(a, b Outcome) int {
		return cmp.Or(cmp.Compare(a.Service.Namespace, b.Service.Namespace), cmp.Compare(a.Service.Name, b.Service.Name))
	})
	return out
}

type forecast struct {
	Cluster
	books   *allocator.Books
	inPool  func(netip.Addr) bool
	refused map[allocator.Key][]allocator.Refusal
	// began is what a Service has before anybody is decided.
	began map[allocator.Key][]netip.Addr
}

func (f *forecast) load() {
	var list []allocator.Pool
	for _, o := range pools.ByAge(f.Pools) {
		if o.DeletionTimestamp == nil {
			p, _ := pools.Read(&o)
			list = append(list, p)
		}
	}
	set := pools.Addresses(list)
	f.inPool = func(a netip.Addr) bool { return set.Contains(a.Unmap()) }
	for i := range f.Ledger {
		if e, err := pools.ReadAddress(&f.Ledger[i]); err == nil {
			f.books.Load(e)
		}
	}
	f.books.SetClusterRanges(f.Ranges)
	f.books.SetPools(list)
}

// mine are the Services that Fairlead would serve, the oldest first.
func (f *forecast) mine() []*corev1.Service {
	var out []*corev1.Service
	for i := range f.Services {
		if svc := &f.Services[i]; f.takes(svc) {
			out = append(out, svc)
		}
	}
	slices.SortStableFunc(out, func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func (f *forecast) takes(svc *corev1.Service) bool {
	return service.Ours(svc, f.Config) || service.Announced(svc, f.Config)
}

func (f *forecast) read(svc *corev1.Service) service.Reading {
	return service.Read(svc, service.Surroundings{NamespaceLabels: f.Namespaces[svc.Namespace], InPool: f.inPool}, f.Config)
}

// adopt takes what statuses show and the ledger does not have.
func (f *forecast) adopt(mine []*corev1.Service) {
	for _, svc := range mine {
		key := service.KeyOf(svc)
		shown := slices.DeleteFunc(service.Shown(svc), func(a netip.Addr) bool { return !f.inPool(a) })
		if len(shown) == 0 || len(f.books.Held(key)) > 0 || !service.Ours(svc, f.Config) {
			continue
		}
		f.refused[key] = f.books.Adopt(f.Now, f.read(svc).Claim, shown).Refused
	}
	for _, svc := range mine {
		key := service.KeyOf(svc)
		f.began[key] = slices.Clone(f.books.Held(key))
	}
}

// rounds is how often everybody is decided: what one leaves another may have.
const rounds = 3

func (f *forecast) decide(mine []*corev1.Service) map[allocator.Key]allocator.Decision {
	// Who has something is decided before who waits, as at a start.
	slices.SortStableFunc(mine, func(a, b *corev1.Service) int {
		return cmp.Compare(f.rank(a), f.rank(b))
	})
	out := map[allocator.Key]allocator.Decision{}
	for range rounds {
		for _, svc := range mine {
			key := service.KeyOf(svc)
			asking, _ := service.Contest{}.Ask(svc, f.read(svc), f.books.Held(key), f.Now)
			if !asking.Decide {
				continue
			}
			d := f.books.Decide(f.Now, asking.Claim)
			if len(d.Leaving) > 0 {
				f.books.Vacate(f.Now, key, d.Leaving)
			}
			out[key] = d
		}
	}
	return out
}

func (f *forecast) rank(svc *corev1.Service) int {
	if len(f.books.Held(service.KeyOf(svc))) > 0 {
		return 0
	}
	return 1
}
