package chain

import (
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/fields"
	"github.com/fairlead/fairlead/plural"
)

// Report is the chain of one Service, Gateway or address.
type Report struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// About says in a few words what it is: its type, class and ports.
	About     string      `json:"about,omitempty"`
	Asked     []Asked     `json:"asked,omitempty"`
	Decided   []Decided   `json:"decided,omitempty"`
	Status    []Shown     `json:"status,omitempty"`
	Announced []Announced `json:"announced,omitempty"`
	Endpoints []Endpoints `json:"endpoints,omitempty"`
	Listeners []Listener  `json:"listeners,omitempty"`
	Programs  []Condition `json:"conditions,omitempty"`
	// Problems are what stops it, the first cause first. None: nothing is wrong.
	Problems []Problem `json:"problems"`
	// Partly: not everything could be read.
	Partly bool `json:"partly,omitempty"`
}

// Asked is one thing that is asked for; of an address, one who has it.
type Asked struct {
	Value string `json:"value"`
	// Origin is the field or annotation.
	Origin string `json:"origin"`
	// Note says what comes of it, where that is not plain.
	Note string `json:"note,omitempty"`
}

// Decided is an address that was given, kept or set aside.
type Decided struct {
	Address string                `json:"address"`
	Pool    string                `json:"pool,omitempty"`
	State   v1alpha1.AddressState `json:"state"`
	Since   metav1.Time           `json:"since,omitzero"`
	// With are the other holders of the address.
	With []string `json:"with,omitempty"`
	// Note is the rest in words.
	Note string `json:"note,omitempty"`
	age  string
}

// Shown is an entry of the status, and who wrote the status.
type Shown struct {
	Value   string          `json:"value,omitempty"`
	Writers []fields.Writer `json:"writers,omitempty"`
	Note    string          `json:"note,omitempty"`
}

// Announced says who announces one address, or why nobody does.
type Announced struct {
	Address string                       `json:"address"`
	Layer2  *v1alpha1.Layer2Announcement `json:"layer2,omitempty"`
	// Next are the nodes next in line for layer 2.
	Next []string                  `json:"next,omitempty"`
	BGP  *v1alpha1.BGPAnnouncement `json:"bgp,omitempty"`
	// Reason and Message say why nobody does.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// Endpoints are those of one Service, or the Envoys of a Gateway.
type Endpoints struct {
	// Of is the Service, as NAMESPACE/NAME.
	Of          string `json:"of"`
	Envoys      bool   `json:"envoys,omitempty"`
	Policy      string `json:"externalTrafficPolicy,omitempty"`
	Ready       int    `json:"ready"`
	NotReady    int    `json:"notReady"`
	Terminating int    `json:"terminating"`
	// Nodes are where they are.
	Nodes []OnNode `json:"nodes,omitempty"`
}

// OnNode is how many endpoints a node has. Terminating ones still serve.
type OnNode struct {
	Node        string `json:"node"`
	Ready       int    `json:"ready"`
	NotReady    int    `json:"notReady,omitempty"`
	Terminating int    `json:"terminating,omitempty"`
}

// Listener is a listener of a Gateway.
type Listener struct {
	Name     string `json:"name"`
	Port     int32  `json:"port"`
	Protocol string `json:"protocol"`
	Hostname string `json:"hostname,omitempty"`
	Routes   int32  `json:"attachedRoutes"`
	Wrong    string `json:"wrong,omitempty"`
}

// Condition is one of the object itself.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
}

// Problem is something that is wrong, and what to do about it.
type Problem struct {
	What string `json:"what"`
	Do   string `json:"do,omitempty"`
}

func (r *Report) wrong(what, do string) {
	r.Problems = append(r.Problems, Problem{What: what, Do: do})
}

// kindAddress is the kind of a Report of an address.
const kindAddress = "Address"

// row is a line of a section.
type row struct{ value, note string }

