package imports

import (
	"fmt"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	calicoHas   = regexp.MustCompile(`^(!?)\s*has\(\s*([^\s()]+)\s*\)$`)
	calicoEqual = regexp.MustCompile(`^([^\s'"!=]+)\s*(==|!=)\s*(?:'([^']*)'|"([^"]*)")$`)
	calicoIn    = regexp.MustCompile(`^(\S+)\s+(in|not\s+in)\s+\{([^}]*)\}$`)
)

// calicoSelector reads a selector in Calico's language, as far as Kubernetes has
// the same: terms that are joined by &&.
func calicoSelector(text string) (*metav1.LabelSelector, error) {
	out := &metav1.LabelSelector{}
	for term := range strings.SplitSeq(text, "&&") {
		e, err := calicoTerm(strings.TrimSpace(term))
		if err != nil {
			return nil, err
		}
		if e != nil {
			out.MatchExpressions = append(out.MatchExpressions, *e)
		}
	}
	if _, err := metav1.LabelSelectorAsSelector(out); err != nil {
		return nil, fmt.Errorf("it names what is no label")
	}
	return out, nil
}

func calicoTerm(term string) (*metav1.LabelSelectorRequirement, error) {
	if term == "all()" {
		return nil, nil
	}
	if m := calicoHas.FindStringSubmatch(term); m != nil {
		op := metav1.LabelSelectorOpExists
		if m[1] != "" {
			op = metav1.LabelSelectorOpDoesNotExist
		}
		return &metav1.LabelSelectorRequirement{Key: m[2], Operator: op}, nil
	}
	if m := calicoEqual.FindStringSubmatch(term); m != nil {
		op := metav1.LabelSelectorOpIn
		if m[2] == "!=" {
			op = metav1.LabelSelectorOpNotIn
		}
		return &metav1.LabelSelectorRequirement{Key: m[1], Operator: op, Values: []string{m[3] + m[4]}}, nil
	}
	if m := calicoIn.FindStringSubmatch(term); m != nil {
		out := &metav1.LabelSelectorRequirement{Key: m[1], Operator: metav1.LabelSelectorOpIn}
		if m[2] != "in" {
			out.Operator = metav1.LabelSelectorOpNotIn
		}
		for v := range strings.SplitSeq(m[3], ",") {
			out.Values = append(out.Values, strings.Trim(strings.TrimSpace(v), `'"`))
		}
		return out, nil
	}
	return nil, fmt.Errorf("the term %q has no equal", term)
}
