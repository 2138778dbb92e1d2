package cases

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// Who is asked is the suite's own backend: it answers /status/NNN with that status. So the path of a request, which
// follows the one of the filter, decides what comes of it.
var externalAuth = suite.ConformanceTest{
	ShortName:   "FairleadExternalAuth",
	Description: "A rule with ExternalAuth passes on what the server behind it allows, and nothing else",
	Features:    experimental,
	Manifests:   []string{"external-auth.yaml"},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		address := accepted(t, s, "own-external-auth")
		answers(t, s, address, "guarded.example.org", "/200", 200)
		answers(t, s, address, "guarded.example.org", "/401", 401)
		answers(t, s, address, "guarded.example.org", "/403", 403)
		// Without an answer of the server nothing passes.
		answers(t, s, address, "unanswered.example.org", "/200", 500)
		answers(t, s, address, "open.example.org", "/403", 200)
	},
}

// GEP-5224: filters of a listener are run before any route is looked for.
var listenerFilters = suite.ConformanceTest{
	ShortName:   "FairleadListenerFilters",
	Description: "Filters of a listener guard all of its routes, also hosts without one, and no other listener",
	Features:    experimental,
	Manifests:   []string{"listener-filters.yaml"},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		address := accepted(t, s, "own-listener-filters")
		answers(t, s, address, "a.guarded.example.org", "/200", 200)
		answers(t, s, address, "a.guarded.example.org", "/403", 403)
		answers(t, s, address, "no-route.guarded.example.org", "/403", 403)
		answers(t, s, address, "no-route.guarded.example.org", "/200", 404)
		answers(t, s, address, "open.example.org", "/403", 200)
	},
}
