package chain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/fields"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/service"
)

// Service explains a Service.
func Service(s *Snapshot, svc *corev1.Service) *Report {
	r := &Report{Kind: service.KindService, Namespace: svc.Namespace, Name: svc.Name, About: aboutService(svc), Problems: []Problem{}, Partly: s.Partly}
	me := v1alpha1.HolderReference{Kind: service.KindService, Namespace: svc.Namespace, Name: svc.Name}
	held := s.Held(me)
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer && len(held) == 0 {
		r.wrong(fmt.Sprintf("The Service is of type %s and asks for no address.", svc.Spec.Type), "Set spec.type to LoadBalancer if it shall have one.")
		return r
	}
	if c := svc.Spec.LoadBalancerClass; c != nil && *c == fleet.LoadBalancerClass {
		r.standFor(s, svc)
		return r
	}
	r.askService(s, svc, held)
	r.takeover(svc.Status.Conditions)
	for _, a := range held {
		r.decide(s, a, me)
	}
	r.checkService(s, svc, held)
	r.showService(svc)
	if !s.Partly {
		r.compareStatus(svc, held)
	}
	for _, a := range held {
		r.announce(s, a)
	}
	r.serve(s, types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}, string(svc.Spec.ExternalTrafficPolicy), false)
	return r
}

// standFor explains the Service that the controller keeps for a Gateway: what it has
// is the Gateway's.
func (r *Report) standFor(s *Snapshot, svc *corev1.Service) {
	name := svc.Labels[gatewayv1.GatewayNameLabelKey]
	r.Asked = append(r.Asked, Asked{
		Value: "Gateway " + svc.Namespace + "/" + name, Origin: "its Service, kept by the controller",
		Note: fmt.Sprintf("see kubectl fairlead explain gateway -n %s %s", svc.Namespace, name),
	})
	r.showService(svc)
	r.serve(s, types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}, string(svc.Spec.ExternalTrafficPolicy), true)
}

func aboutService(svc *corev1.Service) string {
	var ports []string
	for _, p := range svc.Spec.Ports {
		ports = append(ports, fmt.Sprintf("%d/%s", p.Port, p.Protocol))
	}
	about := string(svc.Spec.Type)
	if c := svc.Spec.LoadBalancerClass; c != nil {
		about += "  class " + *c
	}
	return about + "  ports " + strings.Join(ports, ",")
}

// inPool tells whether an address lies in a pool.
func (s *Snapshot) inPool(a netip.Addr) bool {
	return slices.ContainsFunc(s.Pools, func(p v1alpha1.IPAddressPool) bool {
		set := announcer.FromPool(&p).Addresses
		return set != nil && set.Contains(a)
	})
}

// askService adds what a Service asks for, and what comes of each.
func (r *Report) askService(s *Snapshot, svc *corev1.Service, held []*v1alpha1.Address) {
	cfg := service.Config{Default: true}
	follows := Foreign(svc) && s.follows(svc, held)
	if follows {
		cfg.StatusClasses = []string{*svc.Spec.LoadBalancerClass}
	}
	reading := service.Read(svc, service.Surroundings{InPool: s.inPool}, cfg)
	counts := map[string]bool{reading.Claim.SharingKey.Origin: true}
	var asked []netip.Addr
	for _, w := range reading.Claim.Addresses {
		counts[w.Origin] = true
		asked = append(asked, w.Value)
	}
	for _, w := range reading.Claim.Pools {
		counts[w.Origin] = true
	}
	places := service.Places(svc)
	if follows {
		r.askStatus(svc, asked)
	} else if !slices.ContainsFunc(places, func(p service.Place) bool { return p.Asks == service.AsksAddresses || p.Asks == service.AsksPool }) {
		r.Asked = append(r.Asked, Asked{Value: "any address", Origin: "no field and no annotation asks for one"})
	}
	for _, p := range places {
		r.Asked = append(r.Asked, Asked{Value: shownValue(p), Origin: p.Where, Note: placeNote(p, counts[p.Where], asked, len(reading.Problems) > 0)})
	}
	for _, p := range reading.Problems {
		r.wrong(p.String(), "")
	}
}

func shownValue(p service.Place) string {
	if p.Asks == service.AsksAddresses || p.Asks == service.AsksIPFamilies {
		return strings.Trim(p.Value, "[] ")
	}
	return string(p.Asks) + " " + p.Value
}

