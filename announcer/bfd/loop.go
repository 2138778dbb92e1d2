package bfd

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// retryAfter is how long after a failure a socket is opened again.
const retryAfter = time.Second

// loop is what the thread of Run owns.
type loop struct {
	e      *Engine
	ctx    context.Context
	chance func() float64

	agenda    agenda
	byLocal   map[uint32]*session
	byName    map[string]*session
	byPeer    map[netip.Addr][]*session // by address without zone
	receivers map[receiverKind]*receiver
	echoing   map[*session]bool

	applied *[]Session
	nothing []Session // what is wanted at the end
	ending  bool
	removed []Event // of sessions that are not wanted any more, to be told when Sessions lists them no longer
	polled  []unix.PollFd
	out     []byte
}

func (l *loop) run() {
	runtime.LockOSThread()
	end := l.prioritize()
	defer func() {
		l.closeAll()
		if end() == nil {
			runtime.UnlockOSThread()
		}
	}()
	for {
		l.e.wake.clear()
		l.apply()
		now := time.Now()
		// What has come before now is read before any timer of now is looked at.
		l.drain()
		for len(l.agenda) > 0 && !now.Before(l.agenda[0].at) {
			l.look(now, l.agenda[0])
		}
		if l.ending && len(l.agenda) == 0 {
			return
		}
		l.wait()
	}
}

// prioritize has this thread preferred over others, and returns what ends that.
func (l *loop) prioritize() (end func() error) {
	if _, err := preferThread(0, ownRuntime); err != nil {
		l.e.cfg.Log.Info("BFD runs without priority, so that peers may hear this node late while it is busy; CAP_SYS_NICE would mend that", "reason", err.Error())
		return func() error { return nil }
	}
	return func() error { return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr}, 0) }
}

// wait sleeps until a packet has come, something is wanted, or the next session is due.
func (l *loop) wait() {
	l.polled = append(l.polled[:0], unix.PollFd{Fd: int32(l.e.wake.fd), Events: unix.POLLIN})
	for _, r := range l.receivers {
		l.polled = append(l.polled, unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN})
	}
	for s := range l.echoing {
		l.polled = append(l.polled, unix.PollFd{Fd: int32(s.echoer.fd), Events: unix.POLLIN})
	}
	var timeout *unix.Timespec
	if len(l.agenda) > 0 {
		ts := unix.NsecToTimespec(max(0, time.Until(l.agenda[0].at).Nanoseconds()))
		timeout = &ts
	}
	_, _ = unix.Ppoll(l.polled, timeout, nil)
}

// apply takes up what Sync says.
func (l *loop) apply() {
	want := l.e.want.Load()
	if l.ctx.Err() != nil {
		l.ending, want = true, &l.nothing
	}
	if want == l.applied {
		return
	}
	now := time.Now()
	l.applied = want
	keep := map[string]bool{}
	for _, s := range *want {
		keep[s.Name] = true
	}
	for name, s := range l.byName {
		if !keep[name] {
			l.part(now, s)
		}
	}
	for _, s := range *want {
		l.put(now, s)
	}
	l.publish()
	l.e.events.add(l.removed...)
	l.removed = l.removed[:0]
	l.closeUnused()
}

// put makes or changes a session.
func (l *loop) put(now time.Time, want Session) {
	old := l.byName[want.Name]
	if old != nil && old.want == want {
		return
	}
	if old != nil && old.want.same(want) {
		old.want, old.machine.noEcho, old.echoTrouble = want, false, ""
		old.machine.reset(now, want.Settings)
		l.after(now, old, result{})
		return
	}
	if old != nil {
		l.part(now, old)
	}
	s := &session{want: want, place: -1}
	s.machine = newMachine(now, want.Settings, l.discriminator(), l.chance)
	s.auth.sent = rand.Uint32()
	l.byLocal[s.machine.local], l.byName[want.Name] = s, s
	l.byPeer[want.way().peer] = append(l.byPeer[want.way().peer], s)
	l.open(now, s)
	l.after(now, s, result{})
}

// discriminator is one that no session has.
func (l *loop) discriminator() uint32 {
	for {
		if d := rand.Uint32(); d != 0 && l.byLocal[d] == nil {
			return d
		}
	}
}

// open opens the sockets that a session needs.
func (l *loop) open(now time.Time, s *session) {
	s.retryAt = time.Time{}
	link, err := linkIndex(s.want)
	if err == nil {
		s.linkIndex = link
		s.sender, err = openSender(s.want, link)
	}
	if k := kindOf(s.want); err == nil && l.receivers[k] == nil {
		var r *receiver
		if r, err = openReceiver(k); err == nil {
			l.receivers[k] = r
		}
	}
	if err != nil {
		l.fail(now, s, err)
	}
}

// fail closes the socket of a session, to be opened again a little later.
func (l *loop) fail(now time.Time, s *session, err error) {
	if s.sender != nil {
		s.sender.close()
		s.sender = nil
	}
	if s.trouble != err.Error() {
		l.e.cfg.Log.Error(err, "BFD trouble; it is tried again", "session", s.want.Name)
	}
	s.trouble, s.retryAt = err.Error(), now.Add(retryAfter)
}

// look does what is due for a session.
func (l *loop) look(now time.Time, s *session) {
	if s.parting > 0 {
		l.bid(now, s)
		return
	}
	if !s.retryAt.IsZero() && !now.Before(s.retryAt) {
		l.open(now, s)
	}
	l.after(now, s, s.machine.elapsed(now))
}

