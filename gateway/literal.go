package gateway

import (
	"strings"
)

// What the CRDs leave open and HTTP does not: a value that breaks out of its place
// in a message would be another message, and Envoy refuses the whole table for
// some of them.

// token tells whether a text can be the name of a header (RFC 9110, 5.6.2).
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !alphanumeric(r) && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// authority tells whether a text can be a Host (RFC 3986, 3.2, without userinfo).
func authority(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !alphanumeric(r) && !strings.ContainsRune("-._~%!$&'()*+,;=:[]", r)
	})
}

func alphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// controlled tells whether a text has control characters that no value of a header
// has.
func controlled(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return control(r) && r != '\t' })
}

// plainPath tells whether a text can be a path when it is encoded.
func plainPath(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return control(r) || r == '?' || r == '#' })
}

// encoded is a path as it goes over the wire: spaces and what is not ASCII are
// written as "%" and a number (RFC 3987, 3.1).
func encoded(path string) string {
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(path) {
		if c := path[i]; c == ' ' || c >= 0x80 {
			out.WriteByte('%')
			out.WriteByte(digits[c>>4])
			out.WriteByte(digits[c&15])
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}
