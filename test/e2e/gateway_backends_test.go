//go:build e2e

package e2e

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// Backends that are scaled away while they answer, and whose pods do not wait for
// anybody, cost clients that read no answer: neither those that keep their
// connections nor those that come anew.
func TestBackendsScaleAway(t *testing.T) {
	w := newWorld(t, "172.30.0.190-172.30.0.199")
	w.apply(lab.Abrupt(lab.Echo(w.namespace, "echo", 3)), w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"))
	a := w.gateway("web", w.class())[0]
	w.answers(a, 80)
	if err := w.AwaitReady(w.ctx, w.namespace, "echo"); err != nil {
		t.Fatal(err)
	}
	w.settled(a)
	target := netip.AddrPortFrom(a, 80).String()
	asking := map[string]*lab.Questions{}
	for kind, kept := range map[string]bool{"kept connections": true, "new connections": false} {
		// Answers take so long that each pod always has some to give when it ends.
		asking[kind] = lab.StartQuestions(w.ctx, "http://"+target+"/?delay=100ms", kept, 10*time.Millisecond, 10*time.Second, func(ctx context.Context) (net.Conn, error) {
			return w.Cluster.Dial(ctx, testbed.Client, "tcp", target)
		})
	}
	for _, replicas := range []int32{1, 3, 1, 3} {
		if err := w.Scale(w.ctx, w.namespace, "echo", replicas); err != nil {
			t.Error(err)
			break
		}
	}
	for kind, q := range asking {
		got := q.Stop()
		t.Logf("%s: %+v", kind, got)
		if got.Asked == 0 || got.Failed > 0 {
			t.Errorf("%s: %d of %d requests failed while backends were scaled away, the first with %s", kind, got.Failed, got.Asked, got.Why)
		}
	}
}
