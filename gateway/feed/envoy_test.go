package feed

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
)

// fakeEnvoy speaks delta ADS as Envoy does, as far as it matters here: it asks for
// listeners when its first clusters are warm; it asks by name for what its clusters
// and listeners refer to, each name once; a cluster that is new or changed is of use
// only after its endpoints have come since, and once it is running it answers to no
// clusters, and on a new stream asks for none, as long as one waits for that; it applies
// what it can of a response and rejects the whole.
type fakeEnvoy struct {
	t           fataler
	fleet, pod  string
	wg          sync.WaitGroup
	cancel      context.CancelFunc
	conn        *grpc.ClientConn
	mu          sync.Mutex
	err         error
	has         [kinds]map[string]resourceHeld
	asks        [kinds]map[string]struct{}
	asked       [kinds]bool
	running     bool            // its first clusters were all of use once
	warm        map[string]bool // clusters that are of use
	waits       map[string]bool // clusters that have not heard of endpoints since they came
	responses   []response
	violations  []string
	putOff      []*discoveryv3.DeltaDiscoveryRequest // answers to clusters
	checked     bool                                 // check that nothing refers to what is not there
	refuse      func(k kind, name string, m proto.Message) string
	mute        func(k kind, r response) // may wait before the answer, or end the stream
	anonymously bool                     // rejections name no resource
	drains      map[string]struct{}      // route tables of draining listeners
	eager       bool                     // ask for listeners without waiting for clusters
	asking      func(k kind)             // called when a new stream is about to ask for a type again
	stream      discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
}

type resourceHeld struct {
	version string
	message proto.Message
}

type response struct {
	kind    kind
	names   []string
	removed []string
}

func newFakeEnvoy(t fataler, fleet, pod string) *fakeEnvoy {
	e := &fakeEnvoy{t: t, fleet: fleet, pod: pod, warm: map[string]bool{}, waits: map[string]bool{}, checked: true}
	for k := range kinds {
		e.has[k], e.asks[k] = map[string]resourceHeld{}, map[string]struct{}{}
	}
	return e
}

func (e *fakeEnvoy) node() *corev3.Node { return &corev3.Node{Id: e.pod, Cluster: e.fleet} }

// connect begins a stream, with what the Envoy has.
func (e *fakeEnvoy) connect(addr string, config *tls.Config) {
	e.t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		e.t.Fatalf("dialling: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	str, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		cancel()
		conn.Close()
		e.t.Fatalf("opening a stream: %v", err)
	}
	e.mu.Lock()
	e.conn, e.cancel, e.stream, e.asked, e.err, e.putOff = conn, cancel, str, [kinds]bool{}, nil, nil
	if !e.stuck() {
		e.ask(clusters)
	}
	for _, k := range []kind{assignments, secrets, routes} {
		if len(e.asks[k]) > 0 {
			if e.asking != nil {
				e.asking(k)
			}
			e.ask(k)
		}
	}
	if e.running || e.eager {
		e.running = true
		e.ask(listeners)
	}
	e.mu.Unlock()
	e.wg.Go(func() { e.listen(str) })
}

// stuck says that a cluster waits for endpoints and holds up all that there is to say of
// clusters.
func (e *fakeEnvoy) stuck() bool { return e.running && len(e.waits) > 0 }

// ask sends the first request of a type on a stream.
func (e *fakeEnvoy) ask(k kind) {
	e.asked[k] = true
	req := &discoveryv3.DeltaDiscoveryRequest{Node: e.node(), TypeUrl: typeURLs[k], InitialResourceVersions: map[string]string{}}
	for name, h := range e.has[k] {
		if h.version != "" {
			req.InitialResourceVersions[name] = h.version
		}
	}
	req.ResourceNamesSubscribe = slices.Sorted(maps.Keys(e.asks[k]))
	_ = e.stream.Send(req)
}

func (e *fakeEnvoy) disconnect() {
	if e.cancel != nil {
		e.cancel()
		e.wg.Wait()
		e.conn.Close()
		e.cancel = nil
	}
}

