package gateway

import (
	"cmp"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// anyHost is the hostname of a listener or route that names none.
const anyHost = "*"

// hostnameOf is a hostname in lower case, anyHost where there is none.
func hostnameOf(h *gatewayv1.Hostname) string {
	if h == nil || *h == "" {
		return anyHost
	}
	return strings.ToLower(string(*h))
}

func hostnamesOf(list []gatewayv1.Hostname) []string {
	if len(list) == 0 {
		return []string{anyHost}
	}
	out := make([]string, 0, len(list))
	for i := range list {
		out = appendNew(out, hostnameOf(&list[i]))
	}
	return out
}

// covers tells whether every host that narrow matches is matched by wide.
// "*.example.com" matches any number of labels before ".example.com", and not
// "example.com" itself.
func covers(wide, narrow string) bool {
	switch {
	case wide == anyHost || wide == narrow:
		return true
	case narrow == anyHost || !strings.HasPrefix(wide, "*."):
		return false
	}
	return strings.HasSuffix(strings.TrimPrefix(narrow, "*"), wide[1:]) && len(narrow) > len(wide)-1
}

// intersect gives the hosts that both match: the narrower of the two.
func intersect(a, b string) (string, bool) {
	switch {
	case covers(a, b):
		return b, true
	case covers(b, a):
		return a, true
	}
	return "", false
}

// moreSpecific orders hostnames that can match the same host: exact before
// wildcards, longer wildcards before shorter, anyHost last. It is negative when
// a is the more specific one.
func moreSpecific(a, b string) int {
	wild := func(h string) int {
		switch {
		case h == anyHost:
			return 2
		case strings.HasPrefix(h, "*."):
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(wild(a), wild(b)), cmp.Compare(len(b), len(a)))
}

// widening calls see for a hostname and all that cover it, the narrowest first,
// until it returns false.
func widening(h string, see func(string) bool) {
	if !see(h) || h == anyHost {
		return
	}
	for rest := strings.TrimPrefix(h, "*."); ; {
		_, parent, more := strings.Cut(rest, ".")
		if !more {
			break
		}
		if !see("*." + parent) {
			return
		}
		rest = parent
	}
	see(anyHost)
}

func appendNew[T comparable](list []T, v T) []T {
	for _, have := range list {
		if have == v {
			return list
		}
	}
	return append(list, v)
}
