package pki

import "time"

// The entries of the Secrets.
const (
	// Bundle are the authorities that are trusted, PEM. It is in every Secret.
	Bundle = "ca.crt"
	// Certificate and Key, PEM, are the leaf's, or the signing authority's.
	Certificate = "tls.crt"
	Key         = "tls.key"
	// NextCertificate and NextKey, PEM, are the authority that will sign next.
	// They are only in the authority's Secret.
	NextCertificate = "next.crt"
	NextKey         = "next.key"
)

// Rules say how long things last.
type Rules struct {
	// Authority is the life of an authority, Leaf that of what it signs. Both
	// are renewed when two thirds are over.
	Authority, Leaf time.Duration
	// Overlap is how long a new authority is trusted before it signs: the time
	// in which its certificate gets to every Envoy.
	Overlap time.Duration
	// Skew is by how much clocks may differ: certificates begin that much
	// earlier.
	Skew time.Duration
}

// DefaultRules renew a leaf after 60 days, and leave 30 for a controller that is
// away.
func DefaultRules() Rules {
	const day = 24 * time.Hour
	return Rules{Authority: 3 * 365 * day, Leaf: 90 * day, Overlap: day, Skew: 10 * time.Minute}
}

// renewAt is when two thirds of a life are over.
func renewAt(from, to time.Time) time.Time { return from.Add(to.Sub(from) / 3 * 2) }
