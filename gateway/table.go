package gateway

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/utils/ptr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ports assembles what the Gateway serves on each of its ports. One where nothing
// has changed is the one before.
func (b *builder) ports() []Port {
	out := make([]Port, len(b.places))
	for i := range b.places {
		at, old := &b.places[i], (*Port)(nil)
		if b.change != nil {
			old = &b.change.was.Model.Ports[i]
			if !b.change.touches(at.listeners()...) {
				out[i] = *old
				continue
			}
		}
		out[i] = b.port(at, old)
	}
	return out
}

// port assembles one port. Old is what it was, of the same listeners; nil: nothing.
func (b *builder) port(at *portOf, old *Port) Port {
	if old == nil {
		old = &Port{}
	}
	p := Port{Number: at.number, Transport: at.transport}
	if at.stream != nil {
		p.Stream = firstStream(b.on[at.stream])
	}
	if len(at.plain) > 0 {
		p.HTTP = &Table{Name: tableName("http", at.number, "")}
		p.HTTP.Hosts = b.merge(old.HTTP, at.plain, at.plain, nil)
	}
	p.TLS = b.servers(at.encrypted, old.TLS)
	return p
}

// compareTransport puts TCP before UDP.
func compareTransport(a, b Transport) int { return strings.Compare(string(a), string(b)) }

// firstStream is what a TCP or UDP listener with these routes forwards to: the
// oldest one's backends. Nothing without a route.
func firstStream(routes []*attachment) *Stream {
	for _, a := range routes {
		if a.route.stream != nil {
			return a.route.stream
		}
	}
	return &Stream{}
}

// mostSpecific is the listener whose hostname is the most specific of those that
// match a host; nil: none does.
func mostSpecific(listeners []*listener, host string) *listener {
	var best *listener
	for _, l := range listeners {
		if covers(l.host, host) && (best == nil || moreSpecific(l.host, best.host) < 0) {
			best = l
		}
	}
	return best
}

// merge gives the hosts of a table: those of some listeners, each of which must be
// the most specific one among its siblings for what it serves, whatever routes the
// others have; and further ones that depend on no route. Old is the table before,
// of the same listeners, of which only what is affected is made anew; nil: there
// is none.
func (b *builder) merge(old *Table, listeners, siblings []*listener, further []*Host) []*Host {
	if old == nil {
		out := further
		for _, l := range listeners {
			out = append(out, b.hosts(l, siblings, nil)...)
		}
		sortHosts(out)
		return out
	}
	affected := map[string]bool{}
	var now []*Host
	for _, l := range listeners {
		if only := b.change.affected(l, siblings, old.Hosts); len(only) > 0 {
			maps.Copy(affected, only)
			now = append(now, b.hosts(l, siblings, only)...)
		}
	}
	if len(affected) == 0 {
		return old.Hosts
	}
	sortHosts(now)
	return b.change.patch(old.Hosts, affected, now)
}

func tableName(scheme string, port uint16, listener string) string {
	name := scheme + "/" + strconv.Itoa(int(port))
	if listener != "" {
		name += "/" + listener
	}
	return name
}

// hosts are those that a listener serves, with their rules; of those in only, if
// it is not nil. Siblings are the listeners among which it must be the most
// specific one.
func (b *builder) hosts(l *listener, siblings []*listener, only map[string]bool) []*Host {
	wanted := func(string) bool { return true }
	if only != nil {
		matching := map[string]bool{} // hostnames of routes that match one of only
		for host := range only {
			widening(host, func(h string) bool {
				matching[h] = true
				return true
			})
		}
		wanted = func(h string) bool { return matching[h] }
	}
	known := map[string][]ranked{} // by the routes' own hostnames
	domains := map[string]bool{l.host: true}
	for _, a := range b.on[l] {
		for _, h := range a.hosts {
			if !wanted(h) {
				continue
			}
			known[h] = append(known[h], a.route.rules...)
			if d, ok := intersect(l.host, h); ok {
				domains[d] = true
			}
		}
	}
	rules := map[string][]*Rule{}
	for h, list := range known {
		slices.SortFunc(list, before)
		rules[h] = b.onListener(l, list)
	}
	var out []*Host
	for d := range domains {
		if (only == nil || only[d]) && mostSpecific(siblings, d) == l {
			out = append(out, &Host{Hostname: d, Auth: l.auth, Rules: falling(d, rules)})
		}
	}
	return out
}

// falling are the rules for a host: those of the routes whose own hostname is
// the most specific one first, then those of wider ones, to which a request
// falls through that none of the former matches.
func falling(host string, rules map[string][]*Rule) []*Rule {
	var out []*Rule
	var seen map[*Rule]bool
	widening(host, func(h string) bool {
		list := rules[h]
		switch {
		case len(list) == 0:
		case out == nil:
			out = slices.Clip(list)
		default:
			if seen == nil {
				seen = make(map[*Rule]bool, len(out))
				for _, r := range out {
					seen[r] = true
				}
			}
			for _, r := range list {
				if !seen[r] {
					seen[r] = true
					out = append(out, r)
				}
			}
		}
		return true
	})
	return out
}

// onListener finishes rules for a listener: a redirect may depend on its port.
func (b *builder) onListener(l *listener, list []ranked) []*Rule {
	out := make([]*Rule, 0, len(list))
	for _, r := range list {
		if r.redirect == nil {
			out = append(out, r.Rule)
			continue
		}
		out = append(out, b.redirected(l, r))
	}
	return out
}

