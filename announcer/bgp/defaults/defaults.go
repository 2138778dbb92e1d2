// Package defaults has what holds for a session of BGP where nothing else is said: for peers of the API as for those that
// the engine is given.
package defaults

import "time"

const (
	// Port is where peers listen (RFC 4271, 8.2.1).
	Port = 179
	// HoldTime is after which silence a peer counts as lost, as RFC 4271, 10, suggests.
	HoldTime = 90 * time.Second
	// Keepalives is how many of them fit into a hold time (RFC 4271, 4.4).
	Keepalives = 3
	// ConnectTime bounds the wait between attempts to connect. It is shorter than the two minutes of RFC 4271: routers that
	// restart should have their routes back soon.
	ConnectTime = 10 * time.Second
	// RestartTime is for how long peers keep routes by graceful restart.
	RestartTime = 2 * time.Minute
	// PrefixLimit is how many prefixes a peer may send. An announcer uses none of them, so a full table can only be a mistake.
	PrefixLimit = 10_000
)
