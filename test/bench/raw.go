package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
)

// rawEventWriters is as many as write the controller's Events
// (controllers/events.go).
const rawEventWriters = 3

// rawWrites is how many writes rawWriter makes for a Service.
const rawWrites = 3

// rawWriter makes the writes that serve a Service, and decides nothing: an
// Address, a status with entry and condition, an Event. It is the controller's
// account, so the API server does the same for it.
type rawWriter struct {
	client  client.Client
	workers int
	// pool that the Addresses name: of the advertised pool they are announced.
	pool     string
	services []corev1.Service
}

func (b *bench) newRawWriter(ctx context.Context, announced bool) (*rawWriter, error) {
	workers, err := b.controllerWorkers(ctx)
	if err != nil {
		return nil, err
	}
	c, err := b.asController(ctx)
	if err != nil {
		return nil, err
	}
	w := &rawWriter{client: c, workers: workers, pool: "none"}
	if announced {
		w.pool = namespace
	}
	var list corev1.ServiceList
	if err := b.lab.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	w.services = list.Items
	return w, nil
}

// asController is a client with a token of the controller's ServiceAccount.
func (b *bench) asController(ctx context.Context) (client.Client, error) {
	kube, err := b.cluster.Client()
	if err != nil {
		return nil, err
	}
	hours := int64(4 * 3600)
	ask := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hours}}
	token, err := kube.CoreV1().ServiceAccounts(lab.Namespace).CreateToken(ctx, controllerDeployment, ask, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("asking for a token of the controller's account: %w", err)
	}
	config := rest.CopyConfig(b.lab.Config)
	config.BearerToken = token.Status.Token
	return client.New(config, client.Options{Scheme: b.lab.Client.Scheme()})
}

// serveAll writes for all Services. Events are written beside, as the controller
// does.
func (w *rawWriter) serveAll(ctx context.Context) error {
	told := make(chan int, len(w.services))
	failed := make(chan error, rawEventWriters)
	for range rawEventWriters {
		go func() {
			var err error
			for i := range told {
				err = errors.Join(err, w.tell(ctx, &w.services[i], i))
			}
			failed <- err
		}()
	}
	err := inParallel(ctx, w.workers, 0, len(w.services), func(ctx context.Context, i int) error {
		defer func() { told <- i }()
		return w.serve(ctx, &w.services[i], i)
	})
	close(told)
	for range rawEventWriters {
		err = errors.Join(err, <-failed)
	}
	return err
}

func rawAddress(i int) netip.Addr {
	a := netip.MustParsePrefix(manyIPv4).Addr().As4()
	n := i + 1
	a[2], a[3] = byte(n>>8), byte(n)
	return netip.AddrFrom4(a)
}

func (w *rawWriter) serve(ctx context.Context, s *corev1.Service, i int) error {
	a := rawAddress(i)
	if err := w.enter(ctx, s, a); err != nil {
		return err
	}
	patch, err := statusPatch(s, a)
	if err != nil {
		return err
	}
	answer := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}}
	err = w.client.Status().Patch(ctx, answer, client.RawPatch(types.StrategicMergePatchType, patch), client.FieldOwner(v1alpha1.FieldManager))
	if err != nil {
		return fmt.Errorf("writing the status of Service %s: %w", s.Name, err)
	}
	return nil
}

// enter creates the Address that a Service holds.
func (w *rawWriter) enter(ctx context.Context, s *corev1.Service, a netip.Addr) error {
	if err := w.client.Create(ctx, w.address(s, a), client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("creating Address %s: %w", a, err)
	}
	return nil
}

func (w *rawWriter) address(s *corev1.Service, a netip.Addr) *v1alpha1.Address {
	return &v1alpha1.Address{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AddressName(a), Finalizers: []string{v1alpha1.AddressFinalizer}},
		Spec: v1alpha1.AddressSpec{
			Address: a.String(), Pool: w.pool, State: v1alpha1.AddressBound, Summary: "Service " + s.Namespace + "/" + s.Name,
			Holders: []v1alpha1.AddressHolder{{
				HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: s.Namespace, Name: s.Name},
				UID:             string(s.UID), Since: metav1.Now().Rfc3339Copy(), State: v1alpha1.AddressBound,
				ExternalTrafficPolicy: "Cluster", Endpoints: s.Name,
				Ports: []v1alpha1.HolderPort{{Protocol: "TCP", Port: s.Spec.Ports[0].Port}},
			}},
		},
	}
}

func assignedText(a netip.Addr) string { return a.String() + " from pool " + namespace + "." }

func statusPatch(s *corev1.Service, a netip.Addr) ([]byte, error) {
	vip := corev1.LoadBalancerIPModeVIP
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": s.UID, "resourceVersion": s.ResourceVersion},
		"status": map[string]any{
			"loadBalancer": corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: a.String(), IPMode: &vip}}},
			"conditions": []metav1.Condition{{
				Type: "fairlead.dev/Address", Status: metav1.ConditionTrue, Reason: "Assigned", ObservedGeneration: s.Generation,
				LastTransitionTime: metav1.Now(), Message: assignedText(a),
			}},
		},
	})
}

func (w *rawWriter) tell(ctx context.Context, s *corev1.Service, i int) error {
	now := time.Now()
	err := w.client.Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: fmt.Sprintf("%s.%x", s.Name, now.UnixNano())},
		EventTime:  metav1.NewMicroTime(now), ReportingController: "fairlead.dev/controller", ReportingInstance: "bench",
		Action: "Assign", Reason: "AddressAssigned", Type: corev1.EventTypeNormal, Note: assignedText(rawAddress(i)),
		Regarding: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Service", Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion,
		},
	})
	if err != nil {
		return fmt.Errorf("writing the Event of Service %s: %w", s.Name, err)
	}
	return nil
}

// clear removes the Addresses, also when serveAll did not get to its end.
func (w *rawWriter) clear(ctx context.Context) error {
	if ctx.Err() != nil { // interrupted: the cluster goes as a whole
		return nil
	}
	free := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null},"spec":{"holders":null,"state":"Retained"}}`))
	return inParallel(ctx, w.workers, 0, len(w.services), func(ctx context.Context, i int) error {
		o := &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AddressName(rawAddress(i))}}
		err := client.IgnoreNotFound(w.client.Patch(ctx, o, free))
		if err == nil {
			err = client.IgnoreNotFound(w.client.Delete(ctx, o))
		}
		if err != nil {
			return fmt.Errorf("removing Address %s: %w", o.Name, err)
		}
		return nil
	})
}
