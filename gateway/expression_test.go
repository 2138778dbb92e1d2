package gateway

import (
	"strings"
	"testing"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func TestExpression(t *testing.T) {
	for text, want := range map[string]string{
		`/a.*`:                   "",
		`\p{Greek}\pL\P{^Han}`:   "",
		`\p{Any}`:                "",
		`\x{ff}\377\0`:           "",
		`\Q\p{no}\x{10FFFF}`:     "",
		`\\p{no}`:                "", // a backslash, and letters
		`(?=a)`:                  "no look-around",
		`(a)\1`:                  "no back-references",
		`\p{greek}`:              "unknown class of characters: `\\p{greek}`",
		`\p{Letter}`:             "unknown class of characters",
		`\p{^LC}`:                "unknown class of characters",
		`[\p{Garay}]`:            "unknown class of characters",
		`\Qa\E\p{Cn}`:            "unknown class of characters",
		`\x{100}`:                "none is as high as `\\x{100}`",
		`\x{10FFFF}`:             "none is as high",
		`\777`:                   "none is as high as `\\777`",
		strings.Repeat("a", 999): "too big",
	} {
		got := expression("path", text, "")
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%.40q: want %q, got %q", text, want, got)
		}
	}
}

// TestGRPCExpressions are good, but do not stay apart.
func TestGRPCExpressions(t *testing.T) {
	match := gatewayv1.GRPCRouteMatch{Method: &gatewayv1.GRPCMethodMatch{
		Type: new(gatewayv1.GRPCMethodMatchRegularExpression), Service: new(`\Qa`), Method: new("b"),
	}}
	if _, problem := grpcMatch(&route{}, &match); !strings.Contains(problem, "path that service and method make") {
		t.Errorf("%q", problem)
	}
}
