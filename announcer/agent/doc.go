// Package agent is the shell of the speaker: it watches the ledger, the
// advertisements, nodes and endpoints, asks package announcer who announces
// what, has package l2 answer and package reject refuse, and writes down who
// announces.
//
// One goroutine (loop.go) owns all state. Whatever happens (an informer's
// event, a change of membership, a packet engine's event, a message) is only
// noted in pending.go and picked up by the next pass, so that a thousand events
// at once cost one pass. Writes to the API server happen beside it, limited and
// repeated, and never hold up an announcement: with the API server away
// everything goes on.
package agent
