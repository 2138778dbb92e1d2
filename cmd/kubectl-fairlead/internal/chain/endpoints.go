package chain

import (
	"fmt"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/plural"
)

// serve adds the endpoints of a Service, and says so where nobody can answer.
func (r *Report) serve(s *Snapshot, name types.NamespacedName, policy string, envoys bool) {
	e := count(s.Slices[name])
	e.Of, e.Envoys, e.Policy = name.String(), envoys, policy
	r.Endpoints = append(r.Endpoints, e)
	see := fmt.Sprintf("See: kubectl get endpointslices -n %s -l %s=%s.", name.Namespace, discoveryv1.LabelServiceName, name.Name)
	switch {
	case e.Ready > 0:
	case envoys:
		r.wrong("No Envoy serves the Gateway's listeners.", "Do the Envoys of its class run? See: kubectl get pods -A -l "+v1alpha1.LabelFleet+".")
	case s.Partly && len(s.Slices[name]) == 0:
	case e.NotReady+e.Terminating == 0:
		r.wrong(fmt.Sprintf("Service %s has no endpoints: nobody answers.", name), "Do its selector and the labels of the pods agree, and do the pods run? "+see)
	default:
		r.wrong(fmt.Sprintf("None of the %s of Service %s is ready: nobody answers.", plural.Count(e.NotReady+e.Terminating, "endpoint"), name), see)
	}
}

// count counts the endpoints in slices. An endpoint of a pod with addresses of two
// families counts once.
func count(list []discoveryv1.EndpointSlice) Endpoints {
	out := Endpoints{}
	nodes := map[string]*OnNode{}
	seen := map[string]bool{}
	for i := range list {
		for j := range list[i].Endpoints {
			e := &list[i].Endpoints[j]
			id := strings.Join(e.Addresses, ",")
			if e.TargetRef != nil {
				id = e.TargetRef.Kind + "/" + e.TargetRef.Namespace + "/" + e.TargetRef.Name
			}
			if seen[id] {
				continue
			}
			seen[id] = true
			node := ptr.Deref(e.NodeName, "")
			if nodes[node] == nil {
				nodes[node] = &OnNode{Node: node}
			}
			add(nodes[node], &e.Conditions)
		}
	}
	for _, n := range nodes {
		out.Ready, out.NotReady, out.Terminating = out.Ready+n.Ready, out.NotReady+n.NotReady, out.Terminating+n.Terminating
		out.Nodes = append(out.Nodes, *n)
	}
	slices.SortFunc(out.Nodes, func(a, b OnNode) int { return strings.Compare(a.Node, b.Node) })
	return out
}

func add(n *OnNode, c *discoveryv1.EndpointConditions) {
	switch {
	case ptr.Deref(c.Ready, true):
		n.Ready++
	case ptr.Deref(c.Terminating, false) && ptr.Deref(c.Serving, false):
		n.Terminating++
	default:
		n.NotReady++
	}
}

// row says how many endpoints there are, and where.
func (e Endpoints) row() row {
	what := "ready"
	if e.Envoys {
		what = "Envoys serve"
	}
	value := fmt.Sprintf("%d %s", e.Ready, what)
	if e.NotReady > 0 {
		value += fmt.Sprintf(", %d not ready", e.NotReady)
	}
	if e.Terminating > 0 {
		value += fmt.Sprintf(", %d ending", e.Terminating)
	}
	var on []string
	for _, n := range e.Nodes {
		if n.Ready > 0 {
			name := n.Node
			if name == "" {
				name = "no node"
			}
			on = append(on, fmt.Sprintf("%s %d", name, n.Ready))
		}
	}
	note := strings.Join(on, ", ")
	switch e.Policy {
	case "Cluster":
		note += " (Cluster: any node serves)"
	case "Local":
		note += " (Local: only these nodes serve)"
	}
	return row{value, strings.TrimSpace(note)}
}
