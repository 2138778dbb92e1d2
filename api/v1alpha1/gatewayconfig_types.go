package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GatewayConfig holds parameters of Gateways. A GatewayClass refers to one in
// spec.parametersRef, and everything in it counts. A Gateway may refer to one in
// spec.infrastructure.parametersRef; of that one only counts what the class's
// allows, and it goes before what the class says.
//
// No field has a default in the object itself, so that what is not written in a
// Gateway's GatewayConfig is the class's.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=gwconfig,categories=fairlead
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.fleet.mode`
// +kubebuilder:printcolumn:name="Workload",type=string,JSONPath=`.spec.fleet.workload`
// +kubebuilder:printcolumn:name="Families",type=string,JSONPath=`.spec.families`
// +kubebuilder:printcolumn:name="Pools",type=string,JSONPath=`.spec.pools`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type GatewayConfig struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata.
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// The parameters.
	// +optional
	Spec GatewayConfigSpec `json:"spec,omitempty"`
	// Whether the parameters are in use.
	// +optional
	Status GatewayConfigStatus `json:"status,omitempty"`
}

// GatewayConfigSpec holds parameters of Gateways.
type GatewayConfigSpec struct {
	// The Envoys that carry the traffic. Only in the GatewayConfig of a
	// GatewayClass.
	// +optional
	Fleet *FleetConfig `json:"fleet,omitempty"`

	// Annotations of the Services that Gateways get. Those of the Gateway's
	// spec.infrastructure go before them. Keys of fairlead.dev are refused.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('fairlead.dev/'))",message="annotations of fairlead.dev are Fairlead's own: use the fields of this object instead"
	ServiceAnnotations map[string]string `json:"serviceAnnotations,omitempty"`

	// Local (the default): an address is announced only from nodes whose Envoy
	// serves the Gateway, and Envoy sees the client's address. Cluster: from
	// any node; the client's address is lost on the way to an Envoy of another
	// node.
	// +optional
	// +kubebuilder:validation:Enum=Local;Cluster
	ExternalTrafficPolicy corev1.ServiceExternalTrafficPolicy `json:"externalTrafficPolicy,omitempty"`

	// The families of the addresses that a Gateway gets, beside those of
	// addresses it asks for. Unset: the first family of the cluster.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:Enum=IPv4;IPv6
	// +listType=set
	Families []corev1.IPFamily `json:"families,omitempty"`

	// Pools that addresses come from, by name; the first with room. Unset: the
	// pools that select the Gateway, then those that are given out
	// automatically. A Gateway that asks for a pool in spec.addresses gets that.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	Pools []string `json:"pools,omitempty"`

	// Who may connect, as prefixes (192.0.2.0/24, 2001:db8::/32); everybody
	// else is dropped on every node, for TCP and UDP. Unset: anybody. Those of
	// a Gateway's own GatewayConfig must lie within the class's.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	// +listType=set
	SourceRanges []SourceRange `json:"sourceRanges,omitempty"`

	// A line for each request and connection. Unset: none.
	// +optional
	AccessLog *AccessLog `json:"accessLog,omitempty"`

	// A trace of requests. Unset: none.
	// +optional
	Tracing *GatewayTracing `json:"tracing,omitempty"`

	// What Envoys count beside what they always do. Unset: nothing.
	// +optional
	Metrics *GatewayMetrics `json:"metrics,omitempty"`

	// How Envoy learns who the client is. Unset: from the connection.
	// +optional
	ClientAddress *ClientAddress `json:"clientAddress,omitempty"`

	// Bounds on what a client may ask for.
	// +optional
	Limits *GatewayLimits `json:"limits,omitempty"`

	// How long things may take.
	// +optional
	Timeouts *GatewayTimeouts `json:"timeouts,omitempty"`

	// What the GatewayConfig of a Gateway of this class may set. Unset:
	// families, pools, externalTrafficPolicy and sourceRanges. Empty: nothing.
	// Without effect in the GatewayConfig of a Gateway.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	Allow []GatewaySetting `json:"allow,omitempty"`
}

// SourceRange is a prefix of client addresses.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=43
// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="not a prefix: write 192.0.2.0/24, 2001:db8::/32, or 192.0.2.7/32 for one address"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self) || cidr(self) == cidr(self).masked()",message="host bits are set: write the first address of the prefix (192.0.2.0/24, not 192.0.2.7/24)"
type SourceRange string

// GatewaySetting is a field of a GatewayConfig that a Gateway may have its own
// of.
//
// +kubebuilder:validation:Enum=families;pools;externalTrafficPolicy;sourceRanges;serviceAnnotations;accessLog;tracing;metrics;clientAddress;limits;timeouts
type GatewaySetting string

// The settings that a class may leave to its Gateways.
const (
	SettingFamilies              GatewaySetting = "families"
	SettingPools                 GatewaySetting = "pools"
	SettingExternalTrafficPolicy GatewaySetting = "externalTrafficPolicy"
	SettingSourceRanges          GatewaySetting = "sourceRanges"
	SettingServiceAnnotations    GatewaySetting = "serviceAnnotations"
	SettingAccessLog             GatewaySetting = "accessLog"
	SettingTracing               GatewaySetting = "tracing"
	SettingMetrics               GatewaySetting = "metrics"
	SettingClientAddress         GatewaySetting = "clientAddress"
	SettingLimits                GatewaySetting = "limits"
	SettingTimeouts              GatewaySetting = "timeouts"
)

// FleetMode says whether Gateways share Envoys.
type FleetMode string

// The modes of a fleet.
const (
	FleetShared    FleetMode = "Shared"
	FleetDedicated FleetMode = "Dedicated"
)

// FleetWorkload says what runs the Envoys.
type FleetWorkload string

// The workloads of a fleet.
const (
	FleetDaemonSet  FleetWorkload = "DaemonSet"
	FleetDeployment FleetWorkload = "Deployment"
)

// FleetConfig says how Envoys run. They run in the namespace of Fairlead's
// controller.
//
// +kubebuilder:validation:XValidation:rule="!has(self.replicas) || (has(self.workload) ? self.workload == 'Deployment' : (has(self.mode) && self.mode == 'Dedicated'))",message="replicas is for a Deployment: set workload: Deployment (a DaemonSet has one Envoy on each selected node)"
type FleetConfig struct {
	// Shared (the default): all Gateways of the class are on the same Envoys, so
	// a Gateway costs an address and no pods. These Envoys hold the keys of
	// all these Gateways. Dedicated: each Gateway has Envoys of its own.
	// +optional
	// +kubebuilder:validation:Enum=Shared;Dedicated
	Mode FleetMode `json:"mode,omitempty"`
	// DaemonSet (the default if Shared): an Envoy on each selected node.
	// Deployment (the default if Dedicated): as many as replicas says.
	// +optional
	// +kubebuilder:validation:Enum=DaemonSet;Deployment
	Workload FleetWorkload `json:"workload,omitempty"`
	// Envoys of a Deployment. Default 2.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`
	// Resources of an Envoy. The memory limit also bounds what Envoy takes: near
	// it, Envoy refuses requests instead of being killed. Default: requests of
	// 100m CPU and 128Mi, a limit of 1Gi of memory.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// Nodes to run on, by label. Unset: all that the tolerations admit.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Taints to run beside.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// Affinity of the pods. Default of a Deployment: keep to different nodes
	// where that can be had.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// Priority class of the pods. Default system-cluster-critical.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// Image of Envoy. Default: the one that the controller was installed with.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$')",message="not an image reference: write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST"
	Image string `json:"image,omitempty"`
	// Worker threads of an Envoy. Default: as many as its CPU limit has whole
	// CPUs, and without a limit as many as the node has.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	Concurrency *int32 `json:"concurrency,omitempty"`
	// Connections that an Envoy takes at most, of all its Gateways; more are
	// closed at once. Default 50000.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000000
	MaxConnections *int32 `json:"maxConnections,omitempty"`
	// How long an Envoy that is to end waits for its clients to go elsewhere,
	// after its addresses have been withdrawn. It ends sooner when they are
	// gone. Default 30s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('1h')",message="must lie between 0s and 1h"
	DrainTimeout *metav1.Duration `json:"drainTimeout,omitempty"`
	// More labels of the pods. Those of app.kubernetes.io, fairlead.dev and
	// gateway.networking.k8s.io are Fairlead's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('app.kubernetes.io/') && !k.startsWith('fairlead.dev/') && !k.startsWith('gateway.networking.k8s.io/'))",message="labels of app.kubernetes.io, fairlead.dev and gateway.networking.k8s.io are Fairlead's own: use another prefix"
	Labels map[string]string `json:"labels,omitempty"`
}

