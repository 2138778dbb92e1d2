// Package l2 answers for addresses on the segments a node is attached to: ARP (RFC 826, RFC 5227) for IPv4 and
// neighbour discovery (RFC 4861, RFC 4862) for IPv6.
//
// The rules live in a pure state machine (machine.go) that knows neither sockets nor clocks. The Engine is the shell
// around it: one goroutine that owns the machine, and per interface one packet socket with a reader for each family.
//
// # Sockets and filters
//
// Both families use packet sockets. ARP needs one anyway. For NDP a raw ICMPv6 socket would look natural, but the
// kernel hands it only what is addressed to the node itself: a unicast solicitation for a virtual address (neighbour
// unreachability detection, RFC 4861 section 7.3.3) takes the forwarding path and never reaches it. A packet socket
// sees the frame before the IP layer decides.
//
// A classic BPF program in the kernel drops what cannot concern us, so that foreign traffic does not wake the process:
// other ethertypes and operations, frames for other hosts, and every target (and, since a rival shows itself as a
// sender, every sender) outside a list of address ranges. That list is exact while the addresses form few ranges; beyond
// maxRanges the ranges with the smallest gaps between them are merged, which lets through a few addresses that lie close
// to ours, and those are refused by the look-up. IPv6 is told apart by the low 32 bits of the target: addresses of a pool
// seldom differ elsewhere. Adding an address widens the filter at once and costs the same however many there are; while many
// come, it lets their neighbours through too, so that it need not change for each. It is tightened again a little after.
//
// # Threads and namespaces
//
// Every socket is opened by the goroutine that calls Run, so a caller that has locked its thread into a network
// namespace runs the whole Engine there.
package l2