// redirected gives a rule the redirect for a listener, the same for all hosts.
func (b *builder) redirected(l *listener, r ranked) *Rule {
	key := redirectKey{rule: r.Rule, port: l.port(), protocol: l.protocol()}
	if known := b.redirects[key]; known != nil {
		return known
	}
	rule := *r.Rule
	rule.Redirect = &Redirect{
		Scheme: ptr.Deref(r.redirect.Scheme, ""), Hostname: string(ptr.Deref(r.redirect.Hostname, "")), Path: pathChange(r.redirect.Path),
		Port: redirectPort(l, r.redirect), Status: statusOf(r.redirect),
	}
	b.redirects[key] = &rule
	return &rule
}

type redirectKey struct {
	rule     *Rule
	port     uint16
	protocol gatewayv1.ProtocolType
}

// redirectPort is the port in a Location: that of the filter, else the one that
// its scheme implies, else the listener's. 0 where the scheme that the client
// will use implies it.
func redirectPort(l *listener, f *gatewayv1.HTTPRequestRedirectFilter) uint16 {
	scheme := "http"
	if l.protocol() == gatewayv1.HTTPSProtocolType {
		scheme = "https"
	}
	port := l.port()
	if f.Scheme != nil {
		scheme = *f.Scheme
		port = implied(scheme)
	}
	if f.Port != nil {
		port = uint16(*f.Port)
	}
	if port == implied(scheme) {
		return 0
	}
	return port
}

func implied(scheme string) uint16 {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	}
	return 0
}

// servers are what the TLS listeners of a port serve, by SNI. Old are those before,
// of the same listeners.
func (b *builder) servers(listeners []*listener, old []TLSServer) []TLSServer {
	var out []TLSServer
	for _, l := range listeners {
		if l.protocol() != gatewayv1.HTTPSProtocolType {
			out = append(out, streamServers(l, b.on[l], listeners)...)
			continue
		}
		s := TLSServer{
			Name: tableName("https", l.port(), l.name()), Hostnames: []string{l.host},
			Certificates: slices.Clone(l.certificates), Client: l.client,
		}
		var before *Table
		if i := slices.IndexFunc(old, func(o TLSServer) bool { return o.Name == s.Name }); i >= 0 {
			before = old[i].HTTP
		}
		s.HTTP = b.encryptedTable(l, listeners, before)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, c TLSServer) int { return strings.Compare(a.Name, c.Name) })
	return out
}

// encryptedTable is the table of one HTTPS listener. A host that another HTTPS
// listener of the port serves is answered with 421: the client has come over a
// connection that was made for this one.
func (b *builder) encryptedTable(l *listener, listeners []*listener, old *Table) *Table {
	if old != nil && !b.change.touches(l) {
		return old
	}
	var web []*listener
	var misdirected []*Host
	for _, s := range listeners {
		if s.protocol() != gatewayv1.HTTPSProtocolType {
			continue
		}
		web = append(web, s)
		if s != l {
			misdirected = append(misdirected, &Host{Hostname: s.host, Misdirected: true})
		}
	}
	return &Table{Name: tableName("https", l.port(), l.name()), Hosts: b.merge(old, []*listener{l}, web, misdirected)}
}

func sortHosts(hosts []*Host) {
	slices.SortFunc(hosts, func(a, c *Host) int { return strings.Compare(a.Hostname, c.Hostname) })
}

// streamServers are those of a TLS listener: one for each of its routes, with
// the hosts for which that comes first, and one that closes what comes for the
// listener's hostname when no route has it.
func streamServers(l *listener, routes []*attachment, siblings []*listener) []TLSServer {
	won := map[string]*attachment{}
	by := map[string]string{} // the route's own hostname with which a host was won
	for _, a := range routes {
		for _, h := range a.hosts {
			d, ok := intersect(l.host, h)
			if !ok || mostSpecific(siblings, d) != l {
				continue
			}
			if _, taken := won[d]; !taken || moreSpecific(h, by[d]) < 0 {
				won[d], by[d] = a, h
			}
		}
	}
	hosts := map[*route][]string{}
	for d, a := range won {
		hosts[a.route] = append(hosts[a.route], d)
	}
	var out []TLSServer
	for r, names := range hosts {
		slices.Sort(names)
		s := TLSServer{Name: tableName("tls", l.port(), l.name()+"/"+r.name.String()), Hostnames: names, Stream: r.streamOn(l)}
		if l.terminates() {
			s.Certificates = slices.Clone(l.certificates)
		}
		out = append(out, s)
	}
	if _, ok := won[l.host]; !ok {
		out = append(out, TLSServer{Name: tableName("tls", l.port(), l.name()), Hostnames: []string{l.host}, Stream: &Stream{}})
	}
	return out
}

// material puts into the Model the certificates and authorities that it needs, and no others.
func (b *builder) material(m *Model, policies map[Name][]*policy) {
	certificates, authorities := map[string]bool{}, map[string]bool{}
	for _, p := range m.Ports {
		for _, s := range p.TLS {
			for _, id := range s.Certificates {
				certificates[id] = true
			}
			if s.Client != nil {
				for _, id := range s.Client.Authorities {
					authorities[id] = true
				}
			}
		}
	}
	for i := range m.Backends {
		t := m.Backends[i].TLS
		if t == nil {
			continue
		}
		if t.ClientCertificate != "" {
			certificates[t.ClientCertificate] = true
		}
		for _, id := range t.Authorities {
			authorities[id] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(certificates)) {
		m.Certificates = append(m.Certificates, b.certificates[id].Certificate)
	}
	if len(authorities) == 0 {
		return
	}
	known := map[string]Authority{}
	add := func(list []Authority) {
		for _, a := range list {
			known[a.ID] = a
		}
	}
	add(b.trusted)
	for _, list := range policies {
		for _, p := range list {
			add(p.authorities)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(authorities)) {
		m.Authorities = append(m.Authorities, known[id])
	}
}
