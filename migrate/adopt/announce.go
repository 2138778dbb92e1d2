package adopt

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/plural"
)

// announce is the step in which nodes announce for Fairlead: by BGP one after the
// other, on layer 2 all at once, since there an address has one announcer anyway.
func (a *adoption) announce() Step {
	s := Step{Name: Announce}
	nodes := a.order()
	by, l2 := with(nodes, v1alpha1.LabelAnnouncesBGP), with(nodes, v1alpha1.LabelAnnouncesLayer2)
	s.begun = !a.ended && len(by)+len(l2) > 0
	if s.What = a.ways(len(by), len(l2), len(nodes)); a.ended {
		s.What = "all nodes that are selected announce for Fairlead"
	}
	s.Forth, s.Back = a.announceForth(nodes), a.announceBack(nodes)
	return s
}

// ways say by what is announced, and how far that has come.
func (a *adoption) ways(by, l2, all int) string {
	var parts []string
	if a.byBGP() {
		parts = append(parts, fmt.Sprintf("BGP from %d of %s, one after the other", by, plural.Count(all, "node")))
	}
	if a.onLayer2() {
		parts = append(parts, fmt.Sprintf("layer 2 from %d of %s, at once", l2, plural.Count(all, "node")))
	}
	if len(parts) == 0 {
		return "there is no advertisement"
	}
	return strings.Join(parts, "; ")
}

// byBGP tells whether peers wait for labelled nodes.
func (a *adoption) byBGP() bool {
	return slices.ContainsFunc(a.Peers, func(p v1alpha1.BGPPeer) bool { return bondOf("BGPPeer", true).holds(p.Spec.NodeSelectors) }) || len(a.made.Peers) > 0
}

func (a *adoption) onLayer2() bool {
	return slices.ContainsFunc(a.L2Advertisements, func(o v1alpha1.L2Advertisement) bool {
		return bondOf("L2Advertisement", true).holds(o.Spec.NodeSelectors)
	}) || len(a.made.L2Advertisements) > 0
}

// order puts those nodes first that the other announces from, and of those the ones
// with the fewest announcements.
func (a *adoption) order() []*corev1.Node {
	var out []*corev1.Node
	for i := range a.Nodes {
		out = append(out, &a.Nodes[i])
	}
	slices.SortFunc(out, func(x, y *corev1.Node) int {
		return cmp.Or(a.unused(x)-a.unused(y), a.announcingOn("ServiceL2Status", x.Name)-a.announcingOn("ServiceL2Status", y.Name), cmp.Compare(x.Name, y.Name))
	})
	return out
}

// unused is 1 for a node that no object of theirs selects, or without a speaker of ours.
func (a *adoption) unused(n *corev1.Node) int {
	if a.speaker(n.Name) == nil {
		return 1
	}
	for i := range a.Foreign {
		o := &a.Foreign[i]
		if a.Source != imports.MetalLB || announces(o) && matches(selectorsOf(loosened(o, false)), n.Labels) {
			return 0
		}
	}
	return 1
}

func (a *adoption) speaker(node string) *v1alpha1.SpeakerStatus {
	for i := range a.Speakers {
		if a.Speakers[i].Name == node {
			return &a.Speakers[i]
		}
	}
	return nil
}

func with(nodes []*corev1.Node, label string) []*corev1.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n *corev1.Node) bool {
		_, has := n.Labels[label]
		return !has
	})
}

func without(nodes []*corev1.Node, label string) []*corev1.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n *corev1.Node) bool {
		_, has := n.Labels[label]
		return has
	})
}

// handedOver tells whether a node announces for Fairlead.
func handedOver(nodes []*corev1.Node) bool {
	return len(with(nodes, v1alpha1.LabelAnnouncesBGP))+len(with(nodes, v1alpha1.LabelAnnouncesLayer2)) > 0
}

func label(n *corev1.Node, key string, on bool) Write {
	before := generic(n, "v1", "Node")
	return Write{before, labelled(before, key, on)}
}

