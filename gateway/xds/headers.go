package xds

import (
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/fairlead/fairlead/gateway"
)

// headers changes those of the requests and responses of a route.
func headers(route *routev3.Route, request, response *gateway.HeaderChange) {
	route.RequestHeadersToAdd, route.RequestHeadersToRemove = added(request), removed(request)
	route.ResponseHeadersToAdd, route.ResponseHeadersToRemove = added(response), removed(response)
}

func added(c *gateway.HeaderChange) []*corev3.HeaderValueOption {
	if c == nil {
		return nil
	}
	var out []*corev3.HeaderValueOption
	for _, h := range c.Set {
		out = append(out, option(h, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
	}
	for _, h := range c.Add {
		out = append(out, option(h, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD))
	}
	return out
}

// option is a literal value: Envoy would fill in what stands between "%".
func option(h gateway.Header, how corev3.HeaderValueOption_HeaderAppendAction) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:         &corev3.HeaderValue{Key: h.Name, Value: strings.ReplaceAll(h.Value, "%", "%%")},
		AppendAction:   how,
		KeepEmptyValue: true,
	}
}

func removed(c *gateway.HeaderChange) []string {
	if c == nil {
		return nil
	}
	return c.Remove
}

// then is one change that does what two do one after the other.
func then(a, b *gateway.HeaderChange) *gateway.HeaderChange {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	undone := map[string]bool{}
	for _, name := range b.Remove {
		undone[strings.ToLower(name)] = true
	}
	for _, h := range b.Set {
		undone[strings.ToLower(h.Name)] = true
	}
	kept := func(all []gateway.Header) []gateway.Header {
		return slices.DeleteFunc(slices.Clone(all), func(h gateway.Header) bool { return undone[strings.ToLower(h.Name)] })
	}
	return &gateway.HeaderChange{
		Remove: append(slices.Clone(a.Remove), b.Remove...),
		Set:    append(kept(a.Set), b.Set...),
		Add:    append(kept(a.Add), b.Add...),
	}
}
