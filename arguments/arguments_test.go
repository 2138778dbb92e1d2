package arguments

import (
	"slices"
	"strings"
	"testing"
)

func TestValue(t *testing.T) {
	for _, tt := range []struct {
		line, want string
		ok         bool
	}{
		{"", "", false},
		{"/controller --port=7472", "", false},
		{"/controller --port=7472 --lb-class=metallb", "metallb", true},
		{"/controller -lb-class=metallb", "metallb", true},
		{"/controller --lb-class metallb --port=7472", "metallb", true},
		{"/controller -lb-class metallb", "metallb", true},
		{"/controller --lb-class=", "", true},
		{"/controller --lb-class=a=b", "a=b", true},
		{"/controller --lb-class", "true", true},
		{"/controller --lb-class --port=7472", "true", true},
		{"/controller --lb-class=a --lb-class=b", "b", true},
		{"/controller --lb-class=a --lb-class b", "b", true},
		{"/controller --lb-class-of=a --other-lb-class=b", "", false},
		{"/controller lb-class=a", "", false},
		{"/controller ---lb-class=a", "", false},
		{"- -- -=a --=a", "", false},
	} {
		if got, ok := Value(strings.Fields(tt.line), "lb-class"); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %q, %v, want %q, %v", tt.line, got, ok, tt.want, tt.ok)
		}
	}
}

func TestList(t *testing.T) {
	for value, want := range map[string][]string{"": nil, " , ": nil, "a": {"a"}, "a,b": {"a", "b"}, " a , ,b,": {"a", "b"}} {
		if got := List(value); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}
