package xds_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
)

// Of every resource it is known what it is made of, or a rejection of it could not be
// told to anybody.
func TestEveryResourceIsMadeOfSomething(t *testing.T) {
	for name, m := range models(t) {
		m = withPEM(t, m)
		r := xds.Encode(m, shifted, xds.Settings{})
		var all []string
		for n := range r.Listeners {
			all = append(all, n)
		}
		for n := range r.Routes {
			all = append(all, n)
		}
		for n := range r.Clusters {
			all = append(all, n)
		}
		for n := range r.Secrets {
			all = append(all, n)
		}
		for n := range r.Assignments {
			all = append(all, n)
		}
		for _, resource := range all {
			if reflect.DeepEqual(xds.PartOf(m, resource), gateway.Part{}) {
				t.Errorf("%s: %s is made of nothing", name, resource)
			}
		}
	}
}

func TestPartOf(t *testing.T) {
	m := &gateway.Model{
		Gateway: gateway.Name{Namespace: "shop", Name: "web"},
		Ports: []gateway.Port{
			{Number: 80, Transport: gateway.TCP, HTTP: &gateway.Table{Name: "http/80"}},
			{Number: 53, Transport: gateway.UDP, Stream: &gateway.Stream{}},
			{Number: 443, Transport: gateway.TCP, TLS: []gateway.TLSServer{{
				Certificates: []string{"secret/shop/cert"}, HTTP: &gateway.Table{Name: "https/443/tls"},
				Client: &gateway.ClientValidation{Authorities: []string{"configmap/shop/b", "configmap/shop/a"}},
			}}},
		},
		Backends: []gateway.Backend{
			// A Service may have the Gateway's name.
			{ID: "shop/web/80/http", Service: gateway.Name{Namespace: "shop", Name: "web"}, Port: 80, Protocol: gateway.ProtocolHTTP},
			{ID: "shop/web/80/h2c", Service: gateway.Name{Namespace: "shop", Name: "web"}, Port: 80, Protocol: gateway.ProtocolH2C},
		},
		Certificates: []gateway.Certificate{{ID: "secret/shop/cert"}},
	}
	for resource, want := range map[string]gateway.Part{
		"shop/web/80/tcp":                                        {Port: 80, Transport: gateway.TCP},
		"shop/web/53/udp":                                        {Port: 53, Transport: gateway.UDP},
		"shop/web/stream/53":                                     {Port: 53, Transport: gateway.UDP},
		"shop/web/table/http/80":                                 {Table: "http/80"},
		"shop/web/table/https/443/tls":                           {Table: "https/443/tls"},
		"shop/web/backend/shop/web/80/http":                      {Backends: []string{"shop/web/80/http"}},
		"shop/web/80":                                            {Backends: []string{"shop/web/80/http", "shop/web/80/h2c"}},
		"shop/web/certificate/secret/shop/cert":                  {Certificates: []string{"secret/shop/cert"}},
		"shop/web/authorities/configmap/shop/a+configmap/shop/b": {Authorities: []string{"configmap/shop/b", "configmap/shop/a"}},
		"shop/web/collector/otel:4317":                           {},
		"shop/other/80/tcp":                                      {},
	} {
		if got := xds.PartOf(m, resource); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is made of %+v, want %+v", resource, got, want)
		}
	}
	if !slices.Equal(m.Ports[2].TLS[0].Client.Authorities, []string{"configmap/shop/b", "configmap/shop/a"}) {
		t.Error("the Model was modified")
	}
}
