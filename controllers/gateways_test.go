package controllers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/gateway/pki"
)

const listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"

// withGateways serves Gateways, with fleets in the test's own namespace, and
// gives the address where Envoys find the controller.
func (w *world) withGateways() (func(*Options, *manager.Options), string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		w.t.Fatal(err)
	}
	return func(o *Options, m *manager.Options) {
		o.Namespace = w.ns
		KeepFleets(&m.Cache, w.ns)
		o.Gateways = GatewayOptions{Enabled: true, Listen: address, Fleet: fleet.Settings{
			Image: fleet.DefaultImage, ToolImage: "fairlead-controller:test", XDSService: "xds", XDSPort: 18000, Families: []corev1.IPFamily{corev1.IPv4Protocol},
		}}
	}, address
}

func (w *world) class() string {
	w.t.Helper()
	c := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: w.ns}, Spec: gatewayv1.GatewayClassSpec{ControllerName: gateway.ControllerName}}
	if err := w.c.Create(w.ctx(), c); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		ctx := context.Background()
		_ = w.c.DeleteAllOf(ctx, &gatewayv1.Gateway{}, client.InNamespace(w.ns))
		_ = w.c.Delete(ctx, c)
		if w.c.Get(ctx, client.ObjectKeyFromObject(c), c) == nil {
			c.Finalizers = nil
			_ = w.c.Update(ctx, c)
		}
	})
	return c.Name
}

// create makes objects.
func (w *world) create(objects ...client.Object) {
	w.t.Helper()
	for _, o := range objects {
		if err := w.c.Create(w.ctx(), o); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) newGateway(name, class string) *gatewayv1.Gateway {
	return &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name},
		Spec: gatewayv1.GatewaySpec{
			GatewayClassName: gatewayv1.ObjectName(class),
			Listeners:        []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}},
		},
	}
}

func (w *world) newRoute(name, parent, backend string) *gatewayv1.HTTPRoute {
	port := gatewayv1.PortNumber(80)
	r := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
	r.Spec.ParentRefs = []gatewayv1.ParentReference{{Name: gatewayv1.ObjectName(parent)}}
	ref := gatewayv1.HTTPBackendRef{}
	ref.Name, ref.Port = gatewayv1.ObjectName(backend), &port
	r.Spec.Rules = []gatewayv1.HTTPRouteRule{{BackendRefs: []gatewayv1.HTTPBackendRef{ref}}}
	return r
}

// says waits for a condition of a Gateway at its current generation.
func (w *world) says(name string, kind gatewayv1.GatewayConditionType, status metav1.ConditionStatus, reason gatewayv1.GatewayConditionReason) *gatewayv1.Gateway {
	w.t.Helper()
	gw := &gatewayv1.Gateway{}
	w.eventually(fmt.Sprintf("Gateway %s says %s=%s/%s", name, kind, status, reason), func() error {
		if err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: name}, gw); err != nil {
			return err
		}
		for _, c := range gw.Status.Conditions {
			if c.ObservedGeneration != gw.Generation {
				return fmt.Errorf("condition %s is of generation %d, not %d", c.Type, c.ObservedGeneration, gw.Generation)
			}
		}
		for _, c := range gw.Status.Conditions {
			if c.Type == string(kind) && c.Status == status && c.Reason == string(reason) {
				return nil
			}
		}
		return fmt.Errorf("it says %+v", gw.Status.Conditions)
	})
	return gw
}

// fakeEnvoy takes everything that it is sent and does not refuse, and says so.
type fakeEnvoy struct {
	mu        sync.Mutex
	listeners map[string]bool
	// refuse says why it does not take a resource; nil, and empty: it does.
	refuse func(r *discoveryv3.Resource) string
}

// refuses says why it does not take a response, in which the first resource that it
// refuses is named.
func (e *fakeEnvoy) refuses(r *discoveryv3.DeltaDiscoveryResponse) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range r.Resources {
		if e.refuse == nil {
			break
		}
		if why := e.refuse(x); why != "" {
			return x.Name + ": " + why
		}
	}
	return ""
}

// envoy connects as a pod of a fleet does: with the certificate in its Secret.
func (w *world) envoy(address string, id fleet.ID, pod string) *fakeEnvoy {
	w.t.Helper()
	secret := &corev1.Secret{}
	w.eventually("the fleet has a certificate", func() error {
		return w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: id.SecretName()}, secret)
	})
	identity := &pki.Identity{}
	if err := identity.Set(secret.Data); err != nil {
		w.t.Fatal(err)
	}
	config, err := identity.Client("xds." + w.ns + ".svc")
	if err != nil {
		w.t.Fatal(err)
	}
	e := &fakeEnvoy{listeners: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = e.run(ctx, address, config, id.Name(), w.ns+"/"+pod)
		}
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	return e
}

