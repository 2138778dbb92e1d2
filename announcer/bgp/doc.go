// Package bgp announces prefixes to routers by BGP (RFC 4271) and uses nothing that they announce. It takes the wanted
// state, peers and routes, and acts on the difference.
//
// # What is gobgp's and what is ours
//
// Messages are written by gobgp's codec (github.com/osrg/gobgp/v3/pkg/packet/bgp), and gobgp's server is one of the
// routers that the tests speak with. The speaker itself does not run that server (v3.37.0):
//
//   - A message of an unknown type, 19 bytes that whoever holds the peer's address can send before any OPEN, makes it
//     dereference nil in a goroutine that nobody can recover. The process would end, and with it ARP and NDP.
//   - Its end of a session is a Cease, always, which ends graceful restart; the connection cannot be had to close it.
//   - One server has one router ID and one table, knows peers by address alone, and takes attributes per peer only from
//     policies. One server for each peer would mend that, but StartBgp writes variables that all servers of a process
//     share and read without a lock (the race detector says so at once), and neither goroutine nor table of a server ever
//     goes away: ten servers with 5000 routes each held 31 MB, and 31 MB after they had been stopped.
//   - TCP-MD5 with a link-local address signs for the wrong address, a lost session waits 5 s and more before it is tried
//     again, and what went wrong can be had from log messages only.
//
// An announcer needs a small part of BGP, with no decision process: per peer a list of what it shall have and what it
// has been sent (ribOut), an OPEN, keepalives and UPDATEs. That is what this package holds. 5000 routes to 3 peers take
// 1.5 MB, to 10 peers 5.2 MB, 103 bytes for a route and a peer (BenchmarkMemory; gobgp's servers: 9.6 MB and 31 MB); a
// changed route costs one UPDATE for each peer that has it and nothing else (TestOneChangedAddress). Of a prefix that a peer
// sends eight bytes are kept, to count it; in a map they take 24 to 38 (BenchmarkReceived).
//
// # How it is built
//
// The rules are pure: what a peer's values may be (validate.go), what is agreed from two OPENs (open.go), the differences
// (ribout.go), how routes look on the wire (update.go), which next hop they have (nexthop.go), what went wrong in words
// (fault.go), and the reading of foreign bytes (read.go, parseOpen), which cannot panic and keeps of an UPDATE only what
// it takes to count prefixes. The shell: the Engine (engine.go) holds a session for each peer; a session (session.go) is one
// goroutine that connects again and again; a conversation (conversation.go) is one connection, with a goroutine that
// decides, one that reads and one that writes, so that a peer that does not read delays nobody and a session can be
// taken down at once.
//
// Sessions are dialled; nothing listens unless Config.Listen says so, and then for passive peers only. A session has thus
// one side that connects, and connections do not collide (RFC 4271 section 6.8).
//
// # Ways to stop
//
// A restart or an upgrade of the speaker just ends Run: routers with graceful restart keep the routes meanwhile. A node that
// is taken out of service does it in steps: all routes are Set once more with GracefulShutdown, and Flush; a while for the
// network to turn to other nodes; Leave, and then the end of Run.
//
// # Threads and namespaces
//
// Sessions run in goroutines of their own, so all sockets are in the process's network namespace.
package bgp
