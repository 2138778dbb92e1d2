package drain

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// envoy answers as an admin interface does, with as many connections as it has
// left.
type envoy struct {
	mu       sync.Mutex
	left     []int // one for each question; the last stays
	requests []string
}

func (e *envoy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests = append(e.requests, r.Method+" "+r.URL.Path)
	if r.URL.Path != "/stats" {
		fmt.Fprintln(w, "OK")
		return
	}
	n := e.left[0]
	if len(e.left) > 1 {
		e.left = e.left[1:]
	}
	fmt.Fprintf(w, "listener.[__]_10080.downstream_cx_active: %d\nlistener.[__]_10080.worker_0.downstream_cx_active: %d\nlistener.observe.downstream_cx_active: 7\nlistener.admin.downstream_cx_active: 1\n", n, n)
}

func serve(t *testing.T, h http.Handler) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return socket
}

func TestItEndsWithTheLastConnection(t *testing.T) {
	e := &envoy{left: []int{3, 1, 0}}
	left, err := Run(t.Context(), Options{Socket: serve(t, e), Timeout: time.Minute, Poll: time.Millisecond, Ignore: []string{"observe"}})
	if err != nil || left != 0 {
		t.Errorf("%d left, error %v", left, err)
	}
	want := []string{"POST /drain_listeners", "GET /stats", "GET /stats", "GET /stats"}
	if !slices.Equal(e.requests, want) {
		t.Errorf("asked %q, want %q", e.requests, want)
	}
}

func TestItEndsWithItsTime(t *testing.T) {
	e := &envoy{left: []int{5}}
	left, err := Run(t.Context(), Options{Socket: serve(t, e), Timeout: 200 * time.Millisecond, Poll: time.Millisecond, Ignore: []string{"observe"}})
	if err != nil || left != 5 {
		t.Errorf("%d left, error %v; want 5 and none", left, err)
	}
}

func TestAnEnvoyThatIsGoneIsAnError(t *testing.T) {
	if _, err := Run(t.Context(), Options{Socket: filepath.Join(t.TempDir(), "none"), Timeout: time.Minute}); err == nil {
		t.Error("no error without an Envoy")
	}
}

func TestItStopsWhenItIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := &envoy{left: []int{5}}
	if _, err := Run(ctx, Options{Socket: serve(t, e), Settle: time.Hour}); err == nil || len(e.requests) > 0 {
		t.Errorf("error %v, requests %q", err, e.requests)
	}
}

func TestNonsenseIsNotCounted(t *testing.T) {
	if _, err := count("listener.a.downstream_cx_active: many\n", nil); err == nil {
		t.Error("many is taken for a number")
	}
}

func TestInstall(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("program"), 0o400); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a restarted pod installs over it
		if err := Install(from, to); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".install-*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if err := Install(filepath.Join(dir, "none"), to); err == nil {
		t.Error("a program that is not there is installed")
	}
}
