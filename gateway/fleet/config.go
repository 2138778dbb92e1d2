package fleet

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Config is what holds for a Gateway and its fleet, defaults filled in. It is
// comparable by reflect.DeepEqual and not modified once it is made.
type Config struct {
	// Workloads is how the Envoys run. It is the class's alone.
	Workload Workload

	ServiceAnnotations map[string]string
	TrafficPolicy      corev1.ServiceExternalTrafficPolicy
	// Families of addresses; empty: the cluster's first.
	Families []corev1.IPFamily
	// Pools in order of preference; empty: any that admits the Gateway.
	Pools []string
	// SourceRanges who may connect; empty: anybody.
	SourceRanges []netip.Prefix

	// What follows is for the encoder (gateway/xds).

	// AccessLog, Tracing: nil is none.
	AccessLog *AccessLog
	Tracing   *Tracing
	// RouteMetrics counts requests by route.
	RouteMetrics bool
	Client       Client
	Limits       Limits
	Timeouts     Timeouts
}

// Workload says how the Envoys of a fleet run.
type Workload struct {
	Mode      v1alpha1.FleetMode
	Kind      v1alpha1.FleetWorkload
	Replicas  int32 // of a Deployment
	Resources corev1.ResourceRequirements

	NodeSelector      map[string]string
	Tolerations       []corev1.Toleration
	Affinity          *corev1.Affinity
	PriorityClassName string
	// Image is empty where the controller's default holds.
	Image string
	// Concurrency is the number of worker threads; 0: as many as CPUs.
	Concurrency    int32
	MaxConnections int32
	// Drain is how long an ending Envoy waits for its clients.
	Drain  time.Duration
	Labels map[string]string
}

// AccessLog says how requests are logged.
type AccessLog struct {
	Format v1alpha1.LogFormat
	Sink   v1alpha1.LogSink
	// Endpoint is HOST:PORT of the collector, for OTLP.
	Endpoint string
}

// Tracing says how requests are traced.
type Tracing struct {
	// Endpoint is HOST:PORT of the collector.
	Endpoint string
	// Ratio is from 0 to 1.
	Ratio float64
}

// Client says how Envoy learns who the client is.
type Client struct {
	TrustedHops   uint32
	ProxyProtocol bool
}

// Limits bound what a client may ask for.
type Limits struct {
	RequestHeadersKiB uint32
	ConcurrentStreams uint32
	// RequestsPerConnection is 0 for no limit.
	RequestsPerConnection uint32
}

// Timeouts say how long things may take; 0 is no limit.
type Timeouts struct {
	RequestHeaders, Idle, StreamIdle, TCPIdle, UDPIdle, Connect time.Duration
}

// Default is the configuration of a class without a GatewayConfig.
func Default() Config {
	return Config{
		Workload: Workload{
			Mode: v1alpha1.FleetShared, Kind: v1alpha1.FleetDaemonSet, Replicas: 2,
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
			},
			PriorityClassName: "system-cluster-critical",
			MaxConnections:    50000,
			Drain:             30 * time.Second,
		},
		TrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
		Limits:        Limits{RequestHeadersKiB: 60, ConcurrentStreams: 100},
		Timeouts: Timeouts{
			RequestHeaders: 10 * time.Second, Idle: time.Hour, StreamIdle: 5 * time.Minute,
			TCPIdle: time.Hour, UDPIdle: time.Minute, Connect: 2 * time.Second,
		},
	}
}
