// Package annotations rewrites what a Service asks for into Fairlead's own
// annotations: spec.loadBalancerIP and the annotations of others go, and what they
// said stands in ours. It is pure, and never changes what is asked for: the Service
// is read before and after, as the controller reads it.
package annotations

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/service"
)

// OpenELB's annotations, which Fairlead does not read: they are rewritten only.
const (
	openelbAddress = "eip.openelb.kubesphere.io/v1alpha1"
	openelbPool    = "eip.openelb.kubesphere.io/v1alpha2"
)

// Options say what to rewrite.
type Options struct {
	// Pin asks for the addresses that the status shows, too.
	Pin bool
}

// Change is what becomes of one place.
type Change struct {
	// Place is "spec.loadBalancerIP" or the name of an annotation.
	Place string `json:"place"`
	Was   string `json:"was,omitempty"`
	// Is is empty where the place goes.
	Is string `json:"is,omitempty"`
}

// Rewritten is what becomes of a Service.
type Rewritten struct {
	// Service is the new one.
	Service *corev1.Service
	// Changes are by place; none: it is as it should be.
	Changes []Change
	// Refused says why the Service cannot be rewritten, in the words that its
	// condition has.
	Refused []string
	// Hints are worth knowing.
	Hints []string

	before *corev1.Service
}

// Rewrite rewrites a Service, which is not changed.
func Rewrite(svc *corev1.Service, around service.Surroundings, o Options) *Rewritten {
	out := &Rewritten{Service: svc.DeepCopy(), before: svc}
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return out
	}
	read := func(s *corev1.Service) service.Reading { return service.Read(s, around, service.Config{Default: true}) }
	before := read(svc)
	for _, p := range before.Problems {
		out.Refused = append(out.Refused, p.String())
	}
	if len(out.Refused) > 0 {
		return out
	}
	want := before.Claim
	out.openelb(&want)
	if o.Pin {
		out.pin(&want)
	}
	out.write(&want)
	out.compare()
	after := read(out.Service)
	for _, p := range after.Problems {
		out.Refused = append(out.Refused, p.String())
	}
	if len(out.Refused) == 0 && !sameWish(&want, &after.Claim) {
		out.Refused = append(out.Refused, "Rewritten, it would ask for something else. Write the annotations by hand.")
	}
	if len(out.Refused) > 0 {
		out.Service, out.Changes = svc.DeepCopy(), nil
	}
	return out
}

// openelb takes the wishes in OpenELB's annotations, where nothing else says so.
func (w *Rewritten) openelb(c *allocator.Claim) {
	a := w.before.Annotations
	if ip, err := netip.ParseAddr(strings.TrimSpace(a[openelbAddress])); err == nil && len(c.Addresses) == 0 && ip.Zone() == "" {
		c.Addresses = []allocator.Wish[netip.Addr]{{Value: ip.Unmap(), Origin: openelbAddress}}
	}
	if pool := strings.TrimSpace(a[openelbPool]); pool != "" && len(c.Pools) == 0 && !strings.Contains(pool, ",") {
		c.Pools = []allocator.Wish[string]{{Value: pool, Origin: openelbPool}}
	}
}

// pin asks for what the status shows in each family that nothing is asked for in.
func (w *Rewritten) pin(c *allocator.Claim) {
	asked := map[allocator.Family]bool{}
	for _, a := range c.Addresses {
		asked[allocator.FamilyOf(a.Value)] = true
	}
	for _, a := range service.Shown(w.before) {
		has := slices.ContainsFunc(c.Addresses, func(x allocator.Wish[netip.Addr]) bool { return x.Value == a })
		if !asked[allocator.FamilyOf(a)] && !has {
			c.Addresses = append(c.Addresses, allocator.Wish[netip.Addr]{Value: a, Origin: "status.loadBalancer.ingress"})
		}
	}
}

const externalIPs = "spec.externalIPs"

