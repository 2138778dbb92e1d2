//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// What an Envoy gives away to who reaches its pod: metrics by Gateway and by route, and nothing of its admin interface.
// What it believes of who the client is: the header of the PROXY protocol, where the GatewayConfig says that there is one.
func TestWhatEnvoysTellAndBelieve(t *testing.T) {
	w := newWorld(t, "172.30.0.195-172.30.0.197")
	w.backend("echo", 2)
	config := &v1alpha1.GatewayConfig{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "telling"}}
	config.Spec.Metrics = &v1alpha1.GatewayMetrics{PerRoute: true}
	class := w.class(func(c *gatewayv1.GatewayClass) {
		c.Spec.ParametersRef = &gatewayv1.ParametersReference{
			Group: "fairlead.dev", Kind: "GatewayConfig", Name: config.Name, Namespace: new(gatewayv1.Namespace(w.namespace)),
		}
	})
	w.apply(config, w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"))
	a := w.gateway("web", class)[0]
	w.answers(a, 80)
	envoys := w.allListed("web", class)
	for node, pod := range envoys {
		w.clientReaches(node, pod)
	}
	w.metricsOfEnvoys(envoys)
	w.adminIsShut(envoys)

	edit(w, config, func(c *v1alpha1.GatewayConfig) { c.Spec.ClientAddress = &v1alpha1.ClientAddress{ProxyProtocol: true} })
	w.proxyProtocol(a)
}

// clientReaches lets the client reach a pod by its node.
func (w *world) clientReaches(node string, pod *corev1.Pod) {
	w.Helper()
	via, _, err := w.Cluster.HostAddresses(node)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.Cluster.Exec(w.ctx, testbed.Client, "ip", "route", "replace", pod.Status.PodIP+"/32", "via", via); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if _, err := w.Cluster.Exec(context.Background(), testbed.Client, "ip", "route", "del", pod.Status.PodIP+"/32", "via", via); err != nil {
			w.Error(err)
		}
	})
}

// dial opens a connection.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

func (w *world) byClient(ctx context.Context, network, address string) (net.Conn, error) {
	return w.Cluster.Dial(ctx, testbed.Client, network, address)
}

// byPod connects from within a process's network namespace, as what runs in its pod does.
func byPod(pid int) dial {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
			var ns *os.File
			if ns, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil {
				return
			}
			defer ns.Close()
			if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
				conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			}
		}()
		<-done
		return conn, err
	}
}

// request asks a port of an address for a path.
func request(ctx context.Context, by dial, method string, to netip.AddrPort, path string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: by}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+to.String()+path, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// metricsOfEnvoys wants the requests that were made to be in what Envoys tell, by Gateway and by route.
func (w *world) metricsOfEnvoys(envoys map[string]*corev1.Pod) {
	w.Helper()
	byGateway := []string{"envoy_http_downstream_rq_total{", `fairlead_namespace="` + w.namespace + `"`, `fairlead_gateway="web"`, `fairlead_port="80/tcp"`}
	byRoute := []string{"envoy_vhost_route_upstream_rq_total{", `envoy_route="HTTPRoute/` + w.namespace + `/all"`, `fairlead_gateway="web"`}
	w.await("the Envoys to have counted requests of the Gateway and of the route", func(ctx context.Context) error {
		requests, routed := 0.0, 0.0
		for node, pod := range envoys {
			status, text, err := request(ctx, w.byClient, http.MethodGet, netip.AddrPortFrom(mustAddr(pod.Status.PodIP), fleet.ObservePort), "/stats/prometheus")
			if err != nil || status != http.StatusOK {
				return fmt.Errorf("the Envoy of %s says %d: %w", node, status, err)
			}
			requests += sumOf(text, byGateway)
			routed += sumOf(text, byRoute)
		}
		if requests == 0 || routed == 0 {
			return fmt.Errorf("they count %v requests of the Gateway, and %v of the route", requests, routed)
		}
		return nil
	})
}

// sumOf adds the samples of a text of metrics that have all these words.
func sumOf(text []byte, words []string) (sum float64) {
	for line := range strings.Lines(string(text)) {
		if slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			continue
		}
		fields := strings.Fields(line)
		n, _ := strconv.ParseFloat(fields[len(fields)-1], 64)
		sum += n
	}
	return sum
}

