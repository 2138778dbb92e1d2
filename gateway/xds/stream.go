package xds

import (
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	udpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/udp/udp_proxy/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead/fairlead/gateway"
)

// streamAttempts is to how many endpoints a TCP connection is tried: nothing was
// sent to one that did not answer. Among weighted backends each try draws anew,
// so a backend that refuses connections leaves them to the others.
const streamAttempts = 3

// active are the destinations that have a share.
func active(all []gateway.Destination) []*gateway.Destination {
	var some []*gateway.Destination
	for i := range all {
		if all[i].Weight > 0 {
			some = append(some, &all[i])
		}
	}
	return some
}

// total is the sum of the weights of those that lead somewhere.
func total(some []*gateway.Destination) uint64 {
	var sum uint64
	for _, d := range some {
		if d.Backend != "" || d.Redirect != nil {
			sum += uint64(d.Weight)
		}
	}
	return sum
}

// cluster is where a destination's share goes.
func (e *encoder) cluster(d *gateway.Destination) string {
	if e.backends[d.Backend] == nil {
		return Nowhere
	}
	return e.clusterName(d.Backend)
}

// stream forwards bytes. A connection to Nowhere is closed at once.
func (e *encoder) stream(p *gateway.Port, s *gateway.Stream) *listenerv3.Filter {
	proxy := &tcpproxyv3.TcpProxy{
		StatPrefix:         e.statPrefix(p),
		IdleTimeout:        or(e.settings.TCPIdleTimeout, time.Hour),
		MaxConnectAttempts: wrapperspb.UInt32(streamAttempts),
		AccessLog:          e.accessLog(connectionLog),
	}
	some := active(s.Backends)
	switch {
	case total(some) == 0:
		proxy.ClusterSpecifier = &tcpproxyv3.TcpProxy_Cluster{Cluster: Nowhere}
	case len(some) == 1:
		proxy.ClusterSpecifier = &tcpproxyv3.TcpProxy_Cluster{Cluster: e.cluster(some[0])}
	default:
		weighted := &tcpproxyv3.TcpProxy_WeightedCluster{}
		for _, d := range some {
			weighted.Clusters = append(weighted.Clusters,
				&tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight{Name: e.cluster(d), Weight: d.Weight})
		}
		proxy.ClusterSpecifier = &tcpproxyv3.TcpProxy_WeightedClusters{WeightedClusters: weighted}
	}
	return networkFilter("envoy.filters.network.tcp_proxy", proxy)
}

// datagrams forwards UDP, where Envoy knows no weighted clusters.
func (e *encoder) datagrams(l *listenerv3.Listener, p *gateway.Port) {
	proxy := &udpproxyv3.UdpProxyConfig{
		StatPrefix:  e.statPrefix(p),
		IdleTimeout: bounded(e.settings.SessionIdleTimeout, time.Minute),
		AccessLog:   e.accessLog(connectionLog),
		RouteSpecifier: &udpproxyv3.UdpProxyConfig_Matcher{Matcher: &xdsmatcherv3.Matcher{
			OnNoMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
				Action: &xdscorev3.TypedExtensionConfig{
					Name:        "route",
					TypedConfig: pack(&udpproxyv3.Route{Cluster: e.datagramCluster(p)}),
				},
			}},
		}},
	}
	l.UdpListenerConfig = &listenerv3.UdpListenerConfig{}
	l.ListenerFilters = []*listenerv3.ListenerFilter{listenerFilter("envoy.filters.udp_listener.udp_proxy", proxy)}
}

// datagramCluster is one cluster for all backends of a stream. With several,
// each is a locality with its weight.
func (e *encoder) datagramCluster(p *gateway.Port) string {
	some := active(p.Stream.Backends)
	if total(some) == 0 {
		return Nowhere
	}
	if len(some) == 1 {
		if b := e.backends[some[0].Backend]; b != nil {
			e.backend(b)
		}
		return e.cluster(some[0])
	}
	name := e.streamName(p)
	var parts []Part
	for _, d := range some {
		part := Part{Transport: gateway.UDP}
		if b := e.backends[d.Backend]; b != nil {
			part = partOf(b)
		}
		part.Weight = d.Weight
		parts = append(parts, part)
	}
	c := e.endpoints(name, name)
	c.CommonLbConfig.LocalityConfigSpecifier = &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{
		LocalityWeightedLbConfig: &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig{},
	}
	e.out.Clusters[name] = c
	e.out.Assignments[name] = Assignment{Parts: parts}
	return name
}
