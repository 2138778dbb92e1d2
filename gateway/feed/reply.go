package feed

import (
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/encoding"
	codec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// reply is a DeltaDiscoveryResponse whose resources are sent as they were
// encoded: a large one, which is the same for all Envoys, is copied for none.
type reply struct {
	// head is all of it but the resources.
	head *discoveryv3.DeltaDiscoveryResponse
	// offers are the resources, without removals.
	offers []offer
}

// bufferBytes is from what size on a part of a resource is a buffer of its own.
const bufferBytes = 4 << 10

// Field numbers of DeltaDiscoveryResponse, Resource and Any.
const (
	responseResources protowire.Number = 2
	resourceVersion   protowire.Number = 1
	resourceBody      protowire.Number = 2
	resourceName      protowire.Number = 3
	anyTypeURL        protowire.Number = 1
	anyValue          protowire.Number = 2
)

// marshal gives the message on the wire. What comes last in each message is what
// the next one is in, so that only lengths go in between.
func (r *reply) marshal() (mem.BufferSlice, error) {
	b, err := proto.Marshal(r.head)
	if err != nil {
		return nil, err
	}
	var out mem.BufferSlice
	for _, o := range r.offers {
		b = o.appendHead(b, r.head.GetTypeUrl())
		for _, part := range o.entry.parts {
			if len(part) < bufferBytes {
				b = append(b, part...)
				continue
			}
			out = append(out, mem.SliceBuffer(b), mem.SliceBuffer(part))
			b = nil
		}
	}
	return append(out, mem.SliceBuffer(b)), nil
}

// appendHead appends all of a resource but the bytes of what is in it.
func (o offer) appendHead(b []byte, typeURL string) []byte {
	size := o.entry.size()
	body := sizeOf(anyTypeURL, len(typeURL)) + sizeOf(anyValue, size)
	b = appendSize(b, responseResources, sizeOf(resourceVersion, len(o.entry.version))+sizeOf(resourceName, len(o.name))+sizeOf(resourceBody, body))
	b = append(appendSize(b, resourceVersion, len(o.entry.version)), o.entry.version...)
	b = append(appendSize(b, resourceName, len(o.name)), o.name...)
	b = appendSize(b, resourceBody, body)
	b = append(appendSize(b, anyTypeURL, len(typeURL)), typeURL...)
	return appendSize(b, anyValue, size)
}

// sizeOf is how long a field of so many bytes is.
func sizeOf(n protowire.Number, size int) int {
	return protowire.SizeTag(n) + protowire.SizeBytes(size)
}

// appendSize appends what comes before the bytes of a field.
func appendSize(b []byte, n protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.BytesType), uint64(size))
}

// replies is gRPC's codec, which knows replies too.
type replies struct{ encoding.CodecV2 }

func newCodec() replies { return replies{encoding.GetCodecV2(codec.Name)} }

// Marshal encodes a message.
func (c replies) Marshal(v any) (mem.BufferSlice, error) {
	if r, ok := v.(*reply); ok {
		return r.marshal()
	}
	return c.CodecV2.Marshal(v)
}
