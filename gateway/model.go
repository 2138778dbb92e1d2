package gateway

import "time"

// Name names a namespaced object.
type Name struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func (n Name) String() string { return n.Namespace + "/" + n.Name }

// Model is the data plane of one Gateway: which ports it listens on, who answers
// there, and what is needed for that. Everything in it is sorted, so that equal
// input gives equal Models whatever order it came in.
//
// A Model is shared once it is built, and not modified.
type Model struct {
	Gateway Name `json:"gateway"`
	// Ports are sorted by number, TCP before UDP.
	Ports []Port `json:"ports,omitempty"`
	// Backends are all that a route of this Model leads to, sorted by ID.
	Backends []Backend `json:"backends,omitempty"`
	// Certificates and Authorities are what TLS needs, sorted by ID.
	Certificates []Certificate `json:"certificates,omitempty"`
	Authorities  []Authority   `json:"authorities,omitempty"`
}

// Transport is the protocol below a listener.
type Transport string

// The transports.
const (
	TCP Transport = "TCP"
	UDP Transport = "UDP"
)

// Port is one port of a Gateway, with all listeners on it merged.
//
// On TCP, a connection that begins with a TLS handshake goes to the server in
// TLS that its SNI selects (none: it is closed); any other goes to HTTP, or to
// Stream, of which at most one is set. On UDP only Stream is set.
type Port struct {
	Number    uint16      `json:"number"`
	Transport Transport   `json:"transport"`
	HTTP      *Table      `json:"http,omitempty"`
	TLS       []TLSServer `json:"tls,omitempty"`
	Stream    *Stream     `json:"stream,omitempty"`
}

// TLSServer serves the connections whose SNI is one of Hostnames. No two servers
// of a port have a hostname in common; the most specific one is chosen.
type TLSServer struct {
	// Name is stable while the listener is, and unique in the Model.
	Name string `json:"name"`
	// Hostnames are exact ("a.example.com"), or match any number of labels
	// ("*.example.com"). "*" is every SNI, and none. Sorted.
	Hostnames []string `json:"hostnames"`
	// Certificates are IDs in Model.Certificates. None: TLS is passed through.
	Certificates []string `json:"certificates,omitempty"`
	// Client, if set, asks clients for a certificate.
	Client *ClientValidation `json:"client,omitempty"`
	// One of the two is set: HTTP routes requests, Stream forwards bytes. A
	// Stream without backends closes the connection.
	HTTP   *Table  `json:"http,omitempty"`
	Stream *Stream `json:"stream,omitempty"`
}

// ClientValidation says how client certificates are validated.
type ClientValidation struct {
	// Authorities are IDs in Model.Authorities; one that signed is enough.
	Authorities []string `json:"authorities"`
	// InsecureFallback lets clients without a valid certificate in
	// (frontend validation mode AllowInsecureFallback).
	InsecureFallback bool `json:"insecureFallback,omitempty"`
}

// Table says who answers which host.
type Table struct {
	// Name is stable while the listener is, and unique in the Model.
	Name string `json:"name"`
	// Hosts have each hostname once. A host that matches none is answered
	// with 404. The longest match wins: an exact name, then the longest
	// "*.suffix", then "*".
	// Those that stay as they were are shared with the Model before.
	Hosts []*Host `json:"hosts"`
}

// Host is one hostname of a table.
type Host struct {
	// Hostname is exact, "*.suffix" (any number of labels) or "*". Ports in
	// Host headers do not count.
	Hostname string `json:"hostname"`
	// Misdirected answers all requests with 421: the connection's SNI selected
	// another listener than the one that serves this host (RFC 9110, 15.5.20).
	Misdirected bool `json:"misdirected,omitempty"`
	// Auth are filters of the listener that every request for this host passes
	// before it is routed, in order. Hosts of one listener share them.
	Auth []ExternalAuth `json:"auth,omitempty"`
	// Rules in order of precedence; the first that matches is followed. None
	// matches: 404. Rules are shared between hosts.
	Rules []*Rule `json:"rules,omitempty"`
}

// Origin says which part of which route a rule or stream comes from.
type Origin struct {
	Kind string `json:"kind"` // HTTPRoute, GRPCRoute, ...
	Name `json:",inline"`
	// Rule counts from 0; RuleName is what the author called it.
	Rule     int    `json:"rule"`
	RuleName string `json:"ruleName,omitempty"`
	// Match counts the matches of the rule from 0.
	Match int `json:"match"`
}

