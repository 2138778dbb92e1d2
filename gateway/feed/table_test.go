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
		changes := rapid.SampledFrom([]int{3, 300}).Draw(t, "at most at once")
		for step := range rapid.IntRange(1, 6).Draw(t, "steps") {
			rc = &routev3.RouteConfiguration{
				Name: rc.GetName(), ValidateClusters: rc.GetValidateClusters(), VirtualHosts: slices.Clone(rc.GetVirtualHosts()),
				IgnorePortInHostMatching: rapid.Bool().Draw(t, "ignore port"),
			}
			for i := range rapid.IntRange(0, changes).Draw(t, "changes") {
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
			got := &routev3.RouteConfiguration{}
			if err := proto.Unmarshal(slices.Concat(e.parts...), got); err != nil || !proto.Equal(got, rc) {
				t.Fatalf("it reads %v, %v; want %v", got, err, rc)
			}
			anew, err := encode(routes, "table", proto.Clone(rc), nil)
			if err != nil {
				t.Fatal(err)
			}
			if anew.version != e.version || !slices.EqualFunc(anew.parts, e.parts, bytes.Equal) {
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

// A block ends with a host that ends blocks, wherever that stands, or once it is large:
// a host that comes, changes or goes makes one block anew, and all others are shared.
func TestBlocksOfATableAreShared(t *testing.T) {
	var hosts []*routev3.VirtualHost
	for i := range 2000 {
		hosts = append(hosts, hostOf(fmt.Sprintf("h%04d", i), "c"))
	}
	encoded := func(hosts []*routev3.VirtualHost, before *entry) *entry {
		e, err := encode(routes, "table", &routev3.RouteConfiguration{Name: "table", VirtualHosts: hosts}, before)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	before := encoded(hosts, nil)
	if n := len(before.table.blocks); n < 15 || n > 70 {
		t.Fatalf("%d hosts are %d blocks", len(hosts), n)
	}
	for _, at := range []int{0, 1, 777, 1998, 1999} {
		for what, next := range map[string][]*routev3.VirtualHost{
			"comes":   slices.Insert(slices.Clone(hosts), at, hostOf("new", "c")),
			"changes": slices.Replace(slices.Clone(hosts), at, at+1, hostOf(hosts[at].GetName(), "other")),
			"goes":    slices.Delete(slices.Clone(hosts), at, at+1),
		} {
			after := encoded(next, before)
			made := 0
			for _, k := range after.table.blocks {
				if !slices.Contains(before.table.blocks, k) {
					made++
				}
			}
			// It may have ended its block, or end it now.
			if most := 2; made > most || made == 0 && what != "goes" {
				t.Errorf("host %d %s: %d blocks of %d are made anew, want 1 or %d", at, what, made, len(after.table.blocks), most)
			}
		}
	}
}

func TestBlocksAreBounded(t *testing.T) {
	var hosts []*routev3.VirtualHost
	for i := range 200 {
		h := hostOf(fmt.Sprintf("h%04d", i), "c")
		for range 200 {
			h.Routes = append(h.Routes, hostOf("a-route-of-some-length", "c").GetRoutes()...)
		}
		hosts = append(hosts, h)
	}
	e, err := encode(routes, "table", &routev3.RouteConfiguration{Name: "table", VirtualHosts: hosts}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range e.table.blocks {
		if whole := len(k.bytes) - len(k.bytesOf(len(k.hosts)-1)); whole >= blockBytes {
			t.Errorf("block %d has %d bytes before its last host", i, whole)
		}
	}
}
