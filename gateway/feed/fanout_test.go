package feed

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/endpoints"
	"github.com/fairlead/fairlead/gateway/xds"
	"github.com/fairlead/fairlead/test/cpu"
)

// BenchmarkThreeEnvoys is one changed virtual host in a table as the encoder makes it,
// from Deliver until three real Envoys have acknowledged it. It tells the CPU that this
// process has used: encoding, gRPC and TLS.
func BenchmarkThreeEnvoys(b *testing.B) {
	const hosts = 3000
	s := startScene(b, newAuthority(b), fast())
	b.Cleanup(s.stop)
	m := manyHosts(hosts)
	port := uint16(freePort(b))
	at := func(uint16, gateway.Transport) uint16 { return port }
	before := xds.Encode(m, at, xds.Settings{NoIPv6: true})
	r := resourcesOf(before)
	for _, l := range r.Listeners {
		l.GetAddress().GetSocketAddress().Address = "127.0.0.1"
	}
	s.bring(b, r)
	s.Ready(testFleet)
	for i := range 3 {
		startEnvoy(b, s.ca, s.addr, fmt.Sprintf("envoy-%d", i))
	}
	eventually(b, "three Envoys", func() (bool, string) {
		got := s.progress("gw")
		done := slices.DeleteFunc(slices.Clone(got), func(line string) bool { return !strings.HasSuffix(line, "acknowledged serving") })
		return len(done) == 3, fmt.Sprint(got)
	})
	var used time.Duration
	i := 0
	for b.Loop() {
		b.StopTimer()
		i++
		m = withPath(m, i%hosts, fmt.Sprintf("/v%d", i))
		before = xds.Update(before, m, at, xds.Settings{NoIPv6: true})
		r.Routes = before.Routes
		time.Sleep(20 * time.Millisecond) // what comes after the last answers is over
		start := cpu.Used(b)
		b.StartTimer()
		s.bring(b, r)
		used += cpu.Used(b) - start
	}
	b.ReportMetric(used.Seconds()*1000/float64(b.N), "cpu-ms/op")
}

// bring waits until all Envoys that are connected have it.
func (s *scene) bring(b *testing.B, r Resources) {
	b.Helper()
	done := make(chan struct{})
	if err := s.Deliver(testFleet, gw("gw"), r, func(Delivery) { close(done) }); err != nil {
		b.Fatal(err)
	}
	<-done
}

// manyHosts is a Gateway with hosts that each have a rule and a backend of their own.
func manyHosts(n int) *gateway.Model {
	m := &gateway.Model{Gateway: gateway.Name{Namespace: "shop", Name: "gw"}}
	table := &gateway.Table{Name: "http-80"}
	for i := range n {
		name := fmt.Sprintf("s%05d", i)
		service := gateway.Name{Namespace: "shop", Name: name}
		m.Backends = append(m.Backends, gateway.Backend{ID: "shop/" + name, Service: service, Port: 80, Protocol: gateway.ProtocolHTTP})
		table.Hosts = append(table.Hosts, servedHost(i, "/v0"))
	}
	m.Ports = []gateway.Port{{Number: 80, Transport: gateway.TCP, HTTP: table}}
	return m
}

func servedHost(i int, path string) *gateway.Host {
	name := fmt.Sprintf("s%05d", i)
	return &gateway.Host{Hostname: name + ".example.com", Rules: []*gateway.Rule{{
		Origin:   gateway.Origin{Kind: "HTTPRoute", Name: gateway.Name{Namespace: "shop", Name: name}},
		Match:    gateway.Match{Path: gateway.PathPrefix, Value: path},
		Backends: []gateway.Destination{{Backend: "shop/" + name, Weight: 1}},
	}}}
}

// withPath is a Model in which a host serves another path.
func withPath(m *gateway.Model, host int, path string) *gateway.Model {
	next, table := *m, *m.Ports[0].HTTP
	table.Hosts = slices.Clone(table.Hosts)
	table.Hosts[host] = servedHost(host, path)
	next.Ports = []gateway.Port{{Number: 80, Transport: gateway.TCP, HTTP: &table}}
	return &next
}

// resourcesOf are an encoder's Resources for this package.
func resourcesOf(r xds.Resources) Resources {
	out := Resources{
		Listeners: r.Listeners, Clusters: r.Clusters, Routes: r.Routes, Secrets: r.Secrets,
		Assignments: map[string]endpoints.Assignment{},
	}
	for name, a := range r.Assignments {
		var parts []endpoints.Part
		for _, p := range a.Parts {
			parts = append(parts, endpoints.Part{Service: p.Service, Port: p.Port, PortName: p.PortName, Weight: p.Weight})
		}
		out.Assignments[name] = endpoints.Assignment{Parts: parts}
	}
	return out
}
