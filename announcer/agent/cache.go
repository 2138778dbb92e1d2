package agent

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// AnnotationTraceparent carries the trace of the controller's decision, as in
// the W3C recommendation Trace Context.
const AnnotationTraceparent = "fairlead.dev/traceparent"

// Scheme knows the types that a speaker reads and writes.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("registering the API types: %w", err)
		}
	}
	return s, nil
}

// NewCache makes the cache of a speaker: of each object only what it needs is
// kept, and of Secrets only the one with the gossip keys.
func NewCache(cfg *rest.Config, s *runtime.Scheme, namespace, secret string) (cache.Cache, error) {
	c, err := cache.New(cfg, cache.Options{
		Scheme: s,
		// Nothing is done on a resync: every pass reads the state, not events.
		SyncPeriod:                  nil,
		ReaderFailOnMissingInformer: true,
		DefaultTransform:            cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.Address{}:          {Transform: slimAddress},
			&v1alpha1.IPAddressPool{}:    {Transform: slimPool},
			&v1alpha1.L2Advertisement{}:  {},
			&v1alpha1.BGPAdvertisement{}: {},
			&v1alpha1.BGPPeer{}:          {},
			&v1alpha1.BFDProfile{}:       {},
			&v1alpha1.Community{}:        {},
			&corev1.Node{}:               {Transform: slimNode},
			&discoveryv1.EndpointSlice{}: {Transform: slimSlice},
			&corev1.Secret{}:             secretNamed(namespace, secret),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	return c, nil
}

// NewPasswords makes a cache that holds the Secret with the passwords of BGP peers and nothing else. A cache selects
// Secrets by one field, and the other one has the gossip keys.
func NewPasswords(cfg *rest.Config, s *runtime.Scheme, namespace, secret string) (cache.Cache, error) {
	c, err := cache.New(cfg, cache.Options{
		Scheme: s, ReaderFailOnMissingInformer: true, DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{&corev1.Secret{}: secretNamed(namespace, secret)},
	})
	if err != nil {
		return nil, fmt.Errorf("making the cache of passwords: %w", err)
	}
	return c, nil
}

// secretNamed selects one Secret, as the speaker's rights do.
func secretNamed(namespace, name string) cache.ByObject {
	return cache.ByObject{Namespaces: map[string]cache.Config{namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", name)}}}
}

// slimMeta keeps of the metadata what tells objects and their versions apart.
func slimMeta(in metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: in.Name, Namespace: in.Namespace, UID: in.UID, ResourceVersion: in.ResourceVersion, Generation: in.Generation,
		DeletionTimestamp: in.DeletionTimestamp, CreationTimestamp: in.CreationTimestamp,
	}
}

func slimAddress(in any) (any, error) {
	a, ok := in.(*v1alpha1.Address)
	if !ok {
		return in, nil
	}
	meta := slimMeta(a.ObjectMeta)
	if tp := a.Annotations[AnnotationTraceparent]; tp != "" {
		meta.Annotations = map[string]string{AnnotationTraceparent: tp}
	}
	a.ObjectMeta = meta
	a.Spec.Summary = ""
	return a, nil
}

func slimPool(in any) (any, error) {
	p, ok := in.(*v1alpha1.IPAddressPool)
	if !ok {
		return in, nil
	}
	meta := slimMeta(p.ObjectMeta)
	meta.Labels = p.Labels
	// The addresses bound what may be aggregated.
	return &v1alpha1.IPAddressPool{TypeMeta: p.TypeMeta, ObjectMeta: meta, Spec: v1alpha1.IPAddressPoolSpec{Addresses: p.Spec.Addresses}}, nil
}

func slimNode(in any) (any, error) {
	n, ok := in.(*corev1.Node)
	if !ok {
		return in, nil
	}
	meta := slimMeta(n.ObjectMeta)
	meta.Labels = n.Labels
	out := &corev1.Node{TypeMeta: n.TypeMeta, ObjectMeta: meta, Spec: corev1.NodeSpec{Unschedulable: n.Spec.Unschedulable}}
	out.Status.Addresses = n.Status.Addresses
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady || c.Type == corev1.NodeNetworkUnavailable {
			out.Status.Conditions = append(out.Status.Conditions, corev1.NodeCondition{Type: c.Type, Status: c.Status})
		}
	}
	return out, nil
}

func slimSlice(in any) (any, error) {
	s, ok := in.(*discoveryv1.EndpointSlice)
	if !ok {
		return in, nil
	}
	meta := slimMeta(s.ObjectMeta)
	meta.Labels = map[string]string{discoveryv1.LabelServiceName: s.Labels[discoveryv1.LabelServiceName]}
	fleet := s.Labels[v1alpha1.LabelFleet]
	if fleet != "" {
		meta.Labels[v1alpha1.LabelFleet] = fleet
	}
	out := &discoveryv1.EndpointSlice{TypeMeta: s.TypeMeta, ObjectMeta: meta, AddressType: s.AddressType}
	for _, e := range s.Endpoints {
		kept := discoveryv1.Endpoint{NodeName: e.NodeName, Conditions: e.Conditions}
		if fleet != "" && e.TargetRef != nil {
			kept.TargetRef = &corev1.ObjectReference{UID: e.TargetRef.UID}
		}
		out.Endpoints = append(out.Endpoints, kept)
	}
	return out, nil
}

// byService is the index of EndpointSlices by the Service they belong to.
const byService = "service"

// watch is who hears of an object's changes.
type watch struct {
	from    cache.Cache
	object  client.Object
	handler toolscache.ResourceEventHandler
}

// watch registers what is noted of each kind and begins to watch.
func (a *Agent) watch(ctx context.Context) error {
	if err := a.cfg.Cache.IndexField(ctx, &discoveryv1.EndpointSlice{}, byService, func(o client.Object) []string {
		return []string{o.GetLabels()[discoveryv1.LabelServiceName]}
	}); err != nil {
		return fmt.Errorf("indexing EndpointSlices: %w", err)
	}
	watches := []watch{
		{a.cfg.Cache, &v1alpha1.Address{}, a.addressEvents()},
		{a.cfg.Cache, &v1alpha1.IPAddressPool{}, a.worldEvents()},
		{a.cfg.Cache, &v1alpha1.L2Advertisement{}, a.worldEvents()},
		{a.cfg.Cache, &v1alpha1.BGPAdvertisement{}, a.worldEvents()},
		{a.cfg.Cache, &v1alpha1.BGPPeer{}, a.worldEvents()},
		{a.cfg.Cache, &v1alpha1.BFDProfile{}, a.worldEvents()},
		{a.cfg.Cache, &v1alpha1.Community{}, a.worldEvents()},
		{a.cfg.Cache, &corev1.Node{}, a.nodeEvents()},
		{a.cfg.Cache, &discoveryv1.EndpointSlice{}, a.sliceEvents()},
		{a.cfg.Cache, &corev1.Secret{}, a.secretEvents(func() { a.pending.secret = true })},
	}
	if a.cfg.Passwords != nil {
		watches = append(watches, watch{a.cfg.Passwords, &corev1.Secret{}, a.secretEvents(func() { a.pending.passwords = true })})
	}
	for _, w := range watches {
		i, err := w.from.GetInformer(ctx, w.object, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watching %T: %w", w.object, err)
		}
		if _, err := i.AddEventHandler(w.handler); err != nil {
			return fmt.Errorf("watching %T: %w", w.object, err)
		}
	}
	return nil
}
