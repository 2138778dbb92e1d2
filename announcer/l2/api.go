package l2

import (
	"net"
	"net/netip"
	"regexp"
	"time"

	"github.com/go-logr/logr"
)

// An Announcement is the wish that this node answers for an address.
type Announcement struct {
	// Address is what to answer for; IPv4 by ARP, IPv6 by NDP.
	Address netip.Addr
	// Interfaces names where to answer; nil means every suitable interface.
	Interfaces []string
	// Probe asks whether another host already has the address before answering for it (RFC 5227 section 2.1,
	// RFC 4862 section 5.4). It is false when the address is taken over from another speaker. It matters until the
	// address is announced; a change of it afterwards changes nothing.
	Probe bool
	// Hold asks as Probe does, and then waits: the address is not answered for before a wish without Hold comes. If nobody
	// else has shown up until then, that wish need not ask any more. A deputy takes no notice of it.
	Hold bool
	// Deputy answers on behalf of another node: by interface name, the hardware address to answer with. An interface that
	// is not named here stays silent. A deputy sends nothing unasked. Nil means that this node answers with its own
	// hardware addresses.
	Deputy map[string]net.HardwareAddr
}

// DefaultExclude matches the interfaces that container networks and virtual machines make, the list that users of MetalLB
// know. An excluded interface is not used even if an Announcement names it.
var DefaultExclude = regexp.MustCompile(
	`^(docker.*|cbr.*|dummy.*|virbr.*|lxcbr.*|veth.*|lo|cali.*|tunl.*|flannel.*|kube-ipvs.*|cni.*|nodelocaldns.*|lxc.*)$`)

// Clock is the time that the Engine lives by. k8s.io/utils/clock.Clock and its fakes satisfy it.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// Timings are the Engine's waits and rates. The zero value of a field means its default.
type Timings struct {
	// ProbeCount is how many probes are sent before an address counts as free (default 3).
	ProbeCount int
	// ProbeInterval is the wait after each probe (default 15 ms). RFC 5227 takes seconds; a new Service should not. A host
	// that answers later than that is found by the late probes.
	ProbeInterval time.Duration
	// LateProbes are the moments, counted from the first announcement of an address that was probed for, at which it is
	// asked for again (default 100 ms, 500 ms, 1.5 s). An empty, non-nil slice means never.
	LateProbes []time.Duration
	// Probation is for how long, counted as LateProbes are, an address is given up for a host that claims it: that host
	// had it before us and was slow to say so (default 2 s). After that it is defended.
	Probation time.Duration
	// Repeats are the moments, counted from the first one, at which gratuitous packets are sent again
	// (default 200 ms, 1 s, 2 s, 4 s). An empty, non-nil slice means never.
	Repeats []time.Duration
	// ProbedRepeats are the same for an address that was probed for (default 2 s: RFC 5227 announces twice). Nobody
	// answered for it, so there is little to put right.
	ProbedRepeats []time.Duration
	// Rate bounds what is sent unasked, in packets per second over all interfaces (default 10,000; the first of them
	// go out without delay).
	Rate int
	// ConflictRetryMin and ConflictRetryMax bound the back-off between probes for an address that another host has
	// (default 1 s and 30 s).
	ConflictRetryMin, ConflictRetryMax time.Duration
	// DefendInterval is how often at most an announced address is defended (default 10 s, RFC 5227 section 2.4).
	DefendInterval time.Duration
	// ConflictQuiet is how long a rival for an announced address must have been silent before the conflict counts as gone
	// (default 60 s).
	ConflictQuiet time.Duration
}

// withDefaults fills in what was left zero.
func (t Timings) withDefaults() Timings {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if t.ProbeCount <= 0 {
		t.ProbeCount = 3
	}
	if t.Rate <= 0 {
		t.Rate = 10_000
	}
	if t.Repeats == nil {
		t.Repeats = []time.Duration{200 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}
	}
	if t.ProbedRepeats == nil {
		t.ProbedRepeats = []time.Duration{2 * time.Second}
	}
	if t.LateProbes == nil {
		t.LateProbes = []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 1500 * time.Millisecond}
	}
	def(&t.ProbeInterval, 15*time.Millisecond)
	def(&t.Probation, 2*time.Second)
	def(&t.ConflictRetryMin, time.Second)
	def(&t.ConflictRetryMax, 30*time.Second)
	def(&t.DefendInterval, 10*time.Second)
	def(&t.ConflictQuiet, time.Minute)
	return t
}

