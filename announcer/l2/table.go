package l2

import "sync"

// answer is how packets about an address are treated.
type answer struct {
	hw mac
	// silent: packets are looked at, but not answered (the address is being asked for).
	silent bool
}

// table holds the addresses of one family on one interface: one look-up per packet, whatever their number. The lock is held for
// a map access only, and writers are rare.
type table[K comparable] struct {
	mu sync.RWMutex
	m  map[K]answer
}

func (t *table[K]) get(k K) (answer, bool) {
	t.mu.RLock()
	a, ok := t.m[k]
	t.mu.RUnlock()
	return a, ok
}

func (t *table[K]) put(k K, a answer) {
	t.mu.Lock()
	if t.m == nil {
		t.m = map[K]answer{}
	}
	t.m[k] = a
	t.mu.Unlock()
}

func (t *table[K]) remove(k K) {
	t.mu.Lock()
	delete(t.m, k)
	t.mu.Unlock()
}

// keys gives one number for each address.
func (t *table[K]) keys(number func(K) uint32) []uint32 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]uint32, 0, len(t.m))
	for k := range t.m {
		all = append(all, number(k))
	}
	return all
}
