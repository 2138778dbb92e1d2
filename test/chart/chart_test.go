package chart

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func render(t *testing.T, values Values) []map[string]any {
	t.Helper()
	text, err := Render(Dir(), "fairlead", "fairlead-system", values)
	if err != nil {
		t.Fatal(err)
	}
	var objects []map[string]any
	for _, doc := range strings.Split(text, "\n---\n") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatalf("not YAML: %v\n%s", err, doc)
		}
		if o != nil {
			objects = append(objects, o)
		}
	}
	return objects
}

func find(t *testing.T, objects []map[string]any, kind, name string) map[string]any {
	t.Helper()
	for _, o := range objects {
		if o["kind"] == kind && o["metadata"].(map[string]any)["name"] == name {
			return o
		}
	}
	t.Fatalf("no %s %s among %d objects", kind, name, len(objects))
	return nil
}

func container(t *testing.T, o map[string]any) map[string]any {
	t.Helper()
	spec := o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	return spec["containers"].([]any)[0].(map[string]any)
}

func TestDefaults(t *testing.T) {
	objects := render(t, nil)
	for _, crd := range []string{"addresses", "ipaddresspools", "l2advertisements", "bgpadvertisements", "bgppeers", "bfdprofiles", "communities", "speakerstatuses"} {
		o := find(t, objects, "CustomResourceDefinition", crd+".fairlead.dev")
		if a, _ := o["metadata"].(map[string]any)["annotations"].(map[string]any); a["helm.sh/resource-policy"] != "keep" {
			t.Errorf("CRD %s does not stay when the chart goes: annotations %v", crd, a)
		}
	}
	if got := find(t, objects, "Deployment", "fairlead-controller")["spec"].(map[string]any)["replicas"]; got != float64(2) {
		t.Errorf("controller has %v replicas, want 2", got)
	}
	find(t, objects, "PodDisruptionBudget", "fairlead-controller")
	speakers := find(t, objects, "Service", "fairlead-speaker")
	if got := speakers["metadata"].(map[string]any)["labels"].(map[string]any)["app.kubernetes.io/component"]; got != "speaker" {
		t.Errorf("the speakers' Service is labelled %v: the controller does not know its EndpointSlices", got)
	}
	find(t, objects, "ValidatingAdmissionPolicy", "fairlead-ledger")
	for _, o := range []map[string]any{find(t, objects, "Deployment", "fairlead-controller"), find(t, objects, "DaemonSet", "fairlead-speaker")} {
		s := container(t, o)["securityContext"].(map[string]any)
		if s["readOnlyRootFilesystem"] != true || s["allowPrivilegeEscalation"] != false {
			t.Errorf("%s: security context %v", o["kind"], s)
		}
		if drop := s["capabilities"].(map[string]any)["drop"].([]any); len(drop) != 1 || drop[0] != "ALL" {
			t.Errorf("%s drops %v, want ALL", o["kind"], drop)
		}
	}
}

func TestValues(t *testing.T) {
	objects := render(t, Values{
		"controller": Values{"replicas": 1},
		"services":   Values{"defaultClass": false, "statusClasses": []any{"a", "b"}},
		"speaker":    Values{"answer": false, "bgp": Values{"enabled": false}, "excludeInterfaces": "^(foo|bar: baz)"},
		"metrics":    Values{"speakerPort": 0},
		"tracing":    Values{"endpoint": "http://otel:4317"},
		"admission":  Values{"ledgerWriters": []any{"system:serviceaccount:velero:velero"}, "externalIPs": Values{"enabled": true, "allowed": []any{"192.0.2.0/24"}}},
		"crds":       Values{"install": false},
	})
	args := func(o map[string]any) string {
		var all []string
		for _, a := range container(t, o)["args"].([]any) {
			all = append(all, a.(string))
		}
		return strings.Join(all, "\n") + "\n"
	}
	controller, speaker := find(t, objects, "Deployment", "fairlead-controller"), find(t, objects, "DaemonSet", "fairlead-speaker")
	for _, want := range []string{"--default-class=false\n", "--status-classes=a,b\n"} {
		if got := args(controller); !strings.Contains(got, want) {
			t.Errorf("controller's arguments lack %q:\n%s", want, got)
		}
	}
	for _, want := range []string{"--answer=false\n", "--bgp=false\n", "--exclude-interfaces=^(foo|bar: baz)\n", "--metrics-bind-address=0\n"} {
		if got := args(speaker); !strings.Contains(got, want) {
			t.Errorf("speaker's arguments lack %q:\n%s", want, got)
		}
	}
	if add := container(t, speaker)["securityContext"].(map[string]any)["capabilities"].(map[string]any)["add"].([]any); len(add) != 1 || add[0] != "NET_RAW" {
		t.Errorf("a speaker that neither answers nor speaks BGP adds capabilities %v, want NET_RAW alone", add)
	}
	find(t, objects, "ValidatingAdmissionPolicy", "fairlead-external-ips")
	for _, o := range objects {
		if k := o["kind"]; k == "CustomResourceDefinition" || k == "PodDisruptionBudget" {
			t.Errorf("unwanted %s", k)
		}
	}
}

func TestMisspeltValueIsRefused(t *testing.T) {
	_, err := Render(Dir(), "fairlead", "fairlead-system", Values{"speaker": Values{"gosip": Values{}}})
	if err == nil || !strings.Contains(err.Error(), "gosip") {
		t.Fatalf("got error %v, want one that names gosip", err)
	}
}