// placeNote says what comes of a wish.
func placeNote(p service.Place, counts bool, asked []netip.Addr, unclear bool) string {
	deprecated := ""
	if p.Where == "spec.loadBalancerIP" {
		deprecated = "deprecated"
	}
	switch {
	case counts, p.Asks == service.AsksShareWith, p.Asks == service.AsksIPFamilies:
		return deprecated
	case unclear:
		return "not followed, see below"
	case p.Asks == service.AsksAddresses && same(p.Addresses, asked):
		return strings.TrimPrefix(deprecated+"; same, no clash", "; ")
	case p.Where == "spec.externalIPs" && len(asked) == 0:
		return "in no pool, so not Fairlead's: kube-proxy alone serves it"
	}
	return strings.TrimPrefix(deprecated+"; overridden", "; ")
}

func same(a, b []netip.Addr) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x netip.Addr) bool { return !slices.Contains(b, x) })
}

// checkService adds what the controller says is wrong, and why it may say nothing.
func (r *Report) checkService(s *Snapshot, svc *corev1.Service, held []*v1alpha1.Address) {
	conditions := svc.Status.Conditions
	address := meta.FindStatusCondition(conditions, service.ConditionAddress)
	switch {
	case Foreign(svc):
		r.checkForeign(s, svc, held)
	case address != nil && address.Reason == service.ReasonHandedOver: // the takeover says to whom
	case address != nil && (address.Status != metav1.ConditionTrue || address.Reason == service.ReasonKept):
		if len(r.Problems) == 0 { // the same problem of the wish, else
			r.wrong(address.Message, "")
		}
	case len(held) > 0 || address != nil:
	case svc.Spec.LoadBalancerClass == nil:
		r.wrong("No controller of Fairlead has taken the Service, which names no class.",
			"Either Fairlead serves only its own class (the chart's value services.defaultClass is false): make the Service with loadBalancerClass "+
				v1alpha1.LoadBalancerClass+"; or no controller leads: look at its pods.")
	default:
		r.wrong("No controller has taken the Service, although it is of Fairlead's class.", "Does the controller run, and does one lead? Look at its pods and log.")
	}
	if c := meta.FindStatusCondition(conditions, service.ConditionContested); c != nil && c.Status == metav1.ConditionTrue {
		r.wrong("Contested: "+c.Message, "")
	}
}

// showService adds what the status shows, and who wrote it.
func (r *Report) showService(svc *corev1.Service) {
	writers := fields.Writers(svc, "status", "status", "loadBalancer", "ingress")
	for _, e := range svc.Status.LoadBalancer.Ingress {
		r.Status = append(r.Status, Shown{Value: cmp.Or(e.IP, e.Hostname), Writers: writers, Note: writersNote(writers)})
	}
	if len(r.Status) == 0 {
		r.Status = append(r.Status, Shown{})
	}
}

// compareStatus says where the status and the ledger differ.
func (r *Report) compareStatus(svc *corev1.Service, held []*v1alpha1.Address) {
	me := v1alpha1.HolderReference{Kind: service.KindService, Namespace: svc.Namespace, Name: svc.Name}
	var shown []string
	for _, e := range r.Status {
		shown = append(shown, e.Value)
	}
	for _, a := range held {
		if h := holderOf(a, me); h.State == v1alpha1.AddressBound && !slices.Contains(shown, a.Spec.Address) {
			r.wrong(fmt.Sprintf("%s is the Service's and does not stand in its status.", a.Spec.Address),
				"If that lasts, another controller may take it out: see the writers of the status, and the controller's log.")
		}
	}
	if Foreign(svc) {
		return // the status is not Fairlead's to write
	}
	for _, value := range shown {
		if _, err := netip.ParseAddr(value); err == nil && !has(held, value) {
			r.wrong(fmt.Sprintf("%s stands in the status and is not the Service's in the ledger.", value),
				"Another controller wrote it, or has left it behind: "+writersNote(r.Status[0].Writers)+".")
		}
	}
}

func writersNote(writers []fields.Writer) string {
	switch {
	case len(writers) == 0:
		return "written by nobody that is known"
	case len(writers) == 1 && writers[0].Manager == v1alpha1.FieldManager:
		return "written by " + v1alpha1.FieldManager + "; nobody else wrote since"
	}
	var names []string
	for _, w := range writers {
		names = append(names, w.Manager)
	}
	return "written by " + strings.Join(names, ", before that by ")
}
