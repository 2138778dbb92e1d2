package feed

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"
)

// However a table came to be, its bytes say what it says, and its version depends on
// nothing else.
func TestTableIsEncodedFromItsPredecessor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rc := &routev3.RouteConfiguration{Name: "table", IgnorePortInHostMatching: true, ValidateClusters: wrapperspb.Bool(false)}
		var last *entry
		for step := range rapid.IntRange(1, 6).Draw(t, "steps") {
			rc = &routev3.RouteConfiguration{
				Name: rc.GetName(), ValidateClusters: rc.GetValidateClusters(), VirtualHosts: slices.Clone(rc.GetVirtualHosts()),
				IgnorePortInHostMatching: rapid.Bool().Draw(t, "ignore port"),
			}
			for i := range rapid.IntRange(0, 3).Draw(t, "changes") {
				at := rapid.IntRange(0, len(rc.VirtualHosts)).Draw(t, "at")
				if rapid.Bool().Draw(t, "delete") && at < len(rc.VirtualHosts) {
					rc.VirtualHosts = slices.Delete(rc.VirtualHosts, at, at+1)
				} else {
					rc.VirtualHosts = slices.Insert(rc.VirtualHosts, at, hostOf(fmt.Sprintf("h%d-%d", step, i), "c"))
				}
			}
			e, err := encode(routes, "table", rc, last)
			if err != nil {
				t.Fatal(err)
			}
			last = e
			got, err := e.body.UnmarshalNew()
			if err != nil || !proto.Equal(got, rc) {
				t.Fatalf("it reads %v, %v; want %v", got, err, rc)
			}
			anew, err := encode(routes, "table", proto.Clone(rc), nil)
			if err != nil {
				t.Fatal(err)
			}
			if anew.version != e.version || !bytes.Equal(anew.body.GetValue(), e.body.GetValue()) {
				t.Fatal("made anew it is another")
			}
			if mixed, err := encode(routes, "table", proto.Clone(rc), e); err != nil || mixed.version != e.version {
				t.Fatalf("made anew with the last one at hand it is another: %v", err)
			}
		}
	})
}

func TestVersionsDiffer(t *testing.T) {
	seen := map[string]int{}
	for i, hosts := range [][]*routev3.VirtualHost{
		{}, {hostOf("a", "c")}, {hostOf("b", "c")}, {hostOf("a", "d")}, {hostOf("a", "c"), hostOf("b", "c")}, {hostOf("b", "c"), hostOf("a", "c")},
	} {
		e, err := encode(routes, "table", &routev3.RouteConfiguration{Name: "table", VirtualHosts: hosts}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if j, ok := seen[e.version]; ok {
			t.Errorf("tables %d and %d have one version", i, j)
		}
		seen[e.version] = i
	}
}
