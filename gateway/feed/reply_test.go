package feed

import (
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"pgregory.net/rapid"
)

// What goes out piece by piece is the message that gRPC's own codec makes of the whole.
func TestRepliesAreDeltaDiscoveryResponses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		head := &discoveryv3.DeltaDiscoveryResponse{
			TypeUrl: rapid.SampledFrom(typeURLs[:]).Draw(t, "type"), Nonce: "17", RemovedResources: rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "removed"),
		}
		want := proto.CloneOf(head)
		r := &reply{head: head}
		for range rapid.IntRange(0, 4).Draw(t, "resources") {
			e := &entry{version: rapid.StringN(0, 32, -1).Draw(t, "version")}
			var value []byte
			for range rapid.IntRange(0, 4).Draw(t, "parts") {
				size := rapid.SampledFrom([]int{0, 1, 127, 128, bufferBytes - 1, bufferBytes, 20000}).Draw(t, "size")
				part := []byte(strings.Repeat(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "byte"), size))
				e.parts, value = append(e.parts, part), append(value, part...)
			}
			name := rapid.StringN(0, 200, -1).Draw(t, "name")
			r.offers = append(r.offers, offer{name, e})
			want.Resources = append(want.Resources, &discoveryv3.Resource{Name: name, Version: e.version, Resource: &anypb.Any{TypeUrl: head.GetTypeUrl(), Value: value}})
		}
		sent, err := newCodec().Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		got := &discoveryv3.DeltaDiscoveryResponse{}
		if err := proto.Unmarshal(sent.Materialize(), got); err != nil || !proto.Equal(got, want) {
			t.Fatalf("it reads %v, %v; want %v", got, err, want)
		}
	})
}

// A large resource is sent as it lies in memory.
func TestLargePartsAreNotCopied(t *testing.T) {
	part := make([]byte, 1<<20)
	r := &reply{head: &discoveryv3.DeltaDiscoveryResponse{}, offers: []offer{{"table", &entry{parts: [][]byte{part}}}}}
	sent, err := newCodec().Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range sent {
		if d := b.ReadOnlyData(); len(d) > 0 && &d[0] == &part[0] {
			return
		}
	}
	t.Error("it is copied")
}
