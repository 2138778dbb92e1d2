package chain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/words"
	"github.com/fairlead/fairlead/plural"
)

// decide adds what the ledger says of an address, for one of its holders; zero: for
// nobody in particular.
func (r *Report) decide(s *Snapshot, a *v1alpha1.Address, me v1alpha1.HolderReference) {
	d := Decided{Address: a.Spec.Address, Pool: a.Spec.Pool, State: a.Spec.State}
	for i := range a.Spec.Holders {
		h := &a.Spec.Holders[i]
		if h.HolderReference == me {
			d.Since, d.State = h.Since, h.State
			continue
		}
		d.With = append(d.With, words.Reference(h.HolderReference))
	}
	if d.State == v1alpha1.AddressPending {
		r.pending(a.Spec.Address)
	}
	d.age = output.Age(d.Since, s.Now)
	r.Decided = append(r.Decided, d)
}

func (r *Report) pending(address string) {
	r.wrong(address+" is Pending: it waits until every address that the holder needs is its own.", "Look at the controller's log if that lasts for more than a moment.")
}

// announce adds who announces an address.
func (r *Report) announce(s *Snapshot, a *v1alpha1.Address) {
	if a.Spec.State != v1alpha1.AddressBound {
		return
	}
	out := Announced{Address: a.Spec.Address, Layer2: a.Status.Layer2, Next: s.nextInLine(a), BGP: a.Status.BGP}
	if c := words.NotAnnounced(a); c != nil {
		out.Reason, out.Message = c.Reason, c.Message
		r.wrong(fmt.Sprintf("%s is not announced (%s). %s", a.Spec.Address, c.Reason, c.Message), words.Remedy(c.Reason))
	}
	if l := a.Status.Layer2; l != nil {
		r.checkAnnouncer(s, a.Spec.Address, l.Node)
	}
	r.Announced = append(r.Announced, out)
}

// checkAnnouncer looks at the speaker that announces an address.
func (r *Report) checkAnnouncer(s *Snapshot, address, node string) {
	if len(s.Speakers) == 0 {
		return
	}
	i := slices.IndexFunc(s.Speakers, func(x v1alpha1.SpeakerStatus) bool { return x.Name == node })
	if i < 0 {
		r.wrong(fmt.Sprintf("%s is said to be announced by %s, which has no SpeakerStatus.", address, node),
			"Is the node gone, or its speaker? See: kubectl fairlead announcers.")
		return
	}
	for _, c := range s.Speakers[i].Status.Conditions {
		if c.Type == v1alpha1.SpeakerReady && c.Status == metav1.ConditionFalse {
			r.wrong(fmt.Sprintf("The speaker of %s, which announces %s, is not ready (%s). %s", node, address, c.Reason, c.Message), "")
		}
	}
}

// rows are a line for each protocol, or one that says why there is none.
func (a Announced) rows() []row {
	var out []row
	if l := a.Layer2; l != nil && l.TakenBy == "" {
		value := l.Node
		if len(l.Interfaces) > 0 {
			value += ", " + strings.Join(l.Interfaces, ", ")
		}
		note := "since " + l.Since.UTC().Format(time.DateTime) + " UTC"
		if len(a.Next) > 0 {
			note += "; next in line: " + strings.Join(a.Next, ", ")
		}
		out = append(out, row{value + " (" + resolution(a.Address) + ")", a.Address + " " + note})
	}
	if b := a.BGP; b != nil {
		out = append(out, row{"BGP " + plural.Count(int(b.Nodes), "node"), fmt.Sprintf("%s as %s to %s since %s UTC",
			a.Address, strings.Join(b.Prefixes, ", "), plural.Count(int(b.Peers), "peer"), b.Since.UTC().Format(time.DateTime))})
	}
	if len(out) == 0 {
		out = append(out, row{"by nobody", a.Address + ": " + a.Reason})
	}
	return out
}

// resolution is the protocol by which an address is resolved on a segment.
func resolution(address string) string {
	if a, err := netip.ParseAddr(address); err == nil && a.Is6() {
		return "NDP"
	}
	return "ARP"
}

func sorted(list []*v1alpha1.Address) []*v1alpha1.Address {
	words.ByAddress(list, func(a **v1alpha1.Address) string { return (*a).Spec.Address })
	return list
}