// Rule is one match of one rule of a route, and what it leads to.
type Rule struct {
	Origin Origin `json:"origin"`
	Match  Match  `json:"match"`

	RequestHeaders  *HeaderChange `json:"requestHeaders,omitempty"`
	ResponseHeaders *HeaderChange `json:"responseHeaders,omitempty"`
	CORS            *CORS         `json:"cors,omitempty"`
	Auth            *ExternalAuth `json:"auth,omitempty"`
	Mirrors         []Mirror      `json:"mirrors,omitempty"`

	// Redirect, if set, is the answer: there are no backends then.
	Redirect *Redirect `json:"redirect,omitempty"`
	Rewrite  *Rewrite  `json:"rewrite,omitempty"`
	// Backends share the requests by weight. None, or all of weight 0, and no
	// Redirect: 500 (for gRPC: UNAVAILABLE).
	Backends []Destination `json:"backends,omitempty"`

	// Timeout bounds the whole request, BackendTimeout each try. Nil: none
	// given; zero: unlimited.
	Timeout        *time.Duration `json:"timeout,omitempty"`
	BackendTimeout *time.Duration `json:"backendTimeout,omitempty"`
	Retry          *Retry         `json:"retry,omitempty"`
	Session        *Session       `json:"session,omitempty"`
}

// BoundsTries is whether the rule bounds each try.
func (r *Rule) BoundsTries() bool { return r.BackendTimeout != nil && *r.BackendTimeout > 0 }

// OwnRetries is whether the rule itself says what is tried again, or for how long.
func (r *Rule) OwnRetries() bool { return r.Retry != nil || r.BoundsTries() }

// PathKind is how a path is compared.
type PathKind string

// The kinds of path matches.
const (
	PathExact  PathKind = "Exact"
	PathPrefix PathKind = "Prefix" // by elements: /a matches /a and /a/b, not /ab
	PathRegex  PathKind = "Regex"  // RE2, the whole path
)

// Match is what a request must be like. Everything set must hold.
type Match struct {
	Path    PathKind     `json:"pathKind,omitempty"` // empty: any path
	Value   string       `json:"path,omitempty"`
	Method  string       `json:"method,omitempty"`
	Headers []ValueMatch `json:"headers,omitempty"` // names in lower case, each once
	Query   []ValueMatch `json:"query,omitempty"`
	// GRPC matches only requests with a gRPC content type.
	GRPC bool `json:"grpc,omitempty"`
}

// ValueMatch compares a header or a query parameter.
type ValueMatch struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Regex bool   `json:"regex,omitempty"` // RE2, the whole value
}

