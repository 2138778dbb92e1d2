package xds_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
	"github.com/fairlead/fairlead/gateway/xds/envoytest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// shifted is how a fleet gives out ports.
func shifted(number uint16, transport gateway.Transport) uint16 {
	if transport == gateway.UDP {
		return 20000 + number
	}
	return 10000 + number
}

// everySetting has no field at its zero value.
var everySetting = xds.Settings{
	NoIPv6: true, AccessLog: xds.AccessLogJSON, TrustedHops: 2, ProxyProtocol: true,
	RequestHeadersKiB: 7, ConcurrentStreams: 8, RequestsPerConnection: 9,
	HeaderTimeout: 1e9, StreamIdleTimeout: 2e9, ConnectionIdleTimeout: 3e9, TCPIdleTimeout: 10e9, SessionIdleTimeout: 4e9,
	AccessLogCollector: "collector.example.com:4317", TraceCollector: "[2001:db8::7]:4317", TraceRatio: 0.25, RouteMetrics: true,
	ConnectTimeout: 5e9, AuthTimeout: 6e9, SystemAuthorities: "/ca.pem",
}

func settingsOf(name string) xds.Settings {
	if name == "testdata/streams" {
		return everySetting
	}
	return xds.Settings{}
}

// models are those that are written by hand for the encoding, and those that are built
// of the worlds of package gateway, by the path of their files without the ending.
func models(t *testing.T) map[string]*gateway.Model {
	t.Helper()
	var files []string
	for _, dir := range []string{"testdata", "../testdata"} {
		found, err := filepath.Glob(dir + "/*.model.yaml")
		if err != nil || len(found) == 0 {
			t.Fatalf("no models in %s: %v", dir, err)
		}
		files = append(files, found...)
	}
	all := map[string]*gateway.Model{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := &gateway.Model{}
		if err := yaml.UnmarshalStrict(text, m); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(file, ".model.yaml")] = m
	}
	return all
}

func TestGolden(t *testing.T) {
	for name, m := range models(t) {
		t.Run(name, func(t *testing.T) {
			got := render(t, xds.Encode(withPEM(t, m), shifted, settingsOf(name)))
			file := name + ".xds.yaml"
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v (go test -update writes it)", err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("%s: %s", file, d)
			}
		})
	}
}

// render leaves out what certificates and keys say.
func render(t *testing.T, r xds.Resources) []byte {
	t.Helper()
	readable := func(m proto.Message) json.RawMessage {
		m = proto.Clone(m)
		err := envoytest.Walk(m, func(m proto.Message) error {
			if source, ok := m.(*corev3.DataSource); ok && source.GetInlineBytes() != nil {
				source.Specifier = &corev3.DataSource_InlineString{InlineString: "PEM"}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		text, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	text, err := yaml.Marshal(map[string]any{
		"listeners":   each(r.Listeners, readable),
		"routes":      each(r.Routes, readable),
		"clusters":    each(r.Clusters, readable),
		"secrets":     each(r.Secrets, readable),
		"assignments": r.Assignments,
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func each[M proto.Message](all map[string]M, f func(proto.Message) json.RawMessage) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for name, m := range all {
		out[name] = f(m)
	}
	return out
}

// bytesOf is everything, as it goes over the wire.
func bytesOf(t testing.TB, r xds.Resources) []byte {
	t.Helper()
	var out bytes.Buffer
	put := func(name string, m proto.Message) {
		text, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %x\n", name, text)
	}
	inOrder(r.Listeners, put)
	inOrder(r.Routes, put)
	inOrder(r.Clusters, put)
	inOrder(r.Secrets, put)
	for _, name := range slices.Sorted(maps.Keys(r.Assignments)) {
		fmt.Fprintf(&out, "%s %+v\n", name, r.Assignments[name])
	}
	return out.Bytes()
}

func inOrder[M proto.Message](all map[string]M, f func(string, proto.Message)) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f(name, all[name])
	}
}

func TestEqualBytes(t *testing.T) {
	for name, m := range models(t) {
		m = withPEM(t, m)
		first := bytesOf(t, xds.Encode(m, shifted, settingsOf(name)))
		for range 10 {
			if !bytes.Equal(first, bytesOf(t, xds.Encode(m, shifted, settingsOf(name)))) {
				t.Fatalf("%s: two encodings differ", name)
			}
		}
	}
}

// TestGoldenCoverage keeps the golden files at everything that a Model can say.
func TestGoldenCoverage(t *testing.T) {
	said, known := map[string]bool{}, map[string]bool{}
	for _, m := range models(t) {
		fieldsOf(reflect.ValueOf(m), said)
	}
	knownFields(reflect.TypeFor[gateway.Model](), known)
	for _, field := range slices.Sorted(maps.Keys(known)) {
		if !said[field] {
			t.Errorf("no model in testdata sets %s", field)
		}
	}
}

// fieldsOf notes all fields that are not zero.
func fieldsOf(v reflect.Value, said map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fieldsOf(v.Elem(), said)
		}
	case reflect.Slice:
		for i := range v.Len() {
			fieldsOf(v.Index(i), said)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				said[v.Type().Name()+"."+v.Type().Field(i).Name] = true
			}
			fieldsOf(v.Field(i), said)
		}
	}
}

func knownFields(t reflect.Type, known map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		knownFields(t.Elem(), known)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Tag.Get("json") == "-" {
				continue
			}
			known[t.Name()+"."+f.Name] = true
			knownFields(f.Type, known)
		}
	}
}

// TestEnvoyTakesGoldens has the real Envoy load every golden model.
func TestEnvoyTakesGoldens(t *testing.T) {
	envoytest.Binary(t)
	for name, m := range models(t) {
		t.Run(name, func(t *testing.T) {
			m := withPEM(t, m)
			for _, s := range []xds.Settings{{}, everySetting, {AccessLog: xds.AccessLogText}} {
				s.SystemAuthorities = filepath.Join(t.TempDir(), "ca.pem")
				if err := os.WriteFile(s.SystemAuthorities, authority(t, "system").bundle, 0o600); err != nil {
					t.Fatal(err)
				}
				envoytest.Validate(t, xds.Encode(m, shifted, s))
			}
		})
	}
}
