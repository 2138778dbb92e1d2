package plan

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func planGatewayToGateway(in *Input, p *Plan) {
	gw := givingGateway(in, p)
	if gw == nil {
		return
	}
	to := in.Cluster.gateway(in.To.Name)
	switch {
	case to != nil && !checkClass(in, p, string(to.Spec.GatewayClassName), in.To.String()):
		return
	case to == nil && !in.Options.Create:
		p.note(Blocked, in.To.String(), "It does not exist.", "Add --create to have it made, or name one that exists.")
		return
	case to == nil:
		if to = gatewayLike(in, p, gw); to == nil {
			return
		}
		p.object(to, true)
	}
	checkSockets(in, p, listening(gw), listening(to))
	checkRoutes(in, p, to)
	grantTakeover(in, p)
	noteSharers(in, p, to.Annotations[annotationSharing])
	p.Summary = fmt.Sprintf("address %s moves from Gateway %s to Gateway %s", addressWords(p.Addresses), in.From.Name, in.To.Name)
}

// gatewayLike is a new Gateway with the listeners of another.
func gatewayLike(in *Input, p *Plan, gw *gatewayv1.Gateway) *gatewayv1.Gateway {
	class := in.Cluster.class(string(gw.Spec.GatewayClassName))
	if in.Options.Class != "" {
		if class = chooseClass(in, p); class == nil {
			return nil
		}
	}
	out := &gatewayv1.Gateway{ObjectMeta: metaOf(in.To.Name), Spec: *gw.Spec.DeepCopy()}
	out.TypeMeta = metav1.TypeMeta{APIVersion: gatewayv1.GroupVersion.String(), Kind: "Gateway"}
	if key := gw.Annotations[annotationSharing]; key != "" {
		out.Annotations = map[string]string{annotationSharing: key}
	}
	out.Spec.GatewayClassName = gatewayv1.ObjectName(class.Name)
	out.Spec.Addresses = nil
	for _, a := range p.Addresses {
		out.Spec.Addresses = append(out.Spec.Addresses, gatewayv1.GatewaySpecAddress{Type: new(gatewayv1.IPAddressType), Value: a.String()})
	}
	if in.To.Namespace != in.From.Namespace {
		elsewhere(in, p, gw)
	}
	return out
}

// elsewhere tells of what a Gateway refers to in its own namespace, which a copy in
// another one does not find.
func elsewhere(in *Input, p *Plan, gw *gatewayv1.Gateway) {
	if i := gw.Spec.Infrastructure; i != nil && i.ParametersRef != nil {
		p.note(Blocked, fmt.Sprintf("%s %s", i.ParametersRef.Kind, i.ParametersRef.Name), fmt.Sprintf("%s refers to it in its own namespace, and the new Gateway would look in %s.", in.From, in.To.Namespace),
			"Create the Gateway there yourself, with what it refers to, then leave out --create.")
	}
	for _, l := range gw.Spec.Listeners {
		if l.TLS == nil {
			continue
		}
		for _, ref := range l.TLS.CertificateRefs {
			if ref.Namespace == nil {
				p.note(Blocked, "listener "+string(l.Name), fmt.Sprintf("Its certificate %s is in namespace %s, and the new Gateway would look in %s.", ref.Name, gw.Namespace, in.To.Namespace),
					"Create the Gateway there yourself, with its certificates, then leave out --create.")
			}
		}
	}
}

// checkRoutes finds routes of the old Gateway that the new one would not serve.
func checkRoutes(in *Input, p *Plan, to *gatewayv1.Gateway) {
	var missing []string
	for _, r := range routesOf(&in.Cluster.Routes) {
		if r.names(in.From.Name) && !r.names(in.To.Name) {
			missing = append(missing, r.kind+" "+r.name.String())
		}
	}
	if len(missing) == 0 {
		return
	}
	slices.Sort(missing)
	p.note(Blocked, "routes", fmt.Sprintf("%s would not serve what %s does: %s do not name it.", in.To, in.From, strings.Join(missing, ", ")),
		fmt.Sprintf("Add a parentRef to each, beside the one that is there: name: %s, namespace: %s.", to.Name, to.Namespace))
}
