package feed

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// What a returning Envoy does not ask for tells that a cluster waits for endpoints which
// it says it has: asked of Envoy, which waits for ever here.
func TestRealEnvoyIsCutOffBehindACluster(t *testing.T) {
	t.Run("while it serves", func(t *testing.T) {
		s, w := newCutScene(t)
		port := freePort(t)
		one := patient(realWeb("one", port, "cart"))
		s.set("one", one)
		s.progresses("one", "envoy-1 acknowledged serving")
		one.Clusters = map[string]*clusterv3.Cluster{"one/cart": clusterOf("one/cart", 3*time.Second)}
		w.cutBehind("cluster_modified: 1")
		s.set("one", patient(one))
		s.progresses("one", "envoy-1 acknowledged serving")
		w.wasCut()
		mustAnswer(t, port, "cart.example.com", "200 a")
	})
	t.Run("while it starts", func(t *testing.T) {
		s, w := newCutScene(t)
		port := freePort(t)
		one, held := patient(realWeb("one", freePort(t), "cart")), patient(realWeb("held", freePort(t), "held"))
		long := ads() // what keeps the Envoy from starting does not for ever
		long.InitialFetchTimeout = durationpb.New(3 * time.Second)
		held.Clusters["held/held"].TransportSocket = upstreamTLS("held/nobody has this", long)
		s.set("one", one)
		s.set("held", held)
		eventually(t, "the endpoints of the first clusters", func() (bool, string) { return s.holds(assignments, "cart"), "they have not come" })
		w.cutBehind("cluster_added: 4")
		s.set("two", patient(realWeb("two", port, "cart")))
		eventually(t, "the cut", func() (bool, string) { return w.cuts.Load() == 1, "it has not come" })
		s.Remove(testFleet, gw("held"))
		s.progresses("two", "envoy-1 acknowledged serving")
		w.wasCut()
		mustAnswer(t, port, "cart.example.com", "200 a")
	})
}

// patient lets clusters wait for their endpoints without end.
func patient(r Resources) Resources {
	for _, c := range r.Clusters {
		c.EdsClusterConfig.EdsConfig.InitialFetchTimeout = durationpb.New(0)
	}
	return r
}

// holds says whether an Envoy has some version of a resource.
func (s *scene) holds(k kind, name string) bool {
	s.Feed.mu.Lock()
	defer s.Feed.mu.Unlock()
	for str := range s.fleets[testFleet].streams {
		if str.types[k].held(name) {
			return true
		}
	}
	return false
}

// wire is what lies between an Envoy and a Feed, and is cut at a given moment.
type wire struct {
	t     *testing.T
	admin func() string
	// until is the figure of the Envoy's that shows that it has the cluster behind
	// which the wire is cut; nil: it is not.
	until atomic.Pointer[string]
	cuts  atomic.Int32

	mu    sync.Mutex
	conns []net.Conn
}

// newCutScene is a scene with a real Envoy behind a wire.
func newCutScene(t *testing.T) (*scene, *wire) {
	t.Helper()
	w := &wire{t: t}
	opts := fast()
	opts.Sent = w.sent
	s := newScene(t, opts)
	s.Slice(backendSlice("cart", backend(t, "a")))
	s.Ready(testFleet)
	dir := startEnvoy(t, s.ca, w.listen(s.addr), "envoy-1")
	w.admin = func() string {
		b, err := os.ReadFile(filepath.Join(dir, adminPath))
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	return s, w
}

// listen carries connections to addr.
func (w *wire) listen(addr string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, in, out)
			w.mu.Unlock()
			running.Go(func() { carry(in, out) })
			running.Go(func() { carry(out, in) })
		}
	})
	w.t.Cleanup(func() {
		l.Close()
		w.cut()
		running.Wait()
	})
	return l.Addr().String()
}

func carry(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	from.Close()
	to.Close()
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

func (w *wire) cutBehind(figure string) { w.until.Store(&figure) }

func (w *wire) wasCut() {
	w.t.Helper()
	if n := w.cuts.Load(); n != 1 {
		w.t.Errorf("the connection was cut %d times", n)
	}
}

// sent is called before a response goes out. It lets no endpoints pass before the wire
// is cut.
func (w *wire) sent(kind string, _ int) {
	if kind != assignments.String() {
		return
	}
	figure := w.until.Swap(nil)
	if figure == nil {
		return
	}
	for end := time.Now().Add(10 * time.Second); !w.shows(*figure); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Errorf("the Envoy does not show %q", *figure)
			break
		}
	}
	w.cut()
	w.cuts.Add(1)
}

// shows says whether the Envoy has a figure.
func (w *wire) shows(figure string) bool {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("http://%s/stats?filter=^cluster_manager\\.cluster_", w.admin()))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return err == nil && strings.Contains(string(b), figure+"\n")
}
