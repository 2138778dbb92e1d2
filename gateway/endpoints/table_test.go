package endpoints

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	discoveryv1 "k8s.io/api/discovery/v1"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/gateway"
)

var both = Families{IPv4: true, IPv6: true}

// sliceOf reads "ADDRESS" or "ADDRESS/CONDITIONS", where the conditions are letters
// for true (R, S, T) and false (r, s, t).
func sliceOf(name, service string, ports []discoveryv1.EndpointPort, endpoints ...string) *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Ports: ports}
	out.Namespace, out.Name = "shop", name
	out.Labels = map[string]string{discoveryv1.LabelServiceName: service}
	for _, e := range endpoints {
		addr, flags, _ := strings.Cut(e, "/")
		if strings.Contains(addr, ":") {
			out.AddressType = discoveryv1.AddressTypeIPv6
		}
		in := discoveryv1.Endpoint{Addresses: []string{addr}}
		for _, f := range flags {
			on := f < 'a'
			switch f {
			case 'R', 'r':
				in.Conditions.Ready = &on
			case 'S', 's':
				in.Conditions.Serving = &on
			case 'T', 't':
				in.Conditions.Terminating = &on
			}
		}
		out.Endpoints = append(out.Endpoints, in)
	}
	return out
}

func portsOf(named ...any) []discoveryv1.EndpointPort {
	var out []discoveryv1.EndpointPort
	for i := 0; i < len(named); i += 2 {
		name, number := named[i].(string), int32(named[i+1].(int))
		out = append(out, discoveryv1.EndpointPort{Name: &name, Port: &number})
	}
	return out
}

func partOf(service, portName string, weight uint32) Part {
	return Part{Service: gateway.Name{Namespace: "shop", Name: service}, Port: 80, PortName: portName, Weight: weight}
}

// shown is a load in short: "WEIGHT: ADDRESS ADDRESS" for each locality.
func shown(in *endpointv3.ClusterLoadAssignment) []string {
	var out []string
	for _, l := range in.GetEndpoints() {
		s := fmt.Sprintf("%d:", l.GetLoadBalancingWeight().GetValue())
		for _, e := range l.GetLbEndpoints() {
			a := e.GetEndpoint().GetAddress().GetSocketAddress()
			s += fmt.Sprintf(" %s|%d", a.GetAddress(), a.GetPortValue())
		}
		out = append(out, s)
	}
	return out
}

