package imports

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/pools"
)

// What the CRDs admit in a list.
const (
	maxRanges     = 256
	maxSelectors  = 64
	maxNamespaces = 1024
	maxNames      = 256
)

// canonical reads a prefix, a range or a single address, and writes it as the API
// server wants it. The second result is set when it was written otherwise.
func canonical(s string) (v1alpha1.AddressRange, bool, error) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return "", false, fmt.Errorf("has a zone")
		}
		a = a.Unmap()
		return v1alpha1.AddressRange(netip.PrefixFrom(a, a.BitLen()).String()), false, nil
	}
	r, err := pools.ParseRange(s)
	if err != nil {
		return "", false, err
	}
	if from, to, is := strings.Cut(s, "-"); is {
		out := v1alpha1.AddressRange(r.From.String() + "-" + r.To.String())
		return out, strings.TrimSpace(from) != r.From.String() || strings.TrimSpace(to) != r.To.String(), nil
	}
	p, ok := netipx.IPRangeFrom(r.From, r.To).Prefix()
	if !ok {
		return "", false, fmt.Errorf("is no prefix")
	}
	written, err := netip.ParsePrefix(s)
	return v1alpha1.AddressRange(p.String()), err != nil || written.Addr() != p.Addr(), nil
}

// addRange puts a range of the foreign object into a pool. It gives what was added.
func (f *fields) addRange(pool *v1alpha1.IPAddressPool, name, s string) (allocator.Range, bool) {
	text, otherwise, err := canonical(s)
	if err != nil {
		f.note(Lost, name, s, "It cannot be read: "+err.Error()+".", "Correct it, and import again.")
		return allocator.Range{}, false
	}
	if slices.Contains(pool.Spec.Addresses, text) {
		return allocator.Range{}, false
	}
	if len(pool.Spec.Addresses) == maxRanges {
		f.note(Lost, name, s, fmt.Sprintf("A pool has at most %d ranges.", maxRanges), "Make a second pool of the others.")
		return allocator.Range{}, false
	}
	if otherwise {
		f.note(Changed, name, s, "It is written otherwise here.", "It is "+string(text)+" now, the same addresses.")
	}
	pool.Spec.Addresses = append(pool.Spec.Addresses, text)
	r, err := pools.ParseRange(string(text))
	return r, err == nil
}

// excludeEnds keeps the first and the last address of a prefix from being given.
func excludeEnds(pool *v1alpha1.IPAddressPool, r allocator.Range) {
	p, ok := netipx.IPRangeFrom(r.From, r.To).Prefix()
	if !ok || p.Bits() >= r.From.BitLen()-1 {
		return
	}
	for _, a := range []netip.Addr{r.From, r.To} {
		one := v1alpha1.AddressRange(netip.PrefixFrom(a, a.BitLen()).String())
		if !slices.Contains(pool.Spec.Exclude, one) && len(pool.Spec.Exclude) < maxRanges {
			pool.Spec.Exclude = append(pool.Spec.Exclude, one)
		}
	}
}

func (o *object) newPool(name string) v1alpha1.IPAddressPool {
	p := v1alpha1.IPAddressPool{}
	p.TypeMeta, p.ObjectMeta = meta("IPAddressPool", name)
	p.Labels = o.labelsOf()
	return p
}

// addPool keeps a pool that has addresses.
func (r *reader) addPool(o *object, p v1alpha1.IPAddressPool) bool {
	switch {
	case o.dropped:
		return false
	case len(p.Spec.Addresses) == 0:
		o.note(Lost, "", nil, "It has no addresses that can be read, so no pool is made of it.", "Give it addresses, and import again.")
		return false
	}
	r.result.Pools = append(r.result.Pools, p)
	return true
}

// admit says who may have addresses of a pool, for Gateways as for Services: a
// pool that was closed to others must not open to Gateways.
func admit(p *v1alpha1.IPAddressPool, a v1alpha1.ServiceAllocation) {
	p.Spec.ServiceAllocation = &a
	if len(a.Namespaces)+len(a.NamespaceSelectors)+len(a.ServiceSelectors) == 0 {
		return
	}
	p.Spec.GatewayAllocation = &v1alpha1.GatewayAllocation{
		Priority: a.Priority, Namespaces: slices.Clone(a.Namespaces),
		NamespaceSelectors: cloneSelectors(a.NamespaceSelectors), GatewaySelectors: cloneSelectors(a.ServiceSelectors),
	}
}

func cloneSelectors(in []metav1.LabelSelector) []metav1.LabelSelector {
	var out []metav1.LabelSelector
	for i := range in {
		out = append(out, *in[i].DeepCopy())
	}
	return out
}

// atMost tells when a list has more entries than can be kept, and drops the object.
func (o *object) atMost(path string, n, most int) {
	if n > most {
		o.unusable(path, n, fmt.Sprintf("It has %d entries, more than the %d that Fairlead takes.", n, most), "Split it, and import again.")
	}
}

// checkPools tells what is wrong with the pools together: where two have addresses
// in common, only the older one gives them.
func (r *reader) checkPools() {
	var list []allocator.Pool
	for i := range r.result.Pools {
		p, _ := pools.Read(&r.result.Pools[i])
		list = append(list, p)
	}
	books := allocator.New()
	for _, p := range books.SetPools(list) {
		r.result.Notes = append(r.result.Notes, Note{
			Effect: Changed, Object: "IPAddressPool " + p.Pool, Field: "spec.addresses", Value: p.Range.String(), Why: p.String(),
			Instead: "The pool that was created first counts.",
		})
	}
}

func autoAssign(on bool) *bool {
	if on {
		return nil // the default
	}
	return ptr.To(false)
}
