// Package pools is `kubectl fairlead pools`: which addresses there are, and how many
// are left.
package pools

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/words"
)

// Command is `kubectl fairlead pools`.
func Command(env *kube.Env) *cobra.Command {
	return &cobra.Command{
		Use: "pools", Aliases: []string{"pool"}, Short: "Which addresses there are, and how many are left",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: env.Show(func(ctx context.Context, r *kube.Reader) (output.Result, bool, error) {
			var pools v1alpha1.IPAddressPoolList
			err := r.Need(ctx, &pools)
			return Of(pools.Items, env.Now()), false, err
		}),
	}
}

// List is all pools.
type List struct {
	Pools []Pool `json:"pools"`

	now time.Time
}

// Pool is one pool.
type Pool struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Exclude   []string `json:"exclude,omitempty"`
	Families  []Family `json:"families,omitempty"`
	// Assigned and Available are for people, as in the pool's status.
	Assigned   string                `json:"assigned,omitempty"`
	Available  string                `json:"available,omitempty"`
	AutoAssign bool                  `json:"autoAssign"`
	Draining   bool                  `json:"draining,omitempty"`
	Selective  bool                  `json:"selective,omitempty"`
	Sharing    v1alpha1.SharingScope `json:"sharing,omitempty"`
	Conditions []metav1.Condition    `json:"conditions,omitempty"`
	Created    metav1.Time           `json:"created"`
}

// Family is how full a pool is of one family. Available is 9223372036854775807
// where there are that many or more.
type Family struct {
	Family    string `json:"family"`
	Assigned  int64  `json:"assigned"`
	Available int64  `json:"available"`
}

// Of is all pools, by name.
func Of(pools []v1alpha1.IPAddressPool, now time.Time) List {
	out := List{Pools: []Pool{}, now: now}
	for i := range pools {
		out.Pools = append(out.Pools, of(&pools[i]))
	}
	slices.SortFunc(out.Pools, func(a, b Pool) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func of(o *v1alpha1.IPAddressPool) Pool {
	s := &o.Status
	out := Pool{
		Name: o.Name, Addresses: ranges(o.Spec.Addresses), Exclude: ranges(o.Spec.Exclude), Assigned: s.Assigned, Available: s.Available,
		AutoAssign: ptr.Deref(o.Spec.AutoAssign, true), Draining: o.Spec.Draining, Sharing: o.Spec.Sharing,
		Selective:  o.Spec.ServiceAllocation != nil || o.Spec.GatewayAllocation != nil,
		Conditions: s.Conditions, Created: o.CreationTimestamp,
	}
	for _, f := range []Family{{"IPv4", s.AssignedIPv4, s.AvailableIPv4}, {"IPv6", s.AssignedIPv6, s.AvailableIPv6}} {
		if slices.ContainsFunc(out.Addresses, func(r string) bool { return strings.Contains(r, ":") == (f.Family == "IPv6") }) {
			out.Families = append(out.Families, f)
		}
	}
	return out
}

func ranges(list []v1alpha1.AddressRange) []string {
	out := make([]string, 0, len(list))
	for _, r := range list {
		out = append(out, string(r))
	}
	return out
}

// Usage is how full the pool is of one family, in percent rounded down; of an endless
// one it is 0.
func (f Family) Usage() int {
	total := float64(f.Assigned) + float64(f.Available)
	if total == 0 {
		return 0
	}
	return int(100 * float64(f.Assigned) / total)
}

// Write is the pools as a table.
func (l List) Write(w io.Writer, wide bool) error {
	t := output.NewTable("There is no pool: create an IPAddressPool with the addresses that Fairlead may give out.",
		"NAME", "ADDRESSES", "ASSIGNED", "AVAILABLE", "READY", "AGE", "+USED", "+AUTO", "+SELECTIVE", "+SHARING", "+EXCLUDED", "+OVERLAPPING")
	for i := range l.Pools {
		p := &l.Pools[i]
		t.Add(p.Name, strings.Join(p.Addresses, ","), p.Assigned, p.Available, p.ready(), output.Age(p.Created, l.now),
			p.usage(), yes(p.AutoAssign), yes(p.Selective), string(p.Sharing), strings.Join(p.Exclude, ","), p.overlaps())
	}
	return t.Write(w, wide)
}

func (p *Pool) ready() string { return words.Condition(p.Conditions, v1alpha1.PoolReady) }

func (p *Pool) overlaps() string {
	if c := meta.FindStatusCondition(p.Conditions, v1alpha1.PoolOverlapping); c != nil && c.Status == metav1.ConditionTrue {
		return c.Message
	}
	return ""
}

func (p *Pool) usage() string {
	var out []string
	for _, f := range p.Families {
		out = append(out, fmt.Sprintf("%d%%", f.Usage()))
	}
	return strings.Join(out, ", ")
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}
