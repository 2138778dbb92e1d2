package allocator

import (
	"cmp"
	"net/netip"
	"slices"
)

// shareable tells why h may not stand beside another holder of the address that
// lies in bk; empty: it may. It takes the address over from the other, or they must
// have the same sharing key, the same namespace (unless the pool, or both, allow
// another) and no port in common.
func shareable(bk *bucket, h Holding, other *Holding) Reason {
	switch {
	case h.takes(other.Key):
		return ""
	case h.SharingKey == "" || other.SharingKey == "":
		return AddressTaken
	case h.Key.Namespace != other.Key.Namespace && (bk == nil || !bk.pool.ShareAcrossNamespaces) &&
		(!agrees(h.ShareWith, other.Key.Namespace) || !agrees(other.ShareWith, h.Key.Namespace)):
		return AddressTaken
	case h.SharingKey != other.SharingKey:
		return SharingKeyMismatch
	}
	if _, clash := commonPort(h.Ports, other.Ports); clash {
		return PortsClash
	}
	return ""
}

func agrees(with []string, namespace string) bool {
	return slices.Contains(with, "*") || slices.Contains(with, namespace)
}

func commonPort(a, b []Port) (Port, bool) {
	for _, p := range a {
		if slices.Contains(b, p) {
			return p, true
		}
	}
	return Port{}, false
}

func comparePorts(a, b Port) int {
	return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
}

// normalPorts are sorted and without duplicates, so that another order in the
// holder's spec is no change.
func normalPorts(ports []Port) []Port {
	strictly := true
	for i := 1; i < len(ports); i++ {
		strictly = strictly && comparePorts(ports[i-1], ports[i]) < 0
	}
	if strictly {
		return ports
	}
	ports = slices.Clone(ports)
	slices.SortFunc(ports, comparePorts)
	return slices.Compact(ports)
}

// holdingOf is what the ledger says of the claim's holder.
func holdingOf(c *Claim) Holding {
	return Holding{
		Key: c.Key, UID: c.UID, Ports: c.Ports, SharingKey: c.SharingKey.Value, ShareWith: c.ShareWith,
		Local: c.Local, Endpoints: c.Endpoints, Advertised: c.Advertised, Takeover: c.Takeover,
	}
}

// joinRefusal tells why the claim may not stand beside the holders of e.
func joinRefusal(c *Claim, e *entry, bk *bucket) *Refusal {
	h := holdingOf(c)
	h.Takeover = e.takeoverOn(c)
	for i := range e.holders {
		other := &e.holders[i]
		if other.Key == c.Key {
			continue
		}
		if reason := shareable(bk, h, other); reason != "" {
			r := &Refusal{Reason: reason, Address: e.address, Family: FamilyOf(e.address), Pool: e.pool}
			r.Port, _ = commonPort(h.Ports, other.Ports)
			r.tell(c, other.Key)
			if r.Holder != nil {
				r.Since = other.Since
			}
			return r
		}
	}
	return nil
}

// tell names the other holder if it is of the same namespace.
func (r *Refusal) tell(c *Claim, other Key) {
	if other.Namespace != c.Key.Namespace {
		r.Elsewhere = true
		return
	}
	r.Holder = &other
}

// joinable is the first address that holders with the claim's sharing key have
// and where the claim fits.
func (b *Books) joinable(c *Claim, f Family) (netip.Addr, bool) {
	if c.SharingKey.Value == "" {
		return netip.Addr{}, false
	}
	for _, a := range b.sharing[c.SharingKey.Value] {
		e := b.entries[a]
		if FamilyOf(a) != f || e.bucket == nil || e.reserved != nil || !e.bucket.pool.serves(c) {
			continue
		}
		if joinRefusal(c, e, e.bucket) == nil && b.withinLimit(c, e.bucket, a, 0) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// refresh brings the holding on an address up to date with the claim. Sharing
// key and ports stay as they are where they would clash with another holder.
func (b *Books) refresh(e *entry, c *Claim, needs []netip.Addr) *Refusal {
	was := e.holding(c.Key)
	h := holdingOf(c)
	h.Since, h.Bound, h.Needs, h.Takeover = was.Since, was.Bound, needs, e.takeoverOn(c)
	h.carryTakeover(was)
	var refusal *Refusal
	if len(e.holders) > 1 {
		refusal = keepShared(e, c, was, &h)
	}
	if was.equal(h) {
		return refusal
	}
	b.change(e, func(e *entry) {
		e.holders = slices.Clone(e.holders)
		*e.holding(c.Key) = h
	})
	return refusal
}

// sharesOtherwise tells whether others may share with o that could not with h.
func (h *Holding) sharesOtherwise(o *Holding) bool {
	return h != o && (h.SharingKey != o.SharingKey || !slices.Equal(h.Ports, o.Ports) || !slices.Equal(h.ShareWith, o.ShareWith))
}

// keepShared puts back into h what the other holders of e leave no room for.
func keepShared(e *entry, c *Claim, was, h *Holding) (refusal *Refusal) {
	refuse := func(reason Reason, other *Holding, p Port) {
		if refusal != nil {
			return
		}
		refusal = &Refusal{Reason: reason, Address: e.address, Family: FamilyOf(e.address), Pool: e.pool, Port: p, Kept: true}
		refusal.tell(c, other.Key)
	}
	if h.SharingKey != was.SharingKey {
		for i := range e.holders {
			if o := &e.holders[i]; o.Key != c.Key && o.SharingKey != h.SharingKey && !paired(h, o) {
				refuse(SharingKeyMismatch, o, Port{})
				h.SharingKey = was.SharingKey
			}
		}
	}
	if slices.Equal(h.Ports, was.Ports) {
		return refusal
	}
	for i := range e.holders {
		o := &e.holders[i]
		if p, clash := commonPort(h.Ports, o.Ports); o.Key != c.Key && clash && !paired(h, o) {
			refuse(PortsClash, o, p)
			h.Ports = was.Ports
		}
	}
	return refusal
}