// HeaderChange changes headers: first Remove, then Set, then Add.
type HeaderChange struct {
	Set    []Header `json:"set,omitempty"`
	Add    []Header `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
}

// Header is a name and a literal value. The names Host and those that begin with
// ":" do not occur.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// PathChange replaces the path or its matched prefix. Exactly one is set; an
// empty Prefix removes the matched prefix. The query stays.
type PathChange struct {
	Full   *string `json:"full,omitempty"`
	Prefix *string `json:"prefix,omitempty"`
}

// Redirect is an answer that sends the client elsewhere.
type Redirect struct {
	Scheme   string      `json:"scheme,omitempty"` // empty: as it came
	Hostname string      `json:"hostname,omitempty"`
	Path     *PathChange `json:"path,omitempty"`
	// Port stands in the Location, unless it is 0. It is decided already:
	// that given, else the new scheme's, else the listener's, and 0 where the
	// scheme implies it.
	Port   uint16 `json:"port,omitempty"`
	Status int    `json:"status"` // 301, 302, 303, 307 or 308
}

// Rewrite changes the request on its way to the backend.
type Rewrite struct {
	Hostname string      `json:"hostname,omitempty"`
	Path     *PathChange `json:"path,omitempty"`
}

// Destination is a backend with its share.
type Destination struct {
	// Backend is an ID in Model.Backends. Empty: the reference cannot be
	// followed, and its share is answered with 500 (HTTP) or closed (others).
	Backend string `json:"backend,omitempty"`
	Weight  uint32 `json:"weight"`

	RequestHeaders  *HeaderChange `json:"requestHeaders,omitempty"`
	ResponseHeaders *HeaderChange `json:"responseHeaders,omitempty"`
	Rewrite         *Rewrite      `json:"rewrite,omitempty"`
	Redirect        *Redirect     `json:"redirect,omitempty"`
	CORS            *CORS         `json:"cors,omitempty"`
	Auth            *ExternalAuth `json:"auth,omitempty"`
	Mirrors         []Mirror      `json:"mirrors,omitempty"`
}

// Mirror sends a copy of a part of the requests, whose answers are dropped.
type Mirror struct {
	Backend string `json:"backend"` // ID in Model.Backends, never empty
	// Numerator of Denominator requests are copied.
	Numerator   uint32 `json:"numerator"`
	Denominator uint32 `json:"denominator"`
}

// CORS answers preflights and marks responses (Fetch standard, 3.2).
type CORS struct {
	// Origins are exact, have one "*" in the host ("https://*.example.com"),
	// or are "*".
	Origins     []string `json:"origins,omitempty"`
	Credentials bool     `json:"credentials,omitempty"`
	Methods     []string `json:"methods,omitempty"` // "*" is any
	Headers     []string `json:"headers,omitempty"` // "*" is any
	Expose      []string `json:"expose,omitempty"`
	// MaxAge is in seconds.
	MaxAge int32 `json:"maxAge,omitempty"`
}

// ExternalAuth asks a service whether a request may pass. One that cannot be
// asked denies.
type ExternalAuth struct {
	// Backend is an ID in Model.Backends; empty: it cannot be reached, and
	// every request is denied with 500.
	Backend string `json:"backend,omitempty"`
	GRPC    bool   `json:"grpc,omitempty"`
	// Path prefixes the request's path in the question (HTTP only).
	Path string `json:"path,omitempty"`
	// RequestHeaders go with the question, beside those that always do;
	// ResponseHeaders are taken from the answer into the request. Lower case.
	RequestHeaders  []string `json:"requestHeaders,omitempty"`
	ResponseHeaders []string `json:"responseHeaders,omitempty"`
	// Body is how many bytes of the body go with the question; 0: none.
	Body uint32 `json:"body,omitempty"`
}

// Retry says when a request is sent again.
type Retry struct {
	// Codes of answers that are tried again, beside connection errors. Sorted.
	Codes []uint32 `json:"codes,omitempty"`
	// Attempts are retries after the first try. 0: never.
	Attempts uint32 `json:"attempts"`
	// Backoff is the shortest wait between tries; 0: the default.
	Backoff time.Duration `json:"backoff,omitempty"`
}

// Session keeps a client at the endpoint of a backend that served it first. Which
// of several backends that is say their weights, each time (GEP-1619).
type Session struct {
	// Cookie or Header carries the choice; one of them is set.
	Cookie string `json:"cookie,omitempty"`
	Header string `json:"header,omitempty"`
	// Path of the cookie.
	Path string `json:"path,omitempty"`
	// Lifetime of the cookie; 0: as long as the client's session.
	Lifetime time.Duration `json:"lifetime,omitempty"`
}

// Stream forwards bytes or datagrams.
type Stream struct {
	Origin   Origin        `json:"origin"`
	Backends []Destination `json:"backends,omitempty"`
}

// Protocol is what is spoken to a backend.
type Protocol string

// The protocols to backends.
const (
	ProtocolHTTP      Protocol = "HTTP"      // HTTP/1.1
	ProtocolH2C       Protocol = "H2C"       // HTTP/2; gRPC too
	ProtocolWebSocket Protocol = "WebSocket" // HTTP/1.1 with upgrades
	ProtocolTCP       Protocol = "TCP"
	ProtocolUDP       Protocol = "UDP"
)

// Backend is a port of a Service, and how to speak to it.
type Backend struct {
	// ID is made of all that follows: a backend that is spoken to in another
	// way is another backend. It is stable and unique in the Model.
	ID      string `json:"id"`
	Service Name   `json:"service"`
	// Port is the Service's; PortName its name there (often empty), by which
	// EndpointSlices know it.
	Port     uint16      `json:"port"`
	PortName string      `json:"portName,omitempty"`
	Protocol Protocol    `json:"protocol"`
	TLS      *BackendTLS `json:"tls,omitempty"`
	// OwnRetries leaves it to what refers to the backend whether requests are
	// tried again. Without it those are that can be repeated safely.
	OwnRetries bool `json:"ownRetries,omitempty"`
}

// BackendTLS says how TLS to a backend is begun and validated.
type BackendTLS struct {
	// Policy is where this is from.
	Policy Name `json:"policy"`
	// Broken policies let no connection through, never one without TLS.
	Broken bool `json:"broken,omitempty"`
	// ServerName is the SNI, and the identity if SANs is empty.
	ServerName string `json:"serverName,omitempty"`
	// Authorities are IDs in Model.Authorities; System: those of the system.
	Authorities []string `json:"authorities,omitempty"`
	System      bool     `json:"system,omitempty"`
	// SANs, if any, replace ServerName as the identity; one is enough.
	SANs []SAN `json:"sans,omitempty"`
	// ClientCertificate is an ID in Model.Certificates, or empty.
	ClientCertificate string `json:"clientCertificate,omitempty"`
}

// SAN is a subject alternative name; one of the two is set.
type SAN struct {
	DNS string `json:"dns,omitempty"` // may begin with "*."
	URI string `json:"uri,omitempty"`
}

// Certificate is a certificate with its key.
type Certificate struct {
	// ID names where it is from ("secret/NAMESPACE/NAME"), not what it is: a
	// renewed certificate keeps it.
	ID string `json:"id"`
	// Chain and Key are PEM. They never stand in a golden file or a log.
	Chain []byte `json:"-"`
	Key   []byte `json:"-"`
	// NotAfter is when the certificate ends.
	NotAfter time.Time `json:"-"`
}

// Authority is a set of CA certificates.
type Authority struct {
	// ID names where it is from ("configmap/NAMESPACE/NAME").
	ID string `json:"id"`
	// Bundle is PEM.
	Bundle []byte `json:"-"`
}