// Config is what New needs.
type Config struct {
	// Log is used for what an operator should know: interfaces that come and go, conflicts, failures.
	Log logr.Logger
	// Clock is the system's if nil.
	Clock Clock
	// Exclude matches the names of interfaces that are never used; DefaultExclude if nil.
	Exclude *regexp.Regexp
	// Known tells whether a hardware address belongs to one of our own speakers; an answer from those is no conflict.
	// It is called from several goroutines and must not block. Nil knows nobody.
	Known func(net.HardwareAddr) bool
	// Timings may be left zero.
	Timings Timings
	// OnEvent is told what happens, in order, by the goroutine that runs the Engine. It must not block and must not call
	// the Engine's Sync. Nil is allowed.
	OnEvent func(Event)
}

// EventKind tells what an Event is about.
type EventKind int

// The kinds of events.
const (
	// Announced: the address is answered for on the interface and its first gratuitous packet, if any, has been sent.
	Announced EventKind = iota + 1
	// Withdrawn: the address is no longer answered for on the interface.
	Withdrawn
	// Conflict: another host, MAC, has the address. Event.Held tells whether we announce it all the same; if not, it is not
	// answered for, whether or not it was before.
	Conflict
	// ConflictGone: nobody else has the address any more.
	ConflictGone
	// InterfacesChanged: the answer of Interfaces has changed.
	InterfacesChanged
	// Failed: something could not be done on the interface (Err says what); it is tried again.
	Failed
	// Mended: what a Failed of the same Interface and Address told is over: it works, or it is not wanted any more, or the
	// interface is gone.
	Mended
)

// String is the kind's name.
func (k EventKind) String() string {
	switch k {
	case Announced:
		return "Announced"
	case Withdrawn:
		return "Withdrawn"
	case Conflict:
		return "Conflict"
	case ConflictGone:
		return "ConflictGone"
	case InterfacesChanged:
		return "InterfacesChanged"
	case Failed:
		return "Failed"
	case Mended:
		return "Mended"
	}
	return "unknown"
}

// An Event tells of a change of state, never of a state that lasts.
type Event struct {
	Kind EventKind
	// Address is unset for InterfacesChanged and for a failure of a whole interface.
	Address netip.Addr
	// Interface is unset for InterfacesChanged, and for a failure of what follows all interfaces.
	Interface string
	// MAC is the rival's, for Conflict and ConflictGone.
	MAC net.HardwareAddr
	// Deputy is set on Announced if the address is answered for on behalf of another node.
	Deputy bool
	// Held is set on a Conflict for an address that we had announced before the rival showed itself and that we keep.
	Held bool
	// Err is set for Failed.
	Err error
}

// An Interface is what the Engine makes of one of the node's interfaces.
type Interface struct {
	Index int
	Name  string
	MAC   net.HardwareAddr
	// ARP and NDP tell whether IPv4 and IPv6 addresses can be announced here.
	ARP, NDP bool
	// Reason says in words why ARP or NDP or both are not possible; empty if both are.
	Reason string
}

// A Phase is how far an address has come on an interface.
type Phase int

// The phases.
const (
	// Probing: nobody else may have it; we are asking.
	Probing Phase = iota + 1
	// Answering: it is announced.
	Answering
	// Contested: another host has it and we keep silent; we ask again now and then.
	Contested
	// Waiting: nobody else has it, and it is not to be announced yet.
	Waiting
)

// String is the phase's name.
func (p Phase) String() string {
	switch p {
	case Probing:
		return "Probing"
	case Answering:
		return "Answering"
	case Contested:
		return "Contested"
	case Waiting:
		return "Waiting"
	}
	return "unknown"
}

// A State tells how an address stands on one interface.
type State struct {
	Interface string
	Phase     Phase
	// Rival is the hardware address of another host that was last seen with the address, nil if there is none.
	Rival net.HardwareAddr
	// Since is when the Phase began.
	Since time.Time
	// Deputy tells that the answers carry another node's hardware address.
	Deputy bool
}

// A Count is what one interface has seen and sent for one family since the Engine began. Counts of an interface that went
// away and came back go on.
type Count struct {
	Interface string
	// Family is "ipv4" or "ipv6".
	Family string
	// Received counts requests and advertisements that passed the kernel's filter; Malformed those of them that no parser took.
	Received, Malformed uint64
	// Answered counts replies sent, Gratuitous what was sent unasked to announce or defend, Probes what was sent to ask.
	Answered, Gratuitous, Probes uint64
	// Conflicts counts packets of rivals, Errors packets that could not be sent.
	Conflicts, Errors uint64
}
