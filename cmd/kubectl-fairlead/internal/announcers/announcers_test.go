package announcers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/golden"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(noon.Add(-d)) }

func node(name string, ready corev1.ConditionStatus) corev1.Node {
	return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}}
}

func speaker(name string, edit func(*v1alpha1.SpeakerStatusStatus)) v1alpha1.SpeakerStatus {
	s := v1alpha1.SpeakerStatus{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1alpha1.SpeakerStatusStatus{
		Version: "v0.1.0", Started: ago(76 * time.Hour), Members: v1alpha1.SpeakerMembers{Summary: "3 of 3"},
		Layer2:     v1alpha1.SpeakerLayer2{Interfaces: []v1alpha1.SpeakerInterface{{Name: "eth0", ARP: true, NDP: true}}},
		Conditions: []metav1.Condition{{Type: v1alpha1.SpeakerReady, Status: metav1.ConditionTrue, Reason: "Works"}},
	}}
	edit(&s.Status)
	return s
}

func address(a, on, taken string) v1alpha1.Address {
	return v1alpha1.Address{Spec: v1alpha1.AddressSpec{Address: a}, Status: v1alpha1.AddressStatus{Layer2: &v1alpha1.Layer2Announcement{Node: on, TakenBy: taken}}}
}

func TestAnnouncers(t *testing.T) {
	speakers := []v1alpha1.SpeakerStatus{
		speaker("node2", func(s *v1alpha1.SpeakerStatusStatus) {
			s.BGP = &v1alpha1.SpeakerBGP{Summary: "1 of 2", Prefixes: 4}
			s.LastError = &v1alpha1.SpeakerError{Message: "Session with tor-1 ended: hold timer expired.", At: ago(5 * time.Minute)}
		}),
		speaker("node1", func(s *v1alpha1.SpeakerStatusStatus) {
			s.Members = v1alpha1.SpeakerMembers{Summary: "2 of 3", Missing: []string{"node3"}}
			s.Conditions = []metav1.Condition{{Type: v1alpha1.SpeakerReady, Status: metav1.ConditionFalse, Reason: "MembersMissing", Message: "The speaker of node3 is not seen."}}
		}),
		speaker("node3", func(s *v1alpha1.SpeakerStatusStatus) {
			s.Layer2.Interfaces = []v1alpha1.SpeakerInterface{{Name: "eth0", NDP: true, Error: "ARP: operation not permitted"}}
		}),
	}
	addresses := []v1alpha1.Address{
		address("172.30.0.110", "node2", ""), address("172.30.0.20", "node2", ""), address("fd00::1", "node1", ""),
		address("172.30.0.21", "node2", "02:00:00:00:00:01"), address("172.30.0.22", "gone", ""),
		{Spec: v1alpha1.AddressSpec{Address: "172.30.0.23"}},
	}
	nodes := []corev1.Node{node("node1", corev1.ConditionTrue), node("node2", corev1.ConditionTrue), node("node3", corev1.ConditionUnknown), node("node4", corev1.ConditionTrue)}
	golden.Result(t, "announcers.txt", Of(speakers, addresses, nodes, noon))
	golden.Result(t, "withoutnodes.txt", Of(speakers[:1], addresses, nil, noon))
	golden.Result(t, "none.txt", Of(nil, nil, nil, noon))
}
