package imports

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Effect says what becomes of what a Note is about.
type Effect string

// The effects, the gravest first.
const (
	// Lost has no equal and is left out.
	Lost Effect = "Lost"
	// ToDo works once a person has done something.
	ToDo Effect = "ToDo"
	// Changed is imported, and means or does something else.
	Changed Effect = "Changed"
	// Needless is left out and not missed.
	Needless Effect = "Needless"
)

var effects = []Effect{Lost, ToDo, Changed, Needless}

// Note tells of something that is not imported as it stands.
type Note struct {
	Effect Effect `json:"effect"`
	// Object is the foreign one: "BGPPeer metallb-system/tor".
	Object string `json:"object"`
	// Field is the path in it; empty: all of it.
	Field string `json:"field,omitempty"`
	// Value is what stands there, shortened; never a password.
	Value string `json:"value,omitempty"`
	// Why and Instead are sentences: what is, and what to do.
	Why     string `json:"why"`
	Instead string `json:"instead,omitempty"`
}

// String is the Note in one line.
func (n Note) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%-8s %s", n.Effect, n.Object)
	if n.Field != "" {
		s.WriteString(" " + n.Field)
	}
	if n.Value != "" {
		s.WriteString("=" + n.Value)
	}
	s.WriteString(": " + n.Why)
	if n.Instead != "" {
		s.WriteString(" " + n.Instead)
	}
	return s.String()
}

// Result is what was imported.
type Result struct {
	Pools             []v1alpha1.IPAddressPool
	L2Advertisements  []v1alpha1.L2Advertisement
	BGPAdvertisements []v1alpha1.BGPAdvertisement
	Peers             []v1alpha1.BGPPeer
	Profiles          []v1alpha1.BFDProfile
	Communities       []v1alpha1.Community
	// Notes tell what is not imported as it stands, the gravest first.
	Notes []Note
	// Read counts the objects of the controller that were looked at.
	Read int
}

// Count is the number of Notes with an effect.
func (r *Result) Count(e Effect) int {
	n := 0
	for i := range r.Notes {
		if r.Notes[i].Effect == e {
			n++
		}
	}
	return n
}

func (r *Result) sortNotes() {
	slices.SortStableFunc(r.Notes, func(a, b Note) int {
		return cmp.Or(slices.Index(effects, a.Effect)-slices.Index(effects, b.Effect), strings.Compare(a.Object, b.Object), strings.Compare(a.Field, b.Field))
	})
}

// Objects are all that was made, in the order in which to create them.
func (r *Result) Objects() []runtime.Object {
	var out []runtime.Object
	for i := range r.Communities {
		out = append(out, &r.Communities[i])
	}
	for i := range r.Profiles {
		out = append(out, &r.Profiles[i])
	}
	for i := range r.Peers {
		out = append(out, &r.Peers[i])
	}
	for i := range r.Pools {
		out = append(out, &r.Pools[i])
	}
	for i := range r.BGPAdvertisements {
		out = append(out, &r.BGPAdvertisements[i])
	}
	for i := range r.L2Advertisements {
		out = append(out, &r.L2Advertisements[i])
	}
	return out
}

// YAML writes all objects as one stream of documents.
func (r *Result) YAML() ([]byte, error) {
	var out bytes.Buffer
	for i, o := range r.Objects() {
		if i > 0 {
			out.WriteString("---\n")
		}
		doc, err := Manifest(o)
		if err != nil {
			return nil, err
		}
		out.Write(doc)
	}
	return out.Bytes(), nil
}

// Manifest writes one object as a person would: without a status and without what
// only the API server fills in.
func Manifest(o runtime.Object) ([]byte, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("writing a %T: %w", o, err)
	}
	delete(m, "status")
	if meta, ok := m["metadata"].(map[string]any); ok {
		for _, k := range []string{"creationTimestamp", "managedFields", "resourceVersion", "uid", "generation"} {
			delete(meta, k)
		}
	}
	doc, err := yaml.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("writing a %T: %w", o, err)
	}
	return doc, nil
}
