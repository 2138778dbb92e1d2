package xds

import (
	"math"
	"net"
	"net/netip"
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tracev3 "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	commondnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	detectorsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/tracers/opentelemetry/resource_detectors/v3"
	samplersv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/tracers/opentelemetry/samplers/v3"
	tracingv3 "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead/fairlead/gateway"
)

const (
	// collectorWait is how long a collector may take for what it is sent.
	collectorWait = 10 * time.Second
	// collectorQueue is how many reports to a collector may be under way. More are
	// lost: one that hangs must not cost Envoy its memory.
	collectorQueue = 64
)

// Collector is HOST:PORT of an OpenTelemetry collector that speaks OTLP over gRPC,
// without TLS. Empty: none.
type Collector string

func (e *encoder) collectorName(c Collector) string { return e.name("collector", string(c)) }

// collectors encodes the clusters of the collectors that the settings name.
func (e *encoder) collectors() {
	for _, c := range []Collector{e.settings.AccessLogCollector, e.settings.TraceCollector} {
		if c != "" {
			name := e.collectorName(c)
			e.out.Clusters[name] = e.collector(name, c)
		}
	}
}

// collector is a cluster that nothing else waits for: without its collector, or the
// name server, a Gateway serves on.
func (e *encoder) collector(name string, at Collector) *clusterv3.Cluster {
	c := e.bare(name)
	host, port, _ := net.SplitHostPort(string(at))
	c.LoadAssignment = assignmentOf(name, host, port)
	if _, err := netip.ParseAddr(host); err == nil {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	} else {
		c.WaitForWarmOnInit = wrapperspb.Bool(false)
		c.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
			Name: "envoy.cluster.dns", TypedConfig: pack(&dnsv3.DnsCluster{
				// One endpoint with all addresses: of two families the one that
				// answers is taken.
				DnsLookupFamily: e.lookupFamily(), AllAddressesInSingleEndpoint: true,
			}),
		}}
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{protocolOptions: pack(httpOptions(gateway.ProtocolH2C))}
	c.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxPendingRequests: wrapperspb.UInt32(collectorQueue), MaxRequests: wrapperspb.UInt32(collectorQueue),
	}}}
	return c
}

func (e *encoder) lookupFamily() commondnsv3.DnsLookupFamily {
	if e.settings.NoIPv6 {
		return commondnsv3.DnsLookupFamily_V4_ONLY
	}
	return commondnsv3.DnsLookupFamily_ALL
}

func assignmentOf(cluster, host, port string) *endpointv3.ClusterLoadAssignment {
	n, _ := strconv.ParseUint(port, 10, 16)
	return &endpointv3.ClusterLoadAssignment{ClusterName: cluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(n)},
			}}},
		}}}},
	}}}
}

// over is the gRPC service of a collector. Which collector Envoy takes it for (the
// authority) is its address and not the name of the cluster.
func (e *encoder) over(c Collector) *corev3.GrpcService {
	return &corev3.GrpcService{
		TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
			ClusterName: e.collectorName(c), Authority: string(c),
		}},
		Timeout: durationpb.New(collectorWait),
	}
}

// resource says to collectors which Gateway speaks.
func (e *encoder) resource() []*corev3.TypedExtensionConfig {
	return []*corev3.TypedExtensionConfig{extension("envoy.tracers.opentelemetry.resource_detectors.static_config", &detectorsv3.StaticConfigResourceDetectorConfig{
		Attributes: map[string]string{
			"service.name": e.model.Gateway.Name, "service.namespace": e.model.Gateway.Namespace, "fairlead.gateway": e.model.Gateway.String(),
		},
	})}
}

// tracing sends spans of requests; nil: there are none. Whether a request that
// brings its trace along is traced has been decided by who began the trace.
func (e *encoder) tracing() *hcmv3.HttpConnectionManager_Tracing {
	c := e.settings.TraceCollector
	if c == "" {
		return nil
	}
	tag := func(name, value string) *tracingv3.CustomTag {
		return &tracingv3.CustomTag{Tag: name, Type: &tracingv3.CustomTag_Value{Value: value}}
	}
	return &hcmv3.HttpConnectionManager_Tracing{
		// A name of bounded cardinality, as OpenTelemetry wants it.
		Operation:  "%REQ(:METHOD)% %ROUTE_NAME%",
		CustomTags: []*tracingv3.CustomTag{tag("fairlead.route", "%ROUTE_NAME%")},
		Provider: &tracev3.Tracing_Http{
			Name: "envoy.tracers.opentelemetry",
			ConfigType: &tracev3.Tracing_Http_TypedConfig{TypedConfig: pack(&tracev3.OpenTelemetryConfig{
				GrpcService: e.over(c), ServiceName: e.model.Gateway.Name, ResourceDetectors: e.resource(), Sampler: sampler(e.settings.TraceRatio),
			})},
		},
	}
}

// sampler draws a share of the requests that bring no trace along. Envoy's own draw
// would also leave out those that do.
func sampler(ratio float64) *corev3.TypedExtensionConfig {
	const million = 1_000_000
	drawn := extension("envoy.tracers.opentelemetry.samplers.trace_id_ratio_based", &samplersv3.TraceIdRatioBasedSamplerConfig{
		SamplingPercentage: &typev3.FractionalPercent{Numerator: uint32(math.Round(ratio * million)), Denominator: typev3.FractionalPercent_MILLION},
	})
	return extension("envoy.tracers.opentelemetry.samplers.parent_based", &samplersv3.ParentBasedSamplerConfig{WrappedSampler: drawn})
}
