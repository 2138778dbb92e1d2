package feed

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/go-logr/logr"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/clock"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/endpoints"
	"github.com/fairlead/fairlead/gateway/pki"
)

const testFleet = "class/fairlead"

func gw(name string) gateway.Name { return gateway.Name{Namespace: "shop", Name: name} }

func ads() *corev3.ConfigSource {
	return &corev3.ConfigSource{ResourceApiVersion: corev3.ApiVersion_V3, ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}}
}

func anyOf(m proto.Message) *anypb.Any {
	out, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return out
}

// clusterOf gets its endpoints by the name that follows the last "/": Gateways
// share it.
func clusterOf(name string, timeout time.Duration) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{ServiceName: edsOf(name), EdsConfig: ads()},
		ConnectTimeout:   durationpb.New(timeout),
	}
}

func edsOf(cluster string) string { return cluster[strings.LastIndexByte(cluster, '/')+1:] }

func hostOf(host, cluster string) *routev3.VirtualHost {
	return &routev3.VirtualHost{Name: host, Domains: []string{host}, Routes: []*routev3.Route{{
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}}},
	}}}
}

func listenerOf(name string, port uint32, filter proto.Message, secret string) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name: name, StatPrefix: secret,
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "::", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
		}}},
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{Name: "f", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: anyOf(filter)}}}}},
	}
}

func httpOf(table string) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{StatPrefix: table, RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: table, ConfigSource: ads()}}}
}

// web is a Gateway with one listener and table, and a virtual host for each Service.
// Its port makes one listener differ from another, its timeout clusters.
func web(gateway string, services ...string) Resources { return webAt(gateway, 80, services...) }

func webAt(gateway string, port uint32, services ...string) Resources {
	r := Resources{
		Listeners: map[string]*listenerv3.Listener{}, Routes: map[string]*routev3.RouteConfiguration{},
		Clusters: map[string]*clusterv3.Cluster{}, Secrets: map[string]*tlsv3.Secret{}, Assignments: map[string]endpoints.Assignment{},
	}
	table := &routev3.RouteConfiguration{Name: gateway + "/http"}
	for _, s := range services {
		name := gateway + "/" + s
		r.addCluster(name, time.Second)
		table.VirtualHosts = append(table.VirtualHosts, hostOf(s+".example.com", name))
	}
	r.Routes[table.Name] = table
	l := listenerOf(gateway+"/http", port, httpOf(table.Name), "")
	r.Listeners[l.Name] = l
	return r
}

func (r *Resources) addCluster(name string, timeout time.Duration) {
	r.Clusters[name] = clusterOf(name, timeout)
	r.Assignments[edsOf(name)] = endpoints.Assignment{Parts: []endpoints.Part{{
		Service: gateway.Name{Namespace: "shop", Name: edsOf(name)}, Port: 80, PortName: "http", Weight: 1,
	}}}
}

// upstreamTLS is TLS with a certificate that is asked for by name.
func upstreamTLS(secret string, from *corev3.ConfigSource) *corev3.TransportSocket {
	return &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{
		TypedConfig: anyOf(&tlsv3.UpstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: secret, SdsConfig: from}},
		}}),
	}}
}

func (r *Resources) addTCP(gateway, service string) {
	name := gateway + "/" + service
	r.addCluster(name, time.Second)
	l := listenerOf(gateway+"/tcp", 9000, &tcpproxyv3.TcpProxy{StatPrefix: "tcp", ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: name}}, "")
	r.Listeners[l.Name] = l
}

func (r *Resources) addTLS(gateway, key string) {
	name := gateway + "/cert"
	r.Secrets[name] = &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		PrivateKey: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: key}},
	}}}
	l := listenerOf(gateway+"/https", 443, httpOf(gateway+"/http"), name)
	r.Listeners[l.Name] = l
}

