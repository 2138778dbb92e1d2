package fleet

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/test/apiserver"
)

// TestTheAPIServer: a real API server takes what this package makes, and refuses
// what a GatewayConfig may not say.
func TestTheAPIServer(t *testing.T) {
	cfg := apiserver.Start(t, apiserver.Options{Flags: apiserver.DualStack})
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fairlead-system", "shop"} {
		if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("objects", func(t *testing.T) { objectsAreTaken(t, c) })
	t.Run("GatewayConfig", func(t *testing.T) { configsAreValidated(t, c) })
}

// apply writes an object by server-side apply and returns its version.
func apply(ctx context.Context, c client.Client, o Object) (string, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(text, &u.Object); err != nil {
		return "", err
	}
	delete(u.Object, "status")
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(v1alpha1.FieldManager), client.ForceOwnership); err != nil {
		return "", err
	}
	return u.GetResourceVersion(), nil
}

func objectsAreTaken(t *testing.T, c client.Client) {
	var all []Object
	for _, id := range []ID{{Class: "fairlead"}, {Class: "edge", Gateway: gateway.Name{Namespace: "shop", Name: strings.Repeat("long.", 50) + "gw"}}} {
		spec := v1alpha1.GatewayConfigSpec{}
		if id.Dedicated() {
			spec = everything()
		}
		o, err := Build(id, config(t, spec), settings(), Metadata{Labels: map[string]string{"cost": "shop"}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.All()...)
	}
	f, bare := front(), front()
	bare.Gateway.Name, bare.Ports = "8080.example.com", nil
	all = append(all, f.Service(), bare.ServiceAccount())
	for _, s := range f.Slices(envoys(), 0) {
		all = append(all, s)
	}
	for _, o := range all {
		first, err := apply(t.Context(), c, o)
		if err != nil {
			t.Errorf("%T %s: %v", o, o.GetName(), err)
			continue
		}
		// Nothing is in them that the API server would write in another way.
		if second, err := apply(t.Context(), c, o); err != nil || second != first {
			t.Errorf("%T %s: written again, version %s became %s, %v", o, o.GetName(), first, second, err)
		}
	}
}

func configsAreValidated(t *testing.T, c client.Client) {
	// Field by field as people write it, since Go's types cannot say it all.
	for _, tt := range []struct{ spec, why string }{
		{`{}`, ""},
		{`{"fleet":{"mode":"Dedicated","replicas":3}}`, ""},
		{`{"fleet":{"workload":"Deployment","replicas":0,"image":"example.com/envoy@sha256:0123","drainTimeout":"1m30s"}}`, ""},
		{`{"families":["IPv6","IPv4"],"pools":["a"],"sourceRanges":["192.0.2.0/24","2001:db8::/32"],"allow":[]}`, ""},
		{`{"accessLog":{"sink":"OTLP","endpoint":"otel.monitoring.svc:4317"},"tracing":{"endpoint":"[2001:db8::7]:4317","ratio":"0.05"},"metrics":{"perRoute":true}}`, ""},
		{`{"accessLog":{},"timeouts":{"idle":"0s","connect":"250ms"},"limits":{"requestHeadersKiB":64},"clientAddress":{"trustedHops":1}}`, ""},
		{`{"fleet":{"replicas":3}}`, "workload: Deployment"},
		{`{"fleet":{"mode":"Dedicated","workload":"DaemonSet","replicas":3}}`, "workload: Deployment"},
		{`{"fleet":{"mode":"Own"}}`, "Unsupported value"},
		{`{"fleet":{"image":"two words"}}`, "not an image reference"},
		{`{"fleet":{"drainTimeout":"2h"}}`, "between 0s and 1h"},
		{`{"fleet":{"labels":{"fairlead.dev/fleet":"x"}}}`, "Fairlead's own"},
		{`{"fleet":{"concurrency":0}}`, "greater than or equal to 1"},
		{`{"serviceAnnotations":{"fairlead.dev/pool":"x"}}`, "Fairlead's own"},
		{`{"externalTrafficPolicy":"Both"}`, "Unsupported value"},
		{`{"families":[]}`, "at least 1"},
		{`{"families":["IPv4","IPv4"]}`, "Duplicate"},
		{`{"families":["IPX"]}`, "Unsupported value"},
		{`{"sourceRanges":["192.0.2.7"]}`, "not a prefix"},
		{`{"sourceRanges":["192.0.2.7/24"]}`, "host bits"},
		{`{"accessLog":{"sink":"OTLP"}}`, "endpoint goes with"},
		{`{"accessLog":{"endpoint":"otel:4317"}}`, "endpoint goes with"},
		{`{"tracing":{"endpoint":"http://otel:4317"}}`, "not HOST:PORT"},
		{`{"tracing":{"endpoint":"otel:4317","ratio":"2"}}`, "should match"},
		{`{"timeouts":{"udpIdle":"0s"}}`, "between 1s and 24h"},
		{`{"allow":["fleet"]}`, "Unsupported value"},
	} {
		u := &unstructured.Unstructured{Object: map[string]any{}}
		u.SetAPIVersion(v1alpha1.GroupVersion.String())
		u.SetKind("GatewayConfig")
		u.SetNamespace("shop")
		u.SetGenerateName("c-")
		var spec map[string]any
		if err := json.Unmarshal([]byte(tt.spec), &spec); err != nil {
			t.Fatal(err)
		}
		u.Object["spec"] = spec
		err := c.Create(t.Context(), u)
		switch {
		case tt.why == "" && err != nil:
			t.Errorf("%s is refused: %v", tt.spec, err)
		case tt.why != "" && !apierrors.IsInvalid(err):
			t.Errorf("%s: the answer is %v", tt.spec, err)
		case tt.why != "" && !strings.Contains(err.Error(), tt.why):
			t.Errorf("%s: the answer does not say %q: %v", tt.spec, tt.why, err)
		}
		if tt.why == "" && err == nil {
			var back v1alpha1.GatewayConfig
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(u), &back); err != nil {
				t.Fatal(err)
			}
			// No default is filled in: what is not written is the class's.
			if text, _ := json.Marshal(back.Spec); tt.spec == `{}` && string(text) != `{}` {
				t.Errorf("an empty spec became %s", text)
			}
		}
	}
}
