package forecast

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/service"
)

func (f *forecast) outcome(svc *corev1.Service, d allocator.Decision) Outcome {
	out := Outcome{Service: types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}, Has: service.Shown(svc), Verdict: NotTaken}
	r := f.read(svc)
	out.Asks = wishes(&r.Claim)
	if !f.takes(svc) {
		out.Why = f.notTaken(svc)
		return out
	}
	out.Gets = d.Addresses
	out.Verdict = verdict(&out, f.began[service.KeyOf(svc)])
	for _, p := range r.Problems {
		out.Why = append(out.Why, p.String())
	}
	out.Why = append(out.Why, f.obstacles(svc, &out, d)...)
	if out.Verdict == Changes && len(out.Why) == 0 {
		out.Why = append(out.Why, f.moved(&out))
	}
	return out
}

func wishes(c *allocator.Claim) []Wish {
	var out []Wish
	for _, w := range c.Addresses {
		out = append(out, Wish{w.Value.String(), w.Origin})
	}
	for _, w := range c.Pools {
		out = append(out, Wish{"pool " + w.Value, w.Origin})
	}
	if c.SharingKey.Value != "" {
		out = append(out, Wish{"shared as " + c.SharingKey.Value, c.SharingKey.Origin})
	}
	return out
}

// verdict compares what a Service has with what it would have. What it had in the
// books and gave up is its own wish; what it could not even begin with is lost.
func verdict(o *Outcome, began []netip.Addr) Verdict {
	gets := addresses(o.Gets)
	lost := func(a netip.Addr) bool { return !slices.Contains(gets, a) }
	switch {
	case len(o.Has) == 0 && len(gets) == 0:
		return Waits
	case len(o.Has) == 0:
		return Given
	case slices.ContainsFunc(o.Has, func(a netip.Addr) bool { return lost(a) && !slices.Contains(began, a) }):
		return Conflict
	case slices.ContainsFunc(o.Has, lost), len(gets) > len(o.Has):
		return Changes
	case slices.ContainsFunc(o.Gets, func(a allocator.Assigned) bool { return a.Origin == "" }):
		return Adopted
	}
	return Same
}

func addresses(list []allocator.Assigned) []netip.Addr {
	out := make([]netip.Addr, 0, len(list))
	for _, a := range list {
		out = append(out, a.Address)
	}
	return out
}

// notTaken says why a Service stays another controller's.
func (f *forecast) notTaken(svc *corev1.Service) []string {
	switch class := svc.Spec.LoadBalancerClass; {
	case svc.DeletionTimestamp != nil:
		return []string{"It is being deleted."}
	case class != nil:
		return []string{fmt.Sprintf("Its class is %s, which cannot be changed. Make a second Service of class fairlead.dev/lb to have it here.", *class)}
	default:
		return []string{"It has no class, and Fairlead serves only its own (services.defaultClass: false)."}
	}
}

// obstacles say what keeps a Service from having what it has, or asks for.
func (f *forecast) obstacles(svc *corev1.Service, o *Outcome, d allocator.Decision) []string {
	var out []string
	add := func(s string) {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	gets := addresses(o.Gets)
	for _, a := range o.Has {
		if slices.Contains(gets, a) {
			continue
		}
		if !f.inPool(a) {
			add(fmt.Sprintf("%s, which the status shows, lies in no pool. Add it to one to keep it.", a))
		}
	}
	refused := slices.Clone(f.refused[service.KeyOf(svc)])
	if d.Refusal != nil {
		refused = append(refused, *d.Refusal)
	}
	told := map[netip.Addr]bool{}
	for i := range refused {
		r := &refused[i]
		if r.Address.IsValid() && (slices.Contains(gets, r.Address) || told[r.Address]) {
			continue
		}
		told[r.Address] = r.Address.IsValid()
		add(f.words(svc, r))
	}
	return out
}

// words say a refusal to an operator, who may know the other holder.
func (f *forecast) words(svc *corev1.Service, r *allocator.Refusal) string {
	if r.Reason != allocator.AddressTaken && r.Reason != allocator.PortsClash && r.Reason != allocator.SharingKeyMismatch {
		return r.String()
	}
	e, ok := f.books.Entry(r.Address)
	if !ok || len(e.Holders) == 0 {
		return r.String()
	}
	others := make([]string, 0, len(e.Holders))
	across, ours := true, f.read(svc).Claim
	for i := range e.Holders {
		h := &e.Holders[i]
		if h.Key == ours.Key {
			continue
		}
		others = append(others, h.Key.Namespace+"/"+h.Key.Name)
		across = across && ours.SharingKey.Value != "" && h.SharingKey == ours.SharingKey.Value
	}
	with := strings.Join(others, ", ")
	switch {
	case across && r.Reason == allocator.AddressTaken:
		return fmt.Sprintf("%s is shared with %s across namespaces. Allow it on pool %s (spec.sharing: AcrossNamespaces).", r.Address, with, e.Pool)
	case r.Reason == allocator.PortsClash:
		return fmt.Sprintf("%s has port %s in use already, by %s. Only one of them can serve it: change the port, or the address.", r.Address, r.Port, with)
	}
	return fmt.Sprintf("%s is held by %s, which was made first. Give both the same %s and different ports, or ask for another address.", r.Address, with, "fairlead.dev/sharing-key")
}

// moved says why a Service moves that nothing is refused to.
func (f *forecast) moved(o *Outcome) string {
	for _, w := range o.Asks {
		if w.Origin != "" {
			return fmt.Sprintf("It asks for %s (%s), which its status does not show. Ask for what it has, to keep it.", w.Value, w.Origin)
		}
	}
	return "It gets an address of another family as well, which a pool has free."
}
