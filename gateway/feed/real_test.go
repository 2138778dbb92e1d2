package feed

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	udpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/udp/udp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/endpoints"
	"github.com/fairlead/fairlead/gateway/pki"
)

// envoyEnv names the Envoy binary that TestRealEnvoy runs.
const envoyEnv = "FAIRLEAD_ENVOY"

const bootstrap = `
node: {id: shop/POD, cluster: class/fairlead}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
dynamic_resources:
  ads_config: {api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: xds}}]}
  cds_config: {resource_api_version: V3, ads: {}}
  lds_config: {resource_api_version: V3, ads: {}}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    connect_timeout: 1s
    load_assignment: {cluster_name: xds, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}}]}]}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {connection_keepalive: {interval: 3s, timeout: 3s}}}
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: controller.example
        common_tls_context:
          tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}
          tls_certificates: [{certificate_chain: {filename: DIR/tls.crt}, private_key: {filename: DIR/tls.key}}]
          validation_context:
            trusted_ca: {filename: DIR/ca.crt}
            match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: controller.example}}]
`

// adminPath is the file, in its directory, in which an Envoy says where its admin
// interface is.
const adminPath = "admin"

// startEnvoy runs a real Envoy with the certificate of the test's fleet, and returns its
// directory.
func startEnvoy(t testing.TB, ca *authority, addr, pod string) string {
	t.Helper()
	binary := os.Getenv(envoyEnv)
	if binary == "" {
		t.Skipf("%s is not set: it names the Envoy binary to run", envoyEnv)
	}
	dir := t.TempDir()
	data, _, err := pki.Leaf(nil, ca.ca, pki.Fleet(testFleet), time.Now(), rand.Reader, pki.DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	data["bootstrap.yaml"] = []byte(strings.NewReplacer("PORT", port, "DIR", dir, "POD", pod).Replace(bootstrap))
	for name, b := range data {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	c := exec.Command(binary, "-c", filepath.Join(dir, "bootstrap.yaml"), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning",
		"--admin-address-path", filepath.Join(dir, adminPath))
	c.Stdout, c.Stderr = &out, &out
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	return dir
}

// backend answers with its name.
func backend(t *testing.T, name string) uint16 {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}

func backendSlice(service string, port uint16) *discoveryv1.EndpointSlice {
	s := sliceOf(service, "127.0.0.1")
	number := int32(port)
	s.Ports[0].Port = &number
	return s
}

// freePort is one that nobody listens on.
func freePort(t testing.TB) uint32 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint32(l.Addr().(*net.TCPAddr).Port)
}

// realWeb is web with what a real Envoy asks for beside.
func realWeb(name string, port uint32, services ...string) Resources {
	r := webAt(name, port, services...)
	h := httpOf(name + "/http")
	h.HttpFilters = []*hcmv3.HttpFilter{{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: anyOf(&routerv3.Router{})}}}
	l := listenerOf(name+"/http", port, h, "")
	l.Address.GetSocketAddress().Address = "127.0.0.1"
	r.Listeners[l.Name] = l
	return r
}

// answers asks a Gateway for a host.
func answers(port uint32, host string) string {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), nil)
	if err != nil {
		return err.Error()
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, body)
}

func mustAnswer(t *testing.T, port uint32, host, want string) {
	t.Helper()
	eventually(t, want, func() (bool, string) {
		got := answers(port, host)
		return got == want, got
	})
}

// What this package takes for granted about Envoy, asked of Envoy.
func TestRealEnvoy(t *testing.T) {
	s := newScene(t, fast())
	port := freePort(t)
	a, b := backend(t, "a"), backend(t, "b")
	s.Slice(backendSlice("cart", a))
	one := realWeb("one", port, "cart")
	s.set("one", one)
	s.Ready(testFleet)
	startEnvoy(t, s.ca, s.addr, "envoy-1")
	s.progresses("one", "envoy-1 acknowledged serving")
	mustAnswer(t, port, "cart.example.com", "200 a")

	t.Run("endpoints", func(t *testing.T) {
		s.Slice(backendSlice("cart", b))
		mustAnswer(t, port, "cart.example.com", "200 b")
		s.Slice(backendSlice("cart", a))
		mustAnswer(t, port, "cart.example.com", "200 a")
	})
	t.Run("a changed cluster gets into use", func(t *testing.T) {
		one.Clusters = map[string]*clusterv3.Cluster{"one/cart": clusterOf("one/cart", 3*time.Second)}
		s.set("one", one)
		s.progresses("one", "envoy-1 acknowledged serving")
		mustAnswer(t, port, "cart.example.com", "200 a")
	})
	t.Run("a part without endpoints is accepted", func(t *testing.T) {
		mix := realWeb("mix", freePort(t), "mix")
		mix.Clusters["mix/mix"].CommonLbConfig = byLocality()
		mix.Assignments["mix"] = endpoints.Assignment{Parts: []endpoints.Part{
			{Service: gateway.Name{Namespace: "shop", Name: "cart"}, Port: 80, PortName: "http", Weight: 1}, {Weight: 3},
		}}
		s.set("mix", mix)
		s.progresses("mix", "envoy-1 acknowledged serving")
		mixed := mix.Listeners["mix/http"].Address.GetSocketAddress().GetPortValue()
		got := map[string]int{}
		for range 80 {
			answer := answers(mixed, "mix.example.com")
			got[answer[:3]]++
		}
		if n := got["200"]; n < 16 || n > 24 || n+got["503"] != 80 {
			t.Errorf("of 80 requests %v", got)
		}
	})
	t.Run("datagrams by weight", func(t *testing.T) { realDatagrams(t, s) })
	realRejections(t, s, port, one)
	realRestart(t, s, port, a, one)
}

