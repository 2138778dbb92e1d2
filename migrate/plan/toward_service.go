package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/takeover"
)

// receiver is the Service that is to have the address; nil, with a note, where it
// cannot.
func receiver(in *Input, p *Plan) *corev1.Service {
	svc := in.Cluster.service(in.To.Name)
	switch {
	case svc == nil:
		p.note(Blocked, in.To.String(), "It does not exist.", "Create it, or name another one.")
	case svc.Spec.Type != corev1.ServiceTypeLoadBalancer:
		p.note(Blocked, in.To.String(), fmt.Sprintf("It is of type %s.", svc.Spec.Type),
			fmt.Sprintf("Make it one of type LoadBalancer: kubectl patch service %s -n %s -p '{\"spec\":{\"type\":\"LoadBalancer\",\"loadBalancerClass\":\"%s\"}}'.", svc.Name, svc.Namespace, v1alpha1.LoadBalancerClass))
	case svc.Spec.LoadBalancerClass != nil && *svc.Spec.LoadBalancerClass != v1alpha1.LoadBalancerClass:
		p.note(Blocked, in.To.String()+" spec.loadBalancerClass", fmt.Sprintf("Its class is %s, which is not Fairlead's, and a class cannot be changed.", *svc.Spec.LoadBalancerClass),
			fmt.Sprintf("Use a Service of class %s.", v1alpha1.LoadBalancerClass))
	default:
		checkFamilies(p, in.To, svc.Spec.IPFamilies)
		checkEmpty(p, in.To, svc)
		return svc
	}
	return nil
}

// checkEmpty sees to it that a Service that is to have the addresses has none: it
// could not keep both.
func checkEmpty(p *Plan, who Holder, svc *corev1.Service) {
	for _, i := range svc.Status.LoadBalancer.Ingress {
		if i.IP != "" && !slices.Contains(values(p.Addresses), i.IP) {
			do := fmt.Sprintf("Make it anew with the annotation %s=%s from the start", v1alpha1.AnnotationTakeover, p.From.Seen(who.Namespace))
			if p.From.Kind == Service {
				do += ", or name a Service that does not exist and add --create"
			}
			p.note(Blocked, who.String()+" status.loadBalancer", fmt.Sprintf("It has %s, and a Service can take over only while it has none.", i.IP), do+".")
		}
	}
}

// checkFamilies sees to it that a Service can have the addresses.
func checkFamilies(p *Plan, who Holder, families []corev1.IPFamily) {
	if len(families) == 0 {
		return
	}
	for _, a := range p.Addresses {
		if f := familyOf(a); !slices.Contains(families, f) {
			p.note(Blocked, who.String()+" spec.ipFamilies", fmt.Sprintf("%s is %s, which the Service does not have.", a, f), "Add the family with spec.ipFamilyPolicy: PreferDualStack.")
		}
	}
}

func familyOf(a netip.Addr) corev1.IPFamily {
	if a.Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

func planGatewayToService(in *Input, p *Plan) {
	gw := givingGateway(in, p)
	if gw == nil {
		return
	}
	svc := receiver(in, p)
	if svc == nil {
		return
	}
	planBeside(in, p, svc)
	var sockets []socket
	for _, h := range p.Takers() {
		sockets = append(sockets, socketsOf(in.Cluster.service(h.Name))...)
	}
	checkSockets(in, p, listening(gw), sockets)
	noteSharers(in, p, sharingKey(svc))
	grantTakeover(in, p)
	if p.Until == Done {
		p.note(Stays, in.From.String(), "The Gateway and its routes are left as they are; without the address nobody reaches them by it.", "Delete them when you need them no more.")
	}
	if slices.ContainsFunc(gw.Spec.Addresses, func(a gatewayv1.GatewaySpecAddress) bool { return slices.Contains(values(p.Addresses), a.Value) }) {
		p.note(Stays, in.From.String()+" spec.addresses", "They name the address still. The Gateway is given none while they name no other.", "To give it another address, ask for that there.")
	}
	p.Summary = fmt.Sprintf("address %s moves from Gateway %s to Service %s", addressWords(p.Addresses), gw.Name, svc.Name)
	if n := len(p.Takers()); n > 1 {
		p.Summary = fmt.Sprintf("address %s moves from Gateway %s to %d Services", addressWords(p.Addresses), gw.Name, n)
	}
}

// Companions are those who handed the address over together with the Service that is
// to get it back from a Gateway.
func (in *Input) Companions() []Holder {
	is := in.Cluster.holding(in.From)
	side := takeover.Read(in.From.key(), is.annotations)
	for _, all := range [][]allocator.Key{side.Takes, side.Gives} { // before, and once it is asked for
		if !slices.Contains(all, in.To.key()) {
			continue
		}
		var out []Holder
		for _, k := range all {
			if k != in.To.key() {
				out = append(out, holderOf(k))
			}
		}
		return out
	}
	return nil
}

// planBeside deals with those who handed the address over together with the Service
// that gets it back.
func planBeside(in *Input, p *Plan, svc *corev1.Service) {
	all := in.Companions()
	if in.Options.WithSharers && len(all) == 0 {
		p.note(Blocked, "--with-sharers", fmt.Sprintf("%s has not handed the address over to %s together with others.", in.To, in.From), "Leave it out.")
	}
	for _, h := range all {
		if !in.Options.WithSharers {
			p.note(Lost, h.String(), "It handed the address over too, and does not get it back.", "Give it back to all at once: add --with-sharers.")
			continue
		}
		if in.Cluster.service(h.Name) == nil {
			p.note(Stays, h.String(), "It handed the address over too, and is no more.", "")
			continue
		}
		one := *in
		one.To = h
		other := receiver(&one, p)
		if other == nil {
			continue
		}
		if key := sharingKey(svc); key == "" || sharingKey(other) != key {
			p.note(Blocked, h.String(), fmt.Sprintf("It handed the address over too, and could not share it with %s: its sharing key is %q, and that of the other %q.", in.To, sharingKey(other), key),
				"Give both the same fairlead.dev/sharing-key, or leave --with-sharers out.")
		}
		p.Beside = append(p.Beside, h)
	}
}

func values(list []netip.Addr) []string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = a.String()
	}
	return out
}