func sliceOf(service string, addrs ...string) *discoveryv1.EndpointSlice {
	name, number := "http", int32(8080)
	s := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &number}}}
	s.Namespace, s.Name, s.Labels = "shop", service+"-1", map[string]string{discoveryv1.LabelServiceName: service}
	for _, a := range addrs {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return s
}

// scene is a Feed that serves.
type scene struct {
	*Feed
	t    fataler
	ca   *authority
	addr string
	stop func()

	mu   sync.Mutex
	told map[string]int
}

func fast() Options { return Options{Wait: 20 * time.Second, Grace: -1, Coalesce: time.Millisecond} }

func newScene(t *testing.T, opts Options) *scene {
	t.Helper()
	s := startScene(t, newAuthority(t), opts)
	t.Cleanup(s.stop)
	return s
}

func startScene(t fataler, ca *authority, opts Options) *scene {
	t.Helper()
	s := &scene{t: t, ca: ca, told: map[string]int{}}
	opts.Changed = func(fleet string, gws []gateway.Name) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, g := range gws {
			s.told[fleet+" "+g.String()]++
		}
	}
	s.Feed = New(logr.Discard(), clock.RealClock{}, opts)
	s.serve(ca.identity(pki.Controller(serverName)).Server())
	return s
}

func (s *scene) serve(config *tls.Config) {
	s.t.Helper()
	s.serveAt("127.0.0.1:0", config)
}

func (s *scene) serveAt(addr string, config *tls.Config) {
	s.t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		s.t.Fatalf("listening: %v", err)
	}
	s.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := s.Serve(ctx, l, config); err != nil {
			s.t.Errorf("serving: %v", err)
		}
	})
	s.stop = func() {
		cancel()
		served.Wait()
	}
}

// envoy connects a new Envoy of the test's fleet.
func (s *scene) envoy(t *testing.T, pod string) *fakeEnvoy {
	t.Helper()
	e := newFakeEnvoy(t, testFleet, "fairlead/"+pod)
	e.connect(s.addr, s.ca.client(testFleet))
	t.Cleanup(func() {
		e.disconnect()
		for _, v := range e.violations {
			t.Error(v)
		}
	})
	return e
}

func (s *scene) set(name string, r Resources) {
	s.t.Helper()
	if err := s.Set(testFleet, gw(name), r); err != nil {
		s.t.Fatalf("%v", err)
	}
}

// gets waits until an Envoy has exactly some Resources.
func (e *fakeEnvoy) gets(want ...Resources) {
	e.t.Helper()
	eventually(e.t, "the wanted state at "+e.pod, func() (bool, string) {
		d := e.differs(want...)
		return d == "", fmt.Sprintf("%s; got %q", d, e.sent(0))
	})
}

// progresses waits until the Progress of a Gateway is as said, in short: for each
// Envoy its pod, "acknowledged", "serving" and rejected resources.
func (s *scene) progresses(name string, want ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("the progress %q", want), func() (bool, string) {
		got := s.progress(name)
		return strings.Join(got, "; ") == strings.Join(want, "; "), fmt.Sprintf("%q", got)
	})
}

// acknowledged says whether an Envoy has everything of the last Set of a Gateway.
func (f *Feed) acknowledged(pod, of gateway.Name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.fleets[testFleet].streams {
		if r := s.rollouts[of]; r != nil && s.pod == pod {
			return r.acknowledged(len(r.rejections()))
		}
	}
	return false
}

func (s *scene) progress(name string) []string {
	var got []string
	for _, e := range s.Progress(testFleet, gw(name)).Envoys {
		line := e.Pod.Name
		if s.acknowledged(e.Pod, gw(name)) {
			line += " acknowledged"
		}
		if e.Serving {
			line += " serving"
		}
		for _, r := range e.Rejections {
			line += fmt.Sprintf(" !%s %s (%s)", r.Type, r.Resource, r.Message)
		}
		got = append(got, line)
	}
	return got
}