// realDatagrams sends flows to a listener of which one part in four has endpoints: the
// rest is dropped.
func realDatagrams(t *testing.T, s *scene) {
	echo, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := echo.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(buf[:n], from)
		}
	}()
	s.Slice(backendSlice("echo", uint16(echo.LocalAddr().(*net.UDPAddr).Port)))
	r := Resources{Clusters: map[string]*clusterv3.Cluster{}, Assignments: map[string]endpoints.Assignment{}, Listeners: map[string]*listenerv3.Listener{}}
	r.addCluster("udp/echo", time.Second)
	r.Clusters["udp/echo"].CommonLbConfig = byLocality()
	r.Assignments["echo"] = endpoints.Assignment{Parts: []endpoints.Part{
		{Service: gateway.Name{Namespace: "shop", Name: "echo"}, Port: 80, PortName: "http", Weight: 1}, {Weight: 3},
	}}
	port := freePort(t)
	l := listenerOf("udp/udp", port, &hcmv3.HttpConnectionManager{}, "")
	l.FilterChains = nil
	l.Address.GetSocketAddress().Address, l.Address.GetSocketAddress().Protocol = "127.0.0.1", corev3.SocketAddress_UDP
	route := &matcherv3.Matcher_OnMatch{OnMatch: &matcherv3.Matcher_OnMatch_Action{Action: &xdscorev3.TypedExtensionConfig{Name: "route", TypedConfig: anyOf(&udpproxyv3.Route{Cluster: "udp/echo"})}}}
	l.ListenerFilters = []*listenerv3.ListenerFilter{{Name: "udp", ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: anyOf(&udpproxyv3.UdpProxyConfig{
		StatPrefix: "udp", RouteSpecifier: &udpproxyv3.UdpProxyConfig_Matcher{Matcher: &matcherv3.Matcher{OnNoMatch: route}},
	})}}}
	r.Listeners["udp/udp"] = l
	s.set("udp", r)
	s.progresses("udp", "envoy-1 acknowledged serving")
	answered := 0
	for range 40 {
		c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("ping"))
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := c.Read(make([]byte, 10)); err == nil {
			answered++
		}
		c.Close()
	}
	if answered < 6 || answered > 14 {
		t.Errorf("of 40 flows %d were answered, want about 10", answered)
	}
	s.Remove(testFleet, gw("udp"))
}

func byLocality() *clusterv3.Cluster_CommonLbConfig {
	return &clusterv3.Cluster_CommonLbConfig{
		LocalityConfigSpecifier: &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{LocalityWeightedLbConfig: &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig{}},
	}
}

// realRejections tries one bad resource of each type that goes in waves.
func realRejections(t *testing.T, s *scene, port uint32, one Resources) {
	good := func() Resources {
		next := realWeb("one", port, "cart", "s1", "s2", "s3", "s4", "s5")
		next.Clusters["one/cart"] = one.Clusters["one/cart"]
		return next
	}
	for _, c := range []struct {
		name, want string
		spoil      func(*Resources)
	}{
		{"a cluster", "Cluster one/s3", func(r *Resources) { r.Clusters["one/s3"].ConnectTimeout = durationpb.New(-time.Second) }},
		{"a route table", "RouteConfiguration one/http", func(r *Resources) {
			r.Routes["one/http"].VirtualHosts = append(r.Routes["one/http"].VirtualHosts, &routev3.VirtualHost{Name: "again", Domains: []string{"cart.example.com"}})
		}},
		{"a listener", "Listener one/bad", func(r *Resources) {
			l := realWeb("one", freePort(t)).Listeners["one/http"]
			l.Name = "one/bad"
			l.FilterChains = append(l.FilterChains, l.FilterChains[0])
			r.Listeners["one/bad"] = l
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := good()
			c.spoil(&bad)
			s.set("one", bad)
			other := realWeb("other", freePort(t), "cart")
			s.set("other", other)
			s.progresses("other", "envoy-1 acknowledged serving")
			eventually(t, "the rejection", func() (bool, string) {
				got := s.progress("one")
				return len(got) == 1 && strings.HasPrefix(got[0], "envoy-1 serving !"+c.want+" (") && strings.Count(got[0], "!") == 1, fmt.Sprintf("%q", got)
			})
			t.Log(s.progress("one"))
			mustAnswer(t, port, "cart.example.com", "200 a")
			mustAnswer(t, other.Listeners["other/http"].Address.GetSocketAddress().GetPortValue(), "cart.example.com", "200 a")
			s.set("one", good())
			s.progresses("one", "envoy-1 acknowledged serving")
			s.Remove(testFleet, gw("other"))
		})
	}
	s.set("one", one)
	s.progresses("one", "envoy-1 acknowledged serving")
}

// realRestart lets another controller take over: nothing may flap.
func realRestart(t *testing.T, s *scene, port uint32, a uint16, one Resources) {
	t.Run("another controller", func(t *testing.T) {
		s.stop()
		mustAnswer(t, port, "cart.example.com", "200 a")
		next := &scene{t: t, ca: s.ca, told: map[string]int{}}
		next.Feed = New(s.log, s.clock, s.opts)
		next.serveAt(s.addr, s.ca.identity(controller()).Server())
		defer func() { next.stop() }()
		eventually(t, "the Envoy", func() (bool, string) {
			return len(next.Progress(testFleet, gw("one")).Envoys) == 1, "it has not come"
		})
		if got := answers(port, "cart.example.com"); got != "200 a" {
			t.Errorf("while the controller is not ready: %s", got)
		}
		next.set("one", one)
		next.Slice(backendSlice("cart", a))
		next.Ready(testFleet)
		next.progresses("one", "envoy-1 acknowledged serving")
		mustAnswer(t, port, "cart.example.com", "200 a")
	})
}
