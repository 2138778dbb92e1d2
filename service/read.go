package service

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// What an Address object can carry of one holder (the limits of its schema).
const (
	maxAddresses  = 64
	maxPorts      = 1000
	maxLabels     = 256
	maxNamespaces = 256
	maxSharingKey = 4096
)

const (
	insteadAddress = "Write plain addresses separated by commas, such as " + v1alpha1.AnnotationAddresses + "=192.0.2.7"
	insteadJSON    = `Write ["192.0.2.7"], or ` + v1alpha1.AnnotationAddresses + "=192.0.2.7"
	insteadSingle  = "Write one plain address; for several use " + v1alpha1.AnnotationAddresses + "=192.0.2.7,2001:db8::7"
	insteadDHCP    = "Remove it to get an address from a pool, or write the one that is wanted, such as " + v1alpha1.AnnotationAddresses + "=192.0.2.7"
)

// readSpec reads a Service of ours.
func readSpec(svc *corev1.Service, around Surroundings) Reading {
	r := Reading{Claim: identity(svc, around)}
	r.readAddresses(svc, around)
	var asked []netip.Addr
	for _, w := range r.Claim.Addresses {
		asked = append(asked, w.Value)
	}
	r.Claim.Families, r.Claim.Policy = familiesOf(svc, asked)
	r.checkFamilies()
	r.readPools(svc)
	r.readSharing(svc)
	r.checkLimits()
	r.wrote = everything(svc)
	return r
}

// readStatus reads a Service of a class whose controller writes its status: the
// addresses there that lie in our pools are asked for, as they stand.
func readStatus(svc *corev1.Service, around Surroundings) Reading {
	r := Reading{Claim: identity(svc, around)}
	for _, a := range Shown(svc) {
		if !in(around.InPool, a) {
			continue
		}
		r.Claim.Addresses = append(r.Claim.Addresses, allocator.Wish[netip.Addr]{Value: a, Origin: placeIngress})
		r.Claim.Families = appendNew(r.Claim.Families, allocator.FamilyOf(a))
	}
	r.readSharing(svc)
	r.checkLimits()
	r.wrote = everything(svc)
	return r
}

func in(set func(netip.Addr) bool, a netip.Addr) bool { return set != nil && set(a) }

// identity is the part of a claim that says who asks.
func identity(svc *corev1.Service, around Surroundings) allocator.Claim {
	c := allocator.Claim{
		Key: KeyOf(svc), UID: string(svc.UID),
		Local:           svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		Labels:          svc.Labels,
		NamespaceLabels: around.NamespaceLabels,
		Endpoints:       svc.Name,
		Advertised:      svc.Labels,
	}
	for _, p := range svc.Spec.Ports {
		protocol := string(p.Protocol)
		if protocol == "" {
			protocol = string(corev1.ProtocolTCP)
		}
		if p.Port < 1 || p.Port > 65535 {
			continue
		}
		c.Ports = appendNew(c.Ports, allocator.Port{Protocol: protocol, Port: uint16(p.Port)})
	}
	return c
}

// everything lists all places that a wish is read from and that say something.
func everything(svc *corev1.Service) []written {
	var out []written
	for _, keys := range [][]key{addressKeys, poolKeys, sharingKeys, shareWithKeys} {
		for _, k := range keys {
			for _, name := range k.names {
				if v, ok := svc.Annotations[name]; ok && !blank(v) {
					out = append(out, written{annotationPrefix + name, v})
				}
			}
		}
	}
	if v := svc.Spec.LoadBalancerIP; !blank(v) {
		out = append(out, written{placeLoadBalancerIP, v})
	}
	if v := svc.Spec.ExternalIPs; len(v) > 0 {
		out = append(out, written{placeExternalIPs, strings.Join(v, ",")})
	}
	if v := svc.Spec.IPFamilies; len(v) > 0 {
		out = append(out, written{placeIPFamilies, fmt.Sprint(v)})
	}
	return out
}

// voice is a place with its value understood.
type voice[T any] struct {
	found
	values []T
}

// settle applies the ranks: the lowest rank that says anything counts. Within
// it, all must say the same set. It returns what counts, or nil after a Problem.
func settle[T comparable](r *Reading, all []found, parse func(found) ([]T, *Problem)) *voice[T] {
	for rank := range ranks {
		var heard []voice[T]
		bad := false
		for _, f := range all {
			if f.rank != rank {
				continue
			}
			values, problem := parse(f)
			if problem != nil {
				r.Problems, bad = append(r.Problems, *problem), true
				continue
			}
			if len(values) > 0 {
				heard = append(heard, voice[T]{f, values})
			}
		}
		switch {
		case bad:
			return nil
		case len(heard) == 0:
			continue
		case !agree(heard):
			r.Problems = append(r.Problems, clash(heard))
			return nil
		}
		for _, h := range heard {
			if h.older != "" {
				r.Hints = append(r.Hints, Hint{Message: fmt.Sprintf("%s counts, and %s, the older name of the same, does not: remove it.", h.place, h.older)})
			}
		}
		return &heard[0]
	}
	return nil
}

