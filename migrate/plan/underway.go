package plan

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/takeover"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

// The reasons of the condition while a takeover goes on, in their order, and at its
// end.
const (
	Requested = string(takeover.Requested)
	Prepared  = string(takeover.Prepared)
	Shared    = string(takeover.Shared)
	Switched  = string(takeover.Switched)
	Done      = string(takeover.Done)
)

// Returning is the reason while a takeover is undone, or starts anew.
const Returning = string(takeover.Returning)

// Waiting is the reason while one of the two does not ask, or has nothing yet.
const Waiting = tell.ReasonWaiting

// Phases are all phases in their order.
var Phases = []string{Requested, Prepared, Shared, Switched, Done}

// holding is what an object says of takeovers.
type holding struct {
	annotations map[string]string
	conditions  []metav1.Condition
}

func (c *Cluster) holding(h Holder) holding {
	if h.Kind == Service {
		if o := c.service(h.Name); o != nil {
			return holding{o.Annotations, o.Status.Conditions}
		}
		return holding{}
	}
	if o := c.gateway(h.Name); o != nil {
		return holding{o.Annotations, o.Status.Conditions}
	}
	return holding{}
}

// done tells whether the last takeover of a holder is over.
func (h holding) done() bool {
	c := meta.FindStatusCondition(h.conditions, tell.Condition)
	return c != nil && c.Status == metav1.ConditionTrue && c.Reason == Done
}

// planUnderway finds a takeover that was asked for already, from others who share the
// addresses too perhaps: then what is left is to wait for it.
func planUnderway(in *Input, p *Plan) bool {
	from, to := in.Cluster.holding(in.From), in.Cluster.holding(in.To)
	takes := takeover.Read(in.To.key(), to.annotations).Takes
	if from.annotations[v1alpha1.AnnotationHandover] != in.To.Seen(in.From.Namespace) || !slices.Contains(takes, in.From.key()) {
		return false
	}
	var others []Annotation
	for _, h := range in.Sharers() {
		asks := in.Cluster.holding(h).annotations[v1alpha1.AnnotationHandover] == in.To.Seen(h.Namespace) && slices.Contains(takes, h.key())
		switch {
		case asks:
			others = append(others, Annotation{On: h, Key: v1alpha1.AnnotationHandover, Value: in.To.Seen(h.Namespace)})
		case in.Options.WithSharers:
			return false
		}
	}
	for _, k := range takes {
		if k != in.From.key() {
			p.Also = append(p.Also, holderOf(k))
		}
	}
	p.Underway = true
	if in.Options.Ports == PortsKeep {
		p.Until = Shared
	}
	p.Annotations = []Annotation{
		{On: in.From, Key: v1alpha1.AnnotationHandover, Value: in.To.Seen(in.From.Namespace)},
		{On: in.To, Key: v1alpha1.AnnotationTakeover, Value: to.annotations[v1alpha1.AnnotationTakeover]},
	}
	p.Annotations = append(p.Annotations, others...)
	p.Summary = fmt.Sprintf("%s takes over from %s: it was asked for already", in.To, takeover.Names(takes))
	p.Steps = []string{"Wait until it is done. To take either annotation away before that rolls back."}
	return true
}

// ask are the annotations that ask for a takeover. Those of the last one, the other
// way round, go: they would contradict it.
func ask(in *Input, p *Plan) []Annotation {
	var out []Annotation
	for _, h := range p.Rejoin {
		out = append(out, Annotation{On: h, Key: v1alpha1.AnnotationHandover}) // with it they do not ask
	}
	for _, h := range p.Givers() {
		out = append(out, Annotation{On: h, Key: v1alpha1.AnnotationHandover, Value: in.To.Seen(h.Namespace)})
	}
	out = append(out, Annotation{On: in.To, Key: v1alpha1.AnnotationTakeover, Value: p.takes()})
	for _, h := range p.Givers() {
		is := in.Cluster.holding(h).annotations
		switch has := is[v1alpha1.AnnotationHandoverPorts]; {
		case in.Options.Ports != "":
			out = append(out, Annotation{On: h, Key: v1alpha1.AnnotationHandoverPorts, Value: in.Options.Ports})
		case has != "":
			out = append(out, Annotation{On: h, Key: v1alpha1.AnnotationHandoverPorts})
		}
		if is[v1alpha1.AnnotationTakeover] != "" {
			out = append(out, Annotation{On: h, Key: v1alpha1.AnnotationTakeover})
		}
	}
	if in.Cluster.holding(in.To).annotations[v1alpha1.AnnotationHandover] != "" {
		out = append(out, Annotation{On: in.To, Key: v1alpha1.AnnotationHandover})
	}
	return out
}

// takes is how the new holder names all who hand over to it.
func (p *Plan) takes() string { return takeover.Words(keysOf(p.Givers()), p.To.Namespace) }

// checkOthers finds takeovers with others that are not over.
func checkOthers(in *Input, p *Plan) {
	for _, h := range append(p.Givers(), in.To) {
		is := in.Cluster.holding(h)
		if is.done() {
			continue
		}
		for _, key := range []string{v1alpha1.AnnotationHandover, v1alpha1.AnnotationTakeover} {
			value := is.annotations[key]
			mine := h != in.To && key == v1alpha1.AnnotationHandover && value == in.To.Seen(h.Namespace) ||
				h == in.To && key == v1alpha1.AnnotationTakeover && sameSet(takeover.Read(h.key(), is.annotations).Takes, keysOf(p.Givers()))
			if value != "" && !mine {
				p.note(Blocked, h.String()+" "+key, fmt.Sprintf("It names %s: another takeover was asked for and is not over.", value), "Wait until it is Done, or take its annotations away, which rolls it back.")
			}
		}
	}
}
