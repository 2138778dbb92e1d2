package controllers

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/service"
	"github.com/fairlead/fairlead/test/apiserver"
)

func init() { ctrllog.SetLogger(logr.Discard()) }

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// world is one test's cluster: the shared API server, emptied at the end.
type world struct {
	t  testing.TB
	c  client.Client
	ns string
}

var worlds atomic.Int64

// newWorld makes a namespace. Tests that use it cannot run in parallel: pools
// and Addresses are not in namespaces.
func newWorld(t *testing.T) *world {
	t.Helper()
	if apiServer == nil {
		t.Skip(apiserver.Missing)
	}
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(Unlimited(apiServer), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, c: c, ns: fmt.Sprintf("test-%d", worlds.Add(1))}
	w.namespace(w.ns, nil)
	t.Cleanup(w.empty)
	return w
}

// empty removes what the test made, past our finalizer.
func (w *world) empty() {
	ctx := context.Background()
	var services corev1.ServiceList
	if err := w.c.List(ctx, &services); err != nil {
		w.t.Error(err)
	}
	for i := range services.Items {
		if s := &services.Items[i]; s.Spec.Type == corev1.ServiceTypeLoadBalancer || strings.HasPrefix(s.Namespace, "test-") {
			_ = w.c.Delete(ctx, s)
		}
	}
	for _, o := range []client.Object{&v1alpha1.IPAddressPool{}, &v1alpha1.L2Advertisement{}, &v1alpha1.BGPAdvertisement{}, &v1alpha1.BGPPeer{}, &v1alpha1.BFDProfile{}, &v1alpha1.Community{}, &v1alpha1.SpeakerStatus{}, &corev1.Node{}} {
		if err := w.c.DeleteAllOf(ctx, o); err != nil {
			w.t.Error(err)
		}
	}
	w.eventually("the ledger is empty", func() error {
		var list v1alpha1.AddressList
		if err := w.c.List(ctx, &list); err != nil {
			return err
		}
		for i := range list.Items {
			o := &list.Items[i]
			o.Finalizers = nil
			_ = w.c.Update(ctx, o)
			_ = w.c.Delete(ctx, o)
		}
		if n := len(list.Items); n > 0 {
			return fmt.Errorf("%d Addresses are left", n)
		}
		return nil
	})
}

func (w *world) namespace(name string, labels map[string]string) {
	w.t.Helper()
	if err := w.c.Create(w.ctx(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ctx() context.Context { return w.t.Context() }

// eventually waits until check has nothing to say.
func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	w.t.Fatalf("%s: not within %s: %v", what, patience, err)
}

// requests counts what a controller asks of the API server.
type requests struct {
	mu   sync.Mutex
	made map[string]int // "VERB path"
	// looks counts how often each Service was looked at.
	looks map[types.NamespacedName]int
}

func (r *requests) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.Method != http.MethodGet && !strings.Contains(req.URL.Path, "/leases") {
			r.mu.Lock()
			r.made[req.Method+" "+req.URL.Path]++
			r.mu.Unlock()
		}
		return next.RoundTrip(req)
	})
}

// writes are the requests that change something, Leases and Events apart.
func (r *requests) writes() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]int{}
	for k, n := range r.made {
		if !strings.Contains(k, "/events") {
			out[k] = n
		}
	}
	return out
}

// statusWrites counts the status writes of one Service.
func (r *requests) statusWrites(ns, name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.made["PATCH /api/v1/namespaces/"+ns+"/services/"+name+"/status"]
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// replica is a running controller.
type replica struct {
	*requests
	shell *shell
	stop  func()
}

// start runs the controllers until stop or the end of the test.
func (w *world) start(change ...func(*Options, *manager.Options)) *replica {
	w.t.Helper()
	r := &replica{requests: &requests{made: map[string]int{}, looks: map[types.NamespacedName]int{}}}
	cfg := Unlimited(apiServer)
	cfg.Wrap(r.wrap)
	mgr, opts := w.manager(cfg, change...)
	s, err := add(mgr, opts)
	if err != nil {
		w.t.Fatal(err)
	}
	r.shell = s
	s.looked = func(name types.NamespacedName) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.looks[name]++
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				w.t.Errorf("the manager ended: %v", err)
			}
		})
	}
	w.t.Cleanup(r.stop)
	return r
}

func (w *world) manager(cfg *rest.Config, change ...func(*Options, *manager.Options)) (manager.Manager, Options) {
	w.t.Helper()
	scheme, err := Scheme()
	if err != nil {
		w.t.Fatal(err)
	}
	m := ManagerOptions(scheme)
	m.Metrics = metricsserver.Options{BindAddress: "0"}
	m.Controller.SkipNameValidation = ptr.To(true)
	m.GracefulShutdownTimeout = ptr.To(10 * time.Second)
	m.Logger = logr.Discard()
	o := Options{Service: service.Config{Default: true}, Settle: time.Hour, PoolStatusEvery: 50 * time.Millisecond}
	for _, f := range change {
		f(&o, &m)
	}
	mgr, err := manager.New(cfg, m)
	if err != nil {
		w.t.Fatal(err)
	}
	return mgr, o
}

