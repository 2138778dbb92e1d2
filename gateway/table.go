package gateway

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/utils/ptr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ports assembles what the Gateway serves on each of its ports.
func (b *builder) ports() []Port {
	type place struct {
		number    uint16
		transport Transport
	}
	by := map[place][]*listener{}
	for _, o := range b.owners {
		for _, l := range o.listeners {
			if l.served() {
				at := place{l.port(), l.transport()}
				by[at] = append(by[at], l)
			}
		}
	}
	var out []Port
	for at, listeners := range by {
		p := Port{Number: at.number, Transport: at.transport}
		var plain, encrypted []*listener
		for _, l := range listeners {
			switch l.protocol() {
			case gatewayv1.HTTPProtocolType:
				plain = append(plain, l)
			case gatewayv1.HTTPSProtocolType, gatewayv1.TLSProtocolType:
				encrypted = append(encrypted, l)
			default:
				p.Stream = firstStream(l)
			}
		}
		p.HTTP = b.plainTable(at.number, plain)
		p.TLS = b.servers(encrypted)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, c Port) int {
		if a.Number != c.Number {
			return int(a.Number) - int(c.Number)
		}
		return compareTransport(a.Transport, c.Transport)
	})
	return out
}

// compareTransport puts TCP before UDP.
func compareTransport(a, b Transport) int { return strings.Compare(string(a), string(b)) }

// firstStream is what a TCP or UDP listener forwards to: the oldest route's
// backends. Nothing without a route.
func firstStream(l *listener) *Stream {
	for _, a := range l.routes {
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

// plainTable merges the HTTP listeners of a port. Each host belongs to the most
// specific listener that matches it, and to no other, whatever routes the others
// have.
func (b *builder) plainTable(port uint16, listeners []*listener) *Table {
	if len(listeners) == 0 {
		return nil
	}
	t := &Table{Name: tableName("http", port, "")}
	for _, l := range listeners {
		t.Hosts = append(t.Hosts, b.hosts(l, listeners)...)
	}
	sortHosts(t.Hosts)
	return t
}

func tableName(scheme string, port uint16, listener string) string {
	name := scheme + "/" + strconv.Itoa(int(port))
	if listener != "" {
		name += "/" + listener
	}
	return name
}

// hosts are those that a listener serves, with their rules. Siblings are the
// listeners among which it must be the most specific one.
func (b *builder) hosts(l *listener, siblings []*listener) []Host {
	known := map[string][]ranked{} // by the routes' own hostnames
	domains := map[string]bool{l.host: true}
	for _, a := range l.routes {
		for _, h := range a.hosts {
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
	var out []Host
	for d := range domains {
		if mostSpecific(siblings, d) == l {
			out = append(out, Host{Hostname: d, Auth: l.auth, Rules: falling(d, rules)})
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

// servers are what the TLS listeners of a port serve, by SNI.
func (b *builder) servers(listeners []*listener) []TLSServer {
	var out []TLSServer
	for _, l := range listeners {
		if l.protocol() == gatewayv1.HTTPSProtocolType {
			out = append(out, TLSServer{
				Name: tableName("https", l.port(), l.name()), Hostnames: []string{l.host},
				Certificates: slices.Clone(l.certificates), Client: l.client, HTTP: b.encryptedTable(l, listeners),
			})
			continue
		}
		out = append(out, streamServers(l, listeners)...)
	}
	slices.SortFunc(out, func(a, c TLSServer) int { return strings.Compare(a.Name, c.Name) })
	return out
}

// encryptedTable is the table of one HTTPS listener. A host that another HTTPS
// listener of the port serves is answered with 421: the client has come over a
// connection that was made for this one.
func (b *builder) encryptedTable(l *listener, listeners []*listener) *Table {
	var web []*listener
	for _, s := range listeners {
		if s.protocol() == gatewayv1.HTTPSProtocolType {
			web = append(web, s)
		}
	}
	t := &Table{Name: tableName("https", l.port(), l.name()), Hosts: b.hosts(l, web)}
	for _, s := range web {
		if s != l {
			t.Hosts = append(t.Hosts, Host{Hostname: s.host, Misdirected: true})
		}
	}
	sortHosts(t.Hosts)
	return t
}

func sortHosts(hosts []Host) {
	slices.SortFunc(hosts, func(a, c Host) int { return strings.Compare(a.Hostname, c.Hostname) })
}

// streamServers are those of a TLS listener: one for each of its routes, with
// the hosts for which that comes first, and one that closes what comes for the
// listener's hostname when no route has it.
func streamServers(l *listener, siblings []*listener) []TLSServer {
	won := map[string]attachment{}
	by := map[string]string{} // the route's own hostname with which a host was won
	for _, a := range l.routes {
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
		s := TLSServer{Name: tableName("tls", l.port(), l.name()+"/"+r.name.String()), Hostnames: names, Stream: r.stream}
		if s.Stream == nil {
			s.Stream = &Stream{}
		}
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
func (b *builder) material(m *Model) {
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
	for _, k := range m.Backends {
		if k.TLS == nil {
			continue
		}
		if k.TLS.ClientCertificate != "" {
			certificates[k.TLS.ClientCertificate] = true
		}
		for _, id := range k.TLS.Authorities {
			authorities[id] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(certificates)) {
		m.Certificates = append(m.Certificates, b.certificates[id].Certificate)
	}
	for _, id := range slices.Sorted(maps.Keys(authorities)) {
		m.Authorities = append(m.Authorities, b.authorities[id])
	}
}
