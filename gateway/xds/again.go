package xds

import (
	"net/http"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	actionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/matcher/action/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// reads are the methods whose requests change nothing (RFC 9110, 9.2.1).
var reads = []string{http.MethodGet, http.MethodHead, http.MethodOptions}

// retryReads is a filter that has the router try requests again that only read,
// also when they were sent and broke off before an answer began. A pod that ends
// without waiting for its proxies resets what it has begun, and what arrives on
// connections that it has just closed. By RFC 9110 (9.2.2) a proxy may repeat such
// requests, and must not repeat others: whether a POST was carried out nobody
// knows.
//
// Retry policies know no methods: one that is bound to methods retries nothing for
// the others. How often, and where to, they say, so that a rule without retries
// stays one. An expression (CEL) in a header of the table does without the filter,
// and costs Envoy twice its CPU.
func retryReads() *matchingv3.ExtensionWithMatcher {
	var some []*xdsmatcherv3.Matcher_MatcherList_Predicate
	for _, method := range reads {
		some = append(some, &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
			SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
				Input: &xdscorev3.TypedExtensionConfig{Name: "method", TypedConfig: pack(&matcherv3.HttpRequestHeaderMatchInput{HeaderName: ":method"})},
				Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{
					ValueMatch: &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Exact{Exact: method}},
				},
			},
		}})
	}
	isRead := &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_OrMatcher{
		OrMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: some},
	}}
	skip := &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
		Action: &xdscorev3.TypedExtensionConfig{Name: "skip", TypedConfig: pack(&actionv3.SkipFilter{})},
	}}
	return &matchingv3.ExtensionWithMatcher{
		XdsMatcher: &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
			Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
				Predicate: &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_NotMatcher{NotMatcher: isRead}},
				OnMatch:   skip,
			}},
		}}},
		ExtensionConfig: &corev3.TypedExtensionConfig{Name: "set", TypedConfig: pack(&headermutationv3.HeaderMutation{
			Mutations: &headermutationv3.Mutations{RequestMutations: []*mutationv3.HeaderMutation{{
				Action: &mutationv3.HeaderMutation_Append{Append: retryAlso("reset")},
			}}},
		})},
	}
}

// retryAlso has the router try a request again on further failures, and not what
// else stands there.
func retryAlso(on string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header: &corev3.HeaderValue{Key: retryOn, Value: on}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}
