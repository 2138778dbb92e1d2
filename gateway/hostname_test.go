package gateway

import (
	"slices"
	"testing"
)

func TestIntersect(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"*", "*", "*"},
		{"*", "a.example.com", "a.example.com"},
		{"*", "*.example.com", "*.example.com"},
		{"*.example.com", "a.example.com", "a.example.com"},
		{"*.example.com", "a.b.example.com", "a.b.example.com"},
		{"*.example.com", "*.b.example.com", "*.b.example.com"},
		{"*.example.com", "example.com", ""},
		{"*.example.com", "aexample.com", ""},
		{"*.example.com", "*.com", "*.example.com"},
		{"a.example.com", "a.example.com", "a.example.com"},
		{"a.example.com", "b.example.com", ""},
		{"*.wildcard.io", "wildcard.io", ""},
	} {
		for _, pair := range [][2]string{{tt.a, tt.b}, {tt.b, tt.a}} {
			if got, ok := intersect(pair[0], pair[1]); got != tt.want || ok != (tt.want != "") {
				t.Errorf("intersect(%q, %q) = %q, %t; want %q", pair[0], pair[1], got, ok, tt.want)
			}
		}
	}
}

func TestWidening(t *testing.T) {
	for _, tt := range []struct {
		host string
		want []string
	}{
		{"a.b.example.com", []string{"a.b.example.com", "*.b.example.com", "*.example.com", "*.com", "*"}},
		{"*.example.com", []string{"*.example.com", "*.com", "*"}},
		{"localhost", []string{"localhost", "*"}},
		{"*", []string{"*"}},
	} {
		var got []string
		widening(tt.host, func(h string) bool { got = append(got, h); return true })
		if !slices.Equal(got, tt.want) {
			t.Errorf("widening(%q) = %q, want %q", tt.host, got, tt.want)
		}
		for i, h := range got {
			if !covers(h, tt.host) {
				t.Errorf("%q does not cover %q", h, tt.host)
			}
			if i > 0 && moreSpecific(got[i-1], h) >= 0 {
				t.Errorf("%q is not more specific than %q", got[i-1], h)
			}
		}
	}
}
