package controllers

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/service"
)

// recoverEvery is the wait between two attempts to rebuild the books.
const recoverEvery = 500 * time.Millisecond

func (s *shell) addRecovery(mgr manager.Manager) error {
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		if !awaitCache(ctx, mgr) {
			return nil
		}
		for {
			err := s.rebuild(ctx)
			if err == nil {
				break
			}
			mgr.GetLogger().Error(err, "The books cannot be rebuilt yet; nothing is served before they are")
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(recoverEvery):
			}
		}
		close(s.ready)
		return s.expire(ctx)
	}))
}

// rebuild makes the books anew, before anything is served: the ledger as the API
// server has it, then the pools, then what statuses show and no Address holds.
// Who holds something is decided again first, so that what was begun is finished
// or undone; holders that are gone, or not ours any more, are released thereby.
func (s *shell) rebuild(ctx context.Context) error {
	if err := s.ledger.Fill(ctx); err != nil {
		return err
	}
	for _, k := range s.ledger.Holders() {
		if k.Kind == service.KindService {
			s.unconfirmed.Store(client.ObjectKey{Namespace: k.Namespace, Name: k.Name}, struct{}{})
		}
	}
	if err := s.configure(ctx); err != nil {
		return err
	}
	s.wake(s.ledger.Holders())
	return s.queueBacklog(ctx)
}

// queueBacklog has the Services that wait for an address served in the order in
// which they began to: who waits longest is first, and two starts give the same
// addresses.
func (s *shell) queueBacklog(ctx context.Context) error {
	var all corev1.ServiceList
	if err := s.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing Services: %w", err)
	}
	waiting := slices.DeleteFunc(all.Items, func(svc corev1.Service) bool {
		return !service.Ours(&svc, s.Service) || len(svc.Status.LoadBalancer.Ingress) > 0
	})
	slices.SortFunc(waiting, compareAges)
	requests := make([]reconcile.Request, 0, len(waiting))
	for i := range waiting {
		requests = append(requests, requestFor(waiting[i].Namespace, waiting[i].Name))
	}
	s.services.addBacklog(requests...)
	return nil
}

// compareAges puts the older Service first. Times of creation are told to the
// second: within one, the one that was not written for longer counts as older.
func compareAges(a, b corev1.Service) int {
	written, _ := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return cmp.Or(
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time), written,
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
	)
}

// adoptions are those of Services, and of Gateways where these are served.
func (s *shell) adoptions(ctx context.Context, inPool func(netip.Addr) bool) ([]Adoption, error) {
	out, err := s.serviceAdoptions(ctx, inPool)
	if g := s.gateways.Load(); err == nil && g != nil && g.watching.Load() {
		more, err := g.gatewayAdoptions(ctx, inPool)
		return append(out, more...), err
	}
	return out, err
}

// serviceAdoptions are the Services of ours whose status shows addresses of a pool
// while the ledger has nothing for them: an earlier controller's, or ours whose
// Addresses were lost. Where the cache shows one, the API server is asked, as a
// late cache may show what an earlier leader has taken back.
func (s *shell) serviceAdoptions(ctx context.Context, inPool func(netip.Addr) bool) ([]Adoption, error) {
	var cached corev1.ServiceList
	if err := s.client.List(ctx, &cached, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	if !slices.ContainsFunc(cached.Items, func(svc corev1.Service) bool { return s.adoptable(&svc, inPool) != nil }) {
		return nil, nil
	}
	var out []Adoption
	opts := &client.ListOptions{Limit: page}
	var found []corev1.Service
	for {
		var list corev1.ServiceList
		if err := s.live.List(ctx, &list, opts); err != nil {
			return nil, fmt.Errorf("listing Services: %w", err)
		}
		for i := range list.Items {
			if s.adoptable(&list.Items[i], inPool) != nil {
				found = append(found, list.Items[i])
			}
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			break
		}
	}
	slices.SortFunc(found, compareAges)
	for i := range found {
		claim, err := s.claimOf(ctx, &found[i])
		if err != nil {
			return nil, err
		}
		out = append(out, Adoption{Claim: claim, Addresses: s.adoptable(&found[i], inPool)})
	}
	return out, nil
}

// adoptable are the addresses of pools in the status of a Service of ours that
// holds nothing in the ledger.
func (s *shell) adoptable(svc *corev1.Service, inPool func(netip.Addr) bool) []netip.Addr {
	if len(svc.Status.LoadBalancer.Ingress) == 0 || !service.Ours(svc, s.Service) || len(s.ledger.Held(service.KeyOf(svc))) > 0 {
		return nil
	}
	var out []netip.Addr
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(in.IP); err == nil && inPool(a) {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// claimOf reads what a Service asks for.
func (s *shell) claimOf(ctx context.Context, svc *corev1.Service) (allocator.Claim, error) {
	reading, err := s.read(ctx, svc)
	return reading.Claim, err
}

func (s *shell) read(ctx context.Context, svc *corev1.Service) (service.Reading, error) {
	labels, err := s.namespaceLabels(ctx, svc.Namespace)
	if err != nil {
		return service.Reading{}, err
	}
	return service.Read(svc, service.Surroundings{NamespaceLabels: labels, InPool: s.surroundings.inPool}, s.Service), nil
}

// expire gives up what has waited long enough, when it has.
func (s *shell) expire(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		case <-timer.C:
		}
		if next := s.ledger.Expire(); !next.IsZero() {
			timer.Reset(max(next.Sub(s.Clock.Now()), 0) + 10*time.Millisecond)
		}
	}
}

// released lets expire look at what was freed.
func (s *shell) released() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}