func (a *adoption) announceForth(nodes []*corev1.Node) Move {
	m := Move{Fragile: true}
	if a.ended {
		m.Done = true
		return m
	}
	if !handedOver(nodes) {
		if m.Stop = a.deaf(); len(m.Stop) > 0 {
			return m
		}
	}
	if a.Source != imports.MetalLB && a.announcesStill() {
		m.Waits = []string{fmt.Sprintf("%s to announce no more. %s", a.name, a.instructions())}
		return m
	}
	if a.byBGP() {
		for _, n := range with(nodes, v1alpha1.LabelAnnouncesBGP) {
			m.Waits = append(m.Waits, a.sessions(n)...)
		}
		rest := without(nodes, v1alpha1.LabelAnnouncesBGP)
		if len(m.Waits) > 0 {
			return m
		}
		if len(rest) > 0 {
			m.Settle = true // routers have the new routes before the next node's old ones go
			m.Says = "node " + rest[0].Name + " announces by BGP for Fairlead"
			m.Writes = []Write{label(rest[0], v1alpha1.LabelAnnouncesBGP, true)}
			return m
		}
	}
	if rest := without(nodes, v1alpha1.LabelAnnouncesLayer2); a.onLayer2() && len(rest) > 0 {
		for _, n := range rest {
			m.Writes = append(m.Writes, label(n, v1alpha1.LabelAnnouncesLayer2, true))
		}
		// Were they changed one by one, the other would move addresses to those that are left.
		m.Together = true
		m.Says = announcing(len(rest)) + " on layer 2 for Fairlead"
		return m
	}
	m.Waits = a.silent()
	m.Done = len(m.Waits) == 0
	return m
}

// announcesStill tells whether a controller announces that no label can tell to let
// nodes go.
func (a *adoption) announcesStill() bool {
	if !a.network() {
		return a.theirs.there()
	}
	return len(a.made.L2Advertisements)+len(a.made.BGPAdvertisements) > 0
}

// deaf says why no node could announce for Fairlead.
func (a *adoption) deaf() []string {
	if !a.byBGP() && !a.onLayer2() {
		return nil
	}
	ready := false
	var out []string
	for i := range a.Speakers {
		s := &a.Speakers[i]
		if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.SpeakerReady); c != nil && c.Status == metav1.ConditionFalse {
			out = append(out, fmt.Sprintf("The speaker of node %s is not ready (%s). %s", s.Name, c.Reason, c.Message))
		}
		ready = true
	}
	if !ready {
		out = append(out, "No node has a speaker of Fairlead. See: kubectl get pods -A -l app.kubernetes.io/component=speaker.")
	}
	return out
}

// sessions tell what of a node's sessions is awaited.
func (a *adoption) sessions(n *corev1.Node) []string {
	var out []string
	if k := a.announcingOn("ServiceBGPStatus", n.Name); k > 0 && len(a.theirs.speakers) > 0 {
		out = append(out, fmt.Sprintf("%s to let node %s go (ServiceBGPStatus of %s)", a.name, n.Name, plural.Count(k, "Service")))
	}
	speaker := a.speaker(n.Name)
	if speaker == nil {
		return out // it announces nothing from there, and theirs does not either
	}
	for i := range a.Peers {
		p := &a.Peers[i]
		if bondOf("BGPPeer", true).holds(p.Spec.NodeSelectors) && matches(p.Spec.NodeSelectors, n.Labels) {
			if why := session(speaker, p.Name); why != "" {
				out = append(out, fmt.Sprintf("the BGP session of %s with peer %s: %s", n.Name, p.Name, why))
			}
		}
	}
	return out
}

// session says how a session is not established; empty: it is.
func session(s *v1alpha1.SpeakerStatus, peer string) string {
	if s.Status.BGP == nil {
		return "not begun"
	}
	for i := range s.Status.BGP.Sessions {
		x := &s.Status.BGP.Sessions[i]
		switch {
		case x.Peer != peer:
		case x.State == v1alpha1.SessionEstablished:
			return ""
		case x.LastError != nil:
			return string(x.State) + ", " + x.LastError.Message
		default:
			return string(x.State)
		}
	}
	return "not begun"
}

// silent are addresses that are not announced, and should be.
func (a *adoption) silent() []string {
	var out []string
	if k := a.announcingOn("ServiceL2Status", ""); k > 0 && a.Source == imports.MetalLB && len(a.theirs.speakers) > 0 && a.onLayer2() {
		out = append(out, fmt.Sprintf("%s to let go (ServiceL2Status of %s)", a.name, plural.Count(k, "Service")))
	}
	for i := range a.wanted {
		r := &a.wanted[i]
		o := a.entry(r.address)
		if o == nil {
			continue
		}
		c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.AddressAnnounced)
		switch {
		case c != nil && c.Status == metav1.ConditionTrue, c == nil && announced(o):
		case c != nil && (announcer.Reason(c.Reason) == announcer.NoReadyEndpoint || announcer.Reason(c.Reason) == announcer.NoAdvertisement):
		case c == nil:
			out = append(out, fmt.Sprintf("%s of %s to be announced", r.address, r.words()))
		default:
			out = append(out, fmt.Sprintf("%s of %s to be announced (%s: %s)", r.address, r.words(), c.Reason, c.Message))
		}
	}
	return out
}

