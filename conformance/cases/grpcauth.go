package cases

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/gateway-api/conformance/utils/http"
	"sigs.k8s.io/gateway-api/conformance/utils/kubernetes"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// GEP-1494: the server behind the filter may speak Envoy's protocol for authorization.
var grpcAuth = suite.ConformanceTest{
	ShortName:   "FairleadExternalAuthGRPC",
	Description: "A rule with ExternalAuth by gRPC passes on what the server allows, with the headers that it adds, and nothing else",
	Features:    experimental,
	Manifests:   []string{"grpc-auth.yaml"},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		address, err := kubernetes.WaitForGatewayAddress(t, s.Client, s.TimeoutConfig, kubernetes.NewGatewayRef(inInfra("own-grpc-auth")))
		if err != nil {
			t.Fatalf("waiting for the Gateway's address: %v", err)
		}
		end := startDoorkeeper(t, s, address)
		accepted(t, s, "own-grpc-auth")
		welcome := http.Request{Path: "/open", Headers: map[string]string{"X-Visitor": "one"}}
		seen := welcome
		seen.Headers = map[string]string{"X-Visitor": "one", greeting: "welcome, one"}
		http.MakeRequestAndExpectEventuallyConsistentResponse(t, s.RoundTripper, s.TimeoutConfig, address, http.ExpectedResponse{
			Request: welcome, ExpectedRequest: &http.ExpectedRequest{Request: seen}, Backend: "infra-backend-v1", Namespace: suite.InfrastructureNamespace,
		})
		answers(t, s, address, "", "/closed", 403)
		end()
		answers(t, s, address, "", "/open", 403)
	},
}

// startDoorkeeper runs a server for authorization in this process, as the endpoint of the case's Service. Envoys come to the
// address of this machine from which it reaches the Gateway. It returns what ends the server.
func startDoorkeeper(t *testing.T, s *suite.ConformanceTestSuite, gateway string) func() {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(sourceTo(t, gateway).String(), "0"))
	if err != nil {
		t.Fatalf("listening for questions of Envoys: %v", err)
	}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, doorkeeper{})
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	at := l.Addr().(*net.TCPAddr).AddrPort()
	family := discoveryv1.AddressTypeIPv4
	if at.Addr().Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: suite.InfrastructureNamespace, Name: "own-grpc-auth", Labels: map[string]string{discoveryv1.LabelServiceName: "own-grpc-auth"},
		},
		AddressType: family,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{at.Addr().String()}}},
		Ports:       []discoveryv1.EndpointPort{{Name: new("grpc"), Port: new(int32(at.Port())), Protocol: new(corev1.ProtocolTCP)}},
	}
	s.Applier.MustApplyObjectsWithCleanup(t, s.Client, s.TimeoutConfig, []client.Object{slice}, s.CleanupTestResources)
	return server.Stop
}

// sourceTo is this machine's address on the way to another.
func sourceTo(t *testing.T, there string) netip.Addr {
	t.Helper()
	c, err := net.Dial("udp", there) // which sends nothing
	if err != nil {
		t.Fatalf("looking for the way to %s: %v", there, err)
	}
	defer c.Close()
	here := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if here.IsLoopback() {
		t.Skipf("the Gateway is reached by %s, where no Envoy of the cluster can ask this machine", here)
	}
	return here
}

// greeting is the header that the doorkeeper adds.
const greeting = "X-Greeting"

// doorkeeper lets in who asks for /open, and greets by the name of the request's X-Visitor.
type doorkeeper struct {
	authv3.UnimplementedAuthorizationServer
}

func (doorkeeper) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	asked := r.GetAttributes().GetRequest().GetHttp()
	if !strings.HasPrefix(asked.GetPath(), "/open") {
		return &authv3.CheckResponse{Status: &status.Status{Code: int32(codes.PermissionDenied)}}, nil
	}
	return &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
		Headers: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: greeting, Value: "welcome, " + asked.GetHeaders()["x-visitor"]}}},
	}}}, nil
}
