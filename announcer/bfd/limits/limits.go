// Package limits has what bounds a session of BFD, for profiles of the API as for those that the engine is given.
package limits

import "crypto/sha1" //nolint:gosec // RFC 5880 section 4.4 has no other

// How long keys may be, in bytes: as passwords (RFC 5880 section 4.2), and for SHA-1 (section 4.4).
const (
	LongestPassword = 16
	LongestSHA1Key  = sha1.Size
)
