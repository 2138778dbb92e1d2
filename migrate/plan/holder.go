package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/service"
)

// giver is the Service whose address is to move; nil, with a note, where it has
// none that Fairlead could move.
func giver(in *Input, p *Plan) *corev1.Service {
	svc := in.Cluster.service(in.From.Name)
	switch {
	case svc == nil:
		p.note(Blocked, in.From.String(), "It does not exist.", "Name a Service of type LoadBalancer, and its namespace with -n.")
		return nil
	case svc.Spec.Type != corev1.ServiceTypeLoadBalancer:
		p.note(Blocked, in.From.String(), fmt.Sprintf("It is of type %s and has no address to hand over.", svc.Spec.Type), "Name a Service of type LoadBalancer.")
		return nil
	case svc.Spec.LoadBalancerClass != nil && *svc.Spec.LoadBalancerClass != v1alpha1.LoadBalancerClass:
		p.note(Blocked, in.From.String()+" spec.loadBalancerClass",
			fmt.Sprintf("Its class is %s: another controller gives it its address, and goes on writing its status.", *svc.Spec.LoadBalancerClass),
			"Bring its address to Fairlead first (kubectl fairlead adopt).")
		return nil
	}
	has := service.Shown(svc)
	if len(has) == 0 {
		p.note(Blocked, in.From.String()+" status.loadBalancer", "It has no address yet, so there is nothing to hand over.", "See why: kubectl describe service "+svc.Name+" -n "+svc.Namespace+".")
		return nil
	}
	if in.From == p.From {
		p.Addresses = has
	}
	checkBooks(in, p)
	return svc
}

// givingGateway is the Gateway whose address is to move.
func givingGateway(in *Input, p *Plan) *gatewayv1.Gateway {
	gw := in.Cluster.gateway(in.From.Name)
	if gw == nil {
		p.note(Blocked, in.From.String(), "It does not exist.", "Name a Gateway, and its namespace with -n.")
		return nil
	}
	if !checkClass(in, p, string(gw.Spec.GatewayClassName), in.From.String()) {
		return nil
	}
	for _, e := range gw.Status.Addresses {
		a, err := netip.ParseAddr(e.Value)
		if err == nil && (e.Routability == nil || *e.Routability != gatewayv1.GatewayAddressRoutabilityCluster) {
			p.Addresses = append(p.Addresses, a.Unmap())
		}
	}
	if len(p.Addresses) == 0 {
		p.note(Blocked, in.From.String()+" status.addresses", "It has no address yet, so there is nothing to hand over.", "See why: kubectl describe gateway "+gw.Name+" -n "+gw.Namespace+".")
		return nil
	}
	checkBooks(in, p)
	return gw
}

// checkBooks sees to it that the ledger has the addresses for the holder: one
// that another controller gave cannot be moved.
func checkBooks(in *Input, p *Plan) {
	if in.Cluster.BooksClosed {
		return
	}
	for _, a := range p.Addresses {
		held := false
		for _, h := range holdersOf(&in.Cluster, a) {
			held = held || h == in.From
		}
		if !held {
			p.note(Blocked, a.String(), fmt.Sprintf("Fairlead's ledger does not have it for %s: another controller gave it, or it was not adopted yet.", in.From),
				"Bring it to Fairlead first (kubectl fairlead adopt), and see kubectl get addresses.")
		}
	}
}

func holdersOf(c *Cluster, a netip.Addr) []Holder {
	var out []Holder
	for _, o := range c.Addresses {
		if o.Spec.Address != a.String() {
			continue
		}
		for _, h := range o.Spec.Holders {
			out = append(out, referred(&h.HolderReference))
		}
	}
	return out
}

func referred(r *v1alpha1.HolderReference) Holder {
	return Holder{Kind: Kind(r.Kind), Name: gateway.Name{Namespace: r.Namespace, Name: r.Name}}
}

