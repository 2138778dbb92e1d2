package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/fleet"
)

// maxRanges is how many source ranges a GatewayConfig takes.
const maxRanges = 128

// sourceRanges are those of a Service, in their canonical form.
func (t *toGateway) sourceRanges() []netip.Prefix {
	var out []netip.Prefix
	for _, raw := range t.svc.Spec.LoadBalancerSourceRanges {
		r, err := netip.ParsePrefix(strings.TrimSpace(raw))
		if err != nil {
			t.p.note(Blocked, "spec.loadBalancerSourceRanges", fmt.Sprintf("%q is no prefix, so it cannot be told who may connect.", raw), "Write 192.0.2.0/24 or 2001:db8::/32.")
			continue
		}
		if r = r.Masked(); !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out
}

// config sees to it that who may connect, and from which nodes, stays as it is with a
// new Gateway: in a GatewayConfig of its own where the class says otherwise.
func (t *toGateway) config(ranges []netip.Prefix, local bool) {
	class := t.in.Cluster.configOf(t.class)
	holds, _ := fleet.Merge(class, nil)
	own := &v1alpha1.GatewayConfig{ObjectMeta: metaOf(t.in.To.Name)}
	own.APIVersion, own.Kind = v1alpha1.GroupVersion.String(), "GatewayConfig"
	if !sameRanges(ranges, holds.SourceRanges) {
		if len(ranges) == 0 {
			t.rangesDiffer(ranges, holds.SourceRanges, "the Gateway's class")
			return
		}
		for _, r := range ranges {
			own.Spec.SourceRanges = append(own.Spec.SourceRanges, v1alpha1.SourceRange(r.String()))
		}
	}
	if local && holds.TrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
		own.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	if len(own.Spec.SourceRanges) == 0 && own.Spec.ExternalTrafficPolicy == "" {
		return
	}
	t.newConfig(class, own)
}

// newConfig takes the GatewayConfig of a new Gateway into the plan.
func (t *toGateway) newConfig(class, own *v1alpha1.GatewayConfig) {
	about := "GatewayConfig " + t.in.To.Name.String()
	if n := len(own.Spec.SourceRanges); n > maxRanges {
		t.p.note(Blocked, "spec.loadBalancerSourceRanges", fmt.Sprintf("The Service has %d ranges, and a GatewayConfig takes %d.", n, maxRanges), "Join ranges that lie side by side.")
	}
	if _, problems := fleet.Merge(class, own); len(problems) > 0 {
		t.p.note(Blocked, about, fmt.Sprintf("The class does not admit what the Service has: %s.", fleet.Words(problems)), "Change the GatewayConfig of the class, or choose another with --class.")
	}
	have := find(t.in.Cluster.Configs, t.in.To.Name)
	if have != nil && have.Labels[labelManagedBy] != FieldManager {
		t.p.note(Blocked, about, "It exists, and was not made by kubectl fairlead.", "Give the Gateway another name.")
	}
	t.will.Spec.Infrastructure = &gatewayv1.GatewayInfrastructure{ParametersRef: &gatewayv1.LocalParametersReference{
		Group: gatewayv1.Group(v1alpha1.GroupVersion.Group), Kind: "GatewayConfig", Name: own.Name,
	}}
	t.p.object(own, have == nil)
}

// compare tells where a Gateway that is there lets in others than the Service.
func (t *toGateway) compare(ranges []netip.Prefix, class *v1alpha1.GatewayConfig) {
	holds, _ := fleet.Merge(class, t.in.Cluster.ownConfig(t.live))
	if !sameRanges(ranges, holds.SourceRanges) {
		t.rangesDiffer(ranges, holds.SourceRanges, t.in.To.String())
	}
	if t.local() && holds.TrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
		t.p.note(Lost, "spec.externalTrafficPolicy", fmt.Sprintf("The Service is Local and %s is Cluster: Envoy sees the address of a node where the client's came through another.", t.in.To),
			"Set externalTrafficPolicy: Local in its GatewayConfig.")
	}
}

func (t *toGateway) rangesDiffer(want, has []netip.Prefix, who string) {
	t.p.note(Blocked, "spec.loadBalancerSourceRanges",
		fmt.Sprintf("The Service admits %s, and %s admits %s. Source ranges hold for a whole Gateway.", rangeWords(want), who, rangeWords(has)),
		"Use a Gateway of its own (--create) and a class that admits these clients, or make the ranges of both equal first.")
}

func (t *toGateway) local() bool {
	return t.svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

func sameRanges(a, b []netip.Prefix) bool { return sameSet(a, b) }

func rangeWords(list []netip.Prefix) string {
	if len(list) == 0 {
		return "everybody"
	}
	return joined(list)
}

func addressWords(list []netip.Addr) string { return joined(list) }

func joined[T fmt.Stringer](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = v.String()
	}
	return strings.Join(words, ", ")
}
