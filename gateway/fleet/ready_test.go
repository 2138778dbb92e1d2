package fleet

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

func TestReady(t *testing.T) {
	plain := &v1alpha1.GatewayConfig{ObjectMeta: metav1.ObjectMeta{Generation: 4}}
	wrong := Problem{FromClass, "spec.image", "it is none"}
	for name, tt := range map[string]struct {
		config *v1alpha1.GatewayConfig
		use    Use
		status metav1.ConditionStatus // empty: no condition
		reason string
		says   []string
	}{
		"nobody":           {plain, Use{}, "", "", nil},
		"a class":          {plain, Use{Classes: []string{"edge"}}, metav1.ConditionTrue, ReasonInUse, []string{"GatewayClass edge use"}},
		"many":             {plain, Use{Classes: []string{"a", "b"}, Gateways: 3}, metav1.ConditionTrue, ReasonInUse, []string{"2 GatewayClasses and 3 Gateways use"}},
		"a Gateway":        {plain, Use{Gateways: 1}, metav1.ConditionTrue, ReasonInUse, []string{"1 Gateway use"}},
		"a problem, twice": {plain, Use{Gateways: 2, Problems: []Problem{wrong, wrong}}, metav1.ConditionFalse, ReasonInvalid, []string{"spec.image: it is none. What"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Ready(tt.config, tt.use)
			if got == nil || tt.status == "" {
				if got != nil || tt.status != "" {
					t.Fatalf("the condition is %+v", got)
				}
				return
			}
			if got.Status != tt.status || got.Reason != tt.reason || got.ObservedGeneration != 4 || got.Type != v1alpha1.GatewayConfigReady {
				t.Errorf("the condition is %+v", got)
			}
			for _, words := range tt.says {
				if !strings.Contains(got.Message, words) {
					t.Errorf("%q does not say %q", got.Message, words)
				}
			}
		})
	}
}
