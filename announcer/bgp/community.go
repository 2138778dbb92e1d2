package bgp

import "fmt"

// A Community is a standard community (RFC 1997).
type Community uint32

// GracefulShutdown asks for any other way to be preferred (RFC 8326).
const GracefulShutdown Community = 0xFFFF0000

// String is the community as two numbers.
func (c Community) String() string { return fmt.Sprintf("%d:%d", c>>16, c&0xFFFF) }

// A LargeCommunity is a large community (RFC 8092).
type LargeCommunity struct{ Global, Local1, Local2 uint32 }

// String is the community as three numbers, marked as a large one.
func (c LargeCommunity) String() string {
	return fmt.Sprintf("large:%d:%d:%d", c.Global, c.Local1, c.Local2)
}
