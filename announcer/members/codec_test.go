package members

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fairlead/fairlead/announcer"
)

func sampleMeta() Meta {
	return Meta{
		Incarnation: 1<<63 + 7, Serving: true, Leaving: true, Founding: true, Version: "v1.2.3",
		Interfaces: []announcer.Interface{
			{Name: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, ARP: true, NDP: true},
			{Name: "bond0.1234", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, NDP: true},
			{Name: "wg0"},
		},
	}
}

func TestMetaSurvives(t *testing.T) {
	want := sampleMeta()
	encoded, left := want.Encode(metaLimit)
	if left != 0 {
		t.Errorf("%d interfaces were left out", left)
	}
	got, err := DecodeMeta(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := DecodeMeta(append(encoded, "from a later version"...)); err != nil {
		t.Errorf("what a later version adds is not skipped: %v", err)
	}
	for n := range encoded {
		if _, err := DecodeMeta(encoded[:n]); err == nil {
			t.Errorf("a meta cut off after %d bytes gave no error", n)
		}
	}
	encoded[0] = 9
	if _, err := DecodeMeta(encoded); err == nil || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("error %v does not name the version", err)
	}
}

func TestMetaFits(t *testing.T) {
	m := Meta{Version: strings.Repeat("v", 300)}
	for i := range 40 {
		m.Interfaces = append(m.Interfaces, announcer.Interface{Name: fmt.Sprintf("enp0s31f6np%04d", i), MAC: make(net.HardwareAddr, 6)})
	}
	encoded, left := m.Encode(metaLimit)
	if len(encoded) > metaLimit {
		t.Errorf("%d bytes, and %d are allowed", len(encoded), metaLimit)
	}
	got, err := DecodeMeta(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Interfaces)+left != 40 || len(got.Interfaces) < 15 {
		t.Errorf("%d interfaces fit and %d were left out", len(got.Interfaces), left)
	}
}

func TestMessageSurvives(t *testing.T) {
	want := Message{Kind: Announcing, From: "node1", Incarnation: 42, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}}
	encoded := want.encode()
	got, err := decodeMessage(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	for n := range encoded {
		if _, err := decodeMessage(encoded[:n]); err == nil {
			t.Errorf("a message cut off after %d bytes gave no error", n)
		}
	}
}

func TestStateSurvives(t *testing.T) {
	want := []heldSeat{{node: "node1", age: time.Second, meta: []byte{1, 2}}, {node: "node2", meta: []byte{}}}
	encoded := encodeState(want)
	got, err := decodeState(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(heldSeat{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	for n := range encoded {
		if _, err := decodeState(encoded[:n]); err == nil {
			t.Errorf("a state cut off after %d bytes gave no error", n)
		}
	}
}

// What is understood can be said again and is then understood the same.
func FuzzDecode(f *testing.F) {
	meta, _ := sampleMeta().Encode(metaLimit)
	f.Add(meta)
	f.Add(Message{Kind: Deputizing, From: "n", Addresses: []netip.Addr{netip.MustParseAddr("::1")}}.encode())
	f.Add(encodeState([]heldSeat{{node: "node1", meta: meta}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		if m, err := DecodeMeta(in); err == nil && len(m.Version) <= maxVersion {
			out, left := m.Encode(1 << 20)
			again, err := DecodeMeta(out)
			if err != nil || left != 0 || !cmp.Equal(m, again) {
				t.Errorf("meta %+v became %+v, %d left out, error %v", m, again, left, err)
			}
		}
		if m, err := decodeMessage(in); err == nil {
			if again, err := decodeMessage(m.encode()); err != nil || !cmp.Equal(m, again, cmpopts.EquateComparable(netip.Addr{})) {
				t.Errorf("message %+v became %+v, error %v", m, again, err)
			}
		}
		if s, err := decodeState(in); err == nil {
			if again, err := decodeState(encodeState(s)); err != nil || !cmp.Equal(s, again, cmp.AllowUnexported(heldSeat{}), cmpopts.EquateEmpty()) {
				t.Errorf("state %+v became %+v, error %v", s, again, err)
			}
		}
	})
}
