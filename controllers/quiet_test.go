package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// A status is written by what differs of it, each field as a whole.
func TestRestatement(t *testing.T) {
	address := []gatewayv1.GatewayStatusAddress{{Value: "192.0.2.1"}}
	said := []metav1.Condition{{Type: "Accepted", Status: metav1.ConditionTrue, Reason: "Accepted"}}
	const conditions = `"conditions":[{"type":"Accepted","status":"True","lastTransitionTime":null,"reason":"Accepted","message":""}]`
	for _, c := range []struct {
		name          string
		before, after any
		want          string
	}{
		{"nothing", gatewayv1.GatewayStatus{Addresses: address}, gatewayv1.GatewayStatus{Addresses: address}, `{}`},
		{"one field", gatewayv1.GatewayStatus{Addresses: address}, gatewayv1.GatewayStatus{Addresses: address, Conditions: said}, `{` + conditions + `}`},
		{"a field goes", gatewayv1.GatewayStatus{Addresses: address, Conditions: said}, gatewayv1.GatewayStatus{Conditions: said}, `{"addresses":null}`},
		{"a list gets empty", gatewayv1.RouteStatus{Parents: []gatewayv1.RouteParentStatus{{ControllerName: "x"}}}, gatewayv1.RouteStatus{Parents: []gatewayv1.RouteParentStatus{}}, `{"parents":[]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := restatement("7", c.before, c.after)
			if err != nil {
				t.Fatal(err)
			}
			if want := `{"metadata":{"resourceVersion":"7"},"status":` + c.want + `}`; string(got) != want {
				t.Errorf("the patch is\n%s, want\n%s", got, want)
			}
		})
	}
	if _, err := restatement("7", gatewayv1.GatewayStatus{}, make(chan int)); err == nil {
		t.Error("what cannot be encoded is written")
	}
}
