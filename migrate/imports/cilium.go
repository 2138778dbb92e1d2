package imports

import (
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

const (
	ciliumGroup = "cilium.io"
	// Cilium gives every Service these two labels when it compares selectors.
	ciliumNamespace = "io.kubernetes.service.namespace"
	ciliumName      = "io.kubernetes.service.name"
)

func (r *reader) cilium() {
	pools, l2 := r.of(ciliumGroup, "CiliumLoadBalancerIPPool"), r.of(ciliumGroup, "CiliumL2AnnouncementPolicy")
	r.settle("IPAddressPool", pools)
	r.settle("L2Advertisement", l2)
	for _, o := range pools {
		r.ciliumPool(o)
	}
	for _, o := range l2 {
		r.ciliumL2(o)
	}
	leftovers(pools)
	leftovers(l2)
	r.ciliumBGP()
	for _, o := range r.of(ciliumGroup, "CiliumBGPPeeringPolicy") {
		o.whole(Lost, "This kind of the first BGP control plane is not read.", "Move to CiliumBGPClusterConfig as Cilium's documentation says, or write BGPPeers.")
	}
	for _, o := range r.of(ciliumGroup, "CiliumBGPNodeConfigOverride") {
		o.whole(Lost, "It changes peers on one node.", "Write a BGPPeer for that node, with nodeSelectors, and leave the node out of the others.")
	}
	for _, kind := range []string{"CiliumBGPNodeConfig"} {
		for _, o := range r.of(ciliumGroup, kind) {
			o.whole(Needless, "Cilium writes it itself.", "")
		}
	}
}

func (r *reader) ciliumPool(o *object) {
	p := o.newPool(r.ours("IPAddressPool", o))
	ends := o.spec.text("allowFirstLastIPs") == "No"
	for _, b := range o.spec.subs("blocks") {
		cidr, start, stop := b.text("cidr"), b.text("start"), b.text("stop")
		switch {
		case cidr != "":
			if added, ok := b.addRange(&p, "cidr", cidr); ok && ends {
				excludeEnds(&p, added)
			}
		case start != "" && stop != "":
			b.addRange(&p, "start", start+"-"+stop)
		case start != "":
			b.addRange(&p, "start", start)
		}
	}
	if old := o.spec.subs("cidrs"); len(old) > 0 { // Cilium before 1.14
		for _, b := range old {
			b.addRange(&p, "cidr", b.text("cidr"))
		}
	}
	if off, _ := o.spec.flag("disabled"); off {
		p.Spec.AutoAssign = autoAssign(false)
		o.spec.note(Changed, "disabled", true, "A disabled pool gives nothing new; here its addresses can still be asked for by name.", "It has autoAssign: false. To empty it, set draining.")
	}
	if s := o.spec.selector("serviceSelector"); s != nil && len(s.MatchLabels)+len(s.MatchExpressions) > 0 {
		admit(&p, o.ciliumAllocation(s))
	}
	r.addPool(o, p)
}

// ciliumAllocation takes what a selector says of namespaces apart from the rest.
func (o *object) ciliumAllocation(s *metav1.LabelSelector) v1alpha1.ServiceAllocation {
	var out v1alpha1.ServiceAllocation
	services, namespaces := s.DeepCopy(), metav1.LabelSelector{}
	if ns, ok := services.MatchLabels[ciliumNamespace]; ok {
		delete(services.MatchLabels, ciliumNamespace)
		namespaces.MatchExpressions = append(namespaces.MatchExpressions, metav1.LabelSelectorRequirement{Key: namespaceLabel, Operator: metav1.LabelSelectorOpIn, Values: []string{ns}})
	}
	services.MatchExpressions = slices.DeleteFunc(services.MatchExpressions, func(e metav1.LabelSelectorRequirement) bool {
		if e.Key != ciliumNamespace {
			return false
		}
		e.Key = namespaceLabel
		namespaces.MatchExpressions = append(namespaces.MatchExpressions, e)
		return true
	})
	switch n := namespaces.MatchExpressions; {
	case len(n) == 1 && n[0].Operator == metav1.LabelSelectorOpIn:
		out.Namespaces = slices.Compact(slices.Sorted(slices.Values(n[0].Values)))
	case len(n) > 0:
		out.NamespaceSelectors = []metav1.LabelSelector{namespaces}
	}
	if len(services.MatchLabels)+len(services.MatchExpressions) > 0 {
		out.ServiceSelectors = []metav1.LabelSelector{*services}
		o.ciliumServiceName("spec.serviceSelector", services)
	}
	o.atMost("spec.serviceSelector", len(out.Namespaces), maxNamespaces)
	return out
}

// namespaceLabel is on every namespace, with its name.
const namespaceLabel = "kubernetes.io/metadata.name"

// ciliumServiceName tells of selectors by the name of a Service, which is no label
// of it.
func (o *object) ciliumServiceName(path string, s *metav1.LabelSelector) {
	if mentions(s, ciliumName) {
		o.note(ToDo, path, ciliumName, "Cilium gives Services this label in its mind; Fairlead sees only labels that they have.",
			"Label the Services so, or select them by a label that they have. Until then it selects none.")
	}
}

func mentions(s *metav1.LabelSelector, key string) bool {
	_, ok := s.MatchLabels[key]
	return ok || slices.ContainsFunc(s.MatchExpressions, func(e metav1.LabelSelectorRequirement) bool { return e.Key == key })
}

// ciliumServices reads the Services that an announcement is for. The namespace
// has no equal in an advertisement.
func (o *object) ciliumServices(path string, s *metav1.LabelSelector) []metav1.LabelSelector {
	if s == nil || len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		return nil
	}
	o.ciliumServiceName(path, s)
	if mentions(s, ciliumNamespace) {
		o.note(ToDo, path, ciliumNamespace, "An advertisement selects Services by labels that they have, not by their namespace.",
			"Give the namespace a pool of its own and name that in ipAddressPools. Until then it selects none.")
	}
	return []metav1.LabelSelector{*s}
}

