package agent

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/announcer"
)

// freshness remembers since when nodes have a ready endpoint of a Service, so that a node which has just got one does not
// take an address before its kube-proxy serves it.
type freshness struct {
	since map[types.NamespacedName]map[string]time.Time
}

func newFreshness() freshness {
	return freshness{since: map[types.NamespacedName]map[string]time.Time{}}
}

// look notes which nodes have a ready endpoint, and returns those that have it only since a moment and since when, with
// the time when the last of them will have had it for long enough. What is seen for the first time is not new: it may have been there
// before us. A node that an Envoy leaves counts as ready, so that it is as new as it was and does not come before those that stay.
func (f freshness) look(service types.NamespacedName, e announcer.Endpoints, now time.Time) (fresh map[string]time.Time, until time.Time) {
	before, known := f.since[service]
	since := make(map[string]time.Time, len(e.ReadyOn))
	for node, ready := range e.ReadyOn {
		if !ready {
			continue
		}
		at, had := before[node]
		if !had && known {
			at = now
		}
		since[node] = at
		if end := at.Add(announcer.ProxyTime); now.Before(end) {
			if fresh == nil {
				fresh = map[string]time.Time{}
			}
			fresh[node] = at
			if end.After(until) {
				until = end
			}
		}
	}
	f.since[service] = since
	return fresh, until
}

// forget drops what is known of a Service that no address depends on any longer.
func (f freshness) forget(service types.NamespacedName) { delete(f.since, service) }
