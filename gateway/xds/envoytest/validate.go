package envoytest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"testing"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead/fairlead/gateway/xds"
)

// Validate has Envoy load everything at once, as if it stood in its bootstrap,
// and fails the test if Envoy refuses any of it.
func Validate(t testing.TB, r xds.Resources) {
	t.Helper()
	if refusal := Refusal(t, r); refusal != "" {
		t.Errorf("Envoy refuses it: %s", refusal)
	}
}

// Refusal is what Envoy says against it; empty: nothing.
func Refusal(t testing.TB, r xds.Resources) string {
	t.Helper()
	binary := Binary(t)
	listeners, clusters, secrets := []json.RawMessage{}, []json.RawMessage{}, []json.RawMessage{}
	for _, name := range slices.Sorted(maps.Keys(r.Listeners)) {
		listeners = append(listeners, static(t, r, r.Listeners[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Clusters)) {
		clusters = append(clusters, static(t, r, r.Clusters[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Secrets)) {
		secrets = append(secrets, static(t, r, r.Secrets[name]))
	}
	// No server answers there; Envoy only wants to know of one.
	config := bootstrap("127.0.0.1", 1)
	own := config["static_resources"].(map[string]any)
	own["listeners"], own["secrets"] = listeners, secrets
	for _, c := range clusters {
		own["clusters"] = append(own["clusters"].([]any), c)
	}
	delete(config["dynamic_resources"].(map[string]any), "lds_config")
	delete(config["dynamic_resources"].(map[string]any), "cds_config")
	out, err := exec.Command(binary, "--mode", "validate", "--log-level", "warning", "-c", write(t, config)).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v\n%s", err, out)
	}
	return ""
}

// static puts route tables where they are named, and takes secrets from the
// bootstrap, where each must be.
func static(t testing.TB, r xds.Resources, m proto.Message) json.RawMessage {
	t.Helper()
	m = proto.Clone(m)
	err := Walk(m, func(m proto.Message) error {
		switch m := m.(type) {
		case *hcmv3.HttpConnectionManager:
			table := r.Routes[m.GetRds().GetRouteConfigName()]
			if table == nil {
				t.Errorf("no route table %q", m.GetRds().GetRouteConfigName())
				return nil
			}
			table = proto.CloneOf(table)
			table.ValidateClusters = wrapperspb.Bool(false) // as it is over RDS
			m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: table}
		case *tlsv3.SdsSecretConfig:
			if r.Secrets[m.Name] == nil {
				t.Errorf("no secret %q", m.Name)
			}
			m.SdsConfig = nil
		}
		return nil
	})
	if err != nil {
		t.Fatalf("making it static: %v", err)
	}
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatalf("making it static: %v", err)
	}
	return text
}
