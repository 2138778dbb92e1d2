package xds

import (
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/gateway"
)

// initialFetchTimeout bounds the wait for the first answer about a resource.
const initialFetchTimeout = 15 * time.Second

// anyHost is the hostname of a TLS server that takes every SNI, and none.
const anyHost = "*"

// listener encodes a port, if anything is served there: Envoy refuses a listener
// without filter chains.
func (e *encoder) listener(p *gateway.Port) {
	l := &listenerv3.Listener{
		Name:       e.listenerName(p),
		StatPrefix: e.statPrefix(p),
		Address:    e.address(p),
	}
	switch {
	case p.Transport == gateway.UDP && p.Stream != nil:
		e.datagrams(l, p)
	case p.Transport == gateway.TCP && (p.HTTP != nil || p.Stream != nil || len(p.TLS) > 0):
		e.connections(l, p)
	default:
		return
	}
	e.out.Listeners[l.Name] = l
}

func (e *encoder) address(p *gateway.Port) *corev3.Address {
	socket := &corev3.SocketAddress{
		Address:       "::",
		Ipv4Compat:    true,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(e.port(p.Number, p.Transport))},
	}
	if e.settings.NoIPv6 {
		socket.Address, socket.Ipv4Compat = "0.0.0.0", false
	}
	if p.Transport == gateway.UDP {
		socket.Protocol = corev3.SocketAddress_UDP
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: socket}}
}

// connections encodes what is served on a TCP port. Without TLS all connections
// go one way. With TLS, they are told apart by their first bytes, and a
// connection that no chain matches is closed without a word.
func (e *encoder) connections(l *listenerv3.Listener, p *gateway.Port) {
	if e.settings.ProxyProtocol {
		l.ListenerFilters = append(l.ListenerFilters,
			listenerFilter("envoy.filters.listener.proxy_protocol", &proxyprotocolv3.ProxyProtocol{}))
	}
	plain := e.plain(p)
	if len(p.TLS) == 0 {
		l.DefaultFilterChain = plain
		return
	}
	l.ListenerFilters = append(l.ListenerFilters,
		listenerFilter("envoy.filters.listener.tls_inspector", &tlsinspectorv3.TlsInspector{}))
	for i := range p.TLS {
		l.FilterChains = append(l.FilterChains, e.tlsChains(p, &p.TLS[i])...)
	}
	if plain != nil {
		plain.FilterChainMatch = &listenerv3.FilterChainMatch{TransportProtocol: "raw_buffer"}
		l.FilterChains = append(l.FilterChains, plain)
	}
	// A client of a protocol in which the server speaks first sends nothing
	// that could be looked at.
	l.ContinueOnListenerFiltersTimeout = p.Stream != nil
}

// plain is the chain of connections without TLS, or nil.
func (e *encoder) plain(p *gateway.Port) *listenerv3.FilterChain {
	switch {
	case p.HTTP != nil:
		return &listenerv3.FilterChain{Name: "http", Filters: []*listenerv3.Filter{e.http(p, p.HTTP)}}
	case p.Stream != nil:
		return &listenerv3.FilterChain{Name: "stream", Filters: []*listenerv3.Filter{e.stream(p, p.Stream)}}
	default:
		return nil
	}
}

// tlsChains are one chain for the hostnames of a server, and one for all that no
// other server takes, if it serves that.
func (e *encoder) tlsChains(p *gateway.Port, s *gateway.TLSServer) []*listenerv3.FilterChain {
	chain := &listenerv3.FilterChain{
		Name:             "tls/" + s.Name,
		FilterChainMatch: &listenerv3.FilterChainMatch{TransportProtocol: "tls"},
	}
	switch {
	case s.HTTP != nil:
		chain.Filters = []*listenerv3.Filter{e.http(p, s.HTTP)}
		chain.TransportSocket = e.downstreamTLS(s, "h2", "http/1.1")
	case s.Stream != nil:
		chain.Filters = []*listenerv3.Filter{e.stream(p, s.Stream)}
		// Without backends the connection is closed before any handshake: the
		// client gets no certificate and no alert.
		if len(s.Certificates) > 0 && total(active(s.Stream.Backends)) > 0 {
			chain.TransportSocket = e.downstreamTLS(s)
		}
	default:
		return nil
	}
	var chains []*listenerv3.FilterChain
	named := slices.DeleteFunc(slices.Clone(s.Hostnames), func(h string) bool { return h == anyHost })
	if len(named) < len(s.Hostnames) {
		rest := proto.CloneOf(chain)
		rest.Name += "/" + anyHost
		chains = append(chains, rest)
	}
	if len(named) > 0 {
		chain.FilterChainMatch.ServerNames = named
		chains = append(chains, chain)
	}
	return chains
}

func listenerFilter(name string, config proto.Message) *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name:       name,
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: pack(config)},
	}
}

func networkFilter(name string, config proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(config)}}
}