// recovered waits until the replica serves.
func (w *world) recovered(r *replica) {
	w.t.Helper()
	select {
	case <-r.shell.ready:
	case <-time.After(patience):
		w.t.Fatal("the books were not rebuilt")
	}
}

func (w *world) pool(name string, change func(*v1alpha1.IPAddressPool), ranges ...string) *v1alpha1.IPAddressPool {
	w.t.Helper()
	p := &v1alpha1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, r := range ranges {
		p.Spec.Addresses = append(p.Spec.Addresses, v1alpha1.AddressRange(r))
	}
	if change != nil {
		change(p)
	}
	if err := w.c.Create(w.ctx(), p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// service makes a Service of type LoadBalancer.
func (w *world) service(name string, change ...func(*corev1.Service)) *corev1.Service {
	w.t.Helper()
	s := w.newService(name, change...)
	if err := w.c.Create(w.ctx(), s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) newService(name string, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: ptr.To(false),
			Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func annotate(kv ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		for i := 0; i < len(kv); i += 2 {
			s.Annotations[kv[i]] = kv[i+1]
		}
	}
}

func dualStack(s *corev1.Service) {
	s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack)
}

// get reads a Service.
func (w *world) get(name string) *corev1.Service {
	w.t.Helper()
	s := &corev1.Service{}
	if err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: name}, s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// edit changes a Service, again when somebody else was faster.
func (w *world) edit(name string, change func(*corev1.Service)) {
	w.t.Helper()
	w.eventually("editing Service "+name, func() error {
		s := w.get(name)
		change(s)
		err := w.c.Update(w.ctx(), s)
		if err != nil && !apierrors.IsConflict(err) {
			w.t.Fatal(err)
		}
		return err
	})
}

func ips(s *corev1.Service) []string {
	var out []string
	for _, in := range s.Status.LoadBalancer.Ingress {
		out = append(out, in.IP)
	}
	return out
}

// has waits until the Service shows exactly these addresses, and its condition
// says so.
func (w *world) has(name string, want ...string) *corev1.Service {
	w.t.Helper()
	var s *corev1.Service
	w.eventually("Service "+name+" has "+strings.Join(want, " "), func() error {
		s = w.get(name)
		if got := ips(s); strings.Join(got, " ") != strings.Join(want, " ") {
			return fmt.Errorf("it has %v, conditions %v", got, s.Status.Conditions)
		}
		return nil
	})
	return s
}

// condition waits for a condition of a Service.
func (w *world) condition(name, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	w.t.Helper()
	var found metav1.Condition
	w.eventually(fmt.Sprintf("Service %s has %s=%s %s", name, kind, status, reason), func() error {
		s := w.get(name)
		for _, c := range s.Status.Conditions {
			if c.Type == kind && c.Status == status && (reason == "" || c.Reason == reason) {
				found = c
				return nil
			}
		}
		return fmt.Errorf("it has %v", s.Status.Conditions)
	})
	return found
}

// address reads an Address; nil: there is none.
func (w *world) address(ip string) *v1alpha1.Address {
	w.t.Helper()
	o := &v1alpha1.Address{}
	err := w.c.Get(w.ctx(), client.ObjectKey{Name: v1alpha1.AddressName(netip.MustParseAddr(ip))}, o)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// addressIs waits until the Address is in a state and has these holders
// ("namespace/name" without our namespace).
func (w *world) addressIs(ip string, state v1alpha1.AddressState, holders ...string) *v1alpha1.Address {
	w.t.Helper()
	var o *v1alpha1.Address
	w.eventually(fmt.Sprintf("Address %s is %s with %v", ip, state, holders), func() error {
		if o = w.address(ip); o == nil {
			return fmt.Errorf("there is none")
		}
		var got []string
		for _, h := range o.Spec.Holders {
			got = append(got, h.Name)
		}
		slices.Sort(got)
		if o.Spec.State != state || strings.Join(got, " ") != strings.Join(holders, " ") {
			return fmt.Errorf("it is %s with %v", o.Spec.State, got)
		}
		return nil
	})
	return o
}

// settled waits until a replica has written nothing for a while, and gives what
// it has written.
func (w *world) settled(r *replica) map[string]int {
	w.t.Helper()
	before, since := r.writes(), time.Now()
	w.eventually("the controller has nothing more to write", func() error {
		if now := r.writes(); fmt.Sprint(now) != fmt.Sprint(before) {
			before, since = now, time.Now()
		}
		if time.Since(since) < 700*time.Millisecond {
			return fmt.Errorf("last write %s ago", time.Since(since))
		}
		return nil
	})
	return before
}

// reconciles are how often each controller has looked at something.
func reconciles(t testing.TB) map[string]float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "controller" {
					out[l.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	return out
}