// write puts a wish into our annotations, and takes the other places out.
func (w *Rewritten) write(c *allocator.Claim) {
	s := w.Service
	fromExternal := len(c.Addresses) > 0 && c.Addresses[0].Origin == externalIPs
	if fromExternal {
		w.Hints = append(w.Hints, externalIPs+" stays as it is: kube-proxy serves what stands there.")
	}
	var addresses, names []string
	if !fromExternal {
		for _, a := range c.Addresses {
			addresses = append(addresses, a.Value.String())
		}
	}
	for _, p := range c.Pools {
		names = append(names, p.Value)
	}
	w.set(v1alpha1.AnnotationAddresses, strings.Join(addresses, ","))
	w.set(v1alpha1.AnnotationPool, strings.Join(names, ","))
	w.set(v1alpha1.AnnotationSharingKey, c.SharingKey.Value)
	s.Spec.LoadBalancerIP = ""
	for _, name := range service.ForeignAnnotations() {
		delete(s.Annotations, name)
	}
	if slices.ContainsFunc(c.Addresses, func(a allocator.Wish[netip.Addr]) bool { return a.Origin == openelbAddress }) {
		delete(s.Annotations, openelbAddress)
	}
	if slices.ContainsFunc(c.Pools, func(p allocator.Wish[string]) bool { return p.Origin == openelbPool }) {
		delete(s.Annotations, openelbPool)
	}
	if len(s.Annotations) == 0 {
		s.Annotations = nil
	}
	if len(c.ShareWith) > 0 {
		w.Hints = append(w.Hints, "The namespaces to share with stay in Cilium's annotation: Fairlead has none of its own for them. Or allow it on the pool (spec.sharing: AcrossNamespaces).")
	}
}

// set writes an annotation, unless it says the same already.
func (w *Rewritten) set(name, value string) {
	was := w.Service.Annotations[name]
	same := strings.Join(strings.FieldsFunc(was, func(r rune) bool { return r == ',' || r == ' ' }), ",") == value
	if value == "" || same && was != "" {
		return
	}
	if w.Service.Annotations == nil {
		w.Service.Annotations = map[string]string{}
	}
	w.Service.Annotations[name] = value
}

// compare lists what has changed.
func (w *Rewritten) compare() {
	if was, is := w.before.Spec.LoadBalancerIP, w.Service.Spec.LoadBalancerIP; was != is {
		w.Changes = append(w.Changes, Change{Place: "spec.loadBalancerIP", Was: was, Is: is})
	}
	names := map[string]bool{}
	for _, m := range []map[string]string{w.before.Annotations, w.Service.Annotations} {
		for name := range m {
			names[name] = true
		}
	}
	for name := range names {
		was, had := w.before.Annotations[name]
		is, has := w.Service.Annotations[name]
		if had != has || was != is {
			w.Changes = append(w.Changes, Change{Place: name, Was: was, Is: is})
		}
	}
	slices.SortFunc(w.Changes, func(a, b Change) int { return strings.Compare(a.Place, b.Place) })
}

// sameWish compares what two claims ask for, not where it is written.
func sameWish(a, b *allocator.Claim) bool {
	return slices.Equal(a.Families, b.Families) && a.Policy == b.Policy && a.SharingKey.Value == b.SharingKey.Value &&
		slices.Equal(a.ShareWith, b.ShareWith) && slices.Equal(values(a.Addresses), values(b.Addresses)) && slices.Equal(values(a.Pools), values(b.Pools))
}

func values[T any](list []allocator.Wish[T]) []T {
	out := make([]T, 0, len(list))
	for _, w := range list {
		out = append(out, w.Value)
	}
	return out
}

// Patch is one JSON merge patch that makes all changes at once, bound to the
// version of the Service that was read.
func (w *Rewritten) Patch() ([]byte, error) {
	annotations, spec := map[string]any{}, map[string]any{}
	for _, c := range w.Changes {
		switch {
		case c.Place == "spec.loadBalancerIP":
			spec["loadBalancerIP"] = nil
		case c.Is == "":
			annotations[c.Place] = nil
		default:
			annotations[c.Place] = c.Is
		}
	}
	meta := map[string]any{"annotations": annotations, "uid": w.before.UID, "resourceVersion": w.before.ResourceVersion}
	body := map[string]any{"metadata": meta}
	if len(spec) > 0 {
		body["spec"] = spec
	}
	out, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("writing the patch of Service %s/%s: %w", w.before.Namespace, w.before.Name, err)
	}
	return out, nil
}
