package bfd

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func anyPacket() *rapid.Generator[Packet] {
	return rapid.Custom(func(t *rapid.T) Packet {
		micros := func(name string) time.Duration {
			return time.Duration(rapid.Uint32().Draw(t, name)) * time.Microsecond
		}
		p := Packet{
			Diagnostic:       Diagnostic(rapid.IntRange(0, 31).Draw(t, "diag")),
			State:            State(rapid.IntRange(0, 3).Draw(t, "state")),
			Poll:             rapid.Bool().Draw(t, "poll"),
			Final:            rapid.Bool().Draw(t, "final"),
			IndependentPlane: rapid.Bool().Draw(t, "independent"),
			Demand:           rapid.Bool().Draw(t, "demand"),
			DetectMultiplier: uint8(rapid.IntRange(1, 255).Draw(t, "multiplier")),
			Mine:             rapid.Uint32Min(1).Draw(t, "mine"),
			Yours:            rapid.Uint32Min(1).Draw(t, "yours"),
			DesiredMinTx:     micros("tx"), RequiredMinRx: micros("rx"), RequiredMinEchoRx: micros("echo"),
		}
		if rapid.Bool().Draw(t, "signed") {
			key := rapid.SliceOfN(rapid.Byte(), 0, 24).Draw(t, "section")
			p.Auth = append([]byte{1, byte(2 + len(key))}, key...)
		}
		return p
	})
}

func TestPacketsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPacket().Draw(t, "packet")
		raw := p.Append(nil)
		got, err := Parse(append(raw, "what follows"...))
		if err != nil {
			t.Fatal(err)
		}
		if again := got.Append(nil); !bytes.Equal(raw, again) {
			t.Fatalf("%x became %x", raw, again)
		}
	})
}

// The layout is that of RFC 5880 section 4.1, written out by hand.
func TestPacketOnTheWire(t *testing.T) {
	p := Packet{
		Diagnostic: NeighbourDown, State: Up, Poll: true, DetectMultiplier: 5, Mine: 0x01020304, Yours: 0x05060708,
		DesiredMinTx: 300 * time.Millisecond, RequiredMinRx: time.Second, RequiredMinEchoRx: 50 * time.Millisecond,
	}
	const want = "23e00518" + "01020304" + "05060708" + "000493e0" + "000f4240" + "0000c350"
	if got := hex.EncodeToString(p.Append(nil)); got != want {
		t.Errorf("the packet is\n%s, want\n%s", got, want)
	}
}

