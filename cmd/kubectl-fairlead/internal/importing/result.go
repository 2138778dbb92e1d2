package importing

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/diff"
	"github.com/fairlead/fairlead/migrate/adopt"
	"github.com/fairlead/fairlead/migrate/forecast"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/plural"
)

// Import is what was made of a controller's configuration.
type Import struct {
	Source  string `json:"source"`
	Objects []any  `json:"objects"`
	// Notes tell what is not imported as it stands.
	Notes []imports.Note `json:"notes"`
	// Checked: the Services of the cluster were compared. Services is the number of
	// those that have an address, Differences are those that would not keep it.
	Checked     bool         `json:"checked"`
	Services    int          `json:"services"`
	Differences []Difference `json:"differences,omitempty"`
	// Bound are objects that announce from nodes only that an adoption has labelled: it is
	// underway, and ends that itself.
	Bound []string `json:"bound,omitempty"`

	made    *imports.Result
	objects []object
}

// Difference is a Service that would not keep its addresses.
type Difference struct {
	Service string           `json:"service"`
	Has     []string         `json:"has"`
	Gets    []string         `json:"gets,omitempty"`
	Verdict forecast.Verdict `json:"verdict"`
	Why     []string         `json:"why,omitempty"`
}

// object is one that was made, and what the cluster has of it.
type object struct {
	kind    string
	object  client.Object
	live    client.Object
	diff    string
	written bool
}

func newImport(source imports.Source, made *imports.Result) *Import {
	i := &Import{Source: string(source), Notes: made.Notes, made: made}
	for _, o := range made.Objects() {
		if c, ok := o.(client.Object); ok {
			i.objects = append(i.objects, object{kind: o.GetObjectKind().GroupVersionKind().Kind, object: c})
			i.Objects = append(i.Objects, o)
		}
	}
	return i
}

func difference(o *forecast.Outcome) Difference {
	d := Difference{Service: o.Service.String(), Verdict: o.Verdict, Why: o.Why}
	for _, a := range o.Has {
		d.Has = append(d.Has, a.String())
	}
	for _, a := range o.Gets {
		d.Gets = append(d.Gets, a.Address.String())
	}
	return d
}

// keepBonds has what announces do it from the nodes only that an adoption has labelled,
// as long as what is there does: the other controller announces from the rest. Where
// that holds for one, it holds for those that are not there yet.
func (i *Import) keepBonds() {
	underway := slices.ContainsFunc(i.objects, func(o object) bool { return o.live != nil && adopt.Bound(o.live) })
	for n := range i.objects {
		o := &i.objects[n]
		if (o.live != nil && adopt.Bound(o.live) || o.live == nil && underway) && adopt.Bind(o.object) {
			i.Bound = append(i.Bound, o.kind+" "+o.object.GetName())
		}
	}
}

// over puts an object over the one that is there: what the import says nothing of
// stays as it is there.
func (o *object) over() error {
	live := o.live
	want, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o.object)
	if err != nil {
		return fmt.Errorf("comparing %s %s: %w", o.kind, o.object.GetName(), err)
	}
	both, err := runtime.DefaultUnstructuredConverter.ToUnstructured(live)
	if err != nil {
		return fmt.Errorf("comparing %s %s: %w", o.kind, o.object.GetName(), err)
	}
	spec, _ := both["spec"].(map[string]any)
	if spec == nil {
		spec = map[string]any{}
		both["spec"] = spec
	}
	changes, _ := want["spec"].(map[string]any)
	maps.Copy(spec, changes)
	merged, ok := live.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("a %T cannot be written", live)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(both, merged); err != nil {
		return fmt.Errorf("comparing %s %s: %w", o.kind, o.object.GetName(), err)
	}
	if more := o.object.GetLabels(); len(more) > 0 {
		all := maps.Clone(more)
		for name, value := range live.GetLabels() {
			if _, ok := more[name]; !ok {
				all[name] = value
			}
		}
		merged.SetLabels(all)
	}
	o.object = merged
	return o.differ()
}