func announced(o *v1alpha1.Address) bool {
	return o.Status.Layer2 != nil && o.Status.Layer2.TakenBy == "" || o.Status.BGP != nil && o.Status.BGP.Nodes > 0
}

func (a *adoption) announceBack(nodes []*corev1.Node) Move {
	m := Move{Settle: true}
	if handedOver(nodes) {
		if ready := a.receivers(); len(ready.Writes)+len(ready.Waits)+len(ready.Stop) > 0 {
			return ready
		}
	}
	if labelled := with(nodes, v1alpha1.LabelAnnouncesLayer2); len(labelled) > 0 {
		for _, n := range slices.Backward(labelled) {
			m.Writes = append(m.Writes, label(n, v1alpha1.LabelAnnouncesLayer2, false))
		}
		m.Together = true
		m.Says = announcing(len(labelled)) + " on layer 2 for " + a.name
		return m
	}
	for i := range a.wanted {
		if o := a.entry(a.wanted[i].address); o != nil && o.Status.Layer2 != nil && a.onLayer2() {
			m.Waits = append(m.Waits, fmt.Sprintf("node %s to let %s go", o.Status.Layer2.Node, a.wanted[i].address))
		}
	}
	for _, n := range without(nodes, v1alpha1.LabelAnnouncesBGP) {
		if k := a.begunSessions(n); k > 0 {
			m.Waits = append(m.Waits, fmt.Sprintf("node %s to end %s", n.Name, plural.Count(k, "session")))
		}
	}
	if len(m.Waits) > 0 {
		return m
	}
	if labelled := with(nodes, v1alpha1.LabelAnnouncesBGP); len(labelled) > 0 {
		last := labelled[len(labelled)-1]
		m.Says = "node " + last.Name + " announces by BGP for " + a.name
		m.Writes = []Write{label(last, v1alpha1.LabelAnnouncesBGP, false)}
		return m
	}
	m.Done = true
	return m
}

// receivers is what comes before a node is given back: the other must be there to
// announce from it, and where it can be told to, must not write statuses while
// Fairlead does.
func (a *adoption) receivers() Move {
	var m Move
	if a.isDefault() {
		m.Writes = a.stop()
	}
	switch {
	case len(m.Writes) > 0:
	case a.Source == imports.MetalLB && len(a.theirs.speakers) == 0:
		m.Stop = []string{"MetalLB's speakers are gone, so nobody would announce what Fairlead lets go. Install them again, and its controller with 0 replicas."}
	case a.mute() != "":
		m.Waits = []string{a.mute()}
	}
	return m
}

// begunSessions counts those of a node with peers that are for labelled nodes only.
func (a *adoption) begunSessions(n *corev1.Node) int {
	s, k := a.speaker(n.Name), 0
	if s == nil || s.Status.BGP == nil {
		return 0
	}
	for i := range s.Status.BGP.Sessions {
		for j := range a.Peers {
			p := &a.Peers[j]
			if p.Name == s.Status.BGP.Sessions[i].Peer && bondOf("BGPPeer", true).holds(p.Spec.NodeSelectors) {
				k++
			}
		}
	}
	return k
}

// end is the step in which the other goes, and what an adoption has made for its own
// sake.
func (a *adoption) end() Step {
	s := Step{Name: End, What: a.name + "'s workloads go, and then what was made for the adoption only"}
	s.begun = a.ended && a.made.Read > 0 || a.returned()
	s.Forth, s.Back = a.endForth(), a.endBack()
	if a.ended && s.Forth.Done {
		s.What = fmt.Sprintf("%s's workloads are gone. Look: kubectl fairlead audit. Delete its CustomResourceDefinitions last: its objects go with them", a.name)
	}
	return s
}

