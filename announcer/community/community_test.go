package community

import (
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	for in, want := range map[string]string{
		"64512:100": "64512:100", "0:0": "0:0", "65535:65535": "65535:65535", "large:64512:1:2": "large:64512:1:2", "large:4294967295:0:0": "large:4294967295:0:0",
		"65536:1": "not a number of 16 bits", "1": "needs 2", "1:2:3": "needs 2", "large:1:2": "needs 3", "large:1:2:4294967296": "not a number of 32 bits", "-1:2": "not a number", "": "needs 2",
	} {
		var s Set
		var got strings.Builder
		if err := s.Read(in); err != nil {
			got.WriteString(err.Error())
		}
		for _, c := range s.Standard {
			got.WriteString(c.String())
		}
		for _, c := range s.Large {
			got.WriteString(c.String())
		}
		if !strings.Contains(got.String(), want) || len(s.Standard)+len(s.Large) > 1 {
			t.Errorf("%q is read as %s, want %s", in, got.String(), want)
		}
	}
}

func TestUnion(t *testing.T) {
	one, large := Set{Standard: []Standard{2, 1, 2}}, Set{Large: []Large{{1, 2, 4}, {1, 2, 3}, {1, 2, 4}}}
	got := one.Union(large)
	if want := (Set{Standard: []Standard{1, 2}, Large: []Large{{1, 2, 3}, {1, 2, 4}}}); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := (Set{}).Union(one); !got.Equal(one) {
		t.Errorf("with nothing: %v, want %v", got, one)
	}
	if got := one.Union(one); !got.Equal(one) {
		t.Errorf("with itself: %v, want %v", got, one)
	}
	if c, ok := WellKnown("no-export"); !ok || c.String() != "65535:65281" {
		t.Errorf("no-export is %v, %t", c, ok)
	}
}

// What a number is read as is written as that number again.
func FuzzCommunity(f *testing.F) {
	for _, s := range []string{"64512:100", "large:64512:1:2", "large:", "0:65536", "::", "large:1:2:-3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var c, again Set
		if err := c.Read(s); err != nil {
			return
		}
		for _, x := range c.Standard {
			s = x.String()
		}
		for _, x := range c.Large {
			s = x.String()
		}
		if err := again.Read(s); err != nil || !again.Equal(c) {
			t.Errorf("%q is read as %+v, and again as %+v, %v", s, c, again, err)
		}
	})
}
