package chain

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/golden"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// scene is a cluster from files.
type scene struct {
	Snapshot
	services map[string]*corev1.Service
	gateways map[string]*gatewayv1.Gateway
}

func load(t *testing.T, names ...string) *scene {
	t.Helper()
	scheme, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme).UniversalDeserializer()
	s := &scene{services: map[string]*corev1.Service{}, gateways: map[string]*gatewayv1.Gateway{}}
	s.Now, s.Slices = noon, map[types.NamespacedName][]discoveryv1.EndpointSlice{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("testdata", name+".in.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for doc := range strings.SplitSeq(string(text), "\n---\n") {
			o, _, err := decoder.Decode([]byte(doc), nil, nil)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, doc)
			}
			s.add(t, o)
		}
	}
	return s
}

func (s *scene) add(t *testing.T, o any) {
	switch o := o.(type) {
	case *corev1.Service:
		s.services[o.Name] = o
	case *gatewayv1.Gateway:
		s.gateways[o.Name] = o
	case *gatewayv1.GatewayClass:
		s.Class = o
	case *v1alpha1.Address:
		s.Addresses = append(s.Addresses, *o)
	case *v1alpha1.IPAddressPool:
		s.Pools = append(s.Pools, *o)
	case *v1alpha1.SpeakerStatus:
		s.Speakers = append(s.Speakers, *o)
	case *v1alpha1.L2Advertisement:
		s.Advertisements = append(s.Advertisements, *o)
	case *corev1.Node:
		s.Nodes = append(s.Nodes, *o)
	case *discoveryv1.EndpointSlice:
		name := types.NamespacedName{Namespace: o.Namespace, Name: o.Labels[discoveryv1.LabelServiceName]}
		s.Slices[name] = append(s.Slices[name], *o)
	default:
		t.Fatalf("no place for %T", o)
	}
}

func TestServices(t *testing.T) {
	s := load(t, "cluster", "services")
	for name, svc := range s.services {
		t.Run(name, func(t *testing.T) { golden.Result(t, "service-"+name+".txt", Service(&s.Snapshot, svc)) })
	}
	if len(s.services) == 0 {
		t.Error("there are none")
	}
}

// A Service whose own controller writes its status shows nothing of Fairlead's: what
// is wrong with it is found here, or nowhere.
func TestServicesOfStatusClasses(t *testing.T) {
	s := load(t, "cluster", "classes")
	s.NamespaceLabels = map[string]string{"team": "shop"}
	s.Configured, s.StatusClasses = true, []string{"gateway.nginx.org/nginx-gateway-controller"}
	for name, svc := range s.services {
		t.Run(name, func(t *testing.T) { golden.Result(t, "service-"+name+".txt", Service(&s.Snapshot, svc)) })
	}
	t.Run("without the controller's Deployment", func(t *testing.T) {
		s.Configured, s.StatusClasses = false, nil
		golden.Result(t, "service-status-unknown.txt", Service(&s.Snapshot, s.services["status-taken"]))
		if got := Service(&s.Snapshot, s.services["status-announced"]); len(got.Problems) > 0 {
			t.Errorf("what Fairlead announces is of a class that it follows: %v", got.Problems)
		}
	})
}

func TestGateways(t *testing.T) {
	s := load(t, "cluster", "gateways")
	s.Fleets = "fairlead-system"
	for name, gw := range s.gateways {
		t.Run(name, func(t *testing.T) { golden.Result(t, "gateway-"+name+".txt", Gateway(&s.Snapshot, gw)) })
	}
	t.Run("without class", func(t *testing.T) {
		s := load(t, "cluster", "gateways")
		s.Class = nil
		golden.Result(t, "gateway-without-class.txt", Gateway(&s.Snapshot, s.gateways["waiting"]))
	})
}

func TestAddresses(t *testing.T) {
	s := load(t, "cluster", "services", "gateways")
	for _, a := range []string{"172.30.0.100", "172.30.0.111", "172.30.0.120", "172.30.0.121", "172.30.0.199", "10.0.0.1", "172.30.0.105", "172.30.0.107"} {
		t.Run(a, func(t *testing.T) {
			golden.Result(t, "address-"+a+".txt", Address(&s.Snapshot, netip.MustParseAddr(a)))
		})
	}
}

// What could not be read is not taken for wrong.
func TestPartly(t *testing.T) {
	s := load(t, "services")
	s.Speakers, s.Nodes, s.Pools, s.Partly = nil, nil, nil, true
	s.Slices = map[types.NamespacedName][]discoveryv1.EndpointSlice{}
	golden.Result(t, "partly.txt", Service(&s.Snapshot, s.services["legacy"]))
	s.Addresses = nil
	golden.Result(t, "partly-without-ledger.txt", Service(&s.Snapshot, s.services["legacy"]))
}