func (e *fakeEnvoy) listen(str discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient) {
	for {
		resp, err := str.Recv()
		if err != nil {
			e.mu.Lock()
			e.err = err
			e.mu.Unlock()
			return
		}
		k, ok := kindOf(resp.GetTypeUrl())
		if !ok {
			e.t.Errorf("a response of type %q", resp.GetTypeUrl())
			return
		}
		e.mu.Lock()
		got, refusal := e.take(k, resp)
		mute := e.mute
		e.mu.Unlock()
		if mute != nil {
			mute(k, got)
		}
		if str.Context().Err() != nil { // what has come meanwhile is lost
			return
		}
		req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: resp.GetTypeUrl(), ResponseNonce: resp.GetNonce()}
		if refusal != "" {
			req.ErrorDetail = &rpcstatus.Status{Code: 13, Message: refusal}
		}
		e.mu.Lock()
		err = e.answer(k, req)
		e.err = err
		e.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// ended is why the stream has ended; nil: it has not.
func (e *fakeEnvoy) ended() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// answer sends what is not put off.
func (e *fakeEnvoy) answer(k kind, req *discoveryv3.DeltaDiscoveryRequest) error {
	now := []*discoveryv3.DeltaDiscoveryRequest{req}
	if k == clusters {
		e.putOff, now = append(e.putOff, req), nil
	}
	if !e.stuck() {
		now = append(now, e.putOff...)
		e.putOff = nil
		if !e.asked[clusters] {
			e.ask(clusters)
		}
	}
	for _, r := range now {
		if err := e.stream.Send(r); err != nil {
			return err
		}
	}
	return nil
}

// take applies a response as Envoy does, and says why it is rejected.
func (e *fakeEnvoy) take(k kind, resp *discoveryv3.DeltaDiscoveryResponse) (response, string) {
	got := response{kind: k, removed: resp.GetRemovedResources()}
	for _, r := range resp.GetResources() {
		got.names = append(got.names, r.GetName())
	}
	e.responses = append(e.responses, got)
	for _, name := range resp.GetRemovedResources() {
		if !k.byName() { // of other types Envoy ignores it
			delete(e.has[k], name)
			if k == clusters {
				delete(e.warm, name)
				delete(e.waits, name)
			}
		}
	}
	refusal := ""
	versions := map[string]string{}
	for _, r := range resp.GetResources() {
		m, err := r.GetResource().UnmarshalNew()
		if err != nil {
			e.t.Errorf("reading %s: %v", r.GetName(), err)
			continue
		}
		if e.refuse != nil {
			if why := e.refuse(k, r.GetName(), m); why != "" {
				if k == assignments {
					e.supplied(r.GetName(), false)
				}
				if e.anonymously {
					refusal = why
				} else {
					refusal += r.GetName() + ": " + why + "\n"
				}
				if k == clusters || k == listeners {
					continue
				}
				break
			}
		}
		versions[r.GetName()] = r.GetVersion()
		e.apply(k, r.GetName(), m)
	}
	if refusal == "" { // only then Envoy remembers versions
		for name, v := range versions {
			if h, ok := e.has[k][name]; ok {
				e.has[k][name] = resourceHeld{v, h.message}
			}
		}
	}
	e.subscribe()
	if k == clusters || k == assignments {
		e.warmed()
	}
	e.check(got)
	return got, refusal
}

func (e *fakeEnvoy) apply(k kind, name string, m proto.Message) {
	before := e.has[k][name]
	if k.byName() {
		if _, ok := e.asks[k][name]; !ok {
			return // its user went while it was on its way
		}
	}
	e.has[k][name] = resourceHeld{before.version, m}
	if k == clusters {
		e.waits[name] = true
	}
	if k == assignments {
		e.supplied(name, true)
	}
}

// supplied takes that the endpoints of a name have come, or been rejected.
func (e *fakeEnvoy) supplied(name string, good bool) {
	for n, h := range e.has[clusters] {
		c := h.message.(*clusterv3.Cluster)
		if c.GetEdsClusterConfig().GetServiceName() != name || c.GetTransportSocket() != nil { // its secrets never come here
			continue
		}
		e.warm[n] = e.warm[n] || good
		delete(e.waits, n)
	}
}

// warmed asks for listeners once the first clusters are all of use.
func (e *fakeEnvoy) warmed() {
	if e.asked[listeners] {
		return
	}
	for name := range e.has[clusters] {
		if !e.warm[name] {
			return
		}
	}
	e.running = true
	e.ask(listeners)
}

// subscribe asks for what clusters and listeners refer to, and no more for what they
// do not.
func (e *fakeEnvoy) subscribe() {
	want := [kinds]map[string]struct{}{assignments: {}, routes: {}, secrets: {}}
	for _, h := range e.has[clusters] {
		if eds := h.message.(*clusterv3.Cluster).GetEdsClusterConfig().GetServiceName(); eds != "" {
			want[assignments][eds] = struct{}{}
		}
	}
	for _, h := range e.has[listeners] {
		l := h.message.(*listenerv3.Listener)
		if rds := rdsOf(l); rds != "" {
			want[routes][rds] = struct{}{}
		}
		if sds := l.GetStatPrefix(); sds != "" { // where these tests put it
			want[secrets][sds] = struct{}{}
		}
	}
	for name := range e.drains {
		want[routes][name] = struct{}{}
	}
	for _, k := range []kind{assignments, secrets, routes} {
		req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURLs[k]}
		for name := range want[k] {
			if _, ok := e.asks[k][name]; !ok {
				req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, name)
			}
		}
		for name := range e.asks[k] {
			if _, ok := want[k][name]; !ok {
				req.ResourceNamesUnsubscribe = append(req.ResourceNamesUnsubscribe, name)
				delete(e.has[k], name)
			}
		}
		e.asks[k] = want[k]
		if len(req.ResourceNamesSubscribe)+len(req.ResourceNamesUnsubscribe) > 0 {
			e.asked[k] = true
			_ = e.stream.Send(req)
		}
	}
}

