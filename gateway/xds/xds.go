package xds

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead/fairlead/gateway"
)

// PortOf says on which port of an Envoy a Gateway's port is served.
type PortOf func(number uint16, transport gateway.Transport) uint16

// Resources of one Gateway by name, and every name begins with the Gateway's, so
// that many Gateways fit one Envoy. They share parts and are not to be modified.
type Resources struct {
	Listeners map[string]*listenerv3.Listener
	Routes    map[string]*routev3.RouteConfiguration
	Clusters  map[string]*clusterv3.Cluster
	Secrets   map[string]*tlsv3.Secret
	// Assignments are the names of the endpoints that the clusters ask for.
	// Those of a Service's port have the same name in every Gateway.
	Assignments map[string]Assignment

	from *source
}

// Assignment says of which Service ports an EDS resource consists. Each Part is
// a locality of its own, named by its index in Parts, with the Part's weight.
type Assignment struct {
	Parts []Part
}

// Part is the endpoints of one port of a Service.
type Part struct {
	// Service is empty for a share that must be lost, and not redistributed:
	// its locality holds one endpoint, DiscardAddress and DiscardPort.
	Service gateway.Name
	// Port is the Service's, PortName its name there, by which EndpointSlices
	// know it.
	Port      uint16
	PortName  string
	Transport gateway.Transport
	// Weight is at least 1.
	Weight uint32
}

// Where datagrams go that must be lost: the discard service (RFC 863) of Envoy's
// own node or pod. If it runs, it does what is wanted, and if not, so does the
// refusal.
const (
	DiscardAddress = "127.0.0.1"
	DiscardPort    = 9
)

// Encode gives what an Envoy needs to be this Gateway. The Model must be valid
// (see its documentation); what Envoy would refuse is caught before it.
func Encode(m *gateway.Model, port PortOf, s Settings) Resources {
	return Update(Resources{}, m, port, s)
}

// Update gives what Encode gives, and takes from Resources that were encoded before
// what is the same: virtual hosts, clusters, and whole maps of them. It knows the
// parts of a Model that are shared with the one before (gateway.Built.Rebuild), and
// compares no others.
func Update(before Resources, m *gateway.Model, port PortOf, s Settings) Resources {
	e := &encoder{
		model:    m,
		port:     port,
		settings: s,
		last:     before.usable(m, s),
		bundles:  make(map[string][]byte, len(m.Authorities)),
		routes:   map[*gateway.Rule][]*routev3.Route{},
		guards:   map[*gateway.ExternalAuth]guard{},
		out: Resources{
			Listeners: map[string]*listenerv3.Listener{},
			Routes:    map[string]*routev3.RouteConfiguration{},
			Secrets:   map[string]*tlsv3.Secret{},
			from:      &source{model: m, settings: s},
		},
	}
	for _, a := range m.Authorities {
		e.bundles[a.ID] = a.Bundle
	}
	e.allBackends()
	e.collectors()
	for _, c := range m.Certificates {
		e.certificate(c)
	}
	for i := range m.Ports {
		e.listener(&m.Ports[i])
	}
	e.join()
	return e.out
}

// encoder is one pass over a Model.
type encoder struct {
	model    *gateway.Model
	port     PortOf
	settings Settings
	// last are Resources that were encoded with the same settings; nil: none.
	last     *Resources
	backends map[string]*gateway.Backend
	bundles  map[string][]byte
	// routes of rules that are encoded already: hosts share rules.
	routes map[*gateway.Rule][]*routev3.Route
	// guards by the first filter of a listener: its hosts share them.
	guards map[*gateway.ExternalAuth]guard
	out    Resources
}

// overADS is how resources refer to others. Envoy waits for the first answer of
// each at most this long, so that one that never comes leaves a listener or a
// cluster incomplete but does not keep it, and what is warmed with it, away for
// ever. It is what Envoy does by default, written down because we rely on it.
func overADS() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		InitialFetchTimeout:   durationpb.New(initialFetchTimeout),
	}
}

// pack is deterministic, which anypb.New is not. It fails only on strings that
// are not UTF-8, which objects of the API server are; then Envoy refuses the one
// resource that holds the empty value.
func pack(m proto.Message) *anypb.Any {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		value = nil
	}
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value}
}

// extension is a configuration with a name.
func extension(name string, config proto.Message) *corev3.TypedExtensionConfig {
	return &corev3.TypedExtensionConfig{Name: name, TypedConfig: pack(config)}
}
