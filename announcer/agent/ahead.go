package agent

import (
	"context"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/l2"
)

// aheadFor is how long it counts that nobody else was found to have an address. An address that is served later is asked
// for again.
const aheadFor = 10 * time.Second

// ahead are the addresses that were asked for before anybody can serve them, the first asked for first.
type ahead []asked

type asked struct {
	ip    netip.Addr
	until time.Time
}

// askAhead has it asked whether another host has an address that has just come and that nobody can serve yet, if we would
// be the one to announce it. As soon as it can be served it is announced without a wait. What was there before us is not
// asked for, nor anything twice: thousands of addresses may wait for their endpoints.
func (a *Agent) askAhead(ctx context.Context, ip netip.Addr, e *entry) {
	l, now := &a.loop, a.cfg.Clock.Now()
	if e.came.IsZero() || now.Sub(e.came) >= aheadFor || e.want != nil {
		return
	}
	interfaces := l.index.Foresee(e.address, a.cfg.Node)
	if len(interfaces) == 0 {
		return
	}
	e.came = time.Time{}
	if _, known := a.previous(ctx, ip, e, announcer.Decision{}); known {
		return
	}
	e.asked = now.Add(aheadFor)
	l.ahead = append(l.ahead, asked{ip, e.asked})
	if len(l.ahead) == 1 {
		a.later(aheadFor)
	}
	a.engine.Set(ip, &l2.Announcement{Address: ip, Interfaces: namesOf(interfaces), Probe: true, Hold: true})
}

func namesOf(interfaces []announcer.Interface) []string {
	out := make([]string, 0, len(interfaces))
	for _, i := range interfaces {
		out = append(out, i.Name)
	}
	return out
}

// askNoMore ends that, for an address that is not ours to announce.
func (a *Agent) askNoMore(ip netip.Addr, e *entry) {
	if !e.asked.IsZero() {
		e.asked = time.Time{}
		a.engine.Set(ip, nil)
	}
}

// outdate ends it for addresses that nobody could serve for too long.
func (a *Agent) outdate() {
	l, now := &a.loop, a.cfg.Clock.Now()
	n := 0
	for _, was := range l.ahead {
		if now.Before(was.until) {
			break
		}
		n++
		if e := l.entries[was.ip]; e != nil && e.asked.Equal(was.until) {
			a.askNoMore(was.ip, e)
		}
	}
	if n == 0 {
		return
	}
	l.ahead = l.ahead[n:]
	if len(l.ahead) > 0 {
		a.later(l.ahead[0].until.Sub(now))
	}
}
