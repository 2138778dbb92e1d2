//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/fairlead/fairlead/test/chart"
	"github.com/fairlead/fairlead/test/lab"
)

// One trace leads from a Service's event over the ledger and the status to the
// announcement, through both programs.
func TestTraceGoesFromServiceToAnnouncement(t *testing.T) {
	w := newWorld(t, "172.30.0.220-172.30.0.229")
	traces, err := w.CollectTraces()
	if err != nil {
		t.Fatal(err)
	}
	// Ended last, after the programs that send to it have other values.
	t.Cleanup(func() { traces.Stop() })
	w.backend("echo", 1)
	values := defaultValues()
	values["tracing"] = chart.Values{"endpoint": traces.Endpoint, "protocol": "http/protobuf", "ratio": "1"}
	w.install(values)
	a := w.service("s", "echo", 1)[0]
	w.answers(a, 80)
	node := w.announcer(a, "any node", anyNode)

	var announce lab.Span
	var controllers map[string]lab.Span // of the same trace, by ID
	w.await("a trace of both programs", func(context.Context) error {
		controllers = map[string]lab.Span{}
		spans := traces.Spans()
		found := false
		for _, s := range spans {
			if s.Name == "announce" && s.Attributes["fairlead.address"] == a.String() {
				announce, found = s, true
			}
		}
		if !found {
			return fmt.Errorf("no announcement of %s among %d spans", a, len(spans))
		}
		for _, s := range spans {
			if s.Trace == announce.Trace && s.Service == "fairlead-controller" {
				controllers[s.ID] = s
			}
		}
		for _, name := range []string{"service.reconcile", "allocate", "ledger.write", "status.write"} {
			if _, ok := named(controllers, name); !ok {
				return fmt.Errorf("trace %s of the announcement has no span %s of the controller: it has %v", announce.Trace, name, controllers)
			}
		}
		return nil
	})
	if announce.Service != "fairlead-speaker" || announce.Attributes["k8s.node.name"] != node {
		t.Errorf("the announcement is told by %s with %v, want the speaker of %s", announce.Service, announce.Attributes, node)
	}
	write, ok := controllers[announce.Parent]
	if !ok || write.Name != "ledger.write" || write.Attributes["fairlead.address"] != a.String() || write.Attributes["fairlead.verb"] != "create" {
		t.Errorf("the announcement follows %+v, want the making of Address %s", write, a)
	}
	root, _ := named(controllers, "service.reconcile")
	status, _ := named(controllers, "status.write")
	if root.Parent != "" || write.Parent == "" || status.Parent != root.ID {
		t.Errorf("the spans do not hang together: %+v, %+v, %+v", root, write, status)
	}
	if write.End > status.Start || announce.Start < write.Start {
		t.Errorf("not in order: ledger %d to %d, status from %d, announcement from %d", write.Start, write.End, status.Start, announce.Start)
	}
}

func named(spans map[string]lab.Span, name string) (lab.Span, bool) {
	for _, s := range spans {
		if s.Name == name {
			return s, true
		}
	}
	return lab.Span{}, false
}