// drain reads all that has come.
func (l *loop) drain() {
	for _, r := range l.receivers {
		r.drain(l.take)
	}
	for s := range l.echoing {
		if at, some := s.echoer.drain(); some {
			s.machine.echo.returned(at)
			l.schedule(s)
		}
	}
}

// take handles a packet.
func (l *loop) take(a arrival) {
	p, err := Parse(a.raw)
	if err != nil {
		return
	}
	s := l.find(p, a)
	if s == nil || s.parting > 0 || s.want.MultiHop != a.multiHop {
		return
	}
	err = s.admits(a)
	if err == nil {
		err = s.want.Auth.verify(&s.auth, p, a.raw, a.at, s.machine.detection())
	}
	if err != nil {
		s.refused.Add(1)
		l.e.cfg.Log.V(1).Info("A BFD packet is not taken", "session", s.want.Name, "reason", err.Error())
		return
	}
	s.hear(a.at)
	now := time.Now()
	l.after(now, s, s.machine.received(now, a.at, p))
}

// find is the session that a packet is for.
func (l *loop) find(p Packet, a arrival) *session {
	if p.Yours != 0 {
		return l.byLocal[p.Yours]
	}
	var any *session
	for _, s := range l.byPeer[a.from] {
		switch w := s.want.way(); {
		case s.want.MultiHop != a.multiHop, s.admits(a) != nil:
		case w.link != "" || w.local == a.to:
			return s
		case !w.local.IsValid():
			any = s
		}
	}
	return any
}

// after sends what a step gave, tells and shows what it changed, and looks for the next.
func (l *loop) after(now time.Time, s *session, r result) {
	if r.send {
		l.send(now, s, r.packet)
	}
	if r.changed && r.was == Up {
		s.dropped.Add(1)
	}
	l.echo(now, s, r.echo)
	shown := s.show(now, r)
	switch {
	case r.changed:
		// Who is told finds it in Sessions.
		l.e.events.add(Event{Session: s.want.Name, State: s.machine.state, Was: r.was, Cause: r.why, At: now})
	case shown:
		l.e.events.changed()
	}
	l.schedule(s)
}

// echo sends an echo if one is due, and has a socket for them while they are on.
func (l *loop) echo(now time.Time, s *session, due bool) {
	switch on := s.machine.echo.on; {
	case on && s.echoer == nil:
		e, err := openEchoer(s)
		if err != nil {
			l.e.cfg.Log.Error(err, "BFD echoes cannot be sent", "session", s.want.Name)
			s.echoTrouble, s.machine.noEcho = err.Error(), true
			s.machine.echoes(now)
			return
		}
		s.echoer, l.echoing[s] = e, true
	case !on && s.echoer != nil:
		l.stopEchoes(s)
	}
	if due && s.echoer != nil {
		s.echoer.send(s.machine.echo.missing(now))
	}
}

func (l *loop) stopEchoes(s *session) {
	if s.echoer != nil {
		s.echoer.close()
		s.echoer = nil
		delete(l.echoing, s)
	}
}

func (l *loop) send(now time.Time, s *session, p Packet) {
	if s.sender == nil {
		return
	}
	l.out = s.want.Auth.sign(&s.auth, p, l.out[:0])
	err := s.sender.send(l.out)
	switch {
	case err == nil:
		s.sent.Add(1)
		s.trouble = ""
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
		// The next one will do.
	default:
		l.fail(now, s, err)
	}
}

// schedule puts a session where it belongs in the agenda.
func (l *loop) schedule(s *session) {
	s.at = s.next()
	switch {
	case s.at.IsZero() && s.place >= 0:
		heap.Remove(&l.agenda, s.place)
	case s.at.IsZero():
	case s.place >= 0:
		heap.Fix(&l.agenda, s.place)
	default:
		heap.Push(&l.agenda, s)
	}
}

// part begins the farewell to a peer.
func (l *loop) part(now time.Time, s *session) {
	delete(l.byName, s.want.Name)
	peer := s.want.way().peer
	l.byPeer[peer] = slices.DeleteFunc(l.byPeer[peer], func(o *session) bool { return o == s })
	if len(l.byPeer[peer]) == 0 {
		delete(l.byPeer, peer)
	}
	l.stopEchoes(s)
	up := s.machine.state == Up
	r := s.machine.stop(now)
	if up {
		l.removed = append(l.removed, Event{Session: s.want.Name, State: AdminDown, Was: Up, Cause: CauseRemoved, At: now})
	}
	l.send(now, s, r.packet)
	s.parting, s.partAt = farewells-1, now.Add(farewellGap)
	l.schedule(s)
}

// bid says farewell once more.
func (l *loop) bid(now time.Time, s *session) {
	l.send(now, s, s.machine.packet())
	s.parting--
	s.partAt = now.Add(farewellGap)
	if s.parting > 0 {
		l.schedule(s)
		return
	}
	if s.place >= 0 {
		heap.Remove(&l.agenda, s.place)
	}
	delete(l.byLocal, s.machine.local)
	if s.sender != nil {
		s.sender.close()
	}
	l.closeUnused()
}

// closeUnused closes sockets that no session receives by.
func (l *loop) closeUnused() {
	used := map[receiverKind]bool{}
	for _, s := range l.byLocal {
		used[kindOf(s.want)] = true
	}
	for k, r := range l.receivers {
		if !used[k] {
			r.close()
			delete(l.receivers, k)
		}
	}
}

// publish makes the answer of Sessions.
func (l *loop) publish() {
	table := make([]*session, 0, len(l.byName))
	for _, want := range *l.applied {
		table = append(table, l.byName[want.Name])
	}
	l.e.table.Store(&table)
}

func (l *loop) closeAll() {
	for _, r := range l.receivers {
		r.close()
	}
}