func TestLoad(t *testing.T) {
	http := portsOf("http", 8080)
	lone := []Part{partOf("web", "http", 0)}
	for _, c := range []struct {
		name   string
		parts  []Part
		only   Families
		slices []*discoveryv1.EndpointSlice
		want   []string
	}{
		{name: "no slice", parts: lone},
		{
			name: "all slices of the Service, in order of address", parts: lone,
			slices: []*discoveryv1.EndpointSlice{
				sliceOf("a", "web", http, "10.0.0.10/R", "10.0.0.2/R"), sliceOf("b", "web", portsOf("http", 8081), "10.0.0.3"),
				sliceOf("c", "other", http, "10.0.0.4"),
			},
			want: []string{"1: 10.0.0.2|8080 10.0.0.3|8081 10.0.0.10|8080"},
		},
		{
			name: "an endpoint in two slices is one", parts: lone,
			slices: []*discoveryv1.EndpointSlice{sliceOf("a", "web", http, "10.0.0.1"), sliceOf("b", "web", http, "10.0.0.1")},
			want:   []string{"1: 10.0.0.1|8080"},
		},
		{
			name: "ports are found by name", parts: []Part{partOf("web", "grpc", 1)},
			slices: []*discoveryv1.EndpointSlice{sliceOf("a", "web", portsOf("http", 8080, "grpc", 9090), "10.0.0.1"), sliceOf("b", "web", http, "10.0.0.2")},
			want:   []string{"1: 10.0.0.1|9090"},
		},
		{
			name: "a port without a name", parts: []Part{partOf("web", "", 1)},
			slices: []*discoveryv1.EndpointSlice{
				sliceOf("a", "web", []discoveryv1.EndpointPort{{Port: new(int32(8080))}}, "10.0.0.1"), sliceOf("b", "web", portsOf("", 8081), "10.0.0.2"),
			},
			want: []string{"1: 10.0.0.1|8080 10.0.0.2|8081"},
		},
		{
			name: "ports that are none", parts: []Part{partOf("web", "http", 1)},
			slices: []*discoveryv1.EndpointSlice{
				sliceOf("a", "web", portsOf("http", 0), "10.0.0.1"), sliceOf("b", "web", portsOf("http", 70000), "10.0.0.2"),
				sliceOf("c", "web", []discoveryv1.EndpointPort{{Name: new("http")}}, "10.0.0.3"),
			},
		},
		{
			name: "not ready is out, and terminating is out while another is ready", parts: lone,
			slices: []*discoveryv1.EndpointSlice{sliceOf("a", "web", http, "10.0.0.1/r", "10.0.0.2/rST", "10.0.0.3/RSt", "10.0.0.4/RST")},
			want:   []string{"1: 10.0.0.3|8080"},
		},
		{
			name: "those that terminate serve when no other is left", parts: lone,
			slices: []*discoveryv1.EndpointSlice{sliceOf("a", "web", http, "10.0.0.1/rsT", "10.0.0.2/rST"), sliceOf("b", "web", http, "10.0.0.3/r", "10.0.0.4/RT")},
			want:   []string{"1: 10.0.0.2|8080 10.0.0.4|8080"},
		},
		{
			name: "both families", parts: lone,
			slices: []*discoveryv1.EndpointSlice{sliceOf("a", "web", http, "fd00::1"), sliceOf("b", "web", http, "10.0.0.1")},
			want:   []string{"1: 10.0.0.1|8080 fd00::1|8080"},
		},
		{
			name: "one family", parts: lone, only: Families{IPv6: true},
			slices: []*discoveryv1.EndpointSlice{sliceOf("a", "web", http, "fd00::1"), sliceOf("b", "web", http, "10.0.0.1")},
			want:   []string{"1: fd00::1|8080"},
		},
		{
			name: "what is no address is left out", parts: lone,
			slices: []*discoveryv1.EndpointSlice{sliceOf("a", "web", http, "10.0.0.1", "web.example.com", "0.0.0.0", "224.0.0.1")},
			want:   []string{"1: 10.0.0.1|8080"},
		},
		{
			name: "parts by weight; 0 gets nothing", parts: []Part{partOf("web", "http", 70), partOf("shop", "http", 30), partOf("none", "http", 0)},
			slices: []*discoveryv1.EndpointSlice{sliceOf("a", "web", http, "10.0.0.1", "10.0.0.2"), sliceOf("b", "shop", http, "10.0.0.3"), sliceOf("c", "none", http, "10.0.0.4")},
			want:   []string{"70: 10.0.0.1|8080 10.0.0.2|8080", "30: 10.0.0.3|8080"},
		},
		{
			name: "a part without endpoints keeps its share", parts: []Part{partOf("web", "http", 1), partOf("gone", "http", 3), {Weight: 4}},
			slices: []*discoveryv1.EndpointSlice{sliceOf("a", "web", http, "10.0.0.1")},
			want:   []string{"1: 10.0.0.1|8080", "3: 127.0.0.1|0", "4: 127.0.0.1|0"},
		},
		{
			name: "and in IPv6", parts: []Part{partOf("web", "http", 1), partOf("gone", "http", 3)}, only: Families{IPv6: true},
			slices: []*discoveryv1.EndpointSlice{sliceOf("a", "web", http, "fd00::1")},
			want:   []string{"1: fd00::1|8080", "3: ::1|0"},
		},
		{name: "parts of which none has endpoints", parts: []Part{partOf("web", "http", 1), partOf("gone", "http", 3)}},
		{
			name: "weights whose sum Envoy would refuse", parts: []Part{partOf("web", "http", 1<<32-1), partOf("shop", "http", 1<<32-1), partOf("few", "http", 1)},
			slices: []*discoveryv1.EndpointSlice{sliceOf("a", "web", http, "10.0.0.1"), sliceOf("b", "shop", http, "10.0.0.3"), sliceOf("c", "few", http, "10.0.0.4")},
			want:   []string{"1431655765: 10.0.0.1|8080", "1431655765: 10.0.0.3|8080", "1: 10.0.0.4|8080"},
		},
		{
			name: "one Service twice", parts: []Part{partOf("web", "http", 1), partOf("web", "http", 2)},
			slices: []*discoveryv1.EndpointSlice{sliceOf("a", "web", http, "10.0.0.1")},
			want:   []string{"1: 10.0.0.1|8080", "2: 10.0.0.1|8080"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			families := c.only
			if families == (Families{}) {
				families = both
			}
			table := NewTable(families)
			table.Use("web", Assignment{Parts: c.parts})
			for _, s := range c.slices {
				table.Set(s)
			}
			got := table.Load("web")
			if diff := cmp.Diff(c.want, shown(got)); diff != "" {
				t.Error(diff)
			}
			if got.GetClusterName() != "web" {
				t.Errorf("the load is named %q", got.GetClusterName())
			}
			if err := got.ValidateAll(); err != nil {
				t.Error(err)
			}
			if n := len(localities(got)); n != len(got.GetEndpoints()) {
				t.Errorf("%d localities have %d names", len(got.GetEndpoints()), n)
			}
		})
	}
}

func localities(in *endpointv3.ClusterLoadAssignment) map[string]bool {
	out := map[string]bool{}
	for _, l := range in.GetEndpoints() {
		out[l.GetLocality().GetSubZone()] = true
	}
	return out
}

