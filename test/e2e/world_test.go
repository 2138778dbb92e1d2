//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// world is what a test works with: a namespace, a pool and an advertisement of
// its own, all gone when the test ends.
type world struct {
	*testing.T
	*lab.Lab
	ctx       context.Context
	namespace string
	others    []string // further namespaces
	pool      string
}

// newWorld makes a world with a pool of these addresses that only its own
// namespace may use. Without addresses there is no pool.
func newWorld(t *testing.T, addresses ...string) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	t.Cleanup(cancel)
	name := strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(t.Name()), "-"), "-")
	if len(name) > 50 {
		name = name[:50]
	}
	w := &world{T: t, Lab: shared, ctx: ctx, namespace: name, pool: name}
	w.newNamespace(name)
	if len(addresses) > 0 {
		w.apply(w.ownPool(w.pool, addresses...), w.advertisement())
	}
	t.Cleanup(w.clean)
	return w
}

// builds has a program of others built before the time of a test's world begins: the first time it takes minutes.
func builds(t *testing.T, build func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	if err := build(ctx); err != nil {
		t.Fatal(err)
	}
}

func (w *world) ownPool(name string, addresses ...string) *v1alpha1.IPAddressPool {
	p := lab.Pool(name, addresses...)
	p.Labels = map[string]string{"world": w.namespace}
	p.Spec.ServiceAllocation = &v1alpha1.ServiceAllocation{Namespaces: []string{w.namespace}}
	p.Spec.GatewayAllocation = &v1alpha1.GatewayAllocation{Namespaces: []string{w.namespace}}
	p.Spec.ReuseDelay, p.Spec.Retain = &metav1.Duration{}, &metav1.Duration{}
	return p
}

// advertisement announces the pools of this world.
func (w *world) advertisement(edits ...func(*v1alpha1.L2Advertisement)) *v1alpha1.L2Advertisement {
	a := &v1alpha1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: w.namespace, Labels: map[string]string{"world": w.namespace}}}
	a.Spec.IPAddressPoolSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"world": w.namespace}}}
	for _, edit := range edits {
		edit(a)
	}
	return a
}

// clean removes what the world made and waits until nothing of it runs and the ledger is clear of it.
func (w *world) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	if w.Failed() {
		w.Dump(ctx, testWriter{w.T})
	}
	for _, namespace := range w.namespaces() {
		if err := w.Empty(ctx, namespace); err != nil {
			w.Errorf("cleaning up: %v", err)
		}
	}
	label := client.MatchingLabels{"world": w.namespace}
	for _, o := range []client.Object{
		&v1alpha1.L2Advertisement{}, &v1alpha1.BGPAdvertisement{}, &v1alpha1.BGPPeer{}, &v1alpha1.BFDProfile{}, &v1alpha1.Community{}, &v1alpha1.IPAddressPool{},
	} {
		if err := w.Client.DeleteAllOf(ctx, o, label); err != nil {
			w.Errorf("removing %T: %v", o, err)
		}
	}
	if err := w.unreserve(ctx); err != nil {
		w.Errorf("cleaning up: %v", err)
	}
	if err := lab.Await(ctx, 3*time.Minute, "the addresses of namespace "+w.namespace+" to be free", w.freed); err != nil {
		w.Errorf("cleaning up: %v", err)
	}
	for _, namespace := range w.namespaces() {
		if err := w.Client.Delete(ctx, lab.MakeNamespace(namespace)); client.IgnoreNotFound(err) != nil {
			w.Errorf("removing the namespace: %v", err)
		}
	}
}

func (w *world) namespaces() []string { return append([]string{w.namespace}, w.others...) }

// anotherNamespace makes one more that goes with the world, and that may use its pool.
func (w *world) anotherNamespace(suffix string) string {
	w.Helper()
	name := w.namespace + "-" + suffix
	w.newNamespace(name)
	w.others = append(w.others, name)
	edit(w, lab.Pool(w.pool), func(p *v1alpha1.IPAddressPool) {
		p.Spec.ServiceAllocation.Namespaces, p.Spec.GatewayAllocation.Namespaces = w.namespaces(), w.namespaces()
	})
	return name
}

// unreserve removes what is reserved for the world, as by an adoption that did not come to its end.
func (w *world) unreserve(ctx context.Context) error {
	var all v1alpha1.AddressList
	if err := w.Client.List(ctx, &all); err != nil {
		return err
	}
	var errs []error
	for i := range all.Items {
		a := &all.Items[i]
		of := a.Spec.ReservedFor
		adopted := a.Annotations[v1alpha1.AnnotationAdopted] != "" && len(a.Spec.Holders) == 0
		if adopted || of != nil && slices.Contains(w.namespaces(), of.Namespace) {
			errs = append(errs, client.IgnoreNotFound(w.Client.Delete(ctx, a)))
		}
	}
	return errors.Join(errs...)
}

