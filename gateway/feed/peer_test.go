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

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/gateway/pki"
)

func controller() pki.Subject { return pki.Controller(serverName) }

// ends opens a stream, asks for clusters, and says how it ends.
func ends(t *testing.T, addr string, config *tls.Config, node *corev3.Node) error {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	str, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	_ = str.Send(&discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: typeURLs[clusters]})
	resp, err := str.Recv()
	if err == nil && len(resp.GetResources()) == 0 {
		return fmt.Errorf("nothing came")
	}
	return err
}

func TestWhoGetsWhat(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.Ready(testFleet)
	s.Ready("class/other")
	foreign := newAuthority(t)
	foreignClient, err := foreign.identity(pki.Fleet(testFleet)).Client(serverName)
	if err != nil {
		t.Fatal(err)
	}
	foreignClient.RootCAs = s.ca.client(testFleet).RootCAs
	without := s.ca.client(testFleet)
	without.Certificates = nil
	node := func(cluster, id string) *corev3.Node { return &corev3.Node{Cluster: cluster, Id: id} }
	for _, c := range []struct {
		name   string
		config *tls.Config
		node   *corev3.Node
		want   codes.Code
	}{
		{"its own fleet's", s.ca.client(testFleet), node(testFleet, "fairlead/a"), codes.OK},
		{"another fleet gets nothing of it", s.ca.client("class/other"), node("class/other", "fairlead/a"), codes.Unknown},
		{"another fleet in its name", s.ca.client("class/other"), node(testFleet, "fairlead/a"), codes.PermissionDenied},
		{"no node", s.ca.client(testFleet), nil, codes.PermissionDenied},
		{"no pod", s.ca.client(testFleet), node(testFleet, "a"), codes.PermissionDenied},
		{"a pod that cannot be", s.ca.client(testFleet), node(testFleet, "fairlead/a/b"), codes.PermissionDenied},
		{"a certificate of another authority", foreignClient, node(testFleet, "fairlead/a"), codes.Unavailable},
		{"no certificate", without, node(testFleet, "fairlead/a"), codes.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := ends(t, s.addr, c.config, c.node); status.Code(err) != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// A listener that takes any client, by mistake, still gives nothing away.
func TestUnverifiedClientGetsNothing(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.Ready(testFleet)
	s.stop()
	open := s.ca.identity(controller()).Server()
	inner := open.GetConfigForClient
	open.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := inner(h)
		if err == nil {
			c.ClientAuth = tls.RequestClientCert
		}
		return c, err
	}
	s.serve(open)
	t.Cleanup(func() { s.stop() })
	without := s.ca.client(testFleet)
	without.Certificates = nil
	if err := ends(t, s.addr, without, &corev3.Node{Cluster: testFleet, Id: "fairlead/a"}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v", err)
	}
}

func FuzzPod(f *testing.F) {
	f.Add("fairlead/a")
	f.Add("a/b/c")
	f.Add("/")
	f.Add(strings.Repeat("a", 400) + "/b")
	f.Fuzz(func(t *testing.T, id string) {
		if pod, err := podOf(&corev3.Node{Cluster: "c", Id: id}, "c"); err == nil && pod.String() != id {
			t.Errorf("%q is read as %q", id, pod)
		}
		_ = shorten(id)
	})
}

// pipe passes bytes between an Envoy and the server until it is cut: then both wait
// for each other as they do when a node dies.
type pipe struct {
	net.Listener
	to    string
	cut   chan struct{}
	conns sync.WaitGroup
}

func newPipe(t *testing.T, to string) *pipe {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pipe{Listener: l, to: to, cut: make(chan struct{})}
	p.conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.Go(func() { p.pass(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.conns.Wait()
	})
	return p
}

func (p *pipe) pass(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer to.Close()
	var both sync.WaitGroup
	for _, ends := range [][2]net.Conn{{from, to}, {to, from}} {
		both.Go(func() {
			buf := make([]byte, 1<<12)
			for {
				n, err := ends[0].Read(buf)
				if err != nil {
					ends[1].Close()
					return
				}
				select {
				case <-p.cut: // swallow it
				default:
					_, _ = ends[1].Write(buf[:n])
				}
			}
		})
	}
	both.Wait()
}

// An Envoy whose node dies says nothing, not even that the connection has ended.
func TestDeadEnvoyIsNoticed(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.Ready(testFleet)
	p := newPipe(t, s.addr)
	e := newFakeEnvoy(t, testFleet, "fairlead/a")
	e.connect(p.Addr().String(), s.ca.client(testFleet))
	t.Cleanup(e.disconnect)
	e.gets(web("one", "cart"))
	s.progresses("one", "a acknowledged serving")
	close(p.cut)
	s.progresses("one")
}
