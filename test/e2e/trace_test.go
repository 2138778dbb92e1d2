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
	w.traceOfGateway(traces)
}

// traceOfGateway wants one trace from the event of a new Gateway over the ledger and
// the Envoys to its status, and to the announcement.
func (w *world) traceOfGateway(traces *lab.Traces) {
	w.Helper()
	class := w.class()
	w.gateway("first", class) // so that there are Envoys
	w.allListed("first", class)
	a := w.gateway("web", class)[0]
	var of map[string]lab.Span
	w.await("the trace of a Gateway", func(context.Context) error {
		change := lab.Span{}
		for _, s := range traces.Spans() {
			if s.Name == "gateway.change" && s.Attributes["fairlead.gateway"] == "web" && (change.ID == "" || s.Start < change.Start) {
				change = s
			}
		}
		of = map[string]lab.Span{}
		for _, s := range traces.Spans() {
			if s.Trace == change.Trace && change.ID != "" {
				of[s.ID] = s
			}
		}
		for _, name := range []string{"gateway.change", "gateway.build", "allocate", "ledger.write", "xds.encode", "xds.deliver", "status.write", "announce"} {
			if _, ok := named(of, name); !ok {
				return fmt.Errorf("the trace %q has no span %s: it has %v", change.Trace, name, of)
			}
		}
		return nil
	})
	change, _ := named(of, "gateway.change")
	deliver, _ := named(of, "xds.deliver")
	announce, _ := named(of, "announce")
	if deliver.Parent != change.ID || deliver.Attributes["fairlead.envoys"] != "3" {
		w.Errorf("the change %+v was brought to %+v, want 3 Envoys", change, deliver)
	}
	if announce.Service != "fairlead-speaker" || announce.Attributes["fairlead.address"] != a.String() {
		w.Errorf("it was announced as %+v, want %s", announce, a)
	}
	after := func(at uint64) float64 { return float64(int64(at)-int64(change.Start)) / 1e6 }
	for _, s := range of {
		w.Logf("%8.1f ms to %8.1f ms: %s %s %v", after(s.Start), after(s.End), s.Service, s.Name, s.Attributes)
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
