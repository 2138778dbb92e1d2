package gateway

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/consts"
)

// What the installed CRDs are is said in the class, whatever is wrong with them; the
// class is accepted all the same, and features of the experimental channel are claimed
// only where all are of that.
func TestInstalledVersions(t *testing.T) {
	const now, standard, experimental = consts.BundleVersion, "standard", "experimental"
	crds := func(parts ...string) []CRD {
		var out []CRD
		for i := 0; i < len(parts); i += 2 {
			out = append(out, CRD{Name: "kind" + parts[i] + parts[i+1], Version: parts[i], Channel: parts[i+1]})
		}
		return out
	}
	for name, tt := range map[string]struct {
		crds []CRD
		// problem is a part of what is said; empty: they are good.
		problem      string
		experimental bool
	}{
		"standard":                      {crds(now, standard, now, standard), "", false},
		"experimental":                  {crds(now, experimental, now, experimental), "", true},
		"older":                         {crds("v1.6.1", standard, "v1.6.1", standard), "are of version v1.6.1. Fairlead is made for " + now, false},
		"older, experimental":           {crds("v1.6.1", experimental), "are of version v1.6.1", true},
		"newer":                         {crds("v1.8.0", standard), "are of version v1.8.0", false},
		"a candidate of this version":   {crds(now+"-rc.1", standard), "are of version " + now + "-rc.1", false},
		"unknown version":               {crds("", standard), "are of version unknown", false},
		"mixed versions":                {crds(now, standard, "v1.6.1", standard), "several versions (v1.6.1, " + now + "). Install those of " + now, false},
		"mixed versions, one unknown":   {crds(now, standard, "", standard), "several versions (unknown, " + now + ")", false},
		"mixed versions and channels":   {crds(now, standard, "v1.6.1", experimental), "several versions", false},
		"mixed channels":                {crds(now, standard, now, experimental), "several channels (experimental, standard). Install all from one", false},
		"mixed channels, one unknown":   {crds(now, experimental, now, ""), "several channels (unknown, experimental)", false},
		"unknown channel":               {crds(now, ""), "", false},
		"a channel of somebody's own":   {crds(now, "ours"), "", false},
		"none":                          {nil, "are not installed", false},
		"mixed, in the order of events": {crds("v1.6.1", standard, now, standard), "several versions (v1.6.1, " + now + ")", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := Judge(tt.crds)
			if got.Experimental != tt.experimental {
				t.Errorf("experimental is %t", got.Experimental)
			}
			if (got.Problem == "") != (tt.problem == "") || !strings.Contains(got.Problem, tt.problem) {
				t.Errorf("the problem is %q, want %q", got.Problem, tt.problem)
			}
			class := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Generation: 7}}
			status := ClassStatus(class, got, nil)
			want := metav1.Condition{Type: "SupportedVersion", Status: metav1.ConditionTrue, Reason: "SupportedVersion", ObservedGeneration: 7}
			if tt.problem != "" {
				want.Status, want.Reason = metav1.ConditionFalse, "UnsupportedVersion"
			}
			c := meta.FindStatusCondition(status.Conditions, want.Type)
			if c == nil || c.Status != want.Status || c.Reason != want.Reason || c.ObservedGeneration != 7 || !strings.Contains(c.Message, tt.problem) {
				t.Errorf("the class says %+v, want %+v", c, want)
			}
			if !meta.IsStatusConditionTrue(status.Conditions, "Accepted") {
				t.Errorf("the class is not accepted: %+v", status.Conditions)
			}
			if got := len(status.SupportedFeatures) > len(Features(Installed{})); got != tt.experimental {
				t.Errorf("features of the experimental channel are claimed: %t", got)
			}
		})
	}
}