// freed is an error as long as something of the world's namespaces holds an address.
func (w *world) freed(ctx context.Context) error {
	var all v1alpha1.AddressList
	if err := w.Client.List(ctx, &all); err != nil {
		return err
	}
	for _, a := range all.Items {
		for _, h := range a.Spec.Holders {
			if slices.Contains(w.namespaces(), h.Namespace) {
				return fmt.Errorf("Address %s is held by %s", a.Name, a.Spec.Summary)
			}
		}
	}
	return nil
}

// newNamespace makes a namespace. One of an earlier run of the same test may still be on its way out.
func (w *world) newNamespace(name string) {
	w.Helper()
	w.await("namespace "+name+" of an earlier run to be gone", func(ctx context.Context) error {
		var before corev1.Namespace
		switch err := w.Client.Get(ctx, client.ObjectKey{Name: name}, &before); {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		case before.DeletionTimestamp == nil:
			return nil
		}
		return errors.New("it is being removed")
	})
	w.apply(lab.MakeNamespace(name))
}

type testWriter struct{ *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

func (w *world) apply(objects ...client.Object) {
	w.Helper()
	if err := w.Apply(w.ctx, objects...); err != nil {
		w.Fatal(err)
	}
}

// backend starts echo pods and waits for them.
func (w *world) backend(name string, replicas int32) {
	w.Helper()
	w.apply(lab.Echo(w.namespace, name, replicas))
	if err := w.AwaitReady(w.ctx, w.namespace, name); err != nil {
		w.Fatal(err)
	}
}

// service creates a Service for the pods of a backend and waits for n addresses.
func (w *world) service(name, backend string, n int, edits ...func(*corev1.Service)) []netip.Addr {
	w.Helper()
	w.apply(lab.LoadBalancer(w.namespace, name, backend, edits...))
	got, err := w.AwaitAddresses(w.ctx, w.namespace, name, n)
	if err != nil {
		w.Fatal(err)
	}
	return got
}

// answers waits until the address answers the client host.
func (w *world) answers(address netip.Addr, port uint16) lab.Answer {
	w.Helper()
	return w.answersTo(testbed.Client, address, port)
}

// answersTo waits until the address answers a host.
func (w *world) answersTo(host string, address netip.Addr, port uint16) lab.Answer {
	w.Helper()
	answer, err := w.AwaitAnswer(w.ctx, host, address, port)
	if err != nil {
		w.Fatal(err)
	}
	return answer
}

func (w *world) await(what string, check func(context.Context) error) {
	w.Helper()
	if err := lab.Await(w.ctx, time.Minute, what, check); err != nil {
		w.Fatal(err)
	}
}

// address reads the ledger's entry of an address.
func (w *world) address(ctx context.Context, a netip.Addr) (*v1alpha1.Address, error) {
	var o v1alpha1.Address
	return &o, w.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.AddressName(a)}, &o)
}

// announcer waits until the ledger names the announcing node, one that ok accepts.
func (w *world) announcer(a netip.Addr, what string, ok func(node string) bool) string {
	w.Helper()
	var node string
	w.await(fmt.Sprintf("%s to be announced by %s", a, what), func(ctx context.Context) error {
		o, err := w.address(ctx, a)
		if err != nil {
			return err
		}
		if o.Status.Layer2 == nil || !ok(o.Status.Layer2.Node) {
			return fmt.Errorf("its status is %+v", o.Status)
		}
		node = o.Status.Layer2.Node
		return nil
	})
	return node
}

func anyNode(node string) bool { return node != "" }

func other(than string) func(string) bool {
	return func(node string) bool { return node != "" && node != than }
}

// condition waits until the Service has the condition with this status and reason.
func (w *world) condition(service, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	w.Helper()
	var found metav1.Condition
	w.await(fmt.Sprintf("condition %s=%s (%s) on Service %s", kind, status, reason, service), func(ctx context.Context) error {
		var s corev1.Service
		if err := w.Client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: service}, &s); err != nil {
			return err
		}
		for _, c := range s.Status.Conditions {
			if c.Type == kind && c.Status == status && (reason == "" || c.Reason == reason) {
				found = c
				return nil
			}
		}
		return fmt.Errorf("it has %+v", s.Status.Conditions)
	})
	return found
}

// edit changes an object, again where somebody else wrote in between.
func edit[T client.Object](w *world, o T, change func(T)) {
	w.Helper()
	w.await("an edit of "+o.GetName(), func(ctx context.Context) error {
		if err := w.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		change(o)
		return w.Client.Update(ctx, o)
	})
}

func (w *world) key(name string) client.ObjectKey { return client.ObjectKey{Name: name} }

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

// segment makes a further segment that goes with the test.
func (w *world) segment(name string) *testbed.Segment {
	w.Helper()
	s, err := w.Cluster.AddSegment(name)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := s.Remove(); err != nil {
			w.Error(err)
		}
	})
	return s
}