// differ shows how an object differs from the one that is there.
func (o *object) differ() error {
	before, err := imports.Manifest(o.live)
	if err != nil {
		return err
	}
	after, err := imports.Manifest(o.object)
	if err != nil {
		return err
	}
	o.diff = diff.Unified(o.kind+" "+o.object.GetName(), string(before), string(after))
	return nil
}

// pools are the imported pools as they would stand in the cluster.
func (i *Import) pools() []v1alpha1.IPAddressPool {
	var out []v1alpha1.IPAddressPool
	for n := range i.objects {
		if p, ok := i.objects[n].object.(*v1alpha1.IPAddressPool); ok {
			out = append(out, *p)
		}
	}
	return out
}

func (i *Import) wrong() bool {
	return i.made.Count(imports.Lost) > 0 || len(i.Differences) > 0
}

// Write shows the objects as manifests, with what is not imported as comments above
// them; what is not missed stands there with wide only.
func (i *Import) Write(w io.Writer, wide bool) error {
	var s strings.Builder
	fmt.Fprintf(&s, "# Imported from %s by kubectl fairlead import: %s.\n", i.Source, i.counts())
	for _, n := range i.Notes {
		if n.Effect != imports.Needless || wide {
			fmt.Fprintf(&s, "# %s\n", strings.ReplaceAll(n.String(), "\n", " "))
		}
	}
	text, err := i.made.YAML()
	if err != nil {
		return err
	}
	s.Write(text)
	_, err = io.WriteString(w, s.String())
	return err
}

func (i *Import) counts() string {
	m := i.made
	var parts []string
	for _, c := range []struct {
		n    int
		name string
	}{
		{len(m.Pools), "IPAddressPool"},
		{len(m.L2Advertisements), "L2Advertisement"},
		{len(m.BGPAdvertisements), "BGPAdvertisement"},
		{len(m.Peers), "BGPPeer"},
		{len(m.Profiles), "BFDProfile"},
		{len(m.Communities), "Community"},
	} {
		if c.n > 0 {
			parts = append(parts, plural.Count(c.n, c.name))
		}
	}
	if len(parts) == 0 {
		return fmt.Sprintf("nothing, of %s of it", plural.Count(m.Read, "object"))
	}
	return strings.Join(parts, ", ")
}

// summary tells people what they do not find in the manifests.
func (i *Import) summary(w io.Writer, applied bool) {
	m := i.made
	if m.Read == 0 {
		fmt.Fprintf(w, "There is nothing of %s: no object of its kinds was found.\n", i.Source)
	}
	fmt.Fprintf(w, "%d lost, %d to do, %d changed, %d needless (with -o wide); they stand above the manifests.\n",
		m.Count(imports.Lost), m.Count(imports.ToDo), m.Count(imports.Changed), m.Count(imports.Needless))
	if i.Checked {
		fmt.Fprintf(w, "%d of %s with an address keep it.\n", i.Services-len(i.Differences), plural.Count(i.Services, "Service"))
		for _, d := range i.Differences {
			fmt.Fprintf(w, "  %s has %s and would have %s (%s). %s\n", d.Service, strings.Join(d.Has, ","), orNone(strings.Join(d.Gets, ",")), d.Verdict, strings.Join(d.Why, " "))
		}
	}
	if len(i.Bound) > 0 {
		fmt.Fprintf(w, "An adoption is underway, so what announces does so only from nodes that it has labelled: %s. See how far it is: kubectl fairlead adopt %s.\n", strings.Join(i.Bound, ", "), i.Source)
	}
	written, open := 0, 0
	for n := range i.objects {
		if o := &i.objects[n]; o.live == nil || o.diff != "" {
			open++
		}
		if o := &i.objects[n]; o.diff != "" {
			fmt.Fprint(w, o.diff)
		}
		if i.objects[n].written {
			written++
		}
	}
	switch {
	case applied:
		fmt.Fprintf(w, "%s of %s written.\n", plural.Count(written, "object"), v1alpha1.GroupVersion.Group)
	case len(i.objects) > 0 && open == 0:
		fmt.Fprintln(w, "All of it is in the cluster already.")
	case len(i.objects) > 0:
		fmt.Fprintln(w, "Nothing was written: --apply creates the objects.")
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
