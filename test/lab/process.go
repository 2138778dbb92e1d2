package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Pods are those of a component of Fairlead (controller or speaker), also ending
// ones.
func (l *Lab) Pods(ctx context.Context, component string) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := l.Client.List(ctx, &list, client.InNamespace(Namespace), client.MatchingLabels{"app.kubernetes.io/component": component})
	if err != nil {
		return nil, fmt.Errorf("listing pods of the %s: %w", component, err)
	}
	return list.Items, nil
}

// Process is a process in a pod of a testbed cluster, as this machine sees it.
type Process struct {
	PID  int
	Pod  string
	Node string
}

// Processes are those of a program in pods of a testbed cluster, by the cgroups
// that the kubelets gave their pods.
func Processes(cluster, program string, pods []corev1.Pod) ([]Process, error) {
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var out []Process
	for _, g := range groups {
		text, err := os.ReadFile(g)
		if err != nil || !runs(filepath.Dir(g), program) {
			continue // most processes are others, and some have ended meanwhile
		}
		for i := range pods {
			if inPod(string(text), cluster, &pods[i]) {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(g)))
				out = append(out, Process{PID: pid, Pod: pods[i].Name, Node: pods[i].Spec.NodeName})
			}
		}
	}
	return out, nil
}

// runs tells from the first argument whether a process runs a program.
func runs(proc, program string) bool {
	cmdline, err := os.ReadFile(filepath.Join(proc, "cmdline"))
	if err != nil {
		return false
	}
	first, _, _ := bytes.Cut(cmdline, []byte{0})
	return filepath.Base(string(first)) == program
}

// inPod tells from the text of /proc/PID/cgroup whether a process is in a pod of
// a testbed cluster.
func inPod(text, cluster string, p *corev1.Pod) bool {
	return strings.Contains(text, "/fairlead-testbed/"+cluster+"/pods/"+p.Spec.NodeName+"/") && strings.Contains(text, "/pod"+string(p.UID)+"/")
}
