package l2

import (
	"cmp"
	"slices"

	"golang.org/x/net/bpf"
)

// maxRanges bounds how many ranges a filter tells apart. A program for this many fits into what the kernel allows one
// socket (net.core.optmem_max) also where that is 20 KiB.
const maxRanges = 96

// span is a range of keys, both ends in it.
type span struct{ lo, hi uint32 }

// cover is a set of disjoint spans in ascending order, at most maxRanges of them, that holds all keys added to it and, when there
// are more gaps than spans allowed, some others.
type cover []span

// contains tells whether k is let through.
func (c cover) contains(k uint32) bool {
	i, found := c.search(k)
	return found || i > 0 && c[i-1].hi >= k
}

// search finds the first span that begins at or after k.
func (c cover) search(k uint32) (int, bool) {
	return slices.BinarySearchFunc(c, k, func(s span, k uint32) int { return cmp.Compare(s.lo, k) })
}

// add widens the cover by a key; its cost depends on maxRanges only.
func (c cover) add(k uint32) cover { return c.widen(k, k) }

// widen adds all keys from lo to hi.
func (c cover) widen(lo, hi uint32) cover {
	from, _ := slices.BinarySearchFunc(c, lo, func(s span, lo uint32) int { return cmp.Compare(uint64(s.hi)+1, uint64(lo)) })
	to := from
	for to < len(c) && uint64(c[to].lo) <= uint64(hi)+1 {
		lo, hi = min(lo, c[to].lo), max(hi, c[to].hi)
		to++
	}
	c = slices.Replace(c, from, to, span{lo, hi})
	if len(c) > maxRanges {
		c = c.mergeNearest()
	}
	return c
}

// mergeNearest joins the two neighbours with the smallest gap.
func (c cover) mergeNearest() cover {
	best := 1
	for i := 2; i < len(c); i++ {
		if c[i].lo-c[i-1].hi < c[best].lo-c[best-1].hi {
			best = i
		}
	}
	c[best-1].hi = c[best].hi
	return slices.Delete(c, best, best+1)
}

// coverOf is the tightest cover of keys with at most maxRanges spans; it reorders
// keys.
func coverOf(keys []uint32) cover {
	slices.Sort(keys)
	var all cover
	for _, k := range keys {
		if n := len(all); n > 0 && (all[n-1].hi == k || all[n-1].hi+1 == k) {
			all[n-1].hi = k
			continue
		}
		all = append(all, span{k, k})
	}
	if len(all) <= maxRanges {
		return all
	}
	gaps := make([]int, len(all)-1)
	for i := range gaps {
		gaps[i] = i + 1
	}
	slices.SortFunc(gaps, func(a, b int) int {
		return cmp.Compare(all[b].lo-all[b-1].hi, all[a].lo-all[a-1].hi)
	})
	keep := gaps[:maxRanges-1]
	slices.Sort(keep)
	out := cover{{lo: all[0].lo}}
	for _, g := range keep {
		out[len(out)-1].hi = all[g-1].hi
		out = append(out, span{lo: all[g].lo})
	}
	out[len(out)-1].hi = all[len(all)-1].hi
	return out
}

// accept lets a whole frame through.
const accept = 0x40000

// Kinds of frames as the kernel tells them apart (linux/if_packet.h).
const (
	packetBroadcast = 1
	packetMulticast = 2
)

// addressed is the head of both filters: frames for other hosts (a promiscuous interface, a VLAN that is not ours) and our own
// are dropped. It is apart from the rest because only the kernel can run it.
func addressed(highest uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: highest, SkipFalse: 1},
		bpf.RetConstant{},
	}
}

// require drops the frame unless size bytes at off are val.
func require(off uint32, size int, val uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: off, Size: size},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: val, SkipTrue: 1},
		bpf.RetConstant{},
	}
}

// arpFilter lets through requests for an address in c, and whatever an address in c sends.
func arpFilter(c cover) []bpf.Instruction {
	if len(c) == 0 {
		return []bpf.Instruction{bpf.RetConstant{}}
	}
	targets := tree(c, false)
	p := slices.Concat(
		require(12, 2, etherTypeARP),
		require(ethLen, 4, 1<<16|etherTypeIPv4), // Ethernet, IPv4
		require(ethLen+4, 2, 6<<8|4),            // lengths of their addresses
	)
	p = append(p,
		bpf.LoadAbsolute{Off: ethLen + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arpRequest, SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(targets)) + 1},
		bpf.LoadAbsolute{Off: ethLen + 24, Size: 4})
	p = append(p, targets...)
	p = append(p, bpf.LoadAbsolute{Off: ethLen + 14, Size: 4})
	return append(p, tree(c, true)...)
}

// ndpFilter lets through solicitations and advertisements whose target ends in 32 bits that are in c.
func ndpFilter(c cover) []bpf.Instruction {
	if len(c) == 0 {
		return []bpf.Instruction{bpf.RetConstant{}}
	}
	p := slices.Concat(
		require(12, 2, etherTypeIPv6),
		require(ethLen+6, 2, protoICMPv6<<8|hopLimit),
	)
	p = append(p,
		bpf.LoadAbsolute{Off: icmpOff, Size: 2}, // type and code
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeNS << 8, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeNA << 8, SkipTrue: 1},
		bpf.RetConstant{},
		bpf.LoadAbsolute{Off: icmpOff + 20, Size: 4})
	return append(p, tree(c, true)...)
}

// tree searches c for the accumulator: a hit returns, a miss returns if last and goes to the instruction after the tree
// otherwise.
func tree(c cover, last bool) []bpf.Instruction {
	p := branch(c)
	for i, ins := range p {
		if _, miss := ins.(bpf.Jump); !miss || p[i].(bpf.Jump).Skip != missMark {
			continue
		}
		if last {
			p[i] = bpf.RetConstant{}
		} else {
			p[i] = bpf.Jump{Skip: uint32(len(p) - i - 1)}
		}
	}
	return p
}

// missMark stands for a jump whose length is not known yet.
const missMark = 1 << 31

func branch(c cover) []bpf.Instruction {
	if len(c) == 1 {
		return []bpf.Instruction{
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: c[0].lo, SkipFalse: 2},
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: c[0].hi, SkipTrue: 1},
			bpf.RetConstant{Val: accept},
			bpf.Jump{Skip: missMark},
		}
	}
	mid := len(c) / 2
	left, right := branch(c[:mid]), branch(c[mid:])
	p := []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: c[mid].lo, SkipFalse: 1},
		bpf.Jump{Skip: uint32(len(left))}, // a conditional jump reaches 255 instructions only
	}
	return append(append(p, left...), right...)
}
