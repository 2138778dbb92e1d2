package envoytest

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
)

// Endpoints says where the pods of a Service are, by any of its ports.
type Endpoints map[gateway.Name][]netip.AddrPort

// source is an xDS server for one Envoy.
type source struct {
	cache   cache.SnapshotCache
	version int
	port    int

	mu      sync.Mutex
	refused []string
}

func newSource(t testing.TB) *source {
	t.Helper()
	s := &source{cache: cache.NewSnapshotCache(true, cache.IDHash{}, nil)}
	ctx, stop := context.WithCancel(context.Background())
	callbacks := serverv3.CallbackFuncs{StreamDeltaRequestFunc: s.onRequest}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("starting an xDS server: %v", err)
	}
	s.port = listener.Addr().(*net.TCPAddr).Port
	g := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, serverv3.NewServer(ctx, s.cache, callbacks))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(listener)
	}()
	t.Cleanup(func() {
		stop()
		g.Stop()
		<-done
	})
	return s
}

// onRequest notes what Envoy refuses.
func (s *source) onRequest(_ int64, r *discoveryv3.DeltaDiscoveryRequest) error {
	if r.ErrorDetail != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refused = append(s.refused, r.TypeUrl+": "+r.ErrorDetail.Message)
	}
	return nil
}

func (s *source) refusals() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

// set replaces everything.
func (s *source) set(t testing.TB, r xds.Resources, where Endpoints) {
	t.Helper()
	s.version++
	all := map[resourcev3.Type][]types.Resource{}
	for _, l := range r.Listeners {
		all[resourcev3.ListenerType] = append(all[resourcev3.ListenerType], onLoopback(l))
	}
	for _, c := range r.Clusters {
		all[resourcev3.ClusterType] = append(all[resourcev3.ClusterType], c)
	}
	for _, c := range r.Routes {
		all[resourcev3.RouteType] = append(all[resourcev3.RouteType], c)
	}
	for _, c := range r.Secrets {
		all[resourcev3.SecretType] = append(all[resourcev3.SecretType], c)
	}
	for name, a := range r.Assignments {
		all[resourcev3.EndpointType] = append(all[resourcev3.EndpointType], assignment(name, a, where))
	}
	snapshot, err := cache.NewSnapshot(strconv.Itoa(s.version), all)
	if err == nil {
		err = s.cache.SetSnapshot(context.Background(), "test", snapshot)
	}
	if err != nil {
		t.Fatalf("giving Envoy its configuration: %v", err)
	}
}

// assignment gives every part a locality.
func assignment(name string, a xds.Assignment, where Endpoints) *endpointv3.ClusterLoadAssignment {
	out := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	for i, part := range a.Parts {
		locality := &endpointv3.LocalityLbEndpoints{
			Locality:            &corev3.Locality{SubZone: strconv.Itoa(i)},
			LoadBalancingWeight: wrapperspb.UInt32(part.Weight),
		}
		addresses := where[part.Service]
		if part.Service == (gateway.Name{}) {
			addresses = []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(xds.DiscardAddress), xds.DiscardPort)}
		}
		for _, address := range addresses {
			locality.LbEndpoints = append(locality.LbEndpoints, &endpointv3.LbEndpoint{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
					Address: socketAddress(address, part.Transport),
				}},
			})
		}
		out.Endpoints = append(out.Endpoints, locality)
	}
	return out
}

func socketAddress(a netip.AddrPort, transport gateway.Transport) *corev3.Address {
	socket := &corev3.SocketAddress{
		Address:       a.Addr().String(),
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(a.Port())},
	}
	if transport == gateway.UDP {
		socket.Protocol = corev3.SocketAddress_UDP
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: socket}}
}

// onLoopback keeps a listener off the network.
func onLoopback(l *listenerv3.Listener) *listenerv3.Listener {
	l = proto.CloneOf(l)
	socket := l.GetAddress().GetSocketAddress()
	socket.Address, socket.Ipv4Compat = "127.0.0.1", false
	return l
}