// returned tells whether another controller than MetalLB was installed again after the
// end, while Fairlead still announces from all nodes: then the way back of the step is
// not at its end.
func (a *adoption) returned() bool {
	return a.Source != imports.MetalLB && a.theirs.there() && a.isDefault() && slices.ContainsFunc(a.live, func(o *unstructured.Unstructured) bool {
		return a.isMade(o) && announcesHere(o) && !boundHere(o)
	})
}

func (a *adoption) endForth() Move {
	var m Move
	if a.theirs.there() {
		if !a.Remove || a.theirs.others {
			m.Waits = []string{fmt.Sprintf("you to remove %s. %s", a.name, a.instructions())}
			return m
		}
		for _, d := range a.theirs.speakers {
			m.Writes = append(m.Writes, remove(generic(d, "apps/v1", "DaemonSet")))
		}
		for _, d := range a.theirs.deciders {
			m.Writes = append(m.Writes, remove(generic(d, "apps/v1", "Deployment")))
		}
		return m
	}
	if !a.ended {
		if m.Waits = a.unheld(); len(m.Waits) == 0 {
			m.Waits = []string{"Fairlead to be the default: " + a.helm(true)}
		}
		return m
	}
	for _, o := range a.live {
		if announcesHere(o) {
			m.Writes = change(m.Writes, o, loosened(o, true))
		}
	}
	if len(m.Writes) > 0 {
		if m.Says = "1 object announces from all nodes that it selects"; len(m.Writes) > 1 {
			m.Says = plural.Count(len(m.Writes), "object") + " announce from all nodes that they select"
		}
		m.Settle = true // speakers must know of it before nodes lose their labels
		return m
	}
	m.Writes = a.sweep()
	m.Done = len(m.Writes) == 0
	return m
}

// sweep takes off labels, reservations and annotations.
func (a *adoption) sweep() []Write {
	var out []Write
	for i := range a.Nodes {
		before := generic(&a.Nodes[i], "v1", "Node")
		out = change(out, before, labelled(labelled(before, v1alpha1.LabelAnnouncesBGP, false), v1alpha1.LabelAnnouncesLayer2, false))
	}
	for _, o := range a.live {
		if o.GetAnnotations()[v1alpha1.AnnotationAdopted] == string(a.Source) {
			out = change(out, o, annotated(o, v1alpha1.AnnotationAdopted, ""))
		}
	}
	for i := range a.Ledger {
		o := &a.Ledger[i]
		made := o.Annotations[v1alpha1.AnnotationAdopted] == string(a.Source)
		if !made && o.Annotations[v1alpha1.AnnotationAdopted] != string(a.Source)+found {
			continue
		}
		before := ours(o, "Address")
		if made && len(o.Spec.Holders) == 0 {
			out = append(out, remove(before))
			continue
		}
		after := annotated(before, v1alpha1.AnnotationAdopted, "")
		if made {
			unstructured.RemoveNestedField(after.Object, "spec", "reservedFor")
		}
		out = append(out, Write{before, after})
	}
	return out
}

// endBack makes labels and bonds again, then waits for the other to be installed.
func (a *adoption) endBack() Move {
	var m Move
	for i := range a.Nodes {
		before := generic(&a.Nodes[i], "v1", "Node")
		after := before
		if a.byBGP() {
			after = labelled(after, v1alpha1.LabelAnnouncesBGP, true)
		}
		if a.onLayer2() {
			after = labelled(after, v1alpha1.LabelAnnouncesLayer2, true)
		}
		m.Writes = change(m.Writes, before, after)
	}
	if m.Settle = len(m.Writes) > 0; m.Settle {
		return m
	}
	for _, o := range a.live {
		if a.isMade(o) {
			after := annotated(o, v1alpha1.AnnotationAdopted, string(a.Source))
			if announcesHere(o) {
				after = tied(after, true)
			}
			m.Writes = change(m.Writes, o, after)
		}
	}
	m.Writes = append(append(m.Writes, a.mark()...), a.leaveOut(true)...)
	switch {
	case len(m.Writes) > 0:
	case !a.installed():
		m.Waits = []string{a.again()}
	default:
		m.Writes = append(a.stop(), a.oweStart()...)
	}
	if len(m.Writes)+len(m.Waits) > 0 {
		return m
	}
	if mute := a.mute(); mute != "" {
		m.Waits = []string{mute}
	}
	m.Done = len(m.Waits) == 0
	return m
}

// announcing is how many nodes announce.
func announcing(nodes int) string {
	if nodes == 1 {
		return "1 node announces"
	}
	return plural.Count(nodes, "node") + " announce"
}
