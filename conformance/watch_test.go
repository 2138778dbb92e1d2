package conformance_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"

	"github.com/fairlead/fairlead/conformance/artefacts"
)

var (
	fairleadNamespace = flag.String("fairlead-namespace", "fairlead-system", "namespace that Fairlead is installed in, for logs of tests that fail")
	envoySockets      = flag.String("envoy-sockets", "", "pattern of paths of Envoys' admin sockets, where this machine sees the pods' volumes")
)

// longestLook bounds how long a failed test is kept by looking at its remains.
const longestLook = time.Minute

// watcher keeps what is to be seen in the cluster when a test has failed.
type watcher struct {
	collect func(ctx context.Context, dir string, since time.Time) error
	keep    bool // there is a folder that outlives the test
	began   time.Time

	mu   sync.Mutex
	seen map[string]bool // names of tests
}

func newWatcher(config *rest.Config, began time.Time) (*watcher, error) {
	c, err := artefacts.New(config, *fairleadNamespace)
	if err != nil {
		return nil, err
	}
	c.EnvoySockets = *envoySockets
	keep := flag.Lookup("test.artifacts")
	return &watcher{collect: c.Collect, keep: keep != nil && keep.Value.String() == "true", began: began, seen: map[string]bool{}}, nil
}

type testFunc = func(*testing.T, *suite.ConformanceTestSuite)

// around looks at a test's remains before they are removed: when the test
// returns or gives up, and, for one whose parts run in parallel and fail later,
// when the parts have ended.
func (w *watcher) around(test testFunc) testFunc {
	return func(t *testing.T, s *suite.ConformanceTestSuite) {
		start := time.Now()
		t.Cleanup(func() { w.look(t, start) })
		defer w.look(t, start)
		test(t, s)
	}
}

// hook sees tests that failed before they began, such as when their manifests
// could not be applied.
func (w *watcher) hook(t *testing.T, _ suite.ConformanceTest, _ *suite.ConformanceTestSuite) {
	w.look(t, w.began)
}

// setup looks when the suite itself has failed and no test of it.
func (w *watcher) setup(t *testing.T) {
	w.mu.Lock()
	tests := len(w.seen)
	w.mu.Unlock()
	if tests == 0 {
		w.look(t, w.began)
	}
}

// failing is the part of a test that look needs.
type failing interface {
	Failed() bool
	Name() string
	ArtifactDir() string
	Log(args ...any)
	Logf(format string, args ...any)
}

func (w *watcher) look(t failing, since time.Time) {
	if !t.Failed() || !w.first(t.Name()) {
		return
	}
	if !w.keep {
		t.Log("to keep objects and logs of tests that fail, add -artifacts to go test")
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), longestLook)
	defer cancel()
	dir := filepath.Join(t.ArtifactDir(), "cluster")
	if err := w.collect(ctx, dir, since); err != nil {
		t.Logf("not all could be kept: %v", err)
	}
	t.Logf("objects and logs are in %s", dir)
}

func (w *watcher) first(test string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[test] {
		return false
	}
	w.seen[test] = true
	return true
}

// stub is a test of the suite to be looked at.
type stub struct {
	name, dir string
	failed    bool
	log       []string
}

func (s *stub) Failed() bool                    { return s.failed }
func (s *stub) Name() string                    { return s.name }
func (s *stub) ArtifactDir() string             { return s.dir }
func (s *stub) Log(args ...any)                 { s.log = append(s.log, fmt.Sprint(args...)) }
func (s *stub) Logf(format string, args ...any) { s.log = append(s.log, fmt.Sprintf(format, args...)) }

func TestLook(t *testing.T) {
	var dirs []string
	w := &watcher{keep: true, seen: map[string]bool{}}
	w.collect = func(_ context.Context, dir string, _ time.Time) error {
		dirs = append(dirs, dir)
		return errors.New("no logs")
	}
	bad := &stub{name: "bad", dir: "artefacts", failed: true}
	for range 2 {
		w.look(&stub{name: "good"}, time.Now())
		w.look(bad, time.Now())
	}
	if want := []string{filepath.Join("artefacts", "cluster")}; !slices.Equal(dirs, want) {
		t.Errorf("looked into %v, want once for the test that failed: %v", dirs, want)
	}
	if all := strings.Join(bad.log, "\n"); !strings.Contains(all, "no logs") || !strings.Contains(all, dirs[0]) {
		t.Errorf("the test's log does not say what is where, and what is not:\n%s", all)
	}
}

// Without a folder that stays, nothing is collected, and it is said how to.
func TestLookKeepsNothing(t *testing.T) {
	w := &watcher{seen: map[string]bool{}}
	bad := &stub{name: "bad", failed: true}
	w.look(bad, time.Now())
	if all := strings.Join(bad.log, "\n"); !strings.Contains(all, "-artifacts") {
		t.Errorf("the test's log does not name the flag:\n%s", all)
	}
}

// The tests of the suite run as they are.
func TestAround(t *testing.T) {
	w := &watcher{seen: map[string]bool{}}
	given := &suite.ConformanceTestSuite{}
	var got *suite.ConformanceTestSuite
	t.Run("inner", func(t *testing.T) {
		w.around(func(_ *testing.T, s *suite.ConformanceTestSuite) { got = s })(t, given)
	})
	if got != given || len(w.seen) > 0 {
		t.Errorf("the test got %p, want %p; looked at %v", got, given, w.seen)
	}
}
