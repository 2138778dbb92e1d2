package xds_test

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
)

// counting has Envoy count what the Envoys of a fleet do.
func (w *world) counting() {
	w.t.Helper()
	text, err := fleet.Bootstrap(fleet.ID{Class: "c"}, fleet.Default(), fleet.Settings{Namespace: "fairlead"})
	if err != nil {
		w.t.Fatal(err)
	}
	var all map[string]any
	if err := yaml.Unmarshal([]byte(text), &all); err != nil {
		w.t.Fatal(err)
	}
	w.bootstrap = map[string]any{"stats_config": all["stats_config"], "deferred_stat_options": all["deferred_stat_options"]}
}

// scraped waits for a time series, given by its name, its value and some of its
// labels.
func (w *world) scraped(name, value string, labels ...string) {
	w.t.Helper()
	w.envoy.Await(fmt.Sprintf("%s%q to be %s", name, labels, value), func() error {
		text, err := w.envoy.Admin("/stats/prometheus")
		if err != nil {
			return err
		}
		var near []string
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, name+"{") {
				continue
			}
			if holdsAll(line, labels) && strings.HasSuffix(line, "} "+value) {
				return nil
			}
			near = append(near, line)
		}
		return fmt.Errorf("there are %q", near)
	})
}

func holdsAll(line string, labels []string) bool {
	for _, l := range labels {
		if !strings.Contains(line, l) {
			return false
		}
	}
	return true
}

// What an Envoy counts says of which Gateway it is, whatever dots are in names; by
// route it is counted where that is asked for, once for all hostnames and rules.
func TestMetricsSayWhichGateway(t *testing.T) {
	w := newWorld(t)
	w.counting()
	w.model.Gateway = gateway.Name{Namespace: "test", Name: "g.w"}
	b := w.echo("b")
	one, two := to("/one", b), to("/two", b)
	for i, r := range []*gateway.Rule{one, two} {
		r.Origin.Name, r.Origin.Rule = gateway.Name{Namespace: "test", Name: "route.s"}, i
	}
	w.table(80, host("a.example.com", one, two), host("b.example.com", one, two), host("*", to("/other", b)))
	w.model.Ports = append(w.model.Ports, gateway.Port{Number: 81, Transport: gateway.TCP, Stream: &gateway.Stream{Backends: []gateway.Destination{{Backend: b, Weight: 1}}}})
	w.settings.RouteMetrics = true
	w.start()
	client := w.clientOf("test/g.w/80/tcp", http1, nil)
	for _, url := range []string{"http://a.example.com/one", "http://a.example.com/two", "http://b.example.com/one", "http://c.example.com/other"} {
		if got := get(t, client, url); got.Pod != "b" {
			t.Fatalf("%s: %s", url, got.Status)
		}
	}
	get(t, w.clientOf("test/g.w/81/tcp", http1, nil), "http://x/")
	ours := []string{`fairlead_namespace="test"`, `fairlead_gateway="g_w"`}
	with := func(labels ...string) []string { return append(labels, ours...) }
	w.scraped("envoy_http_downstream_rq_total", "4", with(`fairlead_port="80/tcp"`)...)
	w.scraped("envoy_tcp_downstream_cx_total", "1", with(`fairlead_port="81/tcp"`)...)
	w.scraped("envoy_listener_downstream_cx_total", "1", with(`fairlead_port="81/tcp"`)...)
	w.scraped("envoy_cluster_upstream_cx_total", "2", with(`envoy_cluster_name="test/g_w/backend/test/b/HTTP"`)...)
	w.scraped("envoy_vhost_route_upstream_rq_total", "3", with(`envoy_route="HTTPRoute/test/route_s"`)...)
	w.scraped("envoy_vhost_route_upstream_rq_total", "1", with(`envoy_route="HTTPRoute/test/other"`)...)
	w.scraped("envoy_vhost_route_upstream_rq_time_count", "3", with(`envoy_route="HTTPRoute/test/route_s"`)...)
	text, err := w.envoy.Admin("/stats/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, "{")
		if strings.Contains(name, "g_w") || strings.Contains(name, "example") || strings.Contains(name, "route_s") {
			t.Errorf("a name goes on growing with what there is: %s", line)
		}
	}
}