// agree tells whether all say the same set of values.
func agree[T comparable](heard []voice[T]) bool {
	first := map[T]bool{}
	for _, v := range heard[0].values {
		first[v] = true
	}
	for _, h := range heard[1:] {
		if len(h.values) != len(first) {
			return false
		}
		for _, v := range h.values {
			if !first[v] {
				return false
			}
		}
	}
	return true
}

func clash[T comparable](heard []voice[T]) Problem {
	parts := make([]string, len(heard))
	for i, h := range heard {
		parts[i] = h.place + " (" + quoted(h.raw) + ")"
	}
	last := len(parts) - 1
	return Problem{
		Reason:  ReasonWishClash,
		Key:     strings.Join(parts[:last], ", ") + " and " + parts[last],
		Why:     "contradict each other",
		Instead: "Remove all but one, or write the one that counts as " + ownNameFor(heard[0].place),
	}
}

// ownNameFor is our annotation for what a foreign one says.
func ownNameFor(place string) string {
	name := strings.TrimPrefix(place, annotationPrefix)
	has := func(keys []key) bool {
		return slices.ContainsFunc(keys, func(k key) bool { return slices.Contains(k.names, name) })
	}
	switch {
	case has(poolKeys):
		return v1alpha1.AnnotationPool
	case has(sharingKeys):
		return v1alpha1.AnnotationSharingKey
	}
	return v1alpha1.AnnotationAddresses
}

func (r *Reading) readAddresses(svc *corev1.Service, around Surroundings) {
	all := consult(svc.Annotations, addressKeys)
	if ip := svc.Spec.LoadBalancerIP; !blank(ip) {
		all = append(all, found{rank: rankField, place: placeLoadBalancerIP, raw: ip, form: formSingle})
	}
	external := externalWish(svc, around)
	if external != "" {
		all = append(all, found{rank: rankExternal, place: placeExternalIPs, raw: external, form: formList})
	}
	counts := settle(r, all, parseAddresses)
	if counts == nil {
		return
	}
	for _, a := range counts.values {
		r.Claim.Addresses = append(r.Claim.Addresses, allocator.Wish[netip.Addr]{Value: a, Origin: counts.place})
	}
	if counts.place == placeLoadBalancerIP {
		r.Hints = append(r.Hints, deprecated(svc, counts.values[0]))
	}
	r.hintExternal(external)
}

// externalWish are those of spec.externalIPs that lie in one of our pools.
func externalWish(svc *corev1.Service, around Surroundings) string {
	var out []string
	for _, s := range svc.Spec.ExternalIPs {
		if a, err := parseAddress(strings.TrimSpace(s)); err == nil && in(around.InPool, a) {
			out = append(out, a.String())
		}
	}
	return strings.Join(out, ",")
}

// hintExternal tells of external addresses in our pools that another wish
// overrides: kube-proxy serves them, and nobody announces them.
func (r *Reading) hintExternal(external string) {
	var left []string
	for _, s := range tidy(strings.Split(external, ",")) {
		a, _ := parseAddress(s)
		if !slices.ContainsFunc(r.Claim.Addresses, func(w allocator.Wish[netip.Addr]) bool { return w.Value == a }) {
			left = append(left, s)
		}
	}
	if len(left) == 0 {
		return
	}
	r.Hints = append(r.Hints, Hint{Message: fmt.Sprintf(
		"%s %s is overridden by %s and is not announced: ask for it there too, or remove it.",
		placeExternalIPs, strings.Join(left, ","), r.Claim.Addresses[0].Origin)})
}

func deprecated(svc *corev1.Service, a netip.Addr) Hint {
	return Hint{
		Reason: EventDeprecated,
		Message: fmt.Sprintf("%s is deprecated: set the annotation %s=%s instead (kubectl annotate service -n %s %s %[2]s=%[3]s).",
			placeLoadBalancerIP, v1alpha1.AnnotationAddresses, a, svc.Namespace, svc.Name),
	}
}

