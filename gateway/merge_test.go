package gateway

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// told makes a condition.
func told(kind string, status metav1.ConditionStatus, generation int64, at time.Time) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: "R", ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(at)}
}

var (
	earlier = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	later   = earlier.Add(time.Hour)
)

// What others say stays as it is and where it is; what we say no more goes; a
// time changes with the status only; what is newer than we know is left alone.
func TestMergeConditions(t *testing.T) {
	foreign := told("example.com/Foreign", metav1.ConditionFalse, 1, earlier)
	foreign.Message = "as it is"
	have := []metav1.Condition{
		told("Accepted", metav1.ConditionTrue, 1, earlier), foreign, told("Programmed", metav1.ConditionFalse, 1, earlier),
		told("InsecureFrontendValidationMode", metav1.ConditionTrue, 1, earlier), told("ResolvedRefs", metav1.ConditionFalse, 9, earlier),
	}
	said := []metav1.Condition{told("Programmed", metav1.ConditionTrue, 2, time.Time{}), told("Accepted", metav1.ConditionTrue, 2, time.Time{}), told("ResolvedRefs", metav1.ConditionTrue, 2, time.Time{})}
	got := mergeConditions(have, said, GatewayTypes, later)
	want := []metav1.Condition{
		told("Accepted", metav1.ConditionTrue, 2, earlier), foreign, told("Programmed", metav1.ConditionTrue, 2, later),
		told("ResolvedRefs", metav1.ConditionFalse, 9, earlier),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestMergeListeners(t *testing.T) {
	foreign := told("example.com/Foreign", metav1.ConditionTrue, 1, earlier)
	have := gatewayv1.GatewayStatus{Listeners: []gatewayv1.ListenerStatus{
		{Name: "gone", Conditions: []metav1.Condition{foreign}}, {Name: "web", Conditions: []metav1.Condition{foreign, told("Accepted", metav1.ConditionFalse, 1, earlier)}},
	}}
	said := gatewayv1.GatewayStatus{Listeners: []gatewayv1.ListenerStatus{
		{Name: "new", Conditions: []metav1.Condition{told("Accepted", metav1.ConditionTrue, 2, time.Time{})}},
		{Name: "web", AttachedRoutes: 3, Conditions: []metav1.Condition{told("Accepted", metav1.ConditionTrue, 2, time.Time{})}},
	}}
	got, differs := MergeGateway(have, said, later)
	want := []gatewayv1.ListenerStatus{
		{Name: "new", Conditions: []metav1.Condition{told("Accepted", metav1.ConditionTrue, 2, later)}},
		{Name: "web", AttachedRoutes: 3, Conditions: []metav1.Condition{foreign, told("Accepted", metav1.ConditionTrue, 2, later)}},
	}
	if diff := cmp.Diff(want, got.Listeners); diff != "" || !differs {
		t.Errorf("differs: %t; -want +got:\n%s", differs, diff)
	}
	if _, differs := MergeGateway(got, said, later.Add(time.Hour)); differs {
		t.Error("the same said again differs")
	}
}

// Entries of others stay where they are, ours that are not said go, and where the
// list is full ours are left out.
func TestMergeParents(t *testing.T) {
	entry := func(controller gatewayv1.GatewayController, parent string, at time.Time) gatewayv1.RouteParentStatus {
		return gatewayv1.RouteParentStatus{
			ParentRef: gatewayv1.ParentReference{Name: gatewayv1.ObjectName(parent)}, ControllerName: controller,
			Conditions: []metav1.Condition{told("Accepted", metav1.ConditionTrue, 1, at)},
		}
	}
	have := []gatewayv1.RouteParentStatus{entry(ControllerName, "left", earlier), entry("example.com/other", "web", earlier), entry(ControllerName, "web", earlier)}
	said := []gatewayv1.RouteParentStatus{entry(ControllerName, "new", time.Time{}), entry(ControllerName, "web", time.Time{})}
	got, differs := MergeParents(have, said, later)
	want := []gatewayv1.RouteParentStatus{entry("example.com/other", "web", earlier), entry(ControllerName, "web", earlier), entry(ControllerName, "new", later)}
	if diff := cmp.Diff(want, got); diff != "" || !differs {
		t.Errorf("differs: %t; -want +got:\n%s", differs, diff)
	}
	if _, differs := MergeParents(got, said, later.Add(time.Hour)); differs {
		t.Error("the same said again differs")
	}
	var full []gatewayv1.RouteParentStatus
	for range maxParents {
		full = append(full, entry("example.com/other", "web", earlier))
	}
	if got, differs := MergeParents(full, said, later); differs || len(got) != maxParents {
		t.Errorf("a full list became one of %d, differs: %t", len(got), differs)
	}
	if _, differs := MergeParents(nil, nil, later); differs {
		t.Error("nothing said of nothing differs")
	}
}

// TestMergeLongMessage has a message that is cut be the same when it comes back.
func TestMergeLongMessage(t *testing.T) {
	now := time.Now()
	said := gatewayv1.GatewayStatus{Conditions: []metav1.Condition{{Type: "Accepted", Message: "a" + strings.Repeat("\U0001f600", maxMessage)}}}
	have, _ := MergeGateway(gatewayv1.GatewayStatus{}, said, now)
	text, err := json.Marshal(have)
	if err != nil {
		t.Fatal(err)
	}
	var back gatewayv1.GatewayStatus
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if _, again := MergeGateway(back, said, now); again || len(back.Conditions[0].Message) > maxMessage {
		t.Errorf("written again, with %d bytes", len(back.Conditions[0].Message))
	}
}
