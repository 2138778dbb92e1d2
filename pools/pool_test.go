package pools

import "testing"

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"192.0.2.0/24", "192.0.2.1-192.0.2.9", "2001:db8::/64", "::-::1", "1-2-3", "::ffff:192.0.2.1-192.0.2.9", "fe80::1%a-fe80::2%a", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRange(s)
		if err != nil {
			return
		}
		if !r.From.IsValid() || !r.To.IsValid() || r.From.Is4() != r.To.Is4() || r.To.Less(r.From) || r.From.Is4In6() || r.From.Zone() != "" {
			t.Errorf("%q is read as %v", s, r)
		}
	})
}
