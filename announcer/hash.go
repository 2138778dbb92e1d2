package announcer

// The hash is part of the protocol between speakers: speakers of different
// versions run side by side during an update and must agree, so it is written
// out here and never changed. hash_test.go pins its values.

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// hashString is FNV-1a with the finalizer of splitmix64. FNV alone leaves the
// high bits of short strings that differ in the last byte nearly equal, which
// would give neighbouring addresses to the same node.
func hashString(s string) uint64 {
	h := uint64(fnvOffset)
	for i := range len(s) {
		h ^= uint64(s[i])
		h *= fnvPrime
	}
	return mix(h)
}

// mix is the finalizer of splitmix64: every bit of the input changes about half
// the bits of the output.
func mix(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	h ^= h >> 31
	return h
}

// score is the rank of a node for a key in rendezvous hashing: the node with
// the highest score wins. A node that leaves or joins moves only the keys that
// it had or gets.
func score(node, key uint64) uint64 {
	return mix(node ^ (key*0x9e3779b97f4a7c15 + 0x2545f4914f6cdd1d))
}