// LogFormat is the form of a line of the access log.
type LogFormat string

// The forms of a line.
const (
	LogJSON LogFormat = "JSON"
	LogText LogFormat = "Text"
)

// LogSink is where the access log goes.
type LogSink string

// The sinks of an access log.
const (
	LogStdout LogSink = "Stdout"
	LogOTLP   LogSink = "OTLP"
)

// AccessLog is a line for each request, and for each connection that is not HTTP.
//
// +kubebuilder:validation:XValidation:rule="(has(self.sink) && self.sink == 'OTLP') == has(self.endpoint)",message="endpoint goes with sink: OTLP, and that needs it: write the collector as HOST:PORT"
type AccessLog struct {
	// JSON (the default) or Text. Without effect on OTLP, whose records have
	// fields.
	// +optional
	// +kubebuilder:validation:Enum=JSON;Text
	Format LogFormat `json:"format,omitempty"`
	// Stdout of the Envoy's pod (the default), or OTLP.
	// +optional
	// +kubebuilder:validation:Enum=Stdout;OTLP
	Sink LogSink `json:"sink,omitempty"`
	// The OTLP collector (gRPC, without TLS).
	// +optional
	Endpoint Endpoint `json:"endpoint,omitempty"`
}

// Endpoint is a host and a port: otel-collector.monitoring.svc:4317,
// 192.0.2.7:4317 or [2001:db8::7]:4317.
//
// +kubebuilder:validation:MinLength=3
// +kubebuilder:validation:MaxLength=261
// +kubebuilder:validation:XValidation:rule="self.matches('^([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?|\\\\[[0-9a-fA-F:.]+\\\\]):[1-9][0-9]{0,4}$')",message="not HOST:PORT: write collector.example.com:4317, 192.0.2.7:4317 or [2001:db8::7]:4317"
type Endpoint string