func (e *fakeEnvoy) run(ctx context.Context, address string, config *tls.Config, cluster, node string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	me := &corev3.Node{Id: node, Cluster: cluster}
	for _, t := range []string{"type.googleapis.com/envoy.config.cluster.v3.Cluster", listenerType} {
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: me, TypeUrl: t}); err != nil {
			return err
		}
	}
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		ack := &discoveryv3.DeltaDiscoveryRequest{Node: me, TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce}
		why := e.refuses(r)
		if why != "" {
			ack.ErrorDetail = &rpcstatus.Status{Code: 13, Message: why}
		}
		err = stream.Send(ack)
		if why == "" {
			err = errors.Join(err, e.take(stream, me, r))
		}
		if err != nil {
			return err
		}
	}
}

// take notes listeners, and asks for the route tables that they name.
func (e *fakeEnvoy) take(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, me *corev3.Node, r *discoveryv3.DeltaDiscoveryResponse) error {
	if r.TypeUrl != listenerType {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var tables []string
	for _, x := range r.Resources {
		e.listeners[x.Name] = true
		// NAMESPACE/GATEWAY/PORT/tcp
		if parts := strings.Split(x.Name, "/"); len(parts) == 4 {
			tables = append(tables, parts[0]+"/"+parts[1]+"/table/http/"+parts[2])
		}
	}
	for _, n := range r.RemovedResources {
		delete(e.listeners, n)
	}
	return stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: me, TypeUrl: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", ResourceNamesSubscribe: tables})
}

// pod lists a pod in the fleet's Service, as Kubernetes does.
func (w *world) fleetPod(id fleet.ID, pod, node, ip string) {
	w.t.Helper()
	w.create(&discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: w.ns, Name: id.Name() + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: id.Name(), fleet.FleetLabel: id.Name()}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{ip}, NodeName: ptr.To(node), Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true), Serving: ptr.To(true)},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: w.ns, Name: pod, UID: types.UID(pod)},
		}},
	})
}

// announce writes what a speaker writes that announces an address.
func (w *world) announce(a netip.Addr) {
	w.t.Helper()
	w.eventually("writing that "+a.String()+" is announced", func() error {
		o := &v1alpha1.Address{}
		if err := w.c.Get(w.ctx(), client.ObjectKey{Name: v1alpha1.AddressName(a)}, o); err != nil {
			return err
		}
		o.Status.Layer2 = &v1alpha1.Layer2Announcement{Node: "node1", Since: metav1.Now()}
		return w.c.Status().Update(w.ctx(), o)
	})
}

// A Gateway gets an address of the pools, waits for an Envoy and for a speaker,
// and says so; a route is attached and answered.
func TestGatewayIsProgrammedInOrder(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.0/29")
	serve, address := w.withGateways()
	w.start(serve)
	class := w.class()
	w.create(w.newGateway("web", class), w.newRoute("all", "web", "nowhere"))
	w.says("web", gatewayv1.GatewayConditionAccepted, metav1.ConditionTrue, gatewayv1.GatewayReasonAccepted)
	gw := w.says("web", gatewayv1.GatewayConditionProgrammed, metav1.ConditionFalse, gatewayv1.GatewayReasonNoResources)
	if len(gw.Status.Addresses) != 1 || len(gw.Status.Listeners) != 1 || gw.Status.Listeners[0].AttachedRoutes != 1 {
		t.Fatalf("the status is %+v", gw.Status)
	}
	vip := netip.MustParseAddr(gw.Status.Addresses[0].Value)
	id := fleet.ID{Class: class}
	w.fleetPod(id, "envoy-1", "node1", "10.0.0.7")
	w.says("web", gatewayv1.GatewayConditionProgrammed, metav1.ConditionFalse, gatewayv1.GatewayReasonPending)
	w.envoy(address, id, "envoy-1")
	front := client.ObjectKey{Namespace: w.ns, Name: fleet.FrontName("web", class)}
	w.eventually("the Gateway's Service leads to the Envoy", func() error {
		var list discoveryv1.EndpointSliceList
		if err := w.c.List(w.ctx(), &list, client.InNamespace(w.ns), client.MatchingLabels{discoveryv1.LabelServiceName: front.Name}); err != nil {
			return err
		}
		for _, s := range list.Items {
			for _, e := range s.Endpoints {
				if e.Addresses[0] == "10.0.0.7" && *e.Conditions.Ready {
					return nil
				}
			}
		}
		return fmt.Errorf("its slices are %+v", list.Items)
	})
	svc := &corev1.Service{}
	if err := w.c.Get(w.ctx(), front, svc); err != nil {
		t.Fatal(err)
	}
	if got := ips(svc); len(got) != 1 || got[0] != vip.String() {
		t.Errorf("the Gateway's Service has %v, want %s", got, vip)
	}
	w.announce(vip)
	w.says("web", gatewayv1.GatewayConditionProgrammed, metav1.ConditionTrue, gatewayv1.GatewayReasonProgrammed)
	w.eventually("the route is answered", func() error {
		r := &gatewayv1.HTTPRoute{}
		if err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: "all"}, r); err != nil {
			return err
		}
		if len(r.Status.Parents) != 1 || r.Status.Parents[0].ControllerName != gateway.ControllerName || len(r.Status.Parents[0].Conditions) < 2 {
			return fmt.Errorf("it says %+v", r.Status.Parents)
		}
		return nil
	})
	if err := w.c.Delete(w.ctx(), w.newGateway("web", class)); err != nil {
		t.Fatal(err)
	}
	w.eventually("the address is free", func() error {
		o := &v1alpha1.Address{}
		err := w.c.Get(w.ctx(), client.ObjectKey{Name: v1alpha1.AddressName(vip)}, o)
		if err == nil && len(o.Spec.Holders) > 0 {
			return fmt.Errorf("it is held by %s", o.Spec.Summary)
		}
		return client.IgnoreNotFound(err)
	})
}

