package adopt

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// bond ties an object to nodes that have a label, or that have it not.
type bond struct {
	label    string
	operator metav1.LabelSelectorOperator
}

// bondOf is that of a kind. Ours announce from nodes with the label, theirs from
// those without.
func bondOf(kind string, ours bool) bond {
	b := bond{v1alpha1.LabelAnnouncesBGP, metav1.LabelSelectorOpDoesNotExist}
	if ours {
		b.operator = metav1.LabelSelectorOpExists
	}
	if kind == "L2Advertisement" {
		b.label = v1alpha1.LabelAnnouncesLayer2
	}
	return b
}

func (b bond) in(s *metav1.LabelSelector) bool {
	return slices.ContainsFunc(s.MatchExpressions, b.is)
}

func (b bond) is(e metav1.LabelSelectorRequirement) bool {
	return e.Key == b.label && e.Operator == b.operator
}

// holds tells whether a list of node selectors is bound: none of them matches a node
// that the bond leaves out.
func (b bond) holds(list []metav1.LabelSelector) bool {
	return len(list) > 0 && !slices.ContainsFunc(list, func(s metav1.LabelSelector) bool { return !b.in(&s) })
}

// tie adds the bond to each selector. No selector stands for all nodes. The result
// matches no node that was not matched before.
func (b bond) tie(list []metav1.LabelSelector) []metav1.LabelSelector {
	if len(list) == 0 {
		list = []metav1.LabelSelector{{}}
	}
	out := make([]metav1.LabelSelector, 0, len(list))
	for i := range list {
		s := list[i].DeepCopy()
		if !b.in(s) {
			s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{Key: b.label, Operator: b.operator})
		}
		out = append(out, *s)
	}
	return out
}

// loose takes the bond out of each selector. One selector that says nothing more
// matches all nodes, as no selector does.
func (b bond) loose(list []metav1.LabelSelector) []metav1.LabelSelector {
	var out []metav1.LabelSelector
	for i := range list {
		s := list[i].DeepCopy()
		s.MatchExpressions = slices.DeleteFunc(s.MatchExpressions, b.is)
		if len(s.MatchExpressions) == 0 {
			s.MatchExpressions = nil
		}
		if len(s.MatchExpressions)+len(s.MatchLabels) > 0 {
			out = append(out, *s)
		} else if len(list) > 1 {
			return nil // one that matches all nodes is enough
		}
	}
	return out
}

// bindingOf are the node selectors of an object of ours that announces, and the bond of
// its kind; nil: it does not announce.
func bindingOf(o runtime.Object) (*[]metav1.LabelSelector, bond) {
	switch o := o.(type) {
	case *v1alpha1.L2Advertisement:
		return &o.Spec.NodeSelectors, bondOf("L2Advertisement", true)
	case *v1alpha1.BGPAdvertisement:
		return &o.Spec.NodeSelectors, bondOf("BGPAdvertisement", true)
	case *v1alpha1.BGPPeer:
		return &o.Spec.NodeSelectors, bondOf("BGPPeer", true)
	}
	return nil, bond{}
}

// Bound tells whether an object of Fairlead announces only from nodes that an adoption
// has labelled for it.
func Bound(o runtime.Object) bool {
	list, b := bindingOf(o)
	return list != nil && b.holds(*list)
}

// Bind has an object of Fairlead announce only from nodes that an adoption has labelled
// for it. It tells whether it is one that announces.
func Bind(o runtime.Object) bool {
	list, b := bindingOf(o)
	if list == nil {
		return false
	}
	*list = b.tie(*list)
	return true
}

const metallbGroup = "metallb.io"

// announces tells whether an object of MetalLB says from which nodes it announces.
func announces(o *unstructured.Unstructured) bool {
	return o.GroupVersionKind().Group == metallbGroup && announcesHere(o)
}

// selectorsOf are the node selectors of an object. Those that are none are dropped:
// the API server of the other does not take such.
func selectorsOf(o *unstructured.Unstructured) []metav1.LabelSelector {
	list, _, _ := unstructured.NestedSlice(o.Object, "spec", "nodeSelectors")
	var out []metav1.LabelSelector
	for _, v := range list {
		m, _ := v.(map[string]any)
		var s metav1.LabelSelector
		if runtime.DefaultUnstructuredConverter.FromUnstructured(m, &s) == nil {
			out = append(out, s)
		}
	}
	return out
}

// withSelectors is an object with other node selectors.
func withSelectors(o *unstructured.Unstructured, list []metav1.LabelSelector) *unstructured.Unstructured {
	o = o.DeepCopy()
	if len(list) == 0 {
		unstructured.RemoveNestedField(o.Object, "spec", "nodeSelectors")
		return o
	}
	values := make([]any, 0, len(list))
	for i := range list {
		m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&list[i])
		if err != nil {
			continue // of strings only
		}
		values = append(values, m)
	}
	spec, _ := o.Object["spec"].(map[string]any)
	if spec == nil {
		spec = map[string]any{}
	}
	spec["nodeSelectors"] = values
	o.Object["spec"] = spec
	return o
}

// Unbound are objects of another controller as they were before an adoption had them
// leave labelled nodes out.
func Unbound(list []unstructured.Unstructured) []unstructured.Unstructured {
	out := slices.Clone(list)
	for i := range out {
		if o := &out[i]; announces(o) {
			out[i] = *loosened(o, false)
		}
	}
	return out
}

func loosened(o *unstructured.Unstructured, ours bool) *unstructured.Unstructured {
	list := selectorsOf(o)
	b := bondOf(o.GetKind(), ours)
	if !slices.ContainsFunc(list, func(s metav1.LabelSelector) bool { return b.in(&s) }) {
		return o
	}
	return withSelectors(o, b.loose(list))
}

func tied(o *unstructured.Unstructured, ours bool) *unstructured.Unstructured {
	list := selectorsOf(o)
	b := bondOf(o.GetKind(), ours)
	if b.holds(list) {
		return o
	}
	return withSelectors(o, b.tie(list))
}

// matches tells whether one of the selectors matches; none matches everything.
func matches(list []metav1.LabelSelector, set map[string]string) bool {
	if len(list) == 0 {
		return true
	}
	return slices.ContainsFunc(list, func(s metav1.LabelSelector) bool {
		sel, err := metav1.LabelSelectorAsSelector(&s)
		return err == nil && sel.Matches(labels.Set(set))
	})
}
