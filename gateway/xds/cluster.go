package xds

import (
	"math"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead/fairlead/gateway"
)

// A connection to a pod that vanished without a word is noticed after keepalive
// seconds of silence and as many probes.
const (
	keepaliveTime     = 60
	keepaliveInterval = 10
	keepaliveProbes   = 3
)

// protocolOptions is where the options of HTTP stand in a cluster.
const protocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// backend encodes a cluster and says of what its endpoints consist.
func (e *encoder) backend(b *gateway.Backend) {
	name := e.clusterName(b.ID)
	if b.TLS != nil && !e.verifiable(b.TLS) {
		e.out.Clusters[name] = e.unreachable(name)
		return
	}
	endpoints := endpointsName(b)
	c := e.endpoints(name, endpoints)
	if options := httpOptions(b.Protocol); options != nil {
		if !b.OwnRetries {
			options.RetryPolicy = safeRetries()
		}
		c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
		c.TypedExtensionProtocolOptions = map[string]*anypb.Any{
			protocolOptions: pack(options),
		}
	}
	if b.TLS != nil {
		c.TransportSocket = e.upstreamTLS(b)
	}
	e.out.Clusters[name] = c
	e.out.Assignments[endpoints] = Assignment{Parts: []Part{partOf(b)}}
}

// verifiable is whether some certificate could pass.
func (e *encoder) verifiable(t *gateway.BackendTLS) bool {
	return !t.Broken && (t.System || len(e.bundle(t.Authorities)) > 0)
}

func partOf(b *gateway.Backend) Part {
	part := Part{Service: b.Service, Port: b.Port, PortName: b.PortName, Transport: gateway.TCP, Weight: 1}
	if b.Protocol == gateway.ProtocolUDP {
		part.Transport = gateway.UDP
	}
	return part
}

// endpoints is a cluster whose endpoints come from elsewhere. Which of them are
// ready is Kubernetes' to say: if none is, there is none, and Envoy must not try
// the others in a panic.
func (e *encoder) endpoints(name, endpoints string) *clusterv3.Cluster {
	c := e.bare(name)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
	c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: overADS(), ServiceName: endpoints}
	return c
}

// unreachable has no endpoint, so that there is no connection that might be
// without the TLS that was asked for.
func (e *encoder) unreachable(name string) *clusterv3.Cluster {
	c := e.bare(name)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{ClusterName: name}
	return c
}

func (e *encoder) bare(name string) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name:           name,
		ConnectTimeout: bounded(e.settings.ConnectTimeout, 2*time.Second),
		// In turn: a TCP connection that one endpoint refuses is tried at the
		// next.
		LbPolicy:        clusterv3.Cluster_ROUND_ROBIN,
		CircuitBreakers: unlimited(),
		CommonLbConfig:  &clusterv3.Cluster_CommonLbConfig{HealthyPanicThreshold: &typev3.Percent{}},
		UpstreamConnectionOptions: &clusterv3.UpstreamConnectionOptions{
			TcpKeepalive: &corev3.TcpKeepalive{
				KeepaliveTime:     wrapperspb.UInt32(keepaliveTime),
				KeepaliveInterval: wrapperspb.UInt32(keepaliveInterval),
				KeepaliveProbes:   wrapperspb.UInt32(keepaliveProbes),
			},
		},
	}
	if counted := statName(name); counted != name {
		c.AltStatName = counted
	}
	return c
}

// unlimited lifts Envoy's limits of 1024 connections and requests and of 3
// retries at a time per backend, which nobody chose. The overload manager keeps
// the process within its memory.
func unlimited() *clusterv3.CircuitBreakers {
	breakers := &clusterv3.CircuitBreakers{}
	for _, priority := range []corev3.RoutingPriority{corev3.RoutingPriority_DEFAULT, corev3.RoutingPriority_HIGH} {
		breakers.Thresholds = append(breakers.Thresholds, &clusterv3.CircuitBreakers_Thresholds{
			Priority:           priority,
			MaxConnections:     wrapperspb.UInt32(math.MaxUint32),
			MaxPendingRequests: wrapperspb.UInt32(math.MaxUint32),
			MaxRequests:        wrapperspb.UInt32(math.MaxUint32),
			MaxRetries:         wrapperspb.UInt32(math.MaxUint32),
		})
	}
	return breakers
}

// httpOptions fixes the version of HTTP. Nil: what is spoken is not HTTP.
func httpOptions(p gateway.Protocol) *upstreamhttpv3.HttpProtocolOptions {
	explicit := &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{}
	switch p {
	case gateway.ProtocolHTTP, gateway.ProtocolWebSocket:
		explicit.ProtocolConfig = &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
		}
	case gateway.ProtocolH2C:
		explicit.ProtocolConfig = &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
		}
	case gateway.ProtocolTCP, gateway.ProtocolUDP:
		return nil
	}
	return &upstreamhttpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit},
	}
}
