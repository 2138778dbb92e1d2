package fleet

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/fairlead/fairlead/gateway/fleet/drain"
)

// TestARealEnvoy starts Envoy by the bootstrap, before there is a controller, and
// sees it through to its end.
func TestARealEnvoy(t *testing.T) {
	binary := envoyBinary(t)
	keys := makeKeys(t, settings().XDSServerName())
	xds, gateway, observe := freePort(t), freePort(t), freePort(t)
	e := startEnvoy(t, binary, keys, xds, observe)

	e.await(t, "it waits for its first configuration", func() error {
		status, body, err := e.admin(http.MethodGet, "/ready")
		if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(body, "INITIALIZING")) {
			err = fmt.Errorf("%d %s", status, body)
		}
		return err
	})
	ready := fmt.Sprintf("http://127.0.0.1:%d/ready", observe)
	if status, err := get(ready); err == nil && status == http.StatusOK {
		t.Error("it is ready without a configuration")
	}

	serveXDS(t, keys, xds, httpListener(t, gateway))
	e.await(t, "it is ready", func() error {
		status, err := get(ready)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
	e.onlyWhatIsMeant(t, observe)
	e.drainsLast(t, gateway)
}

// onlyWhatIsMeant: of the admin interface, the network sees two paths.
func (e *liveEnvoy) onlyWhatIsMeant(t *testing.T, observe uint16) {
	t.Helper()
	base := fmt.Sprintf("http://127.0.0.1:%d", observe)
	for path, want := range map[string]int{
		"/live": 200, "/ready": 200, "/stats/prometheus": 200, "/stats/prometheus?usedonly": 200,
		"/": 404, "/stats": 404, "/config_dump": 404, "/quitquitquit": 404, "/stats/prometheus/../../quitquitquit": 404, "/ready/": 404, "/drain_listeners": 404,
	} {
		if got, err := get(base + path); err != nil || got != want {
			t.Errorf("GET %s: %d, %v; want %d", path, got, err, want)
		}
	}
	for _, path := range []string{"/ready", "/quitquitquit", "/drain_listeners", "/healthcheck/fail"} {
		res, err := http.Post(base+path, "", nil)
		if err != nil {
			t.Errorf("POST %s: %v", path, err)
			continue
		}
		res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("POST %s: %s", path, res.Status)
		}
	}
}

// drainsLast: an ending Envoy tells its client to leave, and waits for it.
func (e *liveEnvoy) drainsLast(t *testing.T, port uint16) {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	ask := func() *http.Response {
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := ask(); res.StatusCode != http.StatusOK || res.Close { //nolint:bodyclose // ask does
		t.Fatalf("before the end: %s, close %v", res.Status, res.Close)
	}
	type result struct {
		left int
		err  error
	}
	done := make(chan result, 1)
	go func() {
		left, err := drain.Run(t.Context(), drain.Options{Socket: e.socket, Timeout: time.Minute, Poll: 10 * time.Millisecond, Ignore: []string{observePrefix}})
		done <- result{left, err}
	}()
	e.await(t, "the client is told to leave", func() error {
		select {
		case r := <-done:
			t.Fatalf("the drain is over with a client left: %+v", r)
		default:
		}
		if res := ask(); !res.Close || res.StatusCode != http.StatusOK { //nolint:bodyclose // ask does
			return fmt.Errorf("%s, close %v", res.Status, res.Close)
		}
		return nil
	})
	conn.Close()
	select {
	case r := <-done:
		if r.left != 0 || r.err != nil {
			t.Errorf("at the end: %+v", r)
		}
	case <-time.After(time.Minute):
		t.Error("the drain does not end with the last client")
	}
}

type liveEnvoy struct {
	socket string
	log    string
	client http.Client
}

func startEnvoy(t *testing.T, binary string, k keys, xds, observe uint16) *liveEnvoy {
	t.Helper()
	s := settings()
	s.XDSPort, s.Families = xds, s.Families[:1]
	text, err := Bootstrap(ID{Class: "fairlead"}, Default(), s)
	if err != nil {
		t.Fatal(err)
	}
	// No DNS knows the name here, and the port may be another's.
	text = strings.ReplaceAll(text, "address: "+s.XDSServerName()+"\n", "address: 127.0.0.1\n")
	text = strings.ReplaceAll(text, fmt.Sprintf("port_value: %d\n", ObservePort), fmt.Sprintf("port_value: %d\n", observe))
	file := inTestDir(t, text)
	root := strings.TrimSuffix(file, configDir+"/"+bootstrapFile)
	for name, content := range map[string][]byte{"tls.crt": k.client.certificate, "tls.key": k.client.key, "ca.crt": k.authority} {
		if err := os.WriteFile(filepath.Join(root, tlsDir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := &liveEnvoy{socket: filepath.Join(root, adminSocket), log: filepath.Join(root, "log")}
	e.client.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", e.socket)
	}}
	cmd := exec.Command(binary, "--config-path", file, "--service-node", "fairlead-system/envoy-1", "--service-cluster", ID{Class: "fairlead"}.Name(),
		"--disable-hot-restart", "--log-level", "warning", "--log-path", e.log, "--drain-time-s", "1", "--drain-strategy", "gradual", "--concurrency", "1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(e.log)
			t.Logf("Envoy's log:\n%s", log)
		}
	})
	return e
}

func (e *liveEnvoy) admin(method, path string) (int, string, error) {
	req, err := http.NewRequest(method, "http://admin"+path, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := e.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

func (e *liveEnvoy) await(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func get(url string) (int, error) {
	client := http.Client{Timeout: 5 * time.Second}
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Close = true
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	return res.StatusCode, nil
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// serveXDS serves one listener, to clients with a certificate of the authority.
func serveXDS(t *testing.T, k keys, port uint16, listener *listenerv3.Listener) {
	t.Helper()
	snapshots := cachev3.NewSnapshotCache(true, cachev3.IDHash{}, nil)
	snapshot, err := cachev3.NewSnapshot("1", map[resourcev3.Type][]types.Resource{resourcev3.ListenerType: {listener}})
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshots.SetSnapshot(t.Context(), "fairlead-system/envoy-1", snapshot); err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(k.server.certificate, k.server.key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(k.authority)
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS13,
	})))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, serverv3.NewServer(t.Context(), snapshots, nil))
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
}

func httpListener(t *testing.T, port uint16) *listenerv3.Listener {
	t.Helper()
	packed := func(m proto.Message) *anypb.Any {
		a, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix: "test",
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{Name: "test", VirtualHosts: []*routev3.VirtualHost{{
			Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{{
				Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
				Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 200}},
			}},
		}}}},
		HttpFilters: []*hcmv3.HttpFilter{{Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed(&routerv3.Router{})}}},
	}
	return &listenerv3.Listener{
		Name: "test",
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
		}}},
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(manager)},
		}}}},
	}
}

type pair struct{ certificate, key []byte }

type keys struct {
	authority      []byte
	server, client pair
}

func makeKeys(t *testing.T, server string) keys {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
	}
	authority := template(1, "authority")
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	sign := func(c *x509.Certificate, key *ecdsa.PrivateKey) pair {
		der, err := x509.CreateCertificate(rand.Reader, c, authority, &key.PublicKey, authorityKey)
		must(err)
		private, err := x509.MarshalPKCS8PrivateKey(key)
		must(err)
		return pair{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}
	}
	leaf := func(serial int64, name string) pair {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		return sign(template(serial, name), key)
	}
	return keys{authority: sign(authority, authorityKey).certificate, server: leaf(2, server), client: leaf(3, "envoy")}
}
