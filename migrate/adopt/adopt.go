package adopt

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/audit"
	"github.com/fairlead/fairlead/migrate/forecast"
	"github.com/fairlead/fairlead/migrate/imports"
)

// Snapshot is what is known of a cluster.
type Snapshot struct {
	// Snapshot has the Services, Fairlead's pools and ledger, and the other controller's
	// objects and workloads. Its Config is what Fairlead is to become.
	audit.Snapshot
	L2Advertisements  []v1alpha1.L2Advertisement
	BGPAdvertisements []v1alpha1.BGPAdvertisement
	Peers             []v1alpha1.BGPPeer
	Profiles          []v1alpha1.BFDProfile
	Communities       []v1alpha1.Community
	Nodes             []corev1.Node
	Speakers          []v1alpha1.SpeakerStatus
	Deployments       []appsv1.Deployment
	DaemonSets        []appsv1.DaemonSet
	// Announcing are the objects by which the other controller says what it announces:
	// ServiceL2Status and ServiceBGPStatus of MetalLB.
	Announcing []unstructured.Unstructured
}

// Options say what is asked for.
type Options struct {
	Source imports.Source
	// Remove lets End delete the other's workloads.
	Remove bool
}

// State is where a step stands.
type State string

// The states of a step.
const (
	// Done: its check holds.
	Done State = "Done"
	// Begun: a part of it is written, or awaited.
	Begun State = "Begun"
	// Next: it can be done now.
	Next State = "Next"
	// Blocked: it cannot be done before something is mended.
	Blocked State = "Blocked"
	// Later: a step before it is not done.
	Later State = "Later"
)

// Report is how far an adoption has come.
type Report struct {
	Peer  string `json:"peer"`
	Steps []Step `json:"steps"`
	// Missing tell which halves of the other controller are not there, and what follows.
	Missing []string `json:"missing,omitempty"`
	// Notes tell what is not simply the same afterwards.
	Notes []string `json:"notes,omitempty"`
}

// Step is one of an adoption.
type Step struct {
	Name  Name  `json:"step"`
	State State `json:"state"`
	// What says in one line what there is, or is to be done.
	What string `json:"what"`
	// Why are sentences that say what blocks the step, and what to do.
	Why []string `json:"why,omitempty"`
	// Forth does it, Back takes it back.
	Forth Move `json:"-"`
	Back  Move `json:"-"`

	begun bool
}

// Name is that of a step.
type Name string

// The steps, in their order.
const (
	Books    Name = "Books"
	Pools    Name = "Pools"
	Compare  Name = "Compare"
	Decide   Name = "Decide"
	Announce Name = "Announce"
	End      Name = "End"
)

// Move is what comes next in a direction. When it is written, a new Snapshot says
// what comes then.
type Move struct {
	Done bool
	// Says is what the writes do, where their names alone do not say it.
	Says string
	// Writes are to be done now, in this order.
	Writes []Write
	// Waits are what is awaited, where there is nothing to write.
	Waits []string
	// Stop are what stands in the way.
	Stop []string
	// Settle: others must have seen the writes before those that follow.
	Settle bool
	// Together: the writes are done at the same time, in no order.
	Together bool
	// Fragile: what was written is taken back if it has not the effect in time.
	Fragile bool
}

// Write is one object before and after. No Before: it is created; no After: deleted.
type Write struct {
	Before, After *unstructured.Unstructured
}

// Object is the one that is written.
func (w Write) Object() *unstructured.Unstructured {
	if w.After != nil {
		return w.After
	}
	return w.Before
}

// Inverse takes a write back.
func (w Write) Inverse() Write { return Write{Before: w.After, After: w.Before} }

// Current is the first step that is not done; nil: all are.
func (r *Report) Current() *Step {
	for i := range r.Steps {
		if r.Steps[i].State != Done {
			return &r.Steps[i]
		}
	}
	return nil
}

// Last is the last step that can be taken back; nil: there is none.
func (r *Report) Last() *Step {
	for i := len(r.Steps) - 1; i >= 0; i-- {
		if r.Steps[i].begun {
			return &r.Steps[i]
		}
	}
	return nil
}

