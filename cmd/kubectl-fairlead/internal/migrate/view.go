package migrate

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/migrate/drive"
	"github.com/fairlead/fairlead/migrate/plan"
)

// View is a plan, and what came of it.
type View struct {
	*plan.Plan
	// Result is there when the plan was carried out.
	Result *drive.Result `json:"result,omitempty"`

	diff string
	// ask: the plan was not carried out, and could be.
	ask bool
}

// Write shows the plan: in one line, what would be written, what is not simply the
// same afterwards, and with wide what follows step by step.
func (v *View) Write(w io.Writer, wide bool) error {
	var out strings.Builder
	if v.Summary != "" {
		fmt.Fprintf(&out, "plan      %s\n", v.Summary)
	}
	out.WriteString(v.diff)
	if len(v.Notes) > 0 {
		out.WriteString("\n")
	}
	for _, n := range v.Notes {
		fmt.Fprintf(&out, "%-9s %s\n", strings.ToLower(string(n.Weight)), n)
	}
	if wide {
		out.WriteString("\n")
		for i, s := range v.Steps {
			fmt.Fprintf(&out, "step %-4d %s\n", i+1, s)
		}
	}
	switch {
	case len(v.Blocks()) > 0:
		out.WriteString("\nNothing was written, and nothing can be before what is blocked is mended.\n")
	case v.ask:
		out.WriteString("\nNothing was written. Apply? Run it again with --apply.\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// differences are what a plan would change, as a diff.
func differences(ctx context.Context, d *drive.Driver, p *plan.Plan) (string, error) {
	var out strings.Builder
	for _, o := range p.Objects {
		c, err := d.Preview(ctx, o)
		if err != nil {
			return "", err
		}
		text, err := difference(o.Kind()+" "+o.Name().String(), c)
		if err != nil {
			return "", err
		}
		out.WriteString(text)
	}
	if p.Underway {
		return out.String(), nil
	}
	for _, a := range p.Annotations {
		sign, value := "+", ": "+a.Value
		if a.Value == "" {
			sign, value = "-", ""
		}
		fmt.Fprintf(&out, "%s annotation of %s: %s%s\n", sign, a.On, a.Key, value)
	}
	return out.String(), nil
}

func difference(name string, c drive.Change) (string, error) {
	before, err := lines(c.Before)
	if err != nil {
		return "", err
	}
	after, err := lines(c.After)
	if err != nil {
		return "", err
	}
	from := name
	if c.Before == nil {
		from = "(none)"
	}
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{A: before, B: after, FromFile: from, ToFile: name, Context: 3})
	if err != nil {
		return "", fmt.Errorf("comparing %s: %w", name, err)
	}
	return text, nil
}

func lines(o map[string]any) ([]string, error) {
	if o == nil {
		return nil, nil
	}
	text, err := yaml.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(text), "\n")+"\n", "\n"), nil
}
