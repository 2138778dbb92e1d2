package members

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// ParseKeys reads the keys of a keyring: one to a line in base64, 16, 24 or 32
// bytes each (AES-128, -192, -256). The first encrypts; all of them decrypt.
// Empty lines and lines that begin with # are skipped. The error never shows a
// key.
func ParseKeys(text string) ([][]byte, error) {
	var keys [][]byte
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("line %d of the keyring is not base64: write one key to a line, such as the output of: head -c 32 /dev/urandom | base64", n+1)
		}
		if err := memberlist.ValidateKey(key); err != nil {
			return nil, fmt.Errorf("line %d of the keyring: the key has %d bytes, and must have 16, 24 or 32", n+1, len(key))
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the keyring is empty: write one key to a line in base64, such as the output of: head -c 32 /dev/urandom | base64")
	}
	return keys, nil
}

// A new key decrypts at once, but encrypts only after every other speaker has
// had the time to hear of it too, and an old one decrypts for a while after it
// was taken out. So even a keyring whose only key is replaced by another in one
// step is changed without a gap.
const (
	keySpread = 15 * time.Second
	keyRetire = time.Minute
)

// rotation decides when which keys are used. It has no clock.
type rotation struct {
	known  map[string]time.Time // key: since when we know it
	wanted [][]byte
	gone   map[string]time.Time // key: since when it is not wanted
}

// newRotation starts with keys that everybody is taken to know.
func newRotation(keys [][]byte) *rotation {
	r := &rotation{known: map[string]time.Time{}, gone: map[string]time.Time{}, wanted: keys}
	for _, k := range keys {
		r.known[string(k)] = time.Time{}
	}
	return r
}

func (r *rotation) set(now time.Time, keys [][]byte) {
	r.wanted = keys
	for _, k := range keys {
		_, known := r.known[string(k)]
		// Another speaker may already have dropped a key that comes back.
		if _, gone := r.gone[string(k)]; gone || !known {
			r.known[string(k)] = now
		}
		delete(r.gone, string(k))
	}
	for k := range r.known {
		if _, ok := r.gone[k]; !ok && !slices.ContainsFunc(keys, func(w []byte) bool { return string(w) == k }) {
			r.gone[k] = now
		}
	}
}

// ring is which keys decrypt at a time, the first of which encrypts.
func (r *rotation) ring(now time.Time) [][]byte {
	for k, since := range r.gone {
		if now.Sub(since) >= keyRetire {
			delete(r.gone, k)
			delete(r.known, k)
		}
	}
	var old, young [][]byte
	for _, k := range r.wanted {
		if r.spread(string(k), now) {
			old = append(old, k)
		} else {
			young = append(young, k)
		}
	}
	retired := slices.Collect(maps.Keys(r.gone))
	// While no wanted key may encrypt yet, the one does that was wanted last of
	// those that everybody knows.
	slices.SortFunc(retired, func(a, b string) int {
		return cmp.Or(r.gone[b].Compare(r.gone[a]), r.known[a].Compare(r.known[b]), strings.Compare(a, b))
	})
	out := old
	for _, k := range retired {
		if r.spread(k, now) {
			out = append(out, []byte(k))
		} else {
			young = append(young, []byte(k))
		}
	}
	return append(out, young...)
}

// spread says whether every speaker must have heard of a key.
func (r *rotation) spread(key string, now time.Time) bool {
	since := r.known[key]
	return since.IsZero() || now.Sub(since) >= keySpread
}

// install makes a keyring equal to want, whose first key encrypts. A key is
// removed only from the end of memberlist's list: there, and only there, its
// removal does not write into the list that others are reading.
func install(ring *memberlist.Keyring, want [][]byte) error {
	for _, k := range want {
		if err := ring.AddKey(k); err != nil {
			return fmt.Errorf("adding a gossip key: %w", err)
		}
	}
	if equalKeys(ring.GetKeys(), want) {
		return nil
	}
	for _, k := range slices.Backward(want) {
		if err := ring.UseKey(k); err != nil {
			return fmt.Errorf("choosing the gossip key: %w", err)
		}
	}
	for keys := ring.GetKeys(); len(keys) > len(want); keys = ring.GetKeys() {
		if err := ring.RemoveKey(keys[len(keys)-1]); err != nil {
			return fmt.Errorf("removing a gossip key: %w", err)
		}
	}
	return nil
}

func equalKeys(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
