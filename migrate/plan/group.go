package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/service"
)

// group are the Services that move to one Gateway at once: one, or those who share
// its address with it. The first is the one that was named.
type group []*toGateway

// Sharers are the others who have what From has in the ledger, sorted.
func (in *Input) Sharers() []Holder {
	var out []Holder
	for _, a := range in.Cluster.Addresses {
		var holders []Holder
		for _, h := range a.Spec.Holders {
			holders = append(holders, referred(&h.HolderReference))
		}
		if !slices.Contains(holders, in.From) {
			continue
		}
		for _, h := range holders {
			if h != in.From && h != in.To && !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
	}
	slices.SortFunc(out, func(a, b Holder) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// givers are those who hand over; none, with a note, where it cannot be done.
func givers(in *Input, p *Plan) group {
	if in.Options.WithSharers {
		p.Also = in.Sharers()
	}
	to := &target{}
	var all group
	for _, h := range p.Givers() {
		if h.Kind != Service {
			p.note(Blocked, "sharing", fmt.Sprintf("%s has a part of the address, and moves to %s in a way of its own.", h, in.To),
				"Leave --with-sharers out, and move the Services to Gateways of their own; or let that one give its part up first.")
			continue
		}
		one := *in
		one.From = h
		svc := giver(&one, p)
		if svc == nil {
			continue
		}
		if has := service.Shown(svc); !sameSet(has, p.Addresses) {
			p.note(Blocked, h.String()+" status.loadBalancer", fmt.Sprintf("It has %s, and %s has %s: those who hand over at once must have the same addresses.", addressWords(has), p.From, addressWords(p.Addresses)),
				"Give all of them the same addresses, or leave --with-sharers out.")
		}
		all = append(all, &toGateway{target: to, in: &one, p: p, svc: svc})
	}
	if len(all) < len(p.Givers()) {
		return nil
	}
	all.each(func(t *toGateway) { t.ways = chooseWays(t.in, p, t.svc) })
	return all
}

// each does something for each Service. Notes of it are that Service's.
func (all group) each(do func(*toGateway)) {
	for _, t := range all {
		if len(all) > 1 {
			t.p.of = t.in.From.String()
		}
		do(t)
		t.p.of = ""
	}
}

// checkWays finds ports that no Gateway can carry, or that two Services have.
func checkWays(in *Input, p *Plan, all group) {
	var ways []way
	owner := map[socket]Holder{}
	for _, t := range all {
		if len(t.ways) == 0 {
			p.note(Blocked, t.in.From.String()+" spec.ports", "None of its ports can be carried by a Gateway.", "Keep the Service.")
		}
		ways = append(ways, t.ways...)
		for _, s := range socketsOf(t.svc) {
			if other, taken := owner[s]; taken && other != t.in.From {
				p.note(Blocked, "port "+s.String(), fmt.Sprintf("%s and %s both have it, and a Gateway has each port once.", other, t.in.From), "Take it from one of them, or leave --with-sharers out.")
			}
			owner[s] = t.in.From
		}
	}
	checkPortsAsked(in, p, ways)
}

// config sees to it that who may connect, and from which nodes, stays as it is. All
// who hand over must admit the same clients.
func (all group) config() {
	first := all[0]
	ranges := first.sourceRanges()
	for _, t := range all[1:] {
		if other := t.sourceRanges(); !sameRanges(ranges, other) {
			t.p.note(Blocked, "spec.loadBalancerSourceRanges", fmt.Sprintf("%s admits %s, and %s admits %s. Source ranges hold for a whole Gateway.", first.in.From, rangeWords(ranges), t.in.From, rangeWords(other)),
				"Make the ranges equal, or leave --with-sharers out and use a Gateway for each.")
		}
	}
	if first.live != nil {
		all.each(func(t *toGateway) { t.compare(t.sourceRanges(), t.in.Cluster.configOf(t.class)) })
		return
	}
	first.config(ranges, slices.ContainsFunc(all, (*toGateway).local))
}

// joinNotes says once what is said of all, and of whom the rest is said.
func (all group) joinNotes(p *Plan) {
	var out []Note
	for _, n := range p.Notes {
		of := n.of
		n.of = ""
		same := 0
		for _, other := range p.Notes {
			if other.of = ""; other == n {
				same++
			}
		}
		if of != "" && same < len(all) && !strings.Contains(n.About, of) {
			n.About += " of " + of
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	p.Notes = out
}

func sameSet[T comparable](a, b []T) bool {
	return !slices.ContainsFunc(a, func(x T) bool { return !slices.Contains(b, x) }) && !slices.ContainsFunc(b, func(x T) bool { return !slices.Contains(a, x) })
}