// Step is one by name.
func (r *Report) Step(n Name) *Step {
	for i := range r.Steps {
		if r.Steps[i].Name == n {
			return &r.Steps[i]
		}
	}
	return nil
}

// Of derives the steps from a cluster.
func Of(s Snapshot, o Options) (*Report, error) {
	a, err := newAdoption(s, o)
	if err != nil {
		return nil, err
	}
	r := &Report{Peer: a.name}
	if why := cmp.Or(a.absent(), a.untouched()); why != "" {
		r.Steps = []Step{{Name: Books, State: Blocked, What: "there is nothing to adopt", Why: []string{why}, Forth: Move{Stop: []string{why}}}}
		return r, nil
	}
	r.Steps = []Step{a.books(), a.pools(), a.compare(), a.decide(), a.announce(), a.end()}
	r.Missing, r.Notes = a.halves(), a.notes()
	turn := true
	for i := range r.Steps {
		r.Steps[i].settle(turn)
		turn = turn && r.Steps[i].State == Done
	}
	return r, nil
}

// settle gives a step its state. turn: all before it are done.
func (s *Step) settle(turn bool) {
	switch {
	case !turn && !s.begun:
		s.State = Later
	case s.Forth.Done:
		s.State = Done
	case len(s.Forth.Stop) > 0:
		s.State, s.Why = Blocked, s.Forth.Stop
	case s.begun:
		s.State = Begun
	default:
		s.State = Next
	}
}

// adoption is a Snapshot and what follows from it.
type adoption struct {
	Snapshot
	Options
	name string
	// audit is what there is of controllers.
	audit *audit.Report
	// made is what an import makes, bound to labelled nodes. Of its pools, across are
	// those that let namespaces share.
	made   *imports.Result
	across []string
	// imported are the objects of made, live those of these kinds that there are, and
	// entries the ledger by name.
	imported, live []*unstructured.Unstructured
	entries        map[string]*v1alpha1.Address
	// outcomes are by pools as they are or would be, and the ledger without what was set
	// aside for several.
	outcomes []forecast.Outcome
	// wanted are the addresses that statuses show.
	wanted   []reservation
	fairlead *appsv1.Deployment
	theirs   theirs
	// ended: the other is gone, and Fairlead has all that it had.
	ended bool
}

func newAdoption(s Snapshot, o Options) (*adoption, error) {
	a := &adoption{Snapshot: s, Options: o, name: names[o.Source]}
	if a.name == "" {
		return nil, fmt.Errorf("%q is no controller that a cluster can be taken over from: name one of %v", o.Source, imports.Sources())
	}
	made, err := imports.Read(o.Source, Unbound(s.Foreign))
	if err != nil {
		return nil, err
	}
	for _, o := range made.Objects() {
		Bind(o)
	}
	a.made = made
	a.live, a.entries = liveIn(&s), map[string]*v1alpha1.Address{}
	for i := range a.Ledger {
		a.entries[a.Ledger[i].Name] = &a.Ledger[i]
	}
	a.audit = audit.Of(s.Snapshot)
	a.findWorkloads()
	a.wanted = a.reservations()
	a.shareAcross()
	for _, o := range made.Objects() {
		a.imported = append(a.imported, ours(o, o.GetObjectKind().GroupVersionKind().Kind))
	}
	a.foretell()
	a.ended = !a.theirs.there() && a.isDefault() && len(a.Pools) > 0 && len(a.unheld()) == 0
	return a, nil
}

// names are those of sources in a Report of audit.
var names = map[imports.Source]string{
	imports.MetalLB: "MetalLB", imports.KubeVip: "kube-vip", imports.Cilium: "Cilium LB-IPAM",
	imports.PureLB: "PureLB", imports.Calico: "Calico", imports.OpenELB: "OpenELB",
}

