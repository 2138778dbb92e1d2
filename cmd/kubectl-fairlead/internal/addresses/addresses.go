// Package addresses is `kubectl fairlead addresses`: the map of the network, an
// address a line.
package addresses

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/words"
)

// Command is `kubectl fairlead addresses`.
func Command(env *kube.Env) *cobra.Command {
	return &cobra.Command{
		Use: "addresses", Aliases: []string{"address", "addr"}, Short: "Who has which address, and who announces it",
		Long: `Who has which address, and who announces it: the ledger of the whole cluster.

With --namespace only the addresses that holders of that namespace have, had, or may have.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: env.Show(func(ctx context.Context, r *kube.Reader) (output.Result, bool, error) {
			var addresses v1alpha1.AddressList
			var pools v1alpha1.IPAddressPoolList
			err := r.Need(ctx, &addresses, &pools)
			return Of(addresses.Items, pools.Items, env.Filter(), env.Now()), false, err
		}),
	}
}

// List is the ledger.
type List struct {
	Addresses []Address `json:"addresses"`

	now time.Time
}

// Address is one address of the ledger.
type Address struct {
	Address string                `json:"address"`
	Pool    string                `json:"pool,omitempty"`
	State   v1alpha1.AddressState `json:"state"`
	Holders []Holder              `json:"holders,omitempty"`
	// For is whom the address is kept for, while nobody has it.
	For *v1alpha1.HolderReference `json:"for,omitempty"`
	// RetainedUntil is when it may go to others.
	RetainedUntil *metav1.Time `json:"retainedUntil,omitempty"`
	// Announced says in words who announces it.
	Announced string                       `json:"announced,omitempty"`
	Layer2    *v1alpha1.Layer2Announcement `json:"layer2,omitempty"`
	BGP       *v1alpha1.BGPAnnouncement    `json:"bgp,omitempty"`
	// NotAnnounced says why nobody announces it although it is in use.
	NotAnnounced *Why        `json:"notAnnounced,omitempty"`
	Created      metav1.Time `json:"created"`
}

// Why is a reason in one word and in a sentence.
type Why struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Holder is one who has an address.
type Holder struct {
	v1alpha1.HolderReference `json:",inline"`

	State      v1alpha1.AddressState `json:"state"`
	Since      metav1.Time           `json:"since"`
	Ports      []v1alpha1.HolderPort `json:"ports,omitempty"`
	SharingKey string                `json:"sharingKey,omitempty"`
	Policy     string                `json:"externalTrafficPolicy,omitempty"`
}

// defaultRetain is that of a pool that says nothing, and of none.
const defaultRetain = 10 * time.Minute

// Of is the ledger, in the order of addresses. namespace: only what concerns it;
// empty: all.
func Of(addresses []v1alpha1.Address, pools []v1alpha1.IPAddressPool, namespace string, now time.Time) List {
	retain := map[string]time.Duration{}
	for i := range pools {
		if d := pools[i].Spec.Retain; d != nil {
			retain[pools[i].Name] = d.Duration
		}
	}
	out := List{Addresses: []Address{}, now: now}
	for i := range addresses {
		if a := of(&addresses[i], retain); namespace == "" || a.concerns(namespace) {
			out.Addresses = append(out.Addresses, a)
		}
	}
	words.ByAddress(out.Addresses, func(a *Address) string { return a.Address })
	return out
}

func of(o *v1alpha1.Address, retain map[string]time.Duration) Address {
	s := &o.Spec
	out := Address{
		Address: s.Address, Pool: s.Pool, State: s.State, Announced: words.Announced(&o.Status),
		Layer2: o.Status.Layer2, BGP: o.Status.BGP, Created: o.CreationTimestamp,
	}
	for _, h := range s.Holders {
		out.Holders = append(out.Holders, Holder{h.HolderReference, h.State, h.Since, h.Ports, h.SharingKey, h.ExternalTrafficPolicy})
	}
	slices.SortStableFunc(out.Holders, func(a, b Holder) int { return a.Since.Compare(b.Since.Time) })
	if c := words.NotAnnounced(o); c != nil {
		out.NotAnnounced = &Why{c.Reason, c.Message}
	}
	switch {
	case len(s.Holders) > 0:
	case s.State == v1alpha1.AddressRetained && s.Released != nil:
		d, ok := retain[s.Pool]
		if !ok {
			d = defaultRetain
		}
		out.For, out.RetainedUntil = &s.Released.HolderReference, &metav1.Time{Time: s.Released.At.Add(d)}
	default:
		out.For = s.ReservedFor
	}
	return out
}

// concerns tells whether the address is, was or may be that of a namespace.
func (a *Address) concerns(namespace string) bool {
	return a.For != nil && a.For.Namespace == namespace ||
		slices.ContainsFunc(a.Holders, func(h Holder) bool { return h.Namespace == namespace })
}

// Write is the ledger as a table.
func (l List) Write(w io.Writer, wide bool) error {
	t := output.NewTable("The ledger is empty: nobody has an address.",
		"ADDRESS", "POOL", "HOLDERS", "STATE", "ANNOUNCED", "AGE", "+PORTS", "+SHARING KEY", "+POLICY", "+RETAINED UNTIL")
	for i := range l.Addresses {
		a := &l.Addresses[i]
		t.Add(a.Address, a.Pool, a.holders(wide, l.now), string(a.State), a.announced(), output.Age(a.Created, l.now),
			a.each(func(h *Holder) string { return words.Ports(h.Ports) }), a.each(func(h *Holder) string { return h.SharingKey }),
			a.each(func(h *Holder) string { return h.Policy }), a.until())
	}
	return t.Write(w, wide)
}

// holders are the first one and how many more, or all of them.
func (a *Address) holders(all bool, now time.Time) string {
	switch {
	case len(a.Holders) > 1 && !all:
		return words.Reference(a.Holders[0].HolderReference) + " (+" + strconv.Itoa(len(a.Holders)-1) + ")"
	case len(a.Holders) > 0:
		var out []string
		for i := range a.Holders {
			out = append(out, words.Reference(a.Holders[i].HolderReference))
		}
		return strings.Join(out, ", ")
	case a.For == nil:
		return ""
	}
	s := "(for " + words.Reference(*a.For)
	if a.RetainedUntil != nil {
		if left := words.Left(a.RetainedUntil.Time, now); left != "" {
			s += ", " + left + " left"
		}
	}
	return s + ")"
}

func (a *Address) announced() string {
	if a.Announced == "" && a.NotAnnounced != nil {
		return "no: " + a.NotAnnounced.Reason
	}
	return a.Announced
}

// each is what differs between holders, once where it does not.
func (a *Address) each(of func(*Holder) string) string {
	var out []string
	for i := range a.Holders {
		if s := of(&a.Holders[i]); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return strings.Join(out, ",")
}

func (a *Address) until() string {
	if a.RetainedUntil == nil {
		return ""
	}
	return a.RetainedUntil.UTC().Format(time.RFC3339)
}