func (r *reader) ciliumL2(o *object) {
	out := v1alpha1.L2Advertisement{}
	out.TypeMeta, out.ObjectMeta = meta("L2Advertisement", r.ours("L2Advertisement", o))
	balanced, _ := o.spec.flag("loadBalancerIPs")
	if external, _ := o.spec.flag("externalIPs"); external {
		o.spec.note(Changed, "externalIPs", true, "Fairlead announces spec.externalIPs only where a pool has the address and admits the namespace.", "Put such addresses into a pool.")
		balanced = true
	}
	if !balanced {
		o.whole(Needless, "It announces nothing: loadBalancerIPs is not true.", "")
		return
	}
	out.Spec.ServiceSelectors = o.ciliumServices("spec.serviceSelector", o.spec.selector("serviceSelector"))
	if s := o.spec.selector("nodeSelector"); s != nil && len(s.MatchLabels)+len(s.MatchExpressions) > 0 {
		out.Spec.NodeSelectors = []metav1.LabelSelector{*s}
	}
	out.Spec.Interfaces = o.matchedInterfaces("spec.interfaces", o.spec.texts("interfaces"))
	if !o.dropped {
		r.result.L2Advertisements = append(r.result.L2Advertisements, out)
	}
}

var (
	plainName  = regexp.MustCompile(`^\^?([A-Za-z0-9_-]{1,15})\$?$`)
	tailDigits = regexp.MustCompile(`\[0-9\]\+?\$?$|\\d\+?\$?$|\.[*+]\$?$`)
)

// matchedInterfaces reads regular expressions for names of interfaces, of which only
// plain names are kept.
func (o *object) matchedInterfaces(path string, written []string) []string {
	var out []string
	for _, s := range written {
		if m := plainName.FindStringSubmatch(s); m != nil {
			if !strings.HasPrefix(s, "^") || !strings.HasSuffix(s, "$") {
				o.note(Changed, path, s, "It is a regular expression that matches part of a name; here it is the name.", "Add the others that it matched.")
			}
			out = append(out, m[1])
			continue
		}
		instead := "Write out the names of the interfaces."
		if tailDigits.MatchString(s) {
			instead = "Write out the names, such as eth0 and eth1."
		}
		o.note(Lost, path, s, "Fairlead takes names of interfaces, not regular expressions.", instead)
	}
	if len(written) > 0 && len(out) == 0 {
		o.unusable(path, written, "Without a name it would announce on all interfaces.", "Write it by hand with the names.")
	}
	o.atMost(path, len(out), maxSelectors)
	return out
}
