package agent

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/announcer"
)

// leaving remembers, by Gateway's Service and node, since when the last ready Envoy there ends; zero while one is ready. So
// an address stays for a moment where an Envoy ends: another may end right after it.
type leaving map[types.NamespacedName]map[string]time.Time

// look notes where Envoys are ready or end, and has the nodes that they leave count as ready for [announcer.LeaveTime]. It
// returns when the first of them counts no more. An Envoy that ended before it was seen ready does not count.
func (l leaving) look(service types.NamespacedName, e *announcer.Endpoints, now time.Time) (until time.Time) {
	before := l[service]
	since := make(map[string]time.Time, len(e.ReadyOn))
	for node, ready := range e.ReadyOn {
		if ready {
			since[node] = time.Time{}
		}
	}
	for node, ends := range e.TerminatingOn {
		at, known := before[node]
		if !ends || !known || e.ReadyOn[node] {
			continue
		}
		if at.IsZero() {
			at = now
		}
		since[node] = at
		end := at.Add(announcer.LeaveTime)
		if !now.Before(end) {
			continue
		}
		if e.ReadyOn == nil {
			e.ReadyOn = map[string]bool{}
		}
		e.ReadyOn[node] = true
		if until.IsZero() || end.Before(until) {
			until = end
		}
	}
	l[service] = since
	return until
}

// forget drops what is known of a Service that no address depends on any longer.
func (l leaving) forget(service types.NamespacedName) { delete(l, service) }