// isWish tells annotations by which a Service asks for addresses; a copy of the
// Service must not ask so.
func isWish(key string) bool {
	for _, prefix := range []string{"fairlead.dev/", "metallb.io/", "metallb.universe.tf/", "kube-vip.io/", "lbipam.cilium.io/", "io.cilium/", "purelb.io/", "projectcalico.org/", "loxilb.io/"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return key == corev1.LastAppliedConfigAnnotation
}

func planServiceToService(in *Input, p *Plan) {
	svc := giver(in, p)
	if svc == nil {
		return
	}
	key := sharingKey(svc)
	noteSharers(in, p, key)
	to := in.Cluster.service(in.To.Name)
	if to == nil && in.Options.Create {
		if in.Options.Class != "" && in.Options.Class != v1alpha1.LoadBalancerClass {
			p.note(Blocked, "--class", fmt.Sprintf("%s is not Fairlead's class, so it could not be given the address.", in.Options.Class), fmt.Sprintf("Leave it out: the Service gets %s.", v1alpha1.LoadBalancerClass))
		}
		if in.To.Namespace != in.From.Namespace {
			p.note(Blocked, in.To.String(), "A Service selects pods of its own namespace only, so a copy elsewhere would serve nothing.", "Name one in namespace "+in.From.Namespace+".")
		}
		to = copyOf(in, p, svc, key)
		p.object(to, true)
	} else if to = receiver(in, p); to == nil {
		return
	}
	checkSockets(in, p, socketsOf(svc), socketsOf(to))
	grantTakeover(in, p)
	p.Summary = fmt.Sprintf("address %s moves from Service %s to Service %s", addressWords(p.Addresses), svc.Name, to.Name)
}

// copyOf is a Service that does what another does, with Fairlead's class.
func copyOf(in *Input, p *Plan, svc *corev1.Service, key string) *corev1.Service {
	out := &corev1.Service{ObjectMeta: metaOf(in.To.Name), Spec: *svc.Spec.DeepCopy()}
	out.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}
	for k, v := range svc.Labels {
		if k != labelManagedBy {
			out.Labels[k] = v
		}
	}
	out.Annotations = map[string]string{v1alpha1.AnnotationAddresses: strings.Join(values(p.Addresses), ",")}
	for k, v := range svc.Annotations {
		if !isWish(k) {
			out.Annotations[k] = v
		}
	}
	if key != "" {
		out.Annotations[annotationSharing] = key
	}
	s := &out.Spec
	s.ClusterIP, s.ClusterIPs, s.LoadBalancerIP, s.ExternalIPs, s.HealthCheckNodePort = "", nil, "", nil, 0
	s.LoadBalancerClass = new(v1alpha1.LoadBalancerClass)
	for i := range s.Ports {
		s.Ports[i].NodePort = 0
	}
	if len(svc.Spec.Selector) == 0 {
		p.note(Blocked, in.From.String()+" spec.selector", "It has none: its endpoints are written by somebody, who will not write those of the copy.", "Make the new Service and its endpoints yourself, then leave out --create.")
	}
	return out
}