// Write is the screen.
func (r *Report) Write(w io.Writer, _ bool) error {
	var out strings.Builder
	name := r.Name
	if r.Namespace != "" {
		name = r.Namespace + "/" + r.Name
	}
	out.WriteString(strings.TrimSpace(name+"  "+r.About) + "\n")
	asked := "asked"
	if r.Kind == kindAddress {
		asked = "held by"
	}
	sections := []struct {
		name string
		rows []row
	}{
		{asked, each(r.Asked, Asked.row)},
		{"decided", each(r.Decided, Decided.row)},
		{"status", each(r.Status, Shown.row)},
		{"", each(r.Programs, Condition.row)},
		{"listeners", each(r.Listeners, Listener.row)},
		{"announced", each(r.Announced, Announced.rows)},
		{"endpoints", each(r.Endpoints, Endpoints.row)},
	}
	width := 0
	for _, s := range sections {
		for _, line := range s.rows {
			width = max(width, min(len(line.value), maxValue))
		}
	}
	for _, s := range sections {
		for i, line := range s.rows {
			label := s.name
			if i > 0 {
				label = ""
			}
			out.WriteString(strings.TrimRight(fmt.Sprintf("  %-9s %-*s  %s", label, width, line.value, line.note), " ") + "\n")
		}
	}
	r.end(&out)
	_, err := io.WriteString(w, out.String())
	return err
}

// maxValue is the widest value that others are lined up with.
const maxValue = 40

// end says what is wrong.
func (r *Report) end(out *strings.Builder) {
	switch {
	case len(r.Problems) == 0 && r.Partly:
		out.WriteString("Nothing is wrong in what could be read.\n")
		return
	case len(r.Problems) == 0:
		out.WriteString("Nothing is wrong.\n")
		return
	}
	out.WriteString("Wrong:\n")
	for i, p := range r.Problems {
		for j, line := range wrapped(strings.TrimSpace(p.What+" "+p.Do), lineWidth) {
			number := fmt.Sprintf("%d.", i+1)
			if j > 0 {
				number = ""
			}
			fmt.Fprintf(out, "  %-3s%s\n", number, line)
		}
	}
}

// lineWidth is how wide sentences are written, which have no columns to keep.
const lineWidth = 110

// wrapped breaks a text between words.
func wrapped(text string, width int) []string {
	var out []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			out, line = append(out, line), word
		default:
			line += " " + word
		}
	}
	return append(out, line)
}

func each[T any, R row | []row](list []T, of func(T) R) []row {
	var out []row
	for _, item := range list {
		switch r := any(of(item)).(type) {
		case row:
			out = append(out, r)
		case []row:
			out = append(out, r...)
		}
	}
	return out
}

func (a Asked) row() row {
	note := a.Origin
	if a.Note != "" {
		note += ": " + a.Note
	}
	return row{a.Value, note}
}

func (d Decided) row() row {
	var parts []string
	switch {
	case d.Pool != "":
		parts = append(parts, "pool "+d.Pool)
	default:
		parts = append(parts, "in no pool")
	}
	if d.State != v1alpha1.AddressBound {
		parts = append(parts, string(d.State))
	}
	if d.age != "" {
		parts = append(parts, "since "+d.age)
	}
	if len(d.With) > 0 {
		parts = append(parts, "shared with "+strings.Join(d.With, ", "))
	}
	if d.Note != "" {
		parts = append(parts, d.Note)
	}
	return row{d.Address, strings.Join(parts, ", ")}
}

func (s Shown) row() row {
	value := s.Value
	if value == "" {
		value = "no address"
	}
	return row{value, s.Note}
}

func (c Condition) row() row {
	note := c.Reason
	if c.Message != "" {
		note += ": " + c.Message
	}
	return row{c.Type + " " + c.Status, note}
}

func (l Listener) row() row {
	value := fmt.Sprintf("%s %d/%s", l.Name, l.Port, l.Protocol)
	note := plural.Count(l.Routes, "route")
	if l.Hostname != "" {
		note = l.Hostname + ", " + note
	}
	if l.Wrong != "" {
		note += ": " + l.Wrong
	}
	return row{value, note}
}
