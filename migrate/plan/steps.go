package plan

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/plural"
)

// planDataplane says what the cluster's replacement of kube-proxy means.
func planDataplane(in *Input, p *Plan) {
	if !in.Cluster.RefusesSecondOwner || len(p.Addresses) == 0 {
		return
	}
	p.note(Lost, "kube-proxy", "Cilium replaces it here, and refuses a second Service with the same address and port. So in effect the order is remove, then add: between the two new connections are refused or get no answer, for about a second, and established ones may be cut.",
		"Choose a time at which that can be borne. If it does not get past Shared within --timeout, it is called back.")
}

// grantTakeover lets holders of other namespaces take from the giver, where there are any.
func grantTakeover(in *Input, p *Plan) {
	var spaces []string
	for _, h := range p.Takers() {
		if h.Namespace != in.From.Namespace && !slices.Contains(spaces, h.Namespace) {
			spaces = append(spaces, h.Namespace)
		}
	}
	if len(spaces) == 0 {
		return
	}
	slices.Sort(spaces)
	name := gateway.Name{Namespace: in.From.Namespace, Name: "takeover-" + in.From.Name.Name}
	g := &gatewayv1.ReferenceGrant{ObjectMeta: metaOf(name)}
	g.TypeMeta = metav1.TypeMeta{APIVersion: gatewayv1.GroupVersion.String(), Kind: "ReferenceGrant"}
	group := func(k Kind) gatewayv1.Group {
		if k == Gateway {
			return gatewayv1.GroupName
		}
		return ""
	}
	for _, space := range spaces {
		g.Spec.From = append(g.Spec.From, gatewayv1.ReferenceGrantFrom{Group: group(in.To.Kind), Kind: gatewayv1.Kind(in.To.Kind), Namespace: gatewayv1.Namespace(space)})
	}
	g.Spec.To = []gatewayv1.ReferenceGrantTo{{Group: group(in.From.Kind), Kind: gatewayv1.Kind(in.From.Kind), Name: new(gatewayv1.ObjectName(in.From.Name.Name))}}
	have := find(in.Cluster.Grants, name)
	if have != nil && have.Labels[labelManagedBy] != FieldManager {
		p.note(Blocked, "ReferenceGrant "+name.String(), "It exists, and was not made by kubectl fairlead.", "Rename it, and plan again.")
	}
	p.object(g, have == nil)
}

// planTakeover is what is done in every case once the objects are there.
func planTakeover(in *Input, p *Plan) {
	if len(p.Addresses) == 0 || len(p.Blocks()) > 0 {
		p.Steps = []string{"Nothing can be done yet: see the notes that are Blocked."}
		return
	}
	p.Annotations = ask(in, p)
	if len(p.Objects) > 0 {
		p.Steps = append(p.Steps, fmt.Sprintf("Write %s, as field manager %s.", objectWords(p.Objects), FieldManager))
	}
	var each []string
	for _, h := range p.Givers() {
		each = append(each, fmt.Sprintf("%s with %s=%s", h, v1alpha1.AnnotationHandover, p.gives(h)))
	}
	becomes := "becomes a second holder of %s in the ledger, and is made ready"
	if len(p.Beside) > 0 {
		becomes = "become further holders of %s in the ledger, and are made ready"
	}
	p.Steps = append(p.Steps, fmt.Sprintf("Annotate %s, and %s.", strings.Join(each, ", "), p.takeWords()))
	p.Steps = append(p.Steps, fmt.Sprintf("Prepared: %s "+becomes+".", p.TakerWords(), addressWords(p.Addresses)))
	if in.Cluster.RefusesSecondOwner {
		p.Steps = append(p.Steps, fmt.Sprintf("Shared: both statuses show the address. Cilium goes on with %s only.", p.GiverWords()))
	} else {
		serve := "both serve the address, until every node has both"
		if p.several() {
			serve = "all serve the address, until every node has all"
		}
		p.Steps = append(p.Steps, "Shared: "+serve+".")
	}
	switch {
	case p.Until == Shared:
	case in.Cluster.RefusesSecondOwner:
		p.Steps = append(p.Steps, fmt.Sprintf("Switched: %s %s the address up. From here new connections are lost until Cilium has taken up %s.", p.GiverWords(), p.GiversDo("give"), in.To), p.end())
	default:
		p.Steps = append(p.Steps, fmt.Sprintf("Switched: %s %s the address up. TCP connections that are open finish on their old way.", p.GiverWords(), p.GiversDo("give")), p.end())
	}
	either, both := "either", "both"
	if p.several() {
		either, both = "one", "all"
	}
	p.Steps = append(p.Steps, "Until then, to take "+either+" annotation away rolls back. When it is done "+both+" may go, and what you need no more of the old "+plural.Of(len(p.Givers()), "holder")+". The way back then: "+p.Back()+".")
}

// takeWords are the takers and how they ask: what differs where they are of several namespaces.
func (p *Plan) takeWords() string {
	var each []string
	same := true
	for _, h := range p.Takers() {
		each = append(each, fmt.Sprintf("%s with %s=%s", h, v1alpha1.AnnotationTakeover, p.takes(h)))
		same = same && p.takes(h) == p.takes(p.To)
	}
	if same {
		return fmt.Sprintf("%s with %s=%s", p.TakerWords(), v1alpha1.AnnotationTakeover, p.takes(p.To))
	}
	return strings.Join(each, ", ")
}

// several tells whether more than two take part.
func (p *Plan) several() bool { return len(p.Also)+len(p.Beside) > 0 }

// end is the last step.
func (p *Plan) end() string {
	return "Done: the ledger has the new " + plural.Of(len(p.Takers()), "holder") + " only."
}

// Back is the command that gives the address back after the end, to all who handed it
// over.
func (p *Plan) Back() string {
	back := Back(p.From, p.To)
	if p.several() {
		back = strings.TrimSuffix(back, "--apply") + "--with-sharers --apply"
	}
	return back
}

// Back is the command that gives an address back after the end.
func Back(from, to Holder) string {
	name := from.Name.Name
	if from.Namespace != to.Namespace {
		name = from.Name.String()
	}
	return fmt.Sprintf("kubectl fairlead migrate %s %s -n %s --to-%s %s --apply",
		strings.ToLower(string(to.Kind)), to.Name.Name, to.Namespace, strings.ToLower(string(from.Kind)), name)
}

func objectWords(objects []Object) string {
	var words []string
	for _, o := range objects {
		words = append(words, o.Kind()+" "+o.Name().String())
	}
	return strings.Join(words, ", ")
}

// Kind is the kind of the object.
func (o Object) Kind() string {
	kind, _ := o.Manifest["kind"].(string)
	return kind
}

// Name names the object.
func (o Object) Name() gateway.Name {
	m, _ := o.Manifest["metadata"].(map[string]any)
	name, _ := m["name"].(string)
	namespace, _ := m["namespace"].(string)
	return gateway.Name{Namespace: namespace, Name: name}
}
