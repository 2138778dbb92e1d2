package xds

import (
	"slices"

	"github.com/fairlead/fairlead/gateway"
)

// PartOf says what a resource of a Model's Resources is made of, as far as that is a
// part of the Model.
func PartOf(m *gateway.Model, resource string) gateway.Part {
	e, out := &encoder{model: m}, gateway.Part{}
	table := func(t *gateway.Table) {
		if t != nil && e.tableName(t) == resource {
			out.Table = t.Name
		}
	}
	authorities := func(ids []string) {
		if set := setOf(ids); len(set) > 0 && e.authoritiesName(set) == resource {
			out.Authorities = ids
		}
	}
	for i := range m.Ports {
		p := &m.Ports[i]
		if e.listenerName(p) == resource || p.Transport == gateway.UDP && e.streamName(p) == resource {
			out.Port, out.Transport = p.Number, p.Transport
		}
		table(p.HTTP)
		for j := range p.TLS {
			table(p.TLS[j].HTTP)
			if c := p.TLS[j].Client; c != nil {
				authorities(c.Authorities)
			}
		}
	}
	for i := range m.Backends {
		b := &m.Backends[i]
		if e.clusterName(b.ID) == resource || endpointsName(b) == resource {
			out.Backends = append(out.Backends, b.ID)
		}
		if b.TLS != nil {
			authorities(b.TLS.Authorities)
		}
	}
	if i := slices.IndexFunc(m.Certificates, func(c gateway.Certificate) bool { return e.certificateName(c.ID) == resource }); i >= 0 {
		out.Certificates = []string{m.Certificates[i].ID}
	}
	return out
}
