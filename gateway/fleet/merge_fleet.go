package fleet

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

func (m *merger) workload(f *v1alpha1.FleetConfig) {
	if f == nil {
		return
	}
	w := &m.config.Workload
	m.kind(f)
	w.NodeSelector = m.labels("spec.fleet.nodeSelector", f.NodeSelector)
	w.Labels = m.labels("spec.fleet.labels", f.Labels)
	for k := range w.Labels {
		if reservedLabel(k) {
			m.problem("spec.fleet.labels", "%s is Fairlead's own: use another prefix", k)
			delete(w.Labels, k)
		}
	}
	for _, t := range f.Tolerations {
		w.Tolerations = append(w.Tolerations, *t.DeepCopy())
	}
	w.Affinity = f.Affinity.DeepCopy()
	w.Image = f.Image
	if f.PriorityClassName != "" {
		w.PriorityClassName = f.PriorityClassName
	}
	if f.Concurrency != nil && *f.Concurrency > 0 {
		w.Concurrency = *f.Concurrency
	}
	if f.MaxConnections != nil && *f.MaxConnections > 0 {
		w.MaxConnections = *f.MaxConnections
	}
	if f.DrainTimeout != nil {
		w.Drain = max(0, f.DrainTimeout.Duration)
	}
	m.resources(f.Resources)
}

func (m *merger) kind(f *v1alpha1.FleetConfig) {
	w := &m.config.Workload
	if f.Mode != "" {
		w.Mode = f.Mode
	}
	if w.Mode == v1alpha1.FleetDedicated {
		w.Kind = v1alpha1.FleetDeployment
	}
	if f.Workload != "" {
		w.Kind = f.Workload
	}
	if f.Replicas == nil {
		return
	}
	if w.Kind != v1alpha1.FleetDeployment {
		m.problem("spec.fleet.replicas", "a DaemonSet has one Envoy on each selected node: set workload: Deployment, or remove replicas")
		return
	}
	w.Replicas = max(0, *f.Replicas)
}

// leastMemory in MiB is what an Envoy needs to start and to serve a little.
const leastMemory = 64

// resources replaces the defaults as a whole: a request of 128Mi beside a limit
// of 100Mi would be one that nobody wrote.
func (m *merger) resources(r *corev1.ResourceRequirements) {
	if r == nil {
		return
	}
	if len(r.Claims) > 0 {
		m.problem("spec.fleet.resources.claims", "an Envoy has no use for resource claims: remove them")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(r.Requests)) {
		request := r.Requests[name]
		if limit, ok := r.Limits[name]; ok && request.Cmp(limit) > 0 {
			m.problem("spec.fleet.resources", "the request for %s (%s) is above the limit (%s): lower it", name, request.String(), limit.String())
			return
		}
	}
	if limit, ok := r.Limits[corev1.ResourceMemory]; ok && limit.Value() < leastMemory<<20 {
		m.problem("spec.fleet.resources", "with a memory limit of %s no Envoy can run: give it %dMi or more", limit.String(), leastMemory)
		return
	}
	m.config.Workload.Resources = *r.DeepCopy()
}

// labels are those that Kubernetes will take.
func (m *merger) labels(field string, labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		wrong := append(validation.IsQualifiedName(k), validation.IsValidLabelValue(labels[k])...)
		if len(wrong) > 0 {
			m.problem(field, "%q: %q is not a label: %s", k, labels[k], strings.Join(wrong, "; "))
			continue
		}
		out[k] = labels[k]
	}
	return out
}

func reservedLabel(key string) bool {
	return strings.HasPrefix(key, "app.kubernetes.io/") || strings.HasPrefix(key, "fairlead.dev/") ||
		strings.HasPrefix(key, "gateway.networking.k8s.io/")
}

func (m *merger) annotations(annotations map[string]string) {
	// The class's stay: a Gateway adds to them.
	out := maps.Clone(m.config.ServiceAnnotations)
	if out == nil {
		out = map[string]string{}
	}
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		if wrong := validation.IsQualifiedName(strings.ToLower(k)); len(wrong) > 0 {
			m.problem("spec.serviceAnnotations", "%q is not the key of an annotation: %s", k, strings.Join(wrong, "; "))
			continue
		}
		if strings.HasPrefix(k, "fairlead.dev/") {
			m.problem("spec.serviceAnnotations", "%s is Fairlead's own: use the fields of this object instead", k)
			continue
		}
		out[k] = annotations[k]
	}
	m.config.ServiceAnnotations = out
}

func splitHostPort(endpoint string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(endpoint)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port of %s: %w", endpoint, err)
	}
	return host, uint16(n), nil
}