// absent says why there is nothing to adopt from; empty: there is something.
func (a *adoption) absent() string {
	if a.theirs.there() || a.made.Read > 0 || a.audit.Of(a.Source) != nil || a.underway() {
		return ""
	}
	return fmt.Sprintf("There is nothing of %s in this cluster: no workload and no object of its kinds. See what there is: kubectl fairlead audit.", a.name)
}

// untouched says why a controller is left as it is that serves one class only; empty:
// it does not, or an adoption was begun already.
func (a *adoption) untouched() string {
	if a.underway() {
		return ""
	}
	return a.limited()
}

// underway tells whether there are traces of an adoption that was begun.
func (a *adoption) underway() bool {
	if slices.ContainsFunc(a.Ledger, func(o v1alpha1.Address) bool {
		return o.Annotations[v1alpha1.AnnotationAdopted] == string(a.Source)
	}) {
		return true
	}
	return slices.ContainsFunc(a.live, func(o *unstructured.Unstructured) bool {
		return boundHere(o) || o.GetAnnotations()[v1alpha1.AnnotationAdopted] == string(a.Source)
	})
}

// foretell asks the allocator what would become of each Service.
func (a *adoption) foretell() {
	c := a.Cluster
	c.Config.Default = true
	c.Pools = slices.Clone(a.Pools)
	for i := range a.made.Pools {
		if !slices.ContainsFunc(c.Pools, func(p v1alpha1.IPAddressPool) bool { return p.Name == a.made.Pools[i].Name }) {
			c.Pools = append(c.Pools, a.made.Pools[i])
		}
	}
	c.Ledger = slices.DeleteFunc(slices.Clone(a.Ledger), func(o v1alpha1.Address) bool { return setAside(&o) })
	a.outcomes = forecast.Of(c)
}

// notes are what an import tells, and what the allocator does of Services that keep
// what they have.
func (a *adoption) notes() []string {
	var out []string
	for _, n := range a.made.Notes {
		if n.Effect != imports.Needless {
			out = append(out, n.String())
		}
	}
	for _, name := range a.across {
		out = append(out, fmt.Sprintf("IPAddressPool %s gets sharing: AcrossNamespaces, since Services of several namespaces share an address of it.", name))
	}
	for i := range a.outcomes {
		o := &a.outcomes[i]
		if !moves(o) && len(o.Why) > 0 {
			out = append(out, fmt.Sprintf("Service %s: %s", o.Service, strings.Join(o.Why, " ")))
		}
	}
	return out
}

// moves tells whether a Service would lose what it shows. One that shows nothing and
// would get something loses nothing.
func moves(o *forecast.Outcome) bool {
	return !o.Verdict.Quiet() && o.Verdict != forecast.Given
}

// moving say what would become of Services that would not keep their addresses.
func (a *adoption) moving() []string {
	var out []string
	for i := range a.outcomes {
		o := &a.outcomes[i]
		if !moves(o) {
			continue
		}
		var has []string
		for _, x := range o.Has {
			has = append(has, x.String())
		}
		out = append(out, fmt.Sprintf("Service %s would not keep %s (%s). %s", o.Service, strings.Join(has, ","), o.Verdict, strings.Join(o.Why, " ")))
	}
	return append(out, a.strange()...)
}

// strange tells of Services whose status has what is no address.
func (a *adoption) strange() []string {
	var out []string
	for i := range a.Services {
		svc := &a.Services[i]
		if !a.adopts(svc) {
			continue
		}
		for _, in := range svc.Status.LoadBalancer.Ingress {
			if _, err := netip.ParseAddr(in.IP); err != nil {
				out = append(out, fmt.Sprintf("Service %s/%s shows %q, which is no address, so somebody else serves it. Make a second Service of that controller's class, or empty its status.",
					svc.Namespace, svc.Name, cmp.Or(in.IP, in.Hostname)))
			}
		}
	}
	slices.Sort(out)
	return out
}

// adopts tells whether a Service is one to be taken over.
func (a *adoption) adopts(svc *corev1.Service) bool {
	return svc.Spec.Type == corev1.ServiceTypeLoadBalancer && svc.Spec.LoadBalancerClass == nil && svc.DeletionTimestamp == nil
}