func TestPacketsThatNobodyMayTake(t *testing.T) {
	sound := Packet{State: Up, DetectMultiplier: 3, Mine: 1, Yours: 2}.Append(nil)
	for _, test := range []struct {
		name, want string
		change     func([]byte) []byte
	}{
		{"short", "at least 24 bytes", func(b []byte) []byte { return b[:23] }},
		{"version 0", "version is 0", func(b []byte) []byte { b[0] &= 0x1f; return b }},
		{"length too small", "says that it has 23", func(b []byte) []byte { b[3] = 23; return b }},
		{"length too large", "says that it has 25", func(b []byte) []byte { b[3] = 25; return b }},
		{"no multiplier", "detect multiplier is 0", func(b []byte) []byte { b[2] = 0; return b }},
		{"multipoint", "multipoint", func(b []byte) []byte { b[1] |= flagMultipoint; return b }},
		{"nobody's", "sender's discriminator is 0", func(b []byte) []byte { clear(b[4:8]); return b }},
		{"up for nobody", "receiver's discriminator 0", func(b []byte) []byte { clear(b[8:12]); return b }},
		{"signed without signature", "authentication section", func(b []byte) []byte { b[1] |= flagAuth; return b }},
		{"signature too long", "authentication section", func(b []byte) []byte {
			b[1] |= flagAuth
			b[3] = 27
			return append(b, 1, 4, 0)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse(test.change(bytes.Clone(sound)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want one with %q", err, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Packet{State: Up, DetectMultiplier: 3, Mine: 1, Yours: 2}.Append(nil))
	f.Add(Packet{State: Down, DetectMultiplier: 3, Mine: 1, Auth: []byte{1, 4, 1, 'x'}}.Append(nil))
	var s authState
	f.Add(Auth{Kind: KeyedSHA1, KeyID: 1, Key: "k"}.sign(&s, Packet{State: Init, DetectMultiplier: 1, Mine: 9, Yours: 8}, nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := Parse(raw)
		if err != nil {
			return
		}
		again, err := Parse(p.Append(nil))
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Errorf("%+v became %+v (%v)", p, again, err)
		}
		for _, kind := range []AuthKind{NoAuth, SimplePassword, KeyedSHA1, MeticulousSHA1} {
			var s authState
			if (Auth{Kind: kind, Key: "not this one, surely"}).verify(&s, p, raw, time.Now(), time.Second) == nil && kind != NoAuth {
				t.Errorf("%x is taken for signed", raw)
			}
		}
	})
}

func TestSignedPackets(t *testing.T) {
	p := Packet{State: Up, DetectMultiplier: 3, Mine: 1, Yours: 2}
	for _, kind := range []AuthKind{SimplePassword, KeyedSHA1, MeticulousSHA1} {
		ours := Auth{Kind: kind, KeyID: 7, Key: "secret"}
		var sends, receives authState
		at := time.Now()
		check := func(a Auth, raw []byte) error {
			got, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			return a.verify(&receives, got, raw, at, 300*time.Millisecond)
		}
		first := ours.sign(&sends, p, nil)
		if err := check(ours, first); err != nil {
			t.Errorf("%d: %v", kind, err)
		}
		if err := check(ours, ours.sign(&sends, p, nil)); err != nil {
			t.Errorf("%d: the second: %v", kind, err)
		}
		for name, a := range map[string]Auth{
			"another key": {Kind: kind, KeyID: 7, Key: "Secret"}, "another key ID": {Kind: kind, KeyID: 8, Key: "secret"}, "no key": {},
		} {
			if err := check(a, ours.sign(&sends, p, nil)); err == nil {
				t.Errorf("%d: %s is taken", kind, name)
			} else if strings.Contains(err.Error(), "ecret") {
				t.Errorf("the key is told: %v", err)
			}
		}
		if err := check(ours, p.Append(nil)); err == nil {
			t.Errorf("%d: an unsigned packet is taken", kind)
		}
		changed := ours.sign(&sends, p, nil)
		changed[2]++
		if err := check(ours, changed); (err == nil) != (kind == SimplePassword) {
			t.Errorf("%d: of a changed packet: %v", kind, err)
		}
		if err := check(ours, first); (err == nil) != (kind == SimplePassword) {
			t.Errorf("%d: of a packet sent again: %v", kind, err)
		}
		// A peer that has begun anew counts anew.
		sends = authState{sent: 1 << 31}
		if err := check(ours, ours.sign(&sends, p, nil)); (err == nil) != (kind == SimplePassword) {
			t.Errorf("%d: of a peer that counts anew at once: %v", kind, err)
		}
		at = at.Add(600 * time.Millisecond)
		if err := check(ours, ours.sign(&sends, p, nil)); err != nil {
			t.Errorf("%d: of a peer that counts anew after a silence: %v", kind, err)
		}
	}
}

func TestKeysThatCannotBe(t *testing.T) {
	for _, a := range []Auth{
		{Kind: SimplePassword},
		{Kind: SimplePassword, Key: strings.Repeat("x", 17)},
		{Kind: KeyedSHA1, Key: strings.Repeat("x", 21)},
		{Kind: 2, Key: "md5"},
	} {
		if a.Validate() == nil {
			t.Errorf("%+v is allowed", a)
		}
	}
}
