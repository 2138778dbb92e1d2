package members

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"pgregory.net/rapid"
)

func TestParseKeys(t *testing.T) {
	a, b := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 16)
	enc := base64.StdEncoding.EncodeToString
	keys, err := ParseKeys("# primary\n" + enc(a) + "\n\n  " + enc(b) + " \n")
	if err != nil || !equalKeys(keys, [][]byte{a, b}) {
		t.Errorf("keys %v, error %v", keys, err)
	}
	for in, want := range map[string]string{
		"":                              "empty",
		enc(a) + "\nnot base64, secret": "line 2",
		enc([]byte("short")):            "5 bytes",
	} {
		_, err := ParseKeys(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v does not say %q", in, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows what is in the keyring: %v", err)
		}
	}
}

func TestRotation(t *testing.T) {
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, 16) }
	a, b := key('a'), key('b')
	t0 := time.Unix(1e9, 0)
	// The only key is replaced by another in one step.
	r := newRotation([][]byte{a})
	r.set(t0, [][]byte{b})
	for _, c := range []struct {
		after time.Duration
		want  [][]byte
	}{
		{0, [][]byte{a, b}},
		{keySpread, [][]byte{b, a}},
		{keyRetire - time.Second, [][]byte{b, a}},
		{keyRetire, [][]byte{b}},
	} {
		if got := r.ring(t0.Add(c.after)); !equalKeys(got, c.want) {
			t.Errorf("after %v: %q, want %q", c.after, got, c.want)
		}
	}
}

// Whatever is done with the keys, two speakers that hear of it at different
// times (less than keySpread apart) understand each other always.
func TestSpeakersUnderstandEachOtherThroughEveryRotation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := [][]byte{[]byte("aaaaaaaaaaaaaaaa"), []byte("bbbbbbbbbbbbbbbb"), []byte("cccccccccccccccc"), []byte("dddddddddddddddd")}
		first := [][]byte{pool[0]}
		early, late := newRotation(first), newRotation(first)
		now := time.Unix(1e9, 0)
		check := func() {
			a, b := early.ring(now), late.ring(now)
			if !contains(b, a[0]) || !contains(a, b[0]) {
				t.Fatalf("one encrypts with %q and the other with %q, and they understand %q and %q", a[0], b[0], a, b)
			}
		}
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			keys := rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 1, 3, func(k []byte) byte { return k[0] }).Draw(t, "keys")
			early.set(now, keys)
			check()
			now = now.Add(rapid.Custom(func(t *rapid.T) time.Duration {
				return time.Duration(rapid.IntRange(0, int(keySpread)-1).Draw(t, "lag"))
			}).Draw(t, "lag"))
			check()
			late.set(now, keys)
			for range rapid.IntRange(1, 4).Draw(t, "checks") {
				check()
				now = now.Add(keySpread / 2)
			}
			now = now.Add(keySpread)
		}
	})
}

func contains(keys [][]byte, k []byte) bool {
	for _, o := range keys {
		if bytes.Equal(o, k) {
			return true
		}
	}
	return false
}

func TestInstall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := [][]byte{[]byte("aaaaaaaaaaaaaaaa"), []byte("bbbbbbbbbbbbbbbb"), []byte("cccccccccccccccc"), []byte("dddddddddddddddd")}
		draw := func(label string) [][]byte {
			return rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 1, 4, func(k []byte) byte { return k[0] }).Draw(t, label)
		}
		have, want := draw("have"), draw("want")
		ring, err := memberlist.NewKeyring(have, have[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := install(ring, want); err != nil {
			t.Fatal(err)
		}
		if !equalKeys(ring.GetKeys(), want) {
			t.Fatalf("%q, want %q", ring.GetKeys(), want)
		}
	})
}
