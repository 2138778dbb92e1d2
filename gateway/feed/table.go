package feed

import (
	"crypto/sha256"
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// table is an encoded route table. A message on the wire is its fields one after
// the other, and a table is mostly virtual hosts, which are encoded in blocks.
// Blocks of which no host has changed (the same pointers) are shared with the last
// table: they are neither copied nor hashed again.
type table struct {
	// head are the other fields.
	head   []byte
	blocks []*block
}

// block is some virtual hosts that follow each other, as fields of a table. It is
// not modified. Where it ends follows from what is in it alone, and so from nothing
// that the table was before.
type block struct {
	hosts []*routev3.VirtualHost
	bytes []byte
	// ends is where each host ends in bytes.
	ends []int
	sum  [sha256.Size]byte
	// full says that it does not end because the table does.
	full bool
}

const (
	virtualHosts protowire.Number = 2
	// blockOdds is of how many hosts one ends its block.
	blockOdds = 64
	// blockBytes is from what size on every host ends its block.
	blockBytes = 64 << 10
)

// encodeTable encodes a route table and hashes it. Before may be nil.
func encodeTable(rc *routev3.RouteConfiguration, before *table) (*table, [sha256.Size]byte, error) {
	var none [sha256.Size]byte
	head, err := proto.MarshalOptions{Deterministic: true}.Marshal(withoutHosts(rc))
	if err != nil {
		return nil, none, err
	}
	digest := sha256.New()
	digest.Write(head)
	out, last := &table{head: head}, cursor{}
	if before != nil {
		out.blocks, last.blocks = make([]*block, 0, len(before.blocks)+1), before.blocks
	}
	for hosts := rc.GetVirtualHosts(); len(hosts) > 0; {
		k := last.take(hosts)
		if k == nil {
			if k, err = last.make(hosts); err != nil {
				return nil, none, err
			}
		}
		digest.Write(k.sum[:])
		out.blocks, hosts = append(out.blocks, k), hosts[len(k.hosts):]
	}
	return out, [sha256.Size]byte(digest.Sum(nil)), nil
}

// parts are the table's bytes.
func (t *table) parts() [][]byte {
	out := make([][]byte, 0, 1+len(t.blocks))
	out = append(out, t.head)
	for _, k := range t.blocks {
		out = append(out, k.bytes)
	}
	return out
}

// closes says whether a host ends its block: by its domains, so that a host that
// changes otherwise leaves the blocks as they are.
func closes(host *routev3.VirtualHost) bool {
	var all []byte
	for _, d := range host.GetDomains() {
		all = append(all, d...)
	}
	sum := sha256.Sum256(all)
	return int(sum[0]) < 256/blockOdds
}

// cursor goes through the blocks of a table beside the hosts of the next one.
type cursor struct {
	blocks []*block
	// at is the block, and host the host of it, that are expected next.
	at, host int
	// starts are blocks by their first host, made when another one comes than is
	// expected.
	starts map[*routev3.VirtualHost]int
}

// take gives the block that hosts begin with; nil: there is none.
func (c *cursor) take(hosts []*routev3.VirtualHost) *block {
	i, ok := c.starting(hosts[0])
	if !ok {
		return nil
	}
	c.at, c.host = i, 0
	k := c.blocks[i]
	if n := len(k.hosts); n > len(hosts) || n < len(hosts) && !k.full || !slices.Equal(k.hosts, hosts[:n]) {
		return nil
	}
	c.at++
	return k
}

// starting finds the block that a host is the first one of.
func (c *cursor) starting(host *routev3.VirtualHost) (int, bool) {
	next := c.at
	if next < len(c.blocks) && c.host == len(c.blocks[next].hosts) {
		next++
	}
	if next < len(c.blocks) && c.blocks[next].hosts[0] == host {
		return next, true
	}
	if c.starts == nil {
		c.starts = make(map[*routev3.VirtualHost]int, len(c.blocks))
		for i, k := range c.blocks {
			c.starts[k.hosts[0]] = i
		}
	}
	i, ok := c.starts[host]
	return i, ok
}

// make encodes the block that hosts begin with.
func (c *cursor) make(hosts []*routev3.VirtualHost) (*block, error) {
	opts := proto.MarshalOptions{Deterministic: true}
	k := &block{}
	if c.at < len(c.blocks) { // it is mostly that one, with a host more
		size := len(c.blocks[c.at].bytes)
		k.bytes = make([]byte, 0, size+size/8)
	}
	for i := 0; i < len(hosts) && !k.full; i++ {
		if old := c.find(hosts[i]); old != nil {
			k.bytes = append(k.bytes, old...)
		} else {
			k.bytes = protowire.AppendTag(k.bytes, virtualHosts, protowire.BytesType)
			k.bytes = protowire.AppendVarint(k.bytes, uint64(opts.Size(hosts[i])))
			var err error
			if k.bytes, err = opts.MarshalAppend(k.bytes, hosts[i]); err != nil {
				return nil, err
			}
		}
		k.ends = append(k.ends, len(k.bytes))
		k.full = closes(hosts[i]) || len(k.bytes) >= blockBytes
	}
	k.hosts = slices.Clone(hosts[:len(k.ends)]) // or all hosts that a table ever had would stay
	k.sum = sha256.Sum256(k.bytes)
	return k, nil
}

// find gives the bytes of a host, if it comes where it is expected or one host is
// left out before it. Another one is encoded anew, which is right too.
func (c *cursor) find(host *routev3.VirtualHost) []byte {
	at, i := c.at, c.host
	for range 2 {
		if at < len(c.blocks) && i == len(c.blocks[at].hosts) {
			at, i = at+1, 0
		}
		if at >= len(c.blocks) {
			return nil
		}
		if k := c.blocks[at]; k.hosts[i] == host {
			c.at, c.host = at, i+1
			return k.bytesOf(i)
		}
		i++
	}
	return nil
}

func (k *block) bytesOf(i int) []byte {
	if i == 0 {
		return k.bytes[:k.ends[0]]
	}
	return k.bytes[k.ends[i-1]:k.ends[i]]
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
