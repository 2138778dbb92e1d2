package gateway

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func TestFirstWord(t *testing.T) {
	made := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	accepted := func(status metav1.ConditionStatus) []metav1.Condition {
		return []metav1.Condition{{Type: string(gatewayv1.GatewayConditionAccepted), Status: status}}
	}
	for _, tt := range []struct {
		what       string
		has        []metav1.Condition
		programmed gatewayv1.GatewayConditionReason // what is to be said of it
		built, now time.Duration                    // after it was made
		want       time.Duration
	}{
		{"just built", nil, gatewayv1.GatewayReasonPending, 900 * time.Millisecond, 910 * time.Millisecond, 90 * time.Millisecond},
		{"by the CRD nobody has answered", accepted(metav1.ConditionUnknown), gatewayv1.GatewayReasonPending, time.Second, time.Second, firstWord},
		{"long enough", nil, gatewayv1.GatewayReasonPending, time.Second, time.Second + firstWord, 0},
		{"answered before", accepted(metav1.ConditionTrue), gatewayv1.GatewayReasonPending, time.Second, time.Second, 0},
		{"refused before", accepted(metav1.ConditionFalse), gatewayv1.GatewayReasonPending, time.Second, time.Second, 0},
		{"programmed", nil, gatewayv1.GatewayReasonProgrammed, time.Second, time.Second, 0},
		{"no address", nil, gatewayv1.GatewayReasonAddressNotAssigned, time.Second, time.Second, 0},
		{"no valid listener", nil, gatewayv1.GatewayReasonInvalid, time.Second, time.Second, 0},
		{"built again and again", nil, gatewayv1.GatewayReasonPending, justMade, justMade, 0},
		{"there before the controller", nil, gatewayv1.GatewayReasonPending, time.Hour, time.Hour, 0},
	} {
		gw := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(made)}, Status: gatewayv1.GatewayStatus{Conditions: tt.has}}
		said := gatewayv1.GatewayStatus{Conditions: []metav1.Condition{{Type: string(gatewayv1.GatewayConditionProgrammed), Reason: string(tt.programmed)}}}
		if got := UntilFirstWord(gw, said, made.Add(tt.built), made.Add(tt.now)); got != tt.want {
			t.Errorf("%s: it is told after %s, want %s", tt.what, got, tt.want)
		}
	}
}
