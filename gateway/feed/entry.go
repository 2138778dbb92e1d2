package feed

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync/atomic"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
)

// entry is one resource as it is sent. All but alone stays as it was made.
type entry struct {
	// version is made of the content, and is the same in every controller.
	version string
	// parts are its bytes, one after the other.
	parts [][]byte
	// source is what it was made from. One that comes again is not encoded again.
	source proto.Message
	// needs are what a cluster needs before it can be of use.
	needs []ref
	// table is what a route table is encoded as.
	table *table
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
	sum, err := e.encode(m, before)
	if err != nil {
		return nil, fmt.Errorf("encoding the %s %q: %w", k, name, err)
	}
	e.version = hex.EncodeToString(sum[:16])
	if c, ok := m.(*clusterv3.Cluster); ok {
		e.needs = needsOf(c)
	}
	if before != nil && before.version == e.version {
		e.alone.Store(before.alone.Load())
	}
	return e, nil
}

// encode makes the bytes of a message, and hashes them.
func (e *entry) encode(m proto.Message, before *entry) (sum [sha256.Size]byte, err error) {
	rc, ok := m.(*routev3.RouteConfiguration)
	if !ok {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		e.parts = [][]byte{b}
		return sha256.Sum256(b), err
	}
	var old *table
	if before != nil {
		old = before.table
	}
	if e.table, sum, err = encodeTable(rc, old); err == nil {
		e.parts = e.table.parts()
	}
	return sum, err
}

// size is how many bytes it has.
func (e *entry) size() int {
	n := 0
	for _, p := range e.parts {
		n += len(p)
	}
	return n
}

func sameVersion(a, b *entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a == b || a.version == b.version
}