// adminIsShut looks at what listens in an Envoy's pod, knocks at every port from the client, and asks those that are open for
// what only the admin interface has, from the client and from another pod.
func (w *world) adminIsShut(envoys map[string]*corev1.Pod) {
	w.Helper()
	node := slices.Min(slices.Collect(maps.Keys(envoys)))
	pod := envoys[node]
	at := mustAddr(pod.Status.PodIP)
	ours := func(port uint16) bool {
		return port == fleet.ObservePort || port >= fleet.FirstPort && port <= fleet.LastPort
	}
	envoy, err := lab.Processes(w.Cluster.Name(), "envoy", []corev1.Pod{*pod})
	if err != nil || len(envoy) == 0 {
		w.Fatalf("the Envoy of %s is no process: %v", node, err)
	}
	listening, err := listeners(envoy[0].PID)
	if err != nil {
		w.Fatal(err)
	}
	for l := range listening {
		if !ours(l.Port()) && !l.Addr().IsLoopback() {
			w.Errorf("in the pod of Envoy somebody listens on %s", l)
		}
	}
	open := w.openPorts(at)
	if !slices.Contains(open, fleet.ObservePort) || len(open) < 2 {
		w.Fatalf("open are %v; want the port for metrics and one of the Gateway, or else the client reaches nothing", open)
	}

	var neighbours corev1.PodList
	if err := w.Client.List(w.ctx, &neighbours, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	within, err := lab.Processes(w.Cluster.Name(), "echo-basic", neighbours.Items)
	if err != nil || len(within) == 0 {
		w.Fatalf("no process of an echo pod is found: %v", err)
	}
	for from, by := range map[string]dial{"the client": w.byClient, "another pod": byPod(within[0].PID)} {
		for _, port := range open {
			if !ours(port) {
				w.Errorf("%s finds port %d of Envoy's pod open", from, port)
			}
			for path, method := range map[string]string{
				"/": "GET", "/config_dump": "GET", "/clusters": "GET", "/certs": "GET", "/server_info": "GET", "/stats": "GET", "/stats/prometheus/..%2f..%2fconfig_dump": "GET",
				"/ready/../config_dump": "GET", "/quitquitquit": "POST", "/healthcheck/fail": "POST", "/logging?level=trace": "POST", "/drain_listeners": "POST",
			} {
				status, body, err := request(w.ctx, by, method, netip.AddrPortFrom(at, port), path)
				if err != nil {
					w.Errorf("%s asks port %d for %s: %v", from, port, path, err)
				}
				if backend := bytes.Contains(body, []byte(`"pod"`)) && bytes.Contains(body, []byte("echo-")); status < 400 && (port == fleet.ObservePort || !backend) {
					w.Errorf("%s asks port %d for %s and gets %d: %.200q", from, port, path, status, body)
				}
			}
			if status, _, err := request(w.ctx, by, http.MethodGet, netip.AddrPortFrom(at, fleet.ObservePort), "/ready"); err != nil || status != http.StatusOK {
				w.Errorf("after that Envoy answers %s with %d, %v", from, status, err)
			}
		}
	}
}

// listeners are the TCP sockets that listen in a process's network namespace.
func listeners(pid int) (map[netip.AddrPort]bool, error) {
	const listen = "0A"
	out := map[netip.AddrPort]bool{}
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			return nil, fmt.Errorf("reading what listens: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[3] != listen {
				continue
			}
			address, port, _ := strings.Cut(fields[1], ":")
			a, err := fromKernel(address)
			p, err2 := strconv.ParseUint(port, 16, 16)
			if err := errors.Join(err, err2); err != nil {
				return nil, fmt.Errorf("reading what listens, %q: %w", line, err)
			}
			out[netip.AddrPortFrom(a, uint16(p))] = true
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("nothing listens in the pod of process %d", pid)
	}
	return out, nil
}

// fromKernel reads an address as the kernel writes it in its tables: words of 32 bits, each as this machine has it in memory.
func fromKernel(text string) (netip.Addr, error) {
	var out []byte
	for ; len(text) >= 8; text = text[8:] {
		word, err := strconv.ParseUint(text[:8], 16, 32)
		if err != nil {
			return netip.Addr{}, err
		}
		out = append(out, byte(word), byte(word>>8), byte(word>>16), byte(word>>24))
	}
	a, ok := netip.AddrFromSlice(out)
	if !ok {
		return netip.Addr{}, fmt.Errorf("%q is no address", text)
	}
	return a, nil
}

// openPorts knocks at all TCP ports of an address from the client.
func (w *world) openPorts(a netip.Addr) (open []uint16) {
	w.Helper()
	err := w.Cluster.InNamespace(testbed.Client, func() error {
		for port := uint16(65535); port > 0; port-- {
			conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(a, port).String(), 2*time.Second)
			var late net.Error
			switch {
			case err == nil:
				open = append(open, port)
				conn.Close()
			case errors.As(err, &late) && late.Timeout():
				return fmt.Errorf("port %d does not say that it is closed: %w", port, err)
			}
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return open
}

// proxyProtocol wants backends to see the client of the header, and a connection without header to be closed.
func (w *world) proxyProtocol(a netip.Addr) {
	w.Helper()
	version2 := "\r\n\r\n\x00\r\nQUIT\n" + "\x21\x11\x00\x0c" + "\xc0\x00\x02\x09" + "\xc0\x00\x02\x01" + "\x04\xd2\x00\x50"
	for _, c := range []struct{ header, client string }{
		{"PROXY TCP4 192.0.2.8 192.0.2.1 1234 80\r\n", "192.0.2.8"},
		{"PROXY TCP6 2001:db8::8 2001:db8::1 1234 80\r\n", "2001:db8::8"},
		{version2, "192.0.2.9"},
	} {
		w.await(fmt.Sprintf("the backend to hear of %s", c.client), func(ctx context.Context) error {
			got, err := w.afterHeader(ctx, a, c.header)
			if err != nil {
				return err
			}
			if by := got.Headers["X-Forwarded-For"]; !slices.Equal(by, []string{c.client}) {
				return fmt.Errorf("it hears of %q", by)
			}
			return nil
		})
	}
	for what, header := range map[string]string{"without header": "", "with half a header": "PROXY TCP4 192.0.2.8\r\n", "of version 3": "\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x00"} {
		w.await("a connection "+what+" to be closed", func(ctx context.Context) error {
			got, err := w.afterHeader(ctx, a, header)
			if err == nil {
				return fmt.Errorf("it is answered by %+v", got)
			}
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				return fmt.Errorf("it hangs: %w", err)
			}
			return nil
		})
	}
}

// afterHeader makes a request on a connection that begins with a header.
func (w *world) afterHeader(ctx context.Context, a netip.Addr, header string) (heard, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := w.byClient(ctx, "tcp", netip.AddrPortFrom(a, 80).String())
	if err != nil {
		return heard{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return heard{}, err
	}
	if _, err := io.WriteString(conn, header+"GET / HTTP/1.1\r\nHost: echo.example.com\r\nConnection: close\r\n\r\n"); err != nil {
		return heard{}, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return heard{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return heard{}, fmt.Errorf("it answers %s", response.Status)
	}
	return readHeard(response)
}