func TestTableSaysWhatChanges(t *testing.T) {
	table, http := NewTable(both), portsOf("http", 8080)
	table.Use("web", Assignment{Parts: []Part{partOf("web", "http", 1)}})
	table.Use("mix", Assignment{Parts: []Part{partOf("web", "http", 1), partOf("shop", "http", 1)}})
	check := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s changes %v, want %v", what, got, want)
		}
	}
	check("a first slice", table.Set(sliceOf("a", "web", http, "10.0.0.1")), "mix", "web")
	annotated := sliceOf("a", "web", http, "10.0.0.1/R")
	annotated.Annotations = map[string]string{"a": "b"}
	check("what Envoy does not see", table.Set(annotated))
	check("a slice of a Service that nobody uses", table.Set(sliceOf("x", "other", http, "10.0.0.9")))
	check("a slice that goes to another Service", table.Set(sliceOf("a", "shop", http, "10.0.0.1")), "mix", "web")
	check("another Service's slice", table.Set(sliceOf("a", "shop", http, "10.0.0.2")), "mix")
	unlabelled := sliceOf("a", "", http, "10.0.0.2")
	check("a slice that loses its label", table.Set(unlabelled), "mix")
	check("a slice that was not there", table.Remove(gateway.Name{Namespace: "shop", Name: "a"}))
	table.Set(sliceOf("b", "web", http, "10.0.0.1"))
	table.Use("web", Assignment{Parts: []Part{partOf("shop", "http", 1)}})
	check("a Service that web uses no more", table.Set(sliceOf("b", "web", http, "10.0.0.2")), "mix")
	table.Drop("mix")
	check("a slice of a name that was dropped", table.Remove(gateway.Name{Namespace: "shop", Name: "b"}))
	if len(table.slices) != 1 || len(table.services) != 1 || len(table.users) != 1 {
		t.Errorf("something is left behind: %v %v %v", table.slices, table.services, table.users)
	}
}

// Whatever happened before, what a Table says is what a new one says that is told
// only what is there now, in any order; and it names all that changes.
func TestTableRemembersNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := NewTable(both)
		table.Use("web", Assignment{Parts: []Part{partOf("web", "http", 1)}})
		table.Use("mix", Assignment{Parts: []Part{partOf("web", "http", 2), partOf("shop", "", 3)}})
		there := map[string]*discoveryv1.EndpointSlice{}
		for range rapid.IntRange(0, 20).Draw(t, "events") {
			before := map[string]*endpointv3.ClusterLoadAssignment{"web": table.Load("web"), "mix": table.Load("mix")}
			name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "slice")
			var changed []string
			if rapid.Bool().Draw(t, "gone") {
				delete(there, name)
				changed = table.Remove(gateway.Name{Namespace: "shop", Name: name})
			} else {
				there[name] = sliceOf(name, rapid.SampledFrom([]string{"web", "shop", "", "other"}).Draw(t, "service"),
					portsOf(rapid.SampledFrom([]string{"http", ""}).Draw(t, "port"), 8080),
					rapid.SliceOfDistinct(rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2/r", "10.0.0.3/rST", "10.0.0.4/R"}), rapid.ID[string]).Draw(t, "endpoints")...)
				changed = table.Set(there[name])
			}
			for eds, b := range before {
				if !proto.Equal(b, table.Load(eds)) && !slices.Contains(changed, eds) {
					t.Fatalf("%s changed and only %v was said", eds, changed)
				}
			}
		}
		fresh := NewTable(both)
		for _, name := range rapid.Permutation([]string{"a", "b", "c"}).Draw(t, "order") {
			if s := there[name]; s != nil {
				fresh.Set(s)
			}
		}
		for eds, a := range table.uses {
			fresh.Use(eds, a)
			if diff := cmp.Diff(shown(fresh.Load(eds)), shown(table.Load(eds))); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func FuzzSlice(f *testing.F) {
	f.Add("web", "IPv4", "http", int32(8080), "10.0.0.1", "10.0.0.2", true, false)
	f.Add("web", "IPv6", "http", int32(0), "fe80::1%eth0", "::ffff:10.0.0.1", false, true)
	f.Add("", "FQDN", "", int32(-1), "example.com", "", true, true)
	f.Fuzz(func(t *testing.T, service, family, name string, number int32, one, two string, isReady, terminating bool) {
		s := sliceOf("a", service, []discoveryv1.EndpointPort{{Name: &name, Port: &number}}, "10.0.0.1")
		s.AddressType = discoveryv1.AddressType(family)
		s.Endpoints = []discoveryv1.Endpoint{
			{Addresses: []string{one}, Conditions: discoveryv1.EndpointConditions{Ready: &isReady, Terminating: &terminating}},
			{Addresses: []string{two, one}},
			{},
		}
		table := NewTable(both)
		table.Set(s)
		table.Use("web", Assignment{Parts: []Part{partOf(service, name, 1), partOf("other", name, 1)}})
		if err := table.Load("web").ValidateAll(); err != nil {
			t.Error(err)
		}
	})
}
