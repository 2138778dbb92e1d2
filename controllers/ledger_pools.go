package controllers

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/pools"
)

// page is how many objects a list asks for at once.
const page = 500

// Adoption is a holder whose status shows addresses that the ledger lacks.
type Adoption struct {
	Claim     allocator.Claim
	Addresses []netip.Addr
}

// Configure replaces pools and cluster ranges, and adopts what statuses show
// before anybody new is served from them. It gives the keys of adopters.
func (l *Ledger) Configure(pools []allocator.Pool, ranges []allocator.ClusterRange, adoptions []Adoption) []allocator.Key {
	return l.adopt(adoptions, func() {
		l.books.SetClusterRanges(ranges)
		l.books.SetPools(pools)
	})
}

// AdoptAll adopts what statuses show, of the pools that there are. It gives the keys of
// adopters.
func (l *Ledger) AdoptAll(adoptions []Adoption) []allocator.Key {
	return l.adopt(adoptions, func() {})
}

// adopt adopts what statuses show once the books are as they should be.
func (l *Ledger) adopt(adoptions []Adoption, configure func()) []allocator.Key {
	l.mu.Lock()
	configure()
	var adopters []allocator.Key
	for _, a := range adoptions {
		d := l.books.Adopt(l.clock.Now(), a.Claim, a.Addresses)
		if len(d.Touched) > 0 {
			adopters = append(adopters, a.Claim.Key)
		}
	}
	wake := l.books.Woken()
	changed := l.books.Unwritten()
	l.mu.Unlock()
	l.report(wake, nil)
	if len(changed) > 0 {
		l.hooks.Retry(changed)
	}
	return adopters
}

// Fill reads the whole ledger from the API server into empty books.
func (l *Ledger) Fill(ctx context.Context) error {
	opts := &client.ListOptions{Limit: page, Raw: &metav1.ListOptions{}}
	for {
		var list v1alpha1.AddressList
		if err := l.live.List(ctx, &list, opts); err != nil {
			return fmt.Errorf("reading the ledger: %w", err)
		}
		for i := range list.Items {
			l.fill(&list.Items[i])
		}
		if l.floor == "" {
			l.mu.Lock()
			l.floor = list.ResourceVersion
			l.mu.Unlock()
		}
		if list.Continue == "" {
			return nil
		}
		opts.Continue = list.Continue
	}
}

func (l *Ledger) fill(o *v1alpha1.Address) {
	e, err := pools.ReadAddress(o)
	if err != nil {
		return
	}
	strip(o)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows[e.Address] = &row{object: o}
	l.books.Load(e)
}

// Problems are what is wrong with the pools.
func (l *Ledger) Problems() []allocator.PoolProblem {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.books.PoolProblems()
}

// Usage counts the addresses of a pool; nil: there is no such pool.
func (l *Ledger) Usage(pool string) map[allocator.Family]allocator.Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.books.Usage(pool)
}

// Holders is everybody who has an address.
func (l *Ledger) Holders() []allocator.Key {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(l.books.Holders())
}

// Waiting is how many claims wait.
func (l *Ledger) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for range l.books.Waiting() {
		n++
	}
	return n
}

// Unwritten are the addresses whose object is not what the books say.
func (l *Ledger) Unwritten() []netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.books.Unwritten()
}

// HoldsIn tells whether a holder has an address of one of the pools.
func (l *Ledger) HoldsIn(k allocator.Key, pools map[string]bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.books.Held(k) {
		if e, ok := l.books.Entry(a); ok && pools[e.Pool] {
			return true
		}
	}
	return false
}

// Addresses are those that stand in the ledger.
func (l *Ledger) Addresses() []netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]netip.Addr, 0, len(l.rows))
	for a, r := range l.rows {
		if r.object != nil {
			out = append(out, a)
		}
	}
	return out
}

// Announceable are the addresses that stand in the ledger as in use, and those
// that a node is said to announce still.
func (l *Ledger) Announceable() []netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []netip.Addr
	for a, r := range l.rows {
		if o := r.object; o != nil && (o.Spec.State == v1alpha1.AddressBound || o.Status.Layer2 != nil || o.Status.BGP != nil) {
			out = append(out, a)
		}
	}
	return out
}
