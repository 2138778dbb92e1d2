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
	takes, gives := takeover.Read(in.To.key(), to.annotations).Takes, takeover.Read(in.From.key(), from.annotations).Gives
	if !slices.Contains(gives, in.To.key()) || !slices.Contains(takes, in.From.key()) {
		return false
	}
	var others []Annotation
	for _, h := range in.Sharers() {
		is := in.Cluster.holding(h).annotations
		asks := slices.Contains(takeover.Read(h.key(), is).Gives, in.To.key()) && slices.Contains(takes, h.key())
		switch {
		case asks:
			others = append(others, Annotation{On: h, Key: v1alpha1.AnnotationHandover, Value: is[v1alpha1.AnnotationHandover]})
		case in.Options.WithSharers && h.Kind == Service && in.From.Kind == Service:
			return false
		}
	}
	for _, k := range gives {
		h := holderOf(k)
		is := in.Cluster.holding(h).annotations
		switch asks := slices.Contains(takeover.Read(k, is).Takes, in.From.key()); {
		case h == in.To:
		case asks:
			p.Beside = append(p.Beside, h)
			others = append(others, Annotation{On: h, Key: v1alpha1.AnnotationTakeover, Value: is[v1alpha1.AnnotationTakeover]})
		default:
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
		{On: in.From, Key: v1alpha1.AnnotationHandover, Value: from.annotations[v1alpha1.AnnotationHandover]},
		{On: in.To, Key: v1alpha1.AnnotationTakeover, Value: to.annotations[v1alpha1.AnnotationTakeover]},
	}
	p.Annotations = append(p.Annotations, others...)
	p.Summary = fmt.Sprintf("%s %s over from %s: it was asked for already", p.TakerWords(), inNumber("take", len(p.Takers())), takeover.Names(takes))
	p.Steps = []string{"Wait until it is done. To take either annotation away before that rolls back."}
	return true
}

// ask are the annotations that ask for a takeover. Those of the last one, the other
// way round, go: they would contradict it.
func ask(in *Input, p *Plan) []Annotation {
	var out []Annotation
	for _, h := range p.Givers() {
		out = append(out, Annotation{On: h, Key: v1alpha1.AnnotationHandover, Value: p.gives(h)})
	}
	for _, h := range p.Takers() {
		out = append(out, Annotation{On: h, Key: v1alpha1.AnnotationTakeover, Value: p.takes(h)})
	}
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
	for _, h := range p.Takers() {
		if in.Cluster.holding(h).annotations[v1alpha1.AnnotationHandover] != "" {
			out = append(out, Annotation{On: h, Key: v1alpha1.AnnotationHandover})
		}
	}
	return out
}

// takes is how one who takes over names all who hand over, and gives how one of those
// names all who take over.
func (p *Plan) takes(h Holder) string { return takeover.Words(keysOf(p.Givers()), h.Namespace) }
func (p *Plan) gives(h Holder) string { return takeover.Words(keysOf(p.Takers()), h.Namespace) }

// checkOthers finds takeovers with others that are not over.
func checkOthers(in *Input, p *Plan) {
	for _, h := range append(p.Givers(), p.Takers()...) {
		is := in.Cluster.holding(h)
		if is.done() {
			continue
		}
		for _, key := range []string{v1alpha1.AnnotationHandover, v1alpha1.AnnotationTakeover} {
			value := is.annotations[key]
			asks, takes := takeover.Read(h.key(), is.annotations), slices.Contains(p.Takers(), h)
			mine := !takes && key == v1alpha1.AnnotationHandover && sameSet(asks.Gives, keysOf(p.Takers())) ||
				takes && key == v1alpha1.AnnotationTakeover && sameSet(asks.Takes, keysOf(p.Givers()))
			if value != "" && !mine {
				p.note(Blocked, h.String()+" "+key, fmt.Sprintf("It names %s: another takeover was asked for and is not over.", value), "Wait until it is Done, or take its annotations away, which rolls it back.")
			}
		}
	}
}
