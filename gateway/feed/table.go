package feed

import (
	"crypto/sha256"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// table is an encoded route table. A message on the wire is its fields one after
// the other, and a table is mostly virtual hosts: those that the last table has too
// (the same pointers) are copied from it instead of being encoded again, and of
// their hashes only the hash is made again.
type table struct {
	bytes []byte
	hosts []span
}

// span is where a virtual host lies in a table, with its tag and length.
type span struct {
	host     *routev3.VirtualHost
	from, to int
	sum      [sha256.Size]byte
}

const virtualHosts protowire.Number = 2

// encodeTable encodes a route table and hashes it. Before may be nil.
func encodeTable(rc *routev3.RouteConfiguration, before *table) (table, [sha256.Size]byte, error) {
	var none [sha256.Size]byte
	opts := proto.MarshalOptions{Deterministic: true}
	size := 1 << 10
	if before != nil {
		size += len(before.bytes) + len(before.bytes)/64
	}
	b, err := opts.MarshalAppend(make([]byte, 0, size), withoutHosts(rc))
	if err != nil {
		return table{}, none, err
	}
	digest := sha256.New()
	digest.Write(b)
	out, last := table{hosts: make([]span, 0, len(rc.GetVirtualHosts()))}, finder{table: before}
	for _, host := range rc.GetVirtualHosts() {
		at := span{host: host, from: len(b)}
		if old := last.find(host); old != nil {
			b, at.sum = append(b, before.bytes[old.from:old.to]...), old.sum
		} else {
			b = protowire.AppendTag(b, virtualHosts, protowire.BytesType)
			b = protowire.AppendVarint(b, uint64(opts.Size(host)))
			if b, err = opts.MarshalAppend(b, host); err != nil {
				return table{}, none, err
			}
			at.sum = sha256.Sum256(b[at.from:])
		}
		at.to = len(b)
		out.hosts = append(out.hosts, at)
		digest.Write(at.sum[:])
	}
	out.bytes = b
	return out, [sha256.Size]byte(digest.Sum(nil)), nil
}

// finder looks for the virtual hosts of a table in the order in which they mostly
// come: that of the table, with a few added, gone or replaced.
type finder struct {
	table *table
	next  int
	// all is made when the order is another.
	all    map[*routev3.VirtualHost]int
	misses int
}

// outOfOrder is how many hosts may not be where they are expected before all are
// put into a map.
const outOfOrder = 16

func (f *finder) find(host *routev3.VirtualHost) *span {
	if f.table == nil {
		return nil
	}
	hosts := f.table.hosts
	for skip := range 2 {
		if i := f.next + skip; i < len(hosts) && hosts[i].host == host {
			f.next = i + 1
			return &hosts[i]
		}
	}
	if f.misses++; f.misses < outOfOrder {
		return nil // it is encoded anew, which is right too
	}
	if f.all == nil {
		f.all = make(map[*routev3.VirtualHost]int, len(hosts))
		for i, s := range hosts {
			f.all[s.host] = i
		}
	}
	i, ok := f.all[host]
	if !ok {
		return nil
	}
	f.next = i + 1
	return &hosts[i]
}

// withoutHosts is a table's other fields, shared with it.
func withoutHosts(rc *routev3.RouteConfiguration) *routev3.RouteConfiguration {
	out := &routev3.RouteConfiguration{}
	to := out.ProtoReflect()
	rc.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Number() != virtualHosts {
			to.Set(f, v)
		}
		return true
	})
	return out
}
