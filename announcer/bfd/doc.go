// Package bfd tells within milliseconds that a path to a peer no longer works: bidirectional forwarding detection
// (RFC 5880) over one hop (RFC 5881) and over several (RFC 5883), in asynchronous mode, with the echo function.
//
// The rules live in a pure state machine (machine.go) that knows neither sockets nor clocks. The Engine is the shell
// around it: one thread of the operating system that owns all sessions, their sockets and their timers.
//
// # Time
//
// A false alarm takes a session of BGP down, so lateness of this process must not look like silence of the peer. The
// kernel stamps each packet on arrival; before any timer is looked at, all sockets are emptied, and what lies in
// them counts from its stamp. However long the process was not run, it takes a peer for silent only if nothing of it
// had arrived.
//
// The other way round the peer waits for our packets. The thread is locked, waits in the kernel instead of in Go's
// scheduler, and asks for real time: SCHED_FIFO, or SCHED_DEADLINE where a control group has no share of the former, or
// else the best nice value. That alone is not enough: after each wait a thread of Go needs one of a few permits, and now and
// then locks of Go's, which other threads of the process hold while other processes keep them from running. So the process as a
// whole should be preferred (PreferProcess), and should do nothing else: package apart. Without the capability for that
// (CAP_SYS_NICE) all works as well as the node is idle, and the Engine says so once.
//
// # Sockets
//
// For each family and kind (one hop, several) one socket receives for all sessions; each session sends from a
// socket, and so from a port, of its own (RFC 5881 section 4). Sockets that nothing needs are closed, so that
// another BFD daemon can have the ports.
//
// # Stopping
//
// When Run ends, peers are told that the sessions are down by intent (AdminDown). RFC 5882 section 4.2 has them keep
// what hangs on the session then, which graceful restart of BGP needs.
package bfd
