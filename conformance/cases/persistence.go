package cases

import (
	"strings"
	"testing"

	"sigs.k8s.io/gateway-api/conformance/utils/http"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// revisits are so many that pods chosen by chance would hardly be the same each time: the backend has two.
const revisits = 20

// Session persistence: GEP-1619.
var persistence = suite.ConformanceTest{
	ShortName:   "FairleadSessionPersistence",
	Description: "A client that brings its cookie again is served by the same pod",
	Features:    experimental,
	Manifests:   []string{"persistence.yaml"},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		address := accepted(t, s, "own-persistence")
		answers(t, s, address, "", "/", 200)
		expected := http.ExpectedResponse{Request: http.Request{Path: "/"}}
		first := http.MakeRequest(t, &expected, address, "HTTP", "http")
		asked, got, err := s.RoundTripper.CaptureRoundTrip(first)
		if err != nil {
			t.Fatalf("asking without a cookie: %v", err)
		}
		cookie, _, _ := strings.Cut(strings.Join(got.Headers["Set-Cookie"], ""), ";")
		if !strings.HasPrefix(cookie, "own-session") {
			t.Fatalf("the answer sets %q, want the route's cookie", got.Headers["Set-Cookie"])
		}
		for range revisits {
			again := first
			again.Headers = map[string][]string{"Cookie": {cookie}}
			came, _, err := s.RoundTripper.CaptureRoundTrip(again)
			if err != nil {
				t.Fatalf("asking with the cookie: %v", err)
			}
			if came.Pod != asked.Pod {
				t.Fatalf("the cookie of pod %s led to pod %s", asked.Pod, came.Pod)
			}
		}
	},
}
