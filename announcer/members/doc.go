// Package members is how speakers know of each other: by gossip
// (github.com/hashicorp/memberlist), encrypted, over the nodes' own addresses.
//
// Gossip finds out within a fraction of a second that a speaker is gone, but
// not why, and under load it may be wrong. So nothing is done before a second
// opinion: the speaker's gossip port is dialled. Whatever the process does, it
// is the kernel of the node that answers. A refusal means that the node lives
// and forwards and only its speaker is away: its seat is held for a grace time,
// its addresses stay, and a deputy answers for them with the node's own
// hardware addresses. Silence means that the node is gone, and its addresses
// move at once.
//
// The rules are in roster.go, without clocks or goroutines; members.go is the
// shell around them.
package members
