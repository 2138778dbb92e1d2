package imports

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Source is a controller whose configuration can be imported.
type Source string

// The sources.
const (
	MetalLB Source = "metallb"
	KubeVip Source = "kube-vip"
	Cilium  Source = "cilium"
	PureLB  Source = "purelb"
	Calico  Source = "calico"
	OpenELB Source = "openelb"
)

// Sources are all of them.
func Sources() []Source { return []Source{MetalLB, KubeVip, Cilium, PureLB, Calico, OpenELB} }

// Read imports what of the objects is the source's. Objects of others are passed
// over. The objects are not changed.
func Read(source Source, objects []unstructured.Unstructured) (*Result, error) {
	r := &reader{taken: map[string]bool{}, names: map[string]string{}}
	for i := range objects {
		r.add(&objects[i])
	}
	switch source {
	case MetalLB:
		r.metallb()
	case KubeVip:
		r.kubeVip()
	case Cilium:
		r.cilium()
	case PureLB:
		r.purelb()
	case Calico:
		r.calico()
	case OpenELB:
		r.openelb()
	default:
		return nil, fmt.Errorf("%q is no controller whose configuration can be imported: name one of %v", source, Sources())
	}
	r.finish()
	return &r.result, nil
}

// reader imports from one source.
type reader struct {
	result Result
	all    []*object
	taken  map[string]bool   // names of ours, by kind
	names  map[string]string // of a foreign object to ours
}

// object is a foreign one.
type object struct {
	r                   *reader
	group, kind         string
	version             string
	namespace, name     string
	labels, annotations map[string]string
	root                *fields
	spec                *fields
	dropped             bool
}

func (r *reader) add(u *unstructured.Unstructured) {
	gvk := u.GroupVersionKind()
	o := &object{
		r: r, group: gvk.Group, version: gvk.Version, kind: gvk.Kind, namespace: u.GetNamespace(), name: u.GetName(),
		labels: u.GetLabels(), annotations: u.GetAnnotations(),
	}
	o.root = newFields(o, "", u.Object)
	for _, known := range []string{"apiVersion", "kind", "metadata", "status"} {
		o.root.take(known)
	}
	r.all = append(r.all, o)
}

func (o *object) String() string {
	if o.namespace == "" {
		return o.kind + " " + o.name
	}
	return o.kind + " " + o.namespace + "/" + o.name
}

func (o *object) note(e Effect, path string, value any, why, instead string) {
	o.r.result.Notes = append(o.r.result.Notes, Note{Effect: e, Object: o.String(), Field: path, Value: shown(value), Why: why, Instead: instead})
}

// unusable drops an object for one of its fields.
func (o *object) unusable(path string, value any, why, instead string) {
	o.dropped = true
	o.note(Lost, path, value, why+" So it is not imported.", instead)
}

// whole tells of an object that is not imported.
func (o *object) whole(e Effect, why, instead string) {
	o.root.left, o.root.parts = nil, nil
	o.note(e, "", nil, why, instead)
}

// of are the objects of a group and kind, with their specs opened.
func (r *reader) of(group, kind string) []*object {
	var out []*object
	for _, o := range r.all {
		if o.group != group || o.kind != kind {
			continue
		}
		if o.spec == nil {
			o.open()
		}
		out = append(out, o)
	}
	return out
}

func (o *object) open() {
	o.r.result.Read++
	if o.spec = o.root.sub("spec"); o.spec == nil {
		o.spec = newFields(o, "spec", nil)
	}
	if msgs := validation.IsDNS1123Subdomain(o.name); len(msgs) > 0 {
		o.unusable("metadata.name", o.name, "It is not a name.", "Give it one, and import again.")
	}
}

// leftovers tells what of the objects was not read.
func leftovers(objects []*object) {
	for _, o := range objects {
		if !o.dropped {
			o.root.rest()
		}
	}
}

// settle gives objects their names among ours of a kind, which are not in
// namespaces: the second of a name has its namespace before it.
func (r *reader) settle(kind string, objects []*object) {
	for _, o := range objects {
		if o.dropped {
			continue
		}
		name := r.claim(kind, o.name, o.namespace)
		if name != o.name {
			o.note(Changed, "metadata.name", o.name, fmt.Sprintf("Fairlead's objects are in no namespace, and another %s has this name.", kind),
				fmt.Sprintf("It is %s here, and what is imported refers to it so. Change annotations of Services that name it.", name))
		}
		r.names[reference(kind, o.namespace, o.name)] = name
	}
}

func reference(kind, namespace, name string) string { return kind + " " + namespace + "/" + name }

// claim takes a name that is still free.
func (r *reader) claim(kind, name, prefix string) string {
	name = capName(name)
	want := name
	if r.taken[kind+" "+want] && prefix != "" {
		want = capName(prefix + "-" + name)
	}
	base := want
	for i := 2; r.taken[kind+" "+want]; i++ {
		suffix := fmt.Sprintf("-%d", i)
		want = strings.TrimRight(base[:min(len(base), maxName-len(suffix))], "-.") + suffix
	}
	r.taken[kind+" "+want] = true
	return want
}

const maxName = 253

func capName(name string) string {
	if len(name) <= maxName {
		return name
	}
	return strings.TrimRight(name[:maxName], "-.")
}

// fit makes a name of what was written as something else.
func fit(text string) string {
	name := strings.Trim(strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.':
			return c
		case c >= 'A' && c <= 'Z':
			return c + ('a' - 'A')
		}
		return '-'
	}, text), "-.")
	name = capName(name)
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		name = strings.Trim(strings.ReplaceAll(name, ".", "-"), "-")
	}
	if name == "" {
		return "unnamed"
	}
	return name
}

// renamed are our names for foreign ones. A name without an object stays.
func (r *reader) renamed(kind, namespace string, names []string) []string {
	var out []string
	for _, n := range names {
		if ours, ok := r.names[reference(kind, namespace, n)]; ok {
			n = ours
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func meta(kind, name string) (metav1.TypeMeta, metav1.ObjectMeta) {
	return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}, metav1.ObjectMeta{Name: name}
}

// finish puts pools in the order in which they count where two overlap when all
// are created at once.
func (r *reader) finish() {
	slices.SortFunc(r.result.Pools, func(a, b v1alpha1.IPAddressPool) int { return strings.Compare(a.Name, b.Name) })
	r.checkPools()
	r.result.sortNotes()
}

// tools mark objects as theirs by these labels, and remove what bears one and is
// not in their sources.
var tools = []string{"app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "helm.sh/chart", "argocd.argoproj.io/instance", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"}

// labelsOf are the labels of a foreign object that ours has too.
func (o *object) labelsOf() map[string]string {
	var out map[string]string
	for k, v := range o.labels {
		if slices.ContainsFunc(tools, func(t string) bool { return k == t || strings.HasSuffix(t, "/") && strings.HasPrefix(k, t) }) {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = v
	}
	return out
}
