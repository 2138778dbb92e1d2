package plan

import (
	"fmt"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/migrate/takeover"
)

// Plan says how an address moves.
type Plan struct {
	From Holder `json:"from"`
	// Also are those who hand over together with From, with whom they share the
	// addresses.
	Also []Holder `json:"also,omitempty"`
	To   Holder   `json:"to"`
	// Beside are those who take over together with To, and share the addresses with it.
	Beside    []Holder     `json:"beside,omitempty"`
	Addresses []netip.Addr `json:"addresses"`
	// Until is the phase with which it is over: Done, or Shared where the old holder
	// keeps ports.
	Until string `json:"until"`
	// Underway is set where both holders have the annotations already: what is left
	// is to wait.
	Underway bool `json:"underway,omitempty"`
	// Summary is the plan in one line.
	Summary string `json:"summary"`
	// Objects are to be applied, in this order.
	Objects []Object `json:"objects,omitempty"`
	// Annotations are set when the objects are there, in this order.
	Annotations []Annotation `json:"annotations,omitempty"`
	Notes       []Note       `json:"notes,omitempty"`
	// Steps are what follows.
	Steps []string `json:"steps"`

	// of is whose way is being planned, where several hand over.
	of string
}

// Givers are all who hand over.
func (p *Plan) Givers() []Holder { return append([]Holder{p.From}, p.Also...) }

// GiverWords names all who hand over in a sentence.
func (p *Plan) GiverWords() string { return takeover.Names(keysOf(p.Givers())) }

// GiversDo is a verb for all who hand over, in their number.
func (p *Plan) GiversDo(verb string) string { return inNumber(verb, len(p.Givers())) }

// inNumber is a verb for so many.
func inNumber(verb string, n int) string {
	if n > 1 {
		return verb
	}
	return verb + "s"
}

// Takers are all who take over.
func (p *Plan) Takers() []Holder { return append([]Holder{p.To}, p.Beside...) }

// TakerWords names all who take over in a sentence.
func (p *Plan) TakerWords() string { return takeover.Names(keysOf(p.Takers())) }

// Object is an object of Kubernetes with nothing in it that is not to be applied.
type Object struct {
	// New is set when there is no such object yet.
	New bool `json:"new"`
	// Manifest is the object.
	Manifest map[string]any `json:"manifest"`
	// Before is what of an object that is there was applied so far.
	Before map[string]any `json:"-"`
}

// Annotation is one to be set on a holder; without a value, to be taken away.
type Annotation struct {
	On    Holder `json:"on"`
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Weight says how much a Note matters.
type Weight string

// The weights of notes, the heaviest first.
const (
	// Blocked: nothing can be done before this is mended.
	Blocked Weight = "Blocked"
	// Lost: something that the old holder did has no equal.
	Lost Weight = "Lost"
	// Changed: it is done in another way.
	Changed Weight = "Changed"
	// Stays: it stays as it is, with the old holder.
	Stays Weight = "Stays"
)

var weights = []Weight{Blocked, Lost, Changed, Stays}

// Note tells of something that is not simply the same afterwards.
type Note struct {
	Weight Weight `json:"weight"`
	// About is the field, or the object.
	About string `json:"about"`
	// Why says what it means, Do what to do; both are sentences.
	Why string `json:"why"`
	Do  string `json:"do,omitempty"`

	// of is whose note it is, where several hand over.
	of string
}

func (n Note) String() string {
	out := fmt.Sprintf("%s: %s", n.About, n.Why)
	if n.Do != "" {
		out += " " + n.Do
	}
	return out
}

// Blocks are the notes for which nothing can be done yet.
func (p *Plan) Blocks() []Note {
	var out []Note
	for _, n := range p.Notes {
		if n.Weight == Blocked {
			out = append(out, n)
		}
	}
	return out
}

func (p *Plan) note(w Weight, about, why, do string) {
	n := Note{Weight: w, About: about, Why: why, Do: do, of: p.of}
	if !slices.Contains(p.Notes, n) {
		p.Notes = append(p.Notes, n)
	}
}

// object takes an object into the plan, without its status and what the API
// server keeps.
func (p *Plan) object(o metav1.Object, isNew bool) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		p.note(Blocked, o.GetName(), fmt.Sprintf("It cannot be written: %v.", err), "This is an error of kubectl fairlead: please tell of it.")
		return
	}
	delete(m, "status")
	if meta, ok := m["metadata"].(map[string]any); ok {
		delete(meta, "creationTimestamp")
	}
	p.Objects = append(p.Objects, Object{New: isNew, Manifest: m})
}

// Make plans the way of an address. It never fails: what stands in the way is a
// Note.
func Make(in Input) *Plan {
	p := &Plan{From: in.From, To: in.To, Until: Done}
	if planUnderway(&in, p) {
		return p
	}
	switch {
	case in.From == in.To:
		p.note(Blocked, in.To.String(), "It has the address already: both ends are the same object.", "Name another holder.")
	case in.Options.WithSharers && in.From.Kind == in.To.Kind:
		p.note(Blocked, in.To.String(), "Only Services can move with those who share their address: to a Gateway, and back from it.", "Leave --with-sharers out.")
	case in.From.Kind == Service && in.To.Kind == Gateway:
		planServiceToGateway(&in, p)
	case in.From.Kind == Gateway && in.To.Kind == Service:
		planGatewayToService(&in, p)
	case in.From.Kind == Gateway:
		planGatewayToGateway(&in, p)
	default:
		planServiceToService(&in, p)
	}
	checkOthers(&in, p)
	checkPartOwner(&in, p)
	planDataplane(&in, p)
	planTakeover(&in, p)
	slices.SortStableFunc(p.Notes, func(a, b Note) int { return slices.Index(weights, a.Weight) - slices.Index(weights, b.Weight) })
	return p
}