// restored is a Gateway whose status shows addresses, as after a restore of a backup.
func (w *world) restored(name, class string, addresses ...string) {
	w.t.Helper()
	gw := w.newGateway(name, class)
	w.create(gw)
	for _, a := range addresses {
		gw.Status.Addresses = append(gw.Status.Addresses, gatewayv1.GatewayStatusAddress{Type: new(gatewayv1.IPAddressType), Value: a})
	}
	if err := w.c.Status().Update(w.ctx(), gw); err != nil {
		w.t.Fatal(err)
	}
}

// Gateways that come from a backup have their status and no Address in the ledger:
// they keep what their status shows, before anybody new is given it.
func TestStatusesOfGatewaysAreAdoptedFirst(t *testing.T) {
	w := newWorld(t)
	class := w.class()
	w.restored("old", class, "10.0.0.7", "192.0.2.0") // one of no pool, and the lowest, which a new one would get
	w.restored("older", class, "192.0.2.2")
	w.restored("twin", class, "192.0.2.2") // shows what another one has
	w.create(w.newGateway("new", class))
	w.service("service")
	w.pool("public", nil, "192.0.2.0/29")
	serve, _ := w.withGateways()
	w.start(serve)
	w.addressIs("192.0.2.0", v1alpha1.AddressBound, "old")
	w.addressIs("192.0.2.2", v1alpha1.AddressBound, "older")
	taken := map[string]string{}
	for _, name := range []string{"old", "older", "twin", "new"} {
		gw := w.says(name, "AddressesAssigned", metav1.ConditionTrue, gatewayv1.GatewayReasonAddressesAssigned)
		if len(gw.Status.Addresses) != 1 || taken[gw.Status.Addresses[0].Value] != "" {
			t.Fatalf("%s has %+v; %v", name, gw.Status.Addresses, taken)
		}
		taken[gw.Status.Addresses[0].Value] = name
	}
	if taken["192.0.2.0"] != "old" || taken["192.0.2.2"] != "older" {
		t.Errorf("%v", taken)
	}
}

// hidden is a RESTMapper that does not know the kinds of the Gateway API until they
// are shown, as before their CRDs are installed.
type hidden struct {
	meta.RESTMapper
	shown atomic.Bool
}

func (h *hidden) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	if gk.Group == gatewayv1.GroupName && !h.shown.Load() {
		return nil, &meta.NoKindMatchError{GroupKind: gk, SearchedVersions: versions}
	}
	return h.RESTMapper.RESTMapping(gk, versions...)
}

// provide is a manager's MapperProvider.
func (h *hidden) provide(cfg *rest.Config, client *http.Client) (meta.RESTMapper, error) {
	known, err := apiutil.NewDynamicRESTMapper(cfg, client)
	h.RESTMapper = known
	return h, err
}

// Where the CRDs of the Gateway API come when the controller runs already, so do
// those Gateways.
func TestStatusesOfGatewaysAreAdoptedWhenTheirKindsCome(t *testing.T) {
	w := newWorld(t)
	class := w.class()
	w.restored("old", class, "192.0.2.5") // not what a new one would get
	w.create(w.newGateway("new", class))
	w.pool("public", nil, "192.0.2.0/29")
	kinds := &hidden{}
	serve, _ := w.withGateways()
	r := w.start(serve, func(_ *Options, m *manager.Options) { m.MapperProvider = kinds.provide })
	w.recovered(r)
	kinds.shown.Store(true)
	for name, want := range map[string]string{"old": "192.0.2.5", "new": "192.0.2.0"} {
		gw := w.says(name, "AddressesAssigned", metav1.ConditionTrue, gatewayv1.GatewayReasonAddressesAssigned)
		if got := gw.Status.Addresses; len(got) != 1 || got[0].Value != want {
			t.Errorf("%s has %v, want %s", name, got, want)
		}
	}
	w.addressIs("192.0.2.5", v1alpha1.AddressBound, "old")
}
