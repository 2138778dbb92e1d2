package xds

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Settings are what a fleet's operator chose; the zero value is the default.
type Settings struct {
	// NoIPv6 listens on 0.0.0.0 alone, for nodes without IPv6. Otherwise every
	// listener is bound to [::] and takes IPv4 too.
	NoIPv6 bool
	// AccessLog is the format of the lines on standard output.
	AccessLog AccessLog
	// AccessLogCollector gets a record with the same fields.
	AccessLogCollector Collector
	// TraceCollector gets spans of requests: of those that bring a trace along,
	// if that is sampled, and of others a share, TraceRatio, from 0 to 1.
	TraceCollector Collector
	TraceRatio     float64
	// RouteMetrics has Envoy count the requests of each route of the Gateway API,
	// all of its rules together.
	RouteMetrics bool
	// TrustedHops is how many proxies in front of Envoy append to
	// X-Forwarded-For and are believed.
	TrustedHops uint32
	// ProxyProtocol asks every TCP connection for a PROXY protocol header
	// (version 1 or 2); one without is closed.
	ProxyProtocol bool
	// RequestHeadersKiB bounds the headers of a request. 0: 60.
	RequestHeadersKiB uint32
	// ConcurrentStreams is how many requests one HTTP/2 connection may have at a
	// time. 0: 100.
	ConcurrentStreams uint32
	// RequestsPerConnection is how many requests a connection may have in all. 0:
	// any number.
	RequestsPerConnection uint32

	// Of the times, 0 is the default, and what is negative is no limit.

	// HeaderTimeout bounds how long the headers of a request may take to come
	// in. 0: 10 s.
	HeaderTimeout time.Duration
	// StreamIdleTimeout ends a request, or a WebSocket, on which nothing moves.
	// 0: 5 min. A rule whose timeout is "0s" is exempt.
	StreamIdleTimeout time.Duration
	// ConnectionIdleTimeout closes client connections without requests. 0: 1 h.
	ConnectionIdleTimeout time.Duration
	// TCPIdleTimeout closes TCP connections on which nothing moves. 0: 1 h.
	TCPIdleTimeout time.Duration
	// SessionIdleTimeout ends a UDP session on which nothing moves. 0: 1 min.
	SessionIdleTimeout time.Duration
	// ConnectTimeout bounds the handshake with a backend, TLS included, before
	// another endpoint is tried. 0: 2 s, in which one lost SYN is sent again.
	ConnectTimeout time.Duration
	// AuthTimeout bounds a question to an external authorization service. 0: 5 s.
	AuthTimeout time.Duration
	// SystemAuthorities is the file of CA certificates in Envoy's file system
	// that "system" in a BackendTLSPolicy means. Empty: DefaultSystemAuthorities.
	// Envoy refuses a cluster that names a file which is not there.
	SystemAuthorities string
}

// AccessLog is a format of access logs.
type AccessLog string

// The formats. There is no access log by default, since each line costs.
const (
	AccessLogNone AccessLog = ""
	AccessLogText AccessLog = "Text"
	AccessLogJSON AccessLog = "JSON"
)

// DefaultSystemAuthorities is where Debian, and so Envoy's official image, keeps
// the CA certificates of the system.
const DefaultSystemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

func (s Settings) systemAuthorities() string {
	if s.SystemAuthorities == "" {
		return DefaultSystemAuthorities
	}
	return s.SystemAuthorities
}

// or is a duration, or what stands for its zero; Envoy takes zero for no limit.
func or(d, otherwise time.Duration) *durationpb.Duration {
	if d == 0 {
		d = otherwise
	}
	return durationpb.New(max(d, 0))
}

// forever stands for no limit where Envoy wants one.
const forever = 365 * 24 * time.Hour

// bounded is or where Envoy wants a limit.
func bounded(d, otherwise time.Duration) *durationpb.Duration {
	if d < 0 {
		d = forever
	}
	return or(d, otherwise)
}

// orNumber is a number, or what stands for its zero.
func orNumber(n, otherwise uint32) *wrapperspb.UInt32Value {
	if n == 0 {
		n = otherwise
	}
	return wrapperspb.UInt32(n)
}

// limit is a number, or none for zero.
func limit(n uint32) *wrapperspb.UInt32Value {
	if n == 0 {
		return nil
	}
	return wrapperspb.UInt32(n)
}