// parseAddresses reads the addresses of one place.
func parseAddresses(f found) ([]netip.Addr, *Problem) {
	bad := func(why, instead string) ([]netip.Addr, *Problem) {
		return nil, &Problem{Reason: ReasonWishInvalid, Key: f.place, Value: quoted(f.raw), Why: why, Instead: instead}
	}
	items, err := f.items()
	if err != nil {
		return bad(err.Error(), insteadJSON)
	}
	var out []netip.Addr
	for _, s := range items {
		if f.form == formSingle {
			s = strings.Trim(s, ", \t")
		}
		a, err := parseAddress(s)
		switch {
		case err == nil:
			out = appendNew(out, a)
		case a.IsValid() && a.IsUnspecified():
			return bad(err.Error(), insteadDHCP)
		case f.form == formSingle && strings.Contains(s, ","):
			return bad("is not one IP address", insteadSingle)
		case len(items) > 1:
			return bad("cannot be read: "+quoted(s)+" "+err.Error(), insteadAddress)
		default:
			return bad(err.Error(), insteadAddress)
		}
	}
	if len(out) > maxAddresses {
		return bad(fmt.Sprintf("asks for %d addresses, more than the %d that one Service can have", len(out), maxAddresses), "Ask for fewer")
	}
	return out, nil
}

// checkFamilies finds addresses of a family that the Service does not have.
func (r *Reading) checkFamilies() {
	for _, w := range r.Claim.Addresses {
		family := allocator.FamilyOf(w.Value)
		if slices.Contains(r.Claim.Families, family) {
			continue
		}
		has := familyNames(r.Claim.Families)
		r.Problems = append(r.Problems, Problem{
			Reason: ReasonWishInvalid, Key: w.Origin, Value: w.Value.String(),
			Why:     fmt.Sprintf("is an %s address, but the Service is %s only (%s)", family, has, placeIPFamilies),
			Instead: fmt.Sprintf("Ask for an %s address, or add the family with spec.ipFamilyPolicy: PreferDualStack", has),
		})
	}
}

func (r *Reading) readPools(svc *corev1.Service) {
	counts := settle(r, consult(svc.Annotations, poolKeys), func(f found) ([]string, *Problem) {
		names, _ := f.items()
		return names, nil
	})
	if counts == nil {
		return
	}
	for _, name := range counts.values {
		r.Claim.Pools = append(r.Claim.Pools, allocator.Wish[string]{Value: name, Origin: counts.place})
	}
}

func (r *Reading) readSharing(svc *corev1.Service) {
	counts := settle(r, consult(svc.Annotations, sharingKeys), func(f found) ([]string, *Problem) {
		values, _ := f.items()
		if len(values[0]) > maxSharingKey {
			return nil, &Problem{Reason: ReasonWishInvalid, Key: f.place, Value: quoted(f.raw), Why: fmt.Sprintf("is longer than %d bytes", maxSharingKey), Instead: "Write a shorter key"}
		}
		return values, nil
	})
	if counts != nil {
		r.Claim.SharingKey = allocator.Wish[string]{Value: counts.values[0], Origin: counts.place}
	}
	for _, f := range consult(svc.Annotations, shareWithKeys) {
		names, _ := f.items()
		for _, name := range names {
			if name == "*" || len(validation.IsDNS1123Label(name)) == 0 {
				r.Claim.ShareWith = append(r.Claim.ShareWith, name)
				continue
			}
			r.Hints = append(r.Hints, Hint{Message: fmt.Sprintf("%s names %s, which cannot be a namespace and is ignored.", f.place, quoted(name))})
		}
	}
}

// checkLimits finds what would not fit into the ledger.
func (r *Reading) checkLimits() {
	c := &r.Claim
	for _, l := range []struct {
		key       string
		n, most   int
		otherwise string
	}{
		{"spec.ports", len(c.Ports), maxPorts, "Split the Service in two that share an address with " + v1alpha1.AnnotationSharingKey},
		{"metadata.labels", len(c.Labels), maxLabels, "Remove some"},
		{annotationPrefix + shareWithKeys[0].names[0], len(c.ShareWith), maxNamespaces, "Write * for all namespaces"},
		{placeIngress, len(c.Addresses), maxAddresses, "Split the Service"},
	} {
		if l.n > l.most {
			r.Problems = append(r.Problems, Problem{Reason: ReasonWishInvalid, Key: l.key, Why: fmt.Sprintf("has %d entries, more than the %d that can be recorded", l.n, l.most), Instead: l.otherwise})
		}
	}
}

// places gives the places whose value differs between two readings, with both
// values.
func places(was, is []written) []change {
	old, now := map[string]string{}, map[string]string{}
	for _, w := range was {
		old[w.Place] = w.Value
	}
	for _, w := range is {
		now[w.Place] = w.Value
	}
	var out []change
	for p, v := range now {
		if o := old[p]; o != v {
			out = append(out, change{p, o, v})
		}
	}
	for p := range maps.Keys(old) {
		if _, ok := now[p]; !ok {
			out = append(out, change{p, old[p], ""})
		}
	}
	slices.SortFunc(out, func(a, b change) int { return strings.Compare(a.place, b.place) })
	return out
}

// change is a place whose value has changed.
type change struct{ place, was, is string }
