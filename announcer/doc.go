// Package announcer decides which node announces which address.
//
// It is a pure function: a [World] (what is known of nodes, pools,
// advertisements and live speakers), the endpoints of Services, and one
// [Address] go in; a [Decision] comes out, with the reason in words where
// nobody can announce the address. There are no clients, clocks or goroutines
// here. Every speaker computes the same decision from the same input, so that
// no message is needed to agree on who answers.
//
// The speaker compiles its World once into an [Index] and then decides address
// by address: a changed Address costs one decision, a changed node or
// advertisement costs one for every address. The controller uses the same
// functions with [AssumeSpeakers] to say why nobody announces an address.
//
// On layer 2 one node announces an address ([Index.Decide]); by BGP every node
// does that can serve it and has a peer to tell ([Index.DecideBGP]), and a
// [BGPTable] joins what a node announces of all its addresses.
package announcer
