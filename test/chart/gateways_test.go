package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/gateway/fleet/drain"
)

func arguments(t *testing.T, o map[string]any) []string {
	t.Helper()
	var all []string
	for _, a := range container(t, o)["args"].([]any) {
		all = append(all, a.(string))
	}
	return all
}

// rules are the rules of a role as "verb group/resource".
func rules(o map[string]any) map[string]bool {
	out := map[string]bool{}
	for _, r := range o["rules"].([]any) {
		rule := r.(map[string]any)
		for _, g := range rule["apiGroups"].([]any) {
			for _, res := range rule["resources"].([]any) {
				for _, v := range rule["verbs"].([]any) {
					out[v.(string)+" "+g.(string)+"/"+res.(string)] = true
				}
			}
		}
	}
	return out
}

// What the controller is told of Envoys stands in their pods: what differs between
// versions would replace them all.
func TestAnUpgradeLeavesEnvoysAlone(t *testing.T) {
	told := func(tag string) []string {
		objects := render(t, Values{"image": Values{"tag": tag}})
		return arguments(t, find(t, objects, "Deployment", "fairlead-controller"))
	}
	if before, after := told("v9"), told("v10"); !slices.Equal(before, after) {
		t.Errorf("the controllers of two versions are told %q and %q", before, after)
	}
}

func TestGateways(t *testing.T) {
	objects := render(t, Values{
		"image":    Values{"tag": "v9", "pullSecrets": []any{Values{"name": "a"}, Values{"name": "b"}}},
		"gateways": Values{"gatewayClass": Values{"create": true, "name": "edge", "config": "edge"}},
	})
	controller := find(t, objects, "Deployment", "fairlead-controller")
	for _, want := range []string{
		"--gateways=true", "--envoy-image=" + fleet.DefaultImage, "--tool-image=ghcr.io/fairlead/fairlead-drain:" + drain.Version,
		"--image-pull-policy=IfNotPresent", "--image-pull-secrets=a,b", "--xds-bind-address=:18000", "--xds-service=fairlead-xds", "--pod-ips=$(POD_IPS)",
	} {
		if got := arguments(t, controller); !slices.Contains(got, want) {
			t.Errorf("no %s among %q", want, got)
		}
	}
	xds := find(t, objects, "Service", "fairlead-xds")["spec"].(map[string]any)
	if xds["clusterIP"] != "None" || xds["selector"].(map[string]any)["app.kubernetes.io/component"] != "controller" {
		t.Errorf("the Service of the xDS server: %v", xds)
	}
	class := find(t, objects, "GatewayClass", "edge")["spec"].(map[string]any)
	if class["controllerName"] != "fairlead.dev/gateway-controller" {
		t.Errorf("the class: %v", class)
	}
	if ref := class["parametersRef"].(map[string]any); ref["name"] != "edge" || ref["namespace"] != "fairlead-system" || ref["kind"] != "GatewayConfig" {
		t.Errorf("its parameters: %v", ref)
	}
	find(t, objects, "CustomResourceDefinition", "gatewayconfigs.fairlead.dev")
}

// TestGatewayRights: what serves Gateways is there, and nothing that would let the
// controller write what is the users'.
func TestGatewayRights(t *testing.T) {
	objects := render(t, nil)
	everywhere, own := rules(find(t, objects, "ClusterRole", "fairlead-controller")), rules(find(t, objects, "Role", "fairlead-controller"))
	for _, want := range []string{
		"patch gateway.networking.k8s.io/gateways/status", "patch gateway.networking.k8s.io/listenersets/status", "watch gateway.networking.k8s.io/backendtlspolicies",
		"create /services", "create discovery.k8s.io/endpointslices", "create /serviceaccounts", "watch /secrets", "watch fairlead.dev/gatewayconfigs",
	} {
		if !everywhere[want] {
			t.Errorf("the controller may not %s", want)
		}
	}
	for _, want := range []string{"create apps/daemonsets", "create apps/deployments", "create policy/poddisruptionbudgets", "create /secrets", "watch /pods"} {
		if !own[want] {
			t.Errorf("the controller may not %s in its own namespace", want)
		}
		if everywhere[want] {
			t.Errorf("the controller may %s everywhere", want)
		}
	}
	for rule := range everywhere {
		verb, resource, _ := strings.Cut(rule, " ")
		reading := verb == "get" || verb == "list" || verb == "watch"
		group, kind, _ := strings.Cut(resource, "/")
		if group == "gateway.networking.k8s.io" && !reading && !strings.HasSuffix(kind, "/status") && kind != "gatewayclasses" {
			t.Errorf("the controller may %s", rule)
		}
	}
}

func TestWithoutGateways(t *testing.T) {
	objects := render(t, Values{"gateways": Values{"enabled": false, "gatewayClass": Values{"create": true}}})
	for _, o := range objects {
		name := o["metadata"].(map[string]any)["name"]
		if o["kind"] == "Service" && name != "fairlead-speaker" || o["kind"] == "GatewayClass" {
			t.Errorf("unwanted %s %s", o["kind"], name)
		}
	}
	for _, a := range arguments(t, find(t, objects, "Deployment", "fairlead-controller")) {
		if strings.Contains(a, "xds") || strings.Contains(a, "envoy") {
			t.Errorf("unwanted %s", a)
		}
	}
	if everywhere := rules(find(t, objects, "ClusterRole", "fairlead-controller")); everywhere["watch /secrets"] || everywhere["create /services"] {
		t.Error("a controller without Gateways may read all Secrets or create Services")
	}
}
