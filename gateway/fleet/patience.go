package fleet

import (
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// How long a slice may differ from what it should be, so that several changes are
// one write. In a rollout each Envoy changes four times, each time in the slices of
// all Gateways, and several Envoys change at about the same time.
const (
	// soon is for what others do not wait for, and shorter than the times that a
	// rollout keeps: a new Envoy is listed before the old one of its node begins to
	// end (availableAfter), and an ending one is taken out long before it stops
	// taking connections (settle).
	soon = time.Second
	// later is for what nobody uses: Envoys that are not ready yet, and those that
	// have ended in order.
	later = 10 * time.Second
)

// Patience is how long the slice that there is may stay as it is, given what it
// should be; no time if a node begins or ceases to serve by the difference, or an
// Envoy is listed that does not serve.
func Patience(have, want *discoveryv1.EndpointSlice) time.Duration {
	if !equality.Semantic.DeepEqual(have.Ports, want.Ports) {
		return 0
	}
	is, was := byEnvoy(want), byEnvoy(have)
	isOn, wasOn := readyOn(want), readyOn(have)
	wait := later
	for key, before := range was {
		now, listed := is[key]
		serves := listed && isTrue(now.Conditions.Serving)
		switch {
		case isTrue(before.Conditions.Ready) && !serves, isTrue(before.Conditions.Serving) && !serves && !isOn[key.node]:
			return 0 // clients may be sent to where nobody answers
		case isTrue(before.Conditions.Ready) && !isTrue(now.Conditions.Ready):
			if !isOn[key.node] {
				return 0 // the node must not announce
			}
			wait = soon
		}
	}
	for key, now := range is {
		if !isTrue(now.Conditions.Ready) || isTrue(was[key].Conditions.Ready) {
			continue
		}
		if !wasOn[key.node] {
			return 0 // the node may announce
		}
		wait = soon
	}
	return wait
}

// listing is an Envoy in a slice.
type listing struct{ node, address string }

func byEnvoy(s *discoveryv1.EndpointSlice) map[listing]discoveryv1.Endpoint {
	out := make(map[listing]discoveryv1.Endpoint, len(s.Endpoints))
	for _, e := range s.Endpoints {
		out[listing{nodeOf(e), e.Addresses[0]}] = e
	}
	return out
}

// readyOn are the nodes on which a slice lists a ready Envoy.
func readyOn(s *discoveryv1.EndpointSlice) map[string]bool {
	out := map[string]bool{}
	for _, e := range s.Endpoints {
		if isTrue(e.Conditions.Ready) {
			out[nodeOf(e)] = true
		}
	}
	return out
}

func nodeOf(e discoveryv1.Endpoint) string {
	if e.NodeName == nil {
		return ""
	}
	return *e.NodeName
}

func isTrue(b *bool) bool { return b != nil && *b }