// sharers are the other holders of the addresses, sorted.
func sharers(in *Input, p *Plan) []Holder {
	var out []Holder
	for _, a := range p.Addresses {
		for _, h := range holdersOf(&in.Cluster, a) {
			if h != in.To && !slices.Contains(p.Givers(), h) && !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
	}
	slices.SortFunc(out, func(a, b Holder) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// noteSharers tells of those who keep the address.
func noteSharers(in *Input, p *Plan, key string) {
	others := sharers(in, p)
	if len(others) == 0 {
		return
	}
	names := make([]string, len(others))
	words := []string{in.From.Seen(in.To.Namespace)}
	for i, h := range others {
		names[i] = h.String()
		words = append(words, h.Seen(in.To.Namespace))
	}
	why := fmt.Sprintf("%s shares the address with %s, which keep it with their own ports.", in.From, strings.Join(names, ", "))
	slices.Sort(words)
	if in.From.Kind == Service && in.To.Kind == Gateway {
		do := fmt.Sprintf("They can follow to holders of their own when this is done. To move all to %s, do it at once: --with-sharers.", in.To)
		p.noteStaying(key, why, do)
		return
	}
	do := fmt.Sprintf("They can follow to holders of their own when this is done. To move all to %[1]s, do it at once, and not with this command: give it their ports and routes too, and set %[2]s=%[3]s on it, and %[4]s=%[5]s on each of them.",
		in.To, v1alpha1.AnnotationTakeover, strings.Join(words, ","), v1alpha1.AnnotationHandover, in.To.Seen(in.From.Namespace))
	p.noteStaying(key, why, do)
}

// noteStaying tells of sharers who stay, if the new holder can join them.
func (p *Plan) noteStaying(key, why, do string) {
	if key == "" {
		p.note(Blocked, "sharing", why+" No sharing key of it is known, so nobody can join.", "Give it one: the annotation "+v1alpha1.AnnotationSharingKey+".")
		return
	}
	p.note(Stays, "sharing", why, do)
}

// checkPartOwner finds that the new holder has a part of the address already: while it takes
// over another one it would serve neither.
func checkPartOwner(in *Input, p *Plan) {
	for _, o := range in.Cluster.Addresses {
		for i := range o.Spec.Holders {
			h := &o.Spec.Holders[i]
			is := referred(&h.HolderReference)
			a, err := netip.ParseAddr(o.Spec.Address)
			underway := h.Takeover != nil && h.Takeover.Phase != v1alpha1.TakeoverDone
			if err != nil || is != in.To || underway || !slices.Contains(p.Addresses, a) {
				continue
			}
			p.note(Blocked, "sharing", fmt.Sprintf("%s has %s already, and shares it with %s. While it took over the rest it would serve nothing there.", in.To, a, in.From),
				"Name another holder. To move all to one, give back what it has, and take over from all of them at once (see docs/takeover.md).")
		}
	}
}

// sharingKey is the key under which a Service shares its address, if it does.
func sharingKey(svc *corev1.Service) string {
	return service.Read(svc, service.Surroundings{}, service.Config{Default: true}).Claim.SharingKey.Value
}

// checkClass sees to it that Gateways of a class are Fairlead's.
func checkClass(in *Input, p *Plan, name, about string) bool {
	class := in.Cluster.class(name)
	switch {
	case class == nil:
		p.note(Blocked, about, fmt.Sprintf("Its GatewayClass %s does not exist.", name),
			fmt.Sprintf("Create one with controllerName %s.", gateway.ControllerName))
		return false
	case !gateway.Ours(class):
		p.note(Blocked, about, fmt.Sprintf("Its GatewayClass %s belongs to %s, not to Fairlead.", name, class.Spec.ControllerName),
			fmt.Sprintf("Use a Gateway whose class has controllerName %s.", gateway.ControllerName))
		return false
	}
	return true
}

// chooseClass is the GatewayClass of a new Gateway; nil, with a note, where it
// cannot be told.
func chooseClass(in *Input, p *Plan) *gatewayv1.GatewayClass {
	if name := in.Options.Class; name != "" {
		if !checkClass(in, p, name, in.To.String()) {
			return nil
		}
		return in.Cluster.class(name)
	}
	var ours []*gatewayv1.GatewayClass
	var names []string
	for _, c := range in.Cluster.Classes {
		if gateway.Ours(c) {
			ours, names = append(ours, c), append(names, c.Name)
		}
	}
	slices.Sort(names)
	switch len(ours) {
	case 1:
		return ours[0]
	case 0:
		p.note(Blocked, "GatewayClass", "There is none of Fairlead's.", fmt.Sprintf("Create one with controllerName %s.", gateway.ControllerName))
	default:
		p.note(Blocked, "GatewayClass", fmt.Sprintf("There are several of Fairlead's (%s).", strings.Join(names, ", ")), "Choose one with --class.")
	}
	return nil
}

func metaOf(n gateway.Name) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: n.Namespace, Name: n.Name, Labels: map[string]string{labelManagedBy: FieldManager}}
}

// labelManagedBy marks what a Plan has created.
const labelManagedBy = "app.kubernetes.io/managed-by"
