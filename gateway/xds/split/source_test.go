package split

import (
	"net"
	"strconv"
	"sync"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// source gives one Envoy resources over delta ADS. A resource is encoded before it is
// sent, so that what is measured is Envoy's part.
type source struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	t    testing.TB
	port int

	mu     sync.Mutex
	all    map[string]map[string]*discoveryv3.Resource // by type and name
	begun  map[string]bool
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	nonce  uint64
	acks   map[string]chan<- string // by nonce: why it is refused, or nothing
}

func newSource(t testing.TB) *source {
	t.Helper()
	s := &source{t: t, all: map[string]map[string]*discoveryv3.Resource{}, begun: map[string]bool{}, acks: map[string]chan<- string{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("starting an xDS server: %v", err)
	}
	s.port = listener.Addr().(*net.TCPAddr).Port
	server := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, s)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return s
}

// encoded is a resource as it is sent.
func encoded(t testing.TB, name, version string, m proto.Message) *discoveryv3.Resource {
	t.Helper()
	packed, err := anypb.New(m)
	if err != nil {
		t.Fatalf("encoding %s: %v", name, err)
	}
	return &discoveryv3.Resource{Name: name, Version: version, Resource: packed}
}

// hold takes a resource that is there when Envoy asks.
func (s *source) hold(r *discoveryv3.Resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	url := r.GetResource().GetTypeUrl()
	if s.all[url] == nil {
		s.all[url] = map[string]*discoveryv3.Resource{}
	}
	s.all[url][r.GetName()] = r
}

// push sends a changed resource, and returns how many bytes these are and where the
// acknowledgement will come.
func (s *source) push(r *discoveryv3.Resource) (size int, answer <-chan string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	acked := make(chan string, 1)
	response := s.response(r.GetResource().GetTypeUrl(), []*discoveryv3.Resource{r})
	s.acks[response.Nonce] = acked
	if err := s.stream.Send(response); err != nil {
		s.t.Errorf("sending %s: %v", r.GetName(), err)
	}
	return proto.Size(response), acked
}

func (s *source) response(url string, resources []*discoveryv3.Resource) *discoveryv3.DeltaDiscoveryResponse {
	s.nonce++
	return &discoveryv3.DeltaDiscoveryResponse{TypeUrl: url, Nonce: strconv.FormatUint(s.nonce, 10), Resources: resources}
}

// DeltaAggregatedResources is the Envoy's stream.
func (s *source) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	s.mu.Lock()
	s.stream = stream
	s.mu.Unlock()
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := s.answer(request); err != nil {
			return err
		}
	}
}

func (s *source) answer(request *discoveryv3.DeltaDiscoveryRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refusal := request.GetErrorDetail().GetMessage(); refusal != "" {
		s.t.Errorf("Envoy refuses %s: %s", request.GetTypeUrl(), refusal)
	}
	if acked, ok := s.acks[request.GetResponseNonce()]; ok {
		acked <- request.GetErrorDetail().GetMessage()
		delete(s.acks, request.GetResponseNonce())
	}
	resources := s.asked(request)
	if len(resources) == 0 {
		return nil
	}
	return s.stream.Send(s.response(request.GetTypeUrl(), resources))
}

// asked are the resources of an Envoy's request: those named, or all of a type of which
// it asks for everything.
func (s *source) asked(request *discoveryv3.DeltaDiscoveryRequest) []*discoveryv3.Resource {
	url := request.GetTypeUrl()
	all := s.all[url]
	var out []*discoveryv3.Resource
	switch url {
	case resourcev3.ListenerType, resourcev3.ClusterType, resourcev3.ScopedRouteType:
		if !s.begun[url] {
			for _, r := range all {
				out = append(out, r)
			}
		}
		s.begun[url] = true
	default:
		for _, name := range request.GetResourceNamesSubscribe() {
			if r := all[name]; r != nil {
				out = append(out, r)
			}
		}
	}
	return out
}
