package words

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

func TestAnnounced(t *testing.T) {
	told := metav1.Condition{Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionFalse, Reason: "NoAdvertisement", Message: "None."}
	for _, tt := range []struct {
		name   string
		state  v1alpha1.AddressState
		status v1alpha1.AddressStatus
		words  string
		not    string // reason
	}{
		{"layer 2", v1alpha1.AddressBound, v1alpha1.AddressStatus{Layer2: &v1alpha1.Layer2Announcement{Node: "node2"}}, "node2 L2", ""},
		{
			"both", v1alpha1.AddressBound,
			v1alpha1.AddressStatus{Layer2: &v1alpha1.Layer2Announcement{Node: "node2"}, BGP: &v1alpha1.BGPAnnouncement{Nodes: 3, Peers: 1}},
			"node2 L2, BGP 3 nodes to 1 peer", "",
		},
		{
			"somebody else has it", v1alpha1.AddressBound,
			v1alpha1.AddressStatus{
				Layer2:     &v1alpha1.Layer2Announcement{Node: "node2", TakenBy: "02:00:00:00:00:01"},
				Conditions: []metav1.Condition{{Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionFalse, Reason: "AddressInUse"}},
			},
			"", "AddressInUse",
		},
		{"told why not", v1alpha1.AddressBound, v1alpha1.AddressStatus{Conditions: []metav1.Condition{told}}, "", "NoAdvertisement"},
		{"not told", v1alpha1.AddressBound, v1alpha1.AddressStatus{}, "", "Unknown"},
		{"not in use", v1alpha1.AddressRetained, v1alpha1.AddressStatus{Conditions: []metav1.Condition{told}}, "", ""},
	} {
		a := &v1alpha1.Address{Spec: v1alpha1.AddressSpec{State: tt.state}, Status: tt.status}
		var reason string
		if c := NotAnnounced(a); c != nil {
			reason = c.Reason
		}
		if got := Announced(&a.Status); got != tt.words || reason != tt.not {
			t.Errorf("%s: %q, not announced %q", tt.name, got, reason)
		}
	}
}

func TestLeft(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{0: "", -time.Hour: "", 90*time.Second + time.Millisecond: "1m30s", 8*time.Minute + 59*time.Second: "8 min", 50 * time.Hour: "50 h"} {
		if got := Left(now.Add(d), now); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestByAddress(t *testing.T) {
	list := []string{"", "fd00::1", "10.0.0.10", "10.0.0.9"}
	ByAddress(list, func(s *string) string { return *s })
	if want := []string{"10.0.0.9", "10.0.0.10", "fd00::1", ""}; !slices.Equal(list, want) {
		t.Errorf("sorted %q", list)
	}
}
