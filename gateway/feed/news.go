package feed

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/fairlead/fairlead/gateway"
)

// news gathers which Gateways there is something to tell of.
type news struct {
	mu     sync.Mutex
	of     map[string]map[gateway.Name]struct{}
	signal chan struct{}
}

func newNews() news {
	return news{of: map[string]map[gateway.Name]struct{}{}, signal: make(chan struct{}, 1)}
}

func (n *news) add(fleet string, gw gateway.Name) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of[fleet] == nil {
		n.of[fleet] = map[gateway.Name]struct{}{}
	}
	n.of[fleet][gw] = struct{}{}
	select {
	case n.signal <- struct{}{}:
	default:
	}
}

func (n *news) take() map[string]map[gateway.Name]struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.of
	n.of = map[string]map[gateway.Name]struct{}{}
	return out
}

// spread calls Changed until the context ends.
func (f *Feed) spread(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.news.signal:
		}
		select {
		case <-ctx.Done():
			return
		case <-f.clock.After(f.opts.Coalesce):
		}
		for fleet, gws := range f.news.take() {
			if f.opts.Changed == nil {
				continue
			}
			names := make([]gateway.Name, 0, len(gws))
			for gw := range gws {
				names = append(names, gw)
			}
			slices.SortFunc(names, func(a, b gateway.Name) int {
				return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
			})
			f.opts.Changed(fleet, names)
		}
	}
}