func rdsOf(l *listenerv3.Listener) string {
	for _, chain := range l.GetFilterChains() {
		for _, filter := range chain.GetFilters() {
			if hcm := resource.GetHTTPConnectionManager(filter); hcm != nil {
				return hcm.GetRds().GetRouteConfigName()
			}
		}
	}
	return ""
}

// check looks for listeners and route tables that refer to what is of no use.
func (e *fakeEnvoy) check(after response) {
	if !e.checked {
		return
	}
	used := map[string]string{}
	for name, h := range e.has[listeners] {
		for _, chain := range h.message.(*listenerv3.Listener).GetFilterChains() {
			for _, filter := range chain.GetFilters() {
				p := &tcpproxyv3.TcpProxy{}
				if filter.GetTypedConfig().MessageIs(p) && filter.GetTypedConfig().UnmarshalTo(p) == nil {
					used[p.GetCluster()] = "listener " + name
				}
			}
		}
	}
	for name, h := range e.has[routes] {
		for _, host := range h.message.(*routev3.RouteConfiguration).GetVirtualHosts() {
			for _, r := range host.GetRoutes() {
				used[r.GetRoute().GetCluster()] = "route table " + name
			}
		}
	}
	for cluster, by := range used {
		if !e.warm[cluster] {
			e.violations = append(e.violations, fmt.Sprintf("after %v: %s refers to the cluster %s, which is of no use", after, by, cluster))
		}
	}
}

// sent is what came of some types since a point, in short.
func (e *fakeEnvoy) sent(since int, of ...kind) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, r := range e.responses[since:] {
		if len(of) > 0 && !slices.Contains(of, r.kind) {
			continue
		}
		s := r.kind.String() + " " + strings.Join(r.names, " ")
		for _, name := range r.removed {
			s += " -" + name
		}
		out = append(out, s)
	}
	return out
}

func (e *fakeEnvoy) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.responses)
}

// differs says what the Envoy has that differs from what it should have.
func (e *fakeEnvoy) differs(want ...Resources) string {
	all := [kinds]map[string]proto.Message{}
	for k := range kinds {
		all[k] = map[string]proto.Message{}
	}
	for _, r := range want {
		gather(all[clusters], r.Clusters)
		gather(all[listeners], r.Listeners)
		gather(all[routes], r.Routes)
		gather(all[secrets], r.Secrets)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for k := range kinds {
		if k == assignments {
			continue
		}
		for name, m := range all[k] {
			if h, ok := e.has[k][name]; !ok || !proto.Equal(h.message, m) {
				return fmt.Sprintf("%s %s is there: %v, and is not as it should be", k, name, ok)
			}
		}
		for name := range e.has[k] {
			if all[k][name] == nil {
				return fmt.Sprintf("%s %s should not be there", k, name)
			}
		}
	}
	for name := range all[clusters] {
		if e.waits[name] {
			return fmt.Sprintf("the cluster %s has no endpoints yet", name)
		}
	}
	return ""
}

func gather[M proto.Message](to map[string]proto.Message, from map[string]M) {
	for name, m := range from {
		to[name] = m
	}
}
