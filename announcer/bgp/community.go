package bgp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Community is a standard community (RFC 1997).
type Community uint32

// The well-known communities (RFC 1997, RFC 3765, RFC 7999, RFC 8326, RFC 9494).
const (
	GracefulShutdown  Community = 0xFFFF0000
	AcceptOwn         Community = 0xFFFF0001
	LLGRStale         Community = 0xFFFF0006
	NoLLGR            Community = 0xFFFF0007
	Blackhole         Community = 0xFFFF029A
	NoExport          Community = 0xFFFFFF01
	NoAdvertise       Community = 0xFFFFFF02
	NoExportSubconfed Community = 0xFFFFFF03
	NoPeer            Community = 0xFFFFFF04
)

var wellKnown = map[string]Community{
	"graceful-shutdown": GracefulShutdown, "accept-own": AcceptOwn, "llgr-stale": LLGRStale, "no-llgr": NoLLGR,
	"blackhole": Blackhole, "no-export": NoExport, "no-advertise": NoAdvertise,
	"no-export-subconfed": NoExportSubconfed, "local-as": NoExportSubconfed, "no-peer": NoPeer,
}

// String is the community as two numbers.
func (c Community) String() string { return fmt.Sprintf("%d:%d", c>>16, c&0xFFFF) }

// A LargeCommunity is a large community (RFC 8092).
type LargeCommunity struct{ Global, Local1, Local2 uint32 }

// String is the community as ParseLargeCommunity takes it.
func (c LargeCommunity) String() string {
	return fmt.Sprintf("large:%d:%d:%d", c.Global, c.Local1, c.Local2)
}

// IsLarge tells whether a text is meant as a large community.
func IsLarge(text string) bool { return strings.HasPrefix(text, "large:") }

// ParseCommunity reads a standard community: two numbers of 16 bits, as in 64512:100, or the name of a well-known one, such
// as no-export.
func ParseCommunity(text string) (Community, error) {
	if c, ok := wellKnown[strings.ToLower(text)]; ok {
		return c, nil
	}
	n, err := numbers(text, 2, 16)
	if err != nil {
		return 0, fmt.Errorf("community %q: %w", text, err)
	}
	return Community(n[0]<<16 | n[1]), nil
}

// ParseLargeCommunity reads a large community: three numbers of 32 bits, as in large:64512:1:2.
func ParseLargeCommunity(text string) (LargeCommunity, error) {
	rest, ok := strings.CutPrefix(text, "large:")
	if !ok {
		return LargeCommunity{}, fmt.Errorf("large community %q: it does not begin with \"large:\"", text)
	}
	n, err := numbers(rest, 3, 32)
	if err != nil {
		return LargeCommunity{}, fmt.Errorf("large community %q: %w", text, err)
	}
	return LargeCommunity{n[0], n[1], n[2]}, nil
}

func numbers(text string, want, bits int) ([]uint32, error) {
	parts := strings.Split(text, ":")
	if len(parts) != want {
		return nil, fmt.Errorf("it must be %d numbers with colons between them", want)
	}
	out := make([]uint32, want)
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, bits)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number of %d bits: %w", p, bits, errors.Unwrap(err))
		}
		out[i] = uint32(n)
	}
	return out, nil
}
