package gateway

// uses calls see for the ID of every backend that something on the port leads to.
// It is empty for a reference that cannot be followed.
func (p *Port) uses(see func(id string)) {
	p.HTTP.uses(see)
	for i := range p.TLS {
		p.TLS[i].HTTP.uses(see)
	}
	p.forwards(see)
}

// forwards does so for what is forwarded without being looked into.
func (p *Port) forwards(see func(id string)) {
	p.Stream.uses(see)
	for i := range p.TLS {
		p.TLS[i].Stream.uses(see)
	}
}

func (t *Table) uses(see func(id string)) {
	if t == nil {
		return
	}
	for i := range t.Hosts {
		t.Hosts[i].uses(see)
	}
}

func (h *Host) uses(see func(id string)) {
	for i := range h.Auth {
		see(h.Auth[i].Backend)
	}
	for _, r := range h.Rules {
		usesOf(r.Backends, see)
		for _, m := range r.Mirrors {
			see(m.Backend)
		}
		if r.Auth != nil {
			see(r.Auth.Backend)
		}
	}
}

func (s *Stream) uses(see func(id string)) {
	if s != nil {
		usesOf(s.Backends, see)
	}
}

func usesOf(list []Destination, see func(id string)) {
	for i := range list {
		d := &list[i]
		see(d.Backend)
		for _, m := range d.Mirrors {
			see(m.Backend)
		}
		if d.Auth != nil {
			see(d.Auth.Backend)
		}
	}
}
