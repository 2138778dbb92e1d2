package feed

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync/atomic"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// entry is one resource as it is sent. All but alone stays as it was made.
type entry struct {
	// version is made of the content, and is the same in every controller.
	version string
	body    *anypb.Any
	// source is what it was made from. One that comes again is not encoded again.
	source proto.Message
	// needs are what a cluster needs before it can be of use.
	needs []ref
	// hosts are where the virtual hosts of a route table lie in body.
	hosts []span
	// alone says that an Envoy has rejected it: others get it by itself.
	alone atomic.Bool
}

// encode makes an entry. Before is the last one of that name, or nil: what did not
// change is taken from it.
func encode(k kind, name string, m proto.Message, before *entry) (*entry, error) {
	if before != nil && before.source == m {
		return before, nil
	}
	e := &entry{source: m}
	var b []byte
	var sum [sha256.Size]byte
	var err error
	if rc, ok := m.(*routev3.RouteConfiguration); ok {
		var old *table
		if before != nil {
			old = &table{bytes: before.body.GetValue(), hosts: before.hosts}
		}
		t, s, tErr := encodeTable(rc, old)
		b, e.hosts, sum, err = t.bytes, t.hosts, s, tErr
	} else {
		b, err = proto.MarshalOptions{Deterministic: true}.Marshal(m)
		sum = sha256.Sum256(b)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding the %s %q: %w", k, name, err)
	}
	e.version = hex.EncodeToString(sum[:16])
	e.body = &anypb.Any{TypeUrl: typeURLs[k], Value: b}
	if c, ok := m.(*clusterv3.Cluster); ok {
		e.needs = needsOf(c)
	}
	if before != nil && before.version == e.version {
		e.alone.Store(before.alone.Load())
	}
	return e, nil
}

func sameVersion(a, b *entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a == b || a.version == b.version
}
