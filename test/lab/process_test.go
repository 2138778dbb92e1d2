package lab

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestInPod(t *testing.T) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID("u-1")}, Spec: corev1.PodSpec{NodeName: "node1"}}
	for text, want := range map[string]bool{
		"5:pids:/fairlead-testbed/bench/pods/node1/kubepods/burstable/podu-1/abc\n":  true,
		"5:pids:/fairlead-testbed/bench/pods/node2/kubepods/burstable/podu-1/abc\n":  false,
		"5:pids:/fairlead-testbed/bench2/pods/node1/kubepods/burstable/podu-1/abc\n": false,
		"5:pids:/fairlead-testbed/bench/pods/node1/kubepods/burstable/podu-11/abc\n": false,
		"0::/\n": false,
	} {
		if got := inPod(text, "bench", p); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
