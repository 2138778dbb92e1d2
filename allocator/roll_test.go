package allocator

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRoll holds a roll in which many keys have one hash against a map.
func TestRoll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hashes := rapid.Uint64Range(1, 4).Draw(t, "hashes")
		r := rollBy(func(k Key) uint64 { return uint64(len(k.Name)) % hashes })
		want := map[Key]*holder{}
		key := rapid.Custom(func(t *rapid.T) Key {
			// Among them the key that is nobody's.
			return Key{Name: rapid.SampledFrom([]string{"", "a", "bb", "cc", "ccc", "dddd", "eeee"}).Draw(t, "name")}
		})
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				k := key.Draw(t, "key")
				if want[k] != nil {
					t.Skip("has one")
				}
				want[k] = &holder{key: k}
				r.add(want[k])
			},
			"remove": func(t *rapid.T) {
				k := key.Draw(t, "key")
				if want[k] == nil {
					t.Skip("has none")
				}
				delete(want, k)
				r.remove(k)
			},
			"of": func(t *rapid.T) {
				k := key.Draw(t, "key")
				if got := r.of(k); got != want[k] {
					t.Fatalf("of %v: %v, want %v", k, got, want[k])
				}
			},
			"": func(t *rapid.T) {
				keys := slices.SortedFunc(r.keys(), compareKeys)
				if len(keys) != len(want) || r.count != len(want) {
					t.Fatalf("%d keys, counted %d, want %d", len(keys), r.count, len(want))
				}
				for _, k := range keys {
					if want[k] == nil {
						t.Fatalf("%v is still there", k)
					}
				}
			},
		})
	})
}

// BenchmarkRoll finds and adds 20,000 holders.
func BenchmarkRoll(b *testing.B) {
	keys := make([]Key, 20000)
	for i := range keys {
		keys[i] = Key{"Service", "ns", fmt.Sprintf("svc-%d", i)}
	}
	for b.Loop() {
		r := newRoll()
		for _, k := range keys {
			if r.of(k) == nil {
				r.add(&holder{key: k})
			}
		}
	}
}
