package adopting

import (
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/diff"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
	"github.com/fairlead/fairlead/migrate/adopt"
	"github.com/fairlead/fairlead/migrate/imports"
)

// View is how far an adoption has come, and what comes next.
type View struct {
	*adopt.Report
	// Next is the step that --apply, or --undo --apply, would do; empty: none.
	Next adopt.Name `json:"next,omitempty"`
	Undo bool       `json:"undo,omitempty"`
	// Writes are what it writes first, and Waits what it waits for.
	Writes []Write  `json:"writes,omitempty"`
	Waits  []string `json:"waits,omitempty"`
	// Stops say why the step cannot be taken back.
	Stops []string `json:"stops,omitempty"`

	diff string
	// applied: something was written, or would have been.
	applied bool
}

// Write is one object that is written.
type Write struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Does is Create, Change or Delete.
	Does string `json:"does"`
}

func newView(r *adopt.Report, f *flags) (*View, error) {
	v := &View{Report: r, Undo: f.undo, applied: f.apply}
	step, move := chosen(r, f.undo)
	if step == nil {
		return v, nil
	}
	v.Next, v.Waits = step.Name, move.Waits
	if f.undo {
		v.Stops = move.Stop
	}
	if step.State == adopt.Blocked && !f.undo {
		return v, nil
	}
	var out strings.Builder
	for _, w := range move.Writes {
		o := w.Object()
		v.Writes = append(v.Writes, Write{o.GetKind(), o.GetNamespace(), o.GetName(), doesOf(w)})
		text, err := difference(w)
		if err != nil {
			return nil, err
		}
		out.WriteString(text)
	}
	v.diff = out.String()
	return v, nil
}

func doesOf(w adopt.Write) string {
	switch {
	case w.Before == nil:
		return "Create"
	case w.After == nil:
		return "Delete"
	}
	return "Change"
}

// chosen is the step that is to be done, or taken back, and its move.
func chosen(r *adopt.Report, undo bool) (*adopt.Step, *adopt.Move) {
	if undo {
		if s := r.Last(); s != nil {
			return s, &s.Back
		}
		return nil, nil
	}
	if s := r.Current(); s != nil {
		return s, &s.Forth
	}
	return nil, nil
}

func difference(w adopt.Write) (string, error) {
	var before, after string
	for _, x := range []struct {
		o  *unstructured.Unstructured
		to *string
	}{{w.Before, &before}, {w.After, &after}} {
		if x.o == nil {
			continue
		}
		text, err := imports.Manifest(x.o)
		if err != nil {
			return "", err
		}
		*x.to = string(text)
	}
	o := w.Object()
	name := o.GetKind() + " " + o.GetName()
	if ns := o.GetNamespace(); ns != "" {
		name = o.GetKind() + " " + ns + "/" + o.GetName()
	}
	return diff.Unified(name, before, after), nil
}

// Write shows the steps, what stands in the way, and what would be written.
func (v *View) Write(w io.Writer, wide bool) error {
	t := output.NewTable("", "STEP", "STATE", "WHAT")
	for i := range v.Steps {
		s := &v.Steps[i]
		t.Add(string(s.Name), string(s.State), s.What)
	}
	if err := t.Write(w, wide); err != nil {
		return err
	}
	var out strings.Builder
	for i := range v.Steps {
		for _, why := range v.Steps[i].Why {
			fmt.Fprintf(&out, "\n%s is blocked: %s", v.Steps[i].Name, why)
		}
	}
	for _, why := range v.Stops {
		fmt.Fprintf(&out, "\n%s cannot be taken back: %s", v.Next, why)
	}
	for _, n := range v.Missing {
		fmt.Fprintf(&out, "\nnote: %s", n)
	}
	for _, n := range v.Notes {
		if wide || v.Steps[0].State != adopt.Done {
			fmt.Fprintf(&out, "\nnote: %s", n)
		}
	}
	if out.Len() > 0 {
		out.WriteString("\n")
	}
	if v.diff != "" {
		out.WriteString("\n" + v.diff)
	}
	for _, x := range v.Waits {
		fmt.Fprintf(&out, "\n%s waits for %s", v.Next, x)
	}
	if len(v.Waits) > 0 {
		out.WriteString("\n")
	}
	if !v.applied {
		out.WriteString("\n" + v.last() + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// last says what comes next.
func (v *View) last() string {
	switch {
	case v.Undo && v.Next == "":
		return "There is nothing to take back."
	case v.Undo:
		return fmt.Sprintf("Nothing was written. --undo --apply takes %s back.", v.Next)
	case v.Next == "":
		return "All is done."
	case len(v.blocked()) > 0:
		return fmt.Sprintf("Nothing was written. Mend what blocks %s, and run it again.", v.Next)
	}
	return fmt.Sprintf("Nothing was written. --apply does %s, --all --apply goes on to the end.", v.Next)
}

// blocked are the sentences on what blocks the next step.
func (v *View) blocked() []string {
	if s := v.Step(v.Next); s != nil && s.State == adopt.Blocked {
		return s.Why
	}
	return nil
}