// GatewayTracing sends spans of requests to a collector.
type GatewayTracing struct {
	// The OTLP collector (gRPC, without TLS).
	// +required
	Endpoint Endpoint `json:"endpoint"`
	// Of requests without a trace of their own, the share that is traced, from
	// 0 to 1. Default 0.1.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^(0(\.[0-9]+)?|1(\.0+)?)$`
	Ratio string `json:"ratio,omitempty"`
}

// GatewayMetrics say what Envoys count.
type GatewayMetrics struct {
	// Count the requests of each route (HTTPRoute, GRPCRoute) that go to a
	// backend, by status, and how long they take; all rules and hostnames of a
	// route together. That is some 30 time series for each route and Envoy.
	// +optional
	PerRoute bool `json:"perRoute,omitempty"`
}

// ClientAddress says how Envoy learns who the client is.
type ClientAddress struct {
	// Proxies before Envoy whose entries in X-Forwarded-For are believed,
	// counted from the last. Default 0: the client is whoever connects.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=32
	TrustedHops int32 `json:"trustedHops,omitempty"`
	// Every TCP connection begins with a PROXY protocol header (version 1 or
	// 2); one that does not is closed.
	// +optional
	ProxyProtocol bool `json:"proxyProtocol,omitempty"`
}

// GatewayLimits bound what a client may ask for.
type GatewayLimits struct {
	// All headers of a request together, in KiB. Default 60.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8192
	RequestHeadersKiB *int32 `json:"requestHeadersKiB,omitempty"`
	// Requests at the same time on an HTTP/2 connection. Default 100.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65536
	ConcurrentStreams *int32 `json:"concurrentStreams,omitempty"`
	// Requests on one connection, after which it is closed. Unset: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	RequestsPerConnection *int32 `json:"requestsPerConnection,omitempty"`
}

// GatewayTimeouts say how long things may take. Zero is no limit.
type GatewayTimeouts struct {
	// Until the headers of a request are there. Default 10s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="must lie between 0s and 24h"
	RequestHeaders *metav1.Duration `json:"requestHeaders,omitempty"`
	// An HTTP connection without a request. Default 1h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must lie between 0s and 8760h (one year)"
	Idle *metav1.Duration `json:"idle,omitempty"`
	// A request or WebSocket on which nothing is sent in either direction.
	// Default 5m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must lie between 0s and 8760h (one year)"
	StreamIdle *metav1.Duration `json:"streamIdle,omitempty"`
	// A TCP connection (TCPRoute, TLSRoute) on which nothing is sent. Default 1h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must lie between 0s and 8760h (one year)"
	TCPIdle *metav1.Duration `json:"tcpIdle,omitempty"`
	// A UDP client that sends nothing. Default 1m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must lie between 1s and 24h"
	UDPIdle *metav1.Duration `json:"udpIdle,omitempty"`
	// A connection to a backend until it is made, TLS included. Then another pod
	// is tried. Default 2s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10ms') && duration(self) <= duration('5m')",message="must lie between 10ms and 5m"
	Connect *metav1.Duration `json:"connect,omitempty"`
}

// GatewayConfigStatus says whether the parameters are in use.
type GatewayConfigStatus struct {
	// Ready: what is written here counts (False: what is wrong with it, or what
	// of it the class does not allow). Without a class or Gateway that refers
	// to it, there is no condition.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// GatewayConfigReady is the condition of a GatewayConfig.
const GatewayConfigReady = "Ready"

// GatewayConfigList is a list of GatewayConfigs.
//
// +kubebuilder:object:root=true
type GatewayConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GatewayConfig `json:"items"`
}
