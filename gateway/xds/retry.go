package xds

import (
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead/fairlead/gateway"
)

const (
	// unsent are failures after which no backend has seen any of the request:
	// no connection came about, it broke before the headers went out, or the
	// backend says that it did not look at the stream (RFC 9113, 8.7). These
	// are safe to try again for every method, and are, so that a pod that was
	// just scaled away costs nobody an error.
	unsent = "connect-failure,refused-stream,reset-before-request"
	// unsentRetries is how often, when the rule says nothing. The waits between
	// them add up to some 300 ms, in which Envoy hears which pods have gone.
	unsentRetries = 4
	// retryOn is where Envoy takes from a request what else to try again on. It
	// drops what clients send there, and passes nothing on.
	retryOn = "x-envoy-retry-on"
	// hostAttempts is how often another endpoint than those tried is looked for.
	// Those that are dead have the fewest requests, and are offered first.
	hostAttempts = 16
	// backoffGrowth is the longest wait between tries, in shortest ones.
	backoffGrowth = 10
)

// safeRetries are for what says nothing of retries. They stand with the cluster:
// with each host of a table they would be most of the table, which Envoy builds
// anew for every change. A cluster's go before all that a route says, so what
// does say something has a cluster without (Backend.OwnRetries). So have mirrors
// and authorization: Envoy's own client, which sends those requests, keeps no body
// to send again.
func safeRetries() *routev3.RetryPolicy {
	return elsewhere(&routev3.RetryPolicy{RetryOn: unsent, NumRetries: wrapperspb.UInt32(unsentRetries)})
}

// once keeps what retryReads gives from the routes of a rule that bounds a try and
// asks for no retries: to Envoy a try that took too long broke off, and the bound
// would hold five times in a row.
func once(route *routev3.Route, r *gateway.Rule) {
	if r.Retry != nil || !r.BoundsTries() {
		return
	}
	route.RequestHeadersToAdd = append(route.RequestHeadersToAdd, retryAlso(unsent))
}

// retry says when a request is sent again, or nil if the rule does not say. A
// rule with zero attempts gets no retries, not even the safe ones.
func retry(r *gateway.Rule) *routev3.RetryPolicy {
	if !r.OwnRetries() {
		return nil
	}
	policy := safeRetries()
	if r.Retry != nil {
		policy = asked(r.Retry, r.BoundsTries())
	}
	if r.BoundsTries() {
		policy.PerTryTimeout = durationpb.New(*r.BackendTimeout)
	}
	return policy
}

func asked(r *gateway.Retry, bounded bool) *routev3.RetryPolicy {
	if r.Attempts == 0 {
		return &routev3.RetryPolicy{NumRetries: wrapperspb.UInt32(0)}
	}
	on := []string{unsent}
	if bounded {
		// Who wants tries that took too long to be tried again cannot mind that
		// for those that broke off.
		on = append(on, "reset")
	}
	if len(r.Codes) > 0 {
		on = append(on, "retriable-status-codes")
	}
	return elsewhere(&routev3.RetryPolicy{
		RetryOn:              strings.Join(on, ","),
		RetriableStatusCodes: r.Codes,
		NumRetries:           wrapperspb.UInt32(r.Attempts),
		RetryBackOff:         backoff(r.Backoff),
	})
}

// elsewhere has a try go to an endpoint that was not tried yet, if there is one.
func elsewhere(policy *routev3.RetryPolicy) *routev3.RetryPolicy {
	policy.RetryHostPredicate = []*routev3.RetryPolicy_RetryHostPredicate{{
		Name: "envoy.retry_host_predicates.previous_hosts",
		ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
			TypedConfig: pack(&previoushostsv3.PreviousHostsPredicate{}),
		},
	}}
	policy.HostSelectionRetryMaxAttempts = hostAttempts
	return policy
}

func backoff(base time.Duration) *routev3.RetryPolicy_RetryBackOff {
	if base <= 0 {
		return nil
	}
	base = max(base, time.Millisecond) // Envoy counts in these
	base = min(base, forever)          // so that there is room above
	return &routev3.RetryPolicy_RetryBackOff{
		BaseInterval: durationpb.New(base),
		MaxInterval:  durationpb.New(backoffGrowth * base),
	}
}

// timeouts bounds the whole request if the rule does. The wait while nothing
// moves must not end a request earlier than the rule allows.
func (e *encoder) timeouts(action *routev3.RouteAction, r *gateway.Rule) {
	action.Timeout = durationpb.New(0)
	longest := time.Duration(0)
	for _, t := range []*time.Duration{r.Timeout, r.BackendTimeout} {
		if t == nil {
			continue
		}
		if *t == 0 {
			action.IdleTimeout = durationpb.New(0)
		}
		longest = max(longest, *t)
	}
	if r.Timeout != nil {
		action.Timeout = durationpb.New(*r.Timeout)
	}
	if idle := or(e.settings.StreamIdleTimeout, streamIdle).AsDuration(); idle > 0 && longest > idle && action.IdleTimeout == nil {
		action.IdleTimeout = durationpb.New(longest)
	}
}
