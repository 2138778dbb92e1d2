package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// manner is how a referrer deals with a backend.
type manner struct {
	// speaks is what it would speak by itself; the Service's appProtocol may say
	// otherwise.
	speaks Protocol
	// ownRetries: see Backend.OwnRetries.
	ownRetries bool
}

// backend finds the port of a Service that a reference names, and adds it to the
// Model.
func (b *builder) backend(from groupKind, namespace string, ref gatewayv1.BackendObjectReference, how manner) (string, *verdict) {
	kind := kindService
	if ref.Group != nil {
		kind.group = string(*ref.Group)
	}
	if ref.Kind != nil {
		kind.kind = string(*ref.Kind)
	}
	target := Name{namespace, string(ref.Name)}
	if ref.Namespace != nil {
		target.Namespace = string(*ref.Namespace)
	}
	switch {
	case kind != kindService:
		return "", because(gatewayv1.RouteReasonInvalidKind, "Backends of kind %s are not supported. Refer to a Service.", kind)
	case !b.permitted(from, namespace, kindService, target):
		return "", because(gatewayv1.RouteReasonRefNotPermitted,
			"No ReferenceGrant in namespace %s lets a %s of namespace %s use Service %s.", target.Namespace, from.kind, namespace, target.Name)
	case ref.Port == nil:
		return "", because(gatewayv1.RouteReasonBackendNotFound, "The reference to Service %s names no port.", target)
	}
	svc := b.objects.Service(target)
	if svc == nil {
		return "", because(gatewayv1.RouteReasonBackendNotFound, "Service %s does not exist.", target)
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return "", because(gatewayv1.RouteReasonBackendNotFound, "Service %s is of type ExternalName, which is not followed: it would let a route reach what its namespace may not.", target)
	}
	port := servicePort(svc, *ref.Port, how.speaks)
	if port == nil {
		return "", because(gatewayv1.RouteReasonBackendNotFound, "Service %s has no port %d.", target, *ref.Port)
	}
	if udp := port.Protocol == corev1.ProtocolUDP; udp != (how.speaks == ProtocolUDP) {
		return "", because(gatewayv1.RouteReasonUnsupportedProtocol, "Port %d of Service %s is of protocol %s, which this route cannot use.", *ref.Port, target, port.Protocol)
	}
	return b.addBackend(Backend{
		Service: target, Port: uint16(*ref.Port), PortName: port.Name, Protocol: spoken(port, how.speaks),
		TLS: b.backendTLS(target, port, how.speaks), OwnRetries: how.ownRetries,
	}), nil
}

// servicePort finds a port by number: one number may be there twice, for TCP and
// for UDP.
func servicePort(svc *corev1.Service, number int32, speaks Protocol) *corev1.ServicePort {
	var found *corev1.ServicePort
	for i := range svc.Spec.Ports {
		p := &svc.Spec.Ports[i]
		if p.Port != number || p.Protocol == corev1.ProtocolSCTP {
			continue
		}
		if (p.Protocol == corev1.ProtocolUDP) == (speaks == ProtocolUDP) {
			return p
		}
		found = p
	}
	return found
}

// spoken is the protocol to a port: its appProtocol (KEP-3726), where the
// referrer speaks HTTP.
func spoken(p *corev1.ServicePort, speaks Protocol) Protocol {
	if speaks != ProtocolHTTP || p.AppProtocol == nil {
		return speaks
	}
	switch *p.AppProtocol {
	case "kubernetes.io/h2c":
		return ProtocolH2C
	case "kubernetes.io/ws", "kubernetes.io/wss":
		return ProtocolWebSocket
	}
	return speaks
}

// addBackend gives a backend its ID and notes it for what refers to it.
func (b *builder) addBackend(k Backend) string {
	k.ID = fmt.Sprintf("%s/%d/%s", k.Service, k.Port, strings.ToLower(string(k.Protocol)))
	if k.PortName != "" {
		k.ID += "/" + k.PortName
	}
	if k.TLS != nil {
		k.ID += "/tls-" + k.TLS.fingerprint()
	}
	if k.OwnRetries {
		k.ID += "/own-retries"
	}
	if !slices.ContainsFunc(b.reading.backends, func(have Backend) bool { return have.ID == k.ID }) {
		b.reading.backends = append(b.reading.backends, k)
	}
	return k.ID
}

// fingerprint tells ways of beginning TLS apart.
func (t *BackendTLS) fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%t\x00%s\x00%q\x00%t\x00%q\x00%s", t.Policy, t.Broken, t.ServerName, t.Authorities, t.System, t.SANs, t.ClientCertificate)
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// destination is a backendRef with its share. One that cannot be followed keeps
// its share, with no backend.
func (b *builder) destination(r *route, ref gatewayv1.BackendRef, ownRetries bool) Destination {
	d := Destination{Weight: 1}
	if ref.Weight != nil {
		d.Weight = uint32(max(*ref.Weight, 0))
	}
	id, problem := b.backend(r.groupKind(), r.name.Namespace, ref.BackendObjectReference, manner{speaks: r.speaks(), ownRetries: ownRetries})
	if problem != nil {
		r.fail(problem)
	}
	d.Backend = id
	return d
}

// policiesOf are the BackendTLSPolicies of a Service, those that come first by
// precedence first, read once and noted for what refers to the Service.
func (b *builder) policiesOf(service Name) []*policy {
	known, ok := b.policies[service]
	if !ok {
		known.seen = b.objects.noting(func() { known.value = b.readPolicies(service) })
		b.policies[service] = known
	}
	b.objects.note(known.seen)
	if len(known.value) > 0 && !slices.ContainsFunc(b.reading.policies, func(have governed) bool { return have.service == service }) {
		b.reading.policies = append(b.reading.policies, governed{service, known.value})
	}
	return known.value
}

func (b *builder) readPolicies(service Name) []*policy {
	var out []*policy
	list := slices.Clone(b.objects.Policies(service))
	slices.SortFunc(list, func(x, y *gatewayv1.BackendTLSPolicy) int { return older(&x.ObjectMeta, &y.ObjectMeta) })
	taken := map[string]*gatewayv1.BackendTLSPolicy{}
	for _, o := range list {
		out = append(out, b.readPolicy(o, service, taken)...)
	}
	return out
}

// policy is a BackendTLSPolicy as it applies to one target.
type policy struct {
	object  *gatewayv1.BackendTLSPolicy
	section string // the port's name; empty: all ports
	// rejected says why it does not apply, unresolved which reference is wrong.
	rejected, unresolved *verdict
	conflicted           bool
	authorities          []Authority
	system               bool
}

var policyReasons = caReasons{
	ref:  string(gatewayv1.BackendTLSPolicyReasonInvalidCACertificateRef),
	kind: string(gatewayv1.BackendTLSPolicyReasonInvalidKind),
}

// readPolicy reads a policy for each of its targets that is the Service. Of two
// for the same target the older applies (GEP-1897).
func (b *builder) readPolicy(o *gatewayv1.BackendTLSPolicy, service Name, taken map[string]*gatewayv1.BackendTLSPolicy) []*policy {
	var out []*policy
	for _, t := range o.Spec.TargetRefs {
		if t.Group != "" || t.Kind != "Service" || string(t.Name) != service.Name {
			continue
		}
		p := &policy{object: o}
		if t.SectionName != nil {
			p.section = string(*t.SectionName)
		}
		b.readAuthorities(p)
		if first := taken[p.section]; first != nil && first != o {
			p.conflicted = true
			p.rejected = because(gatewayv1.PolicyReasonConflicted, "BackendTLSPolicy %s, which is older or comes first by name, has the same target and applies instead.", first.Name)
		} else {
			taken[p.section] = o
		}
		out = append(out, p)
	}
	return out
}

// readAuthorities finds the CA certificates of a policy.
func (b *builder) readAuthorities(p *policy) {
	v := p.object.Spec.Validation
	if w := v.WellKnownCACertificates; w != nil && *w != "" {
		if *w == gatewayv1.WellKnownCACertificatesSystem {
			p.system = true
			return
		}
		p.rejected = because(gatewayv1.PolicyReasonInvalid, "wellKnownCACertificates %s is not supported. Use System.", *w)
		return
	}
	for _, ref := range v.CACertificateRefs {
		kind, target := groupKind{string(ref.Group), string(ref.Kind)}, Name{p.object.Namespace, string(ref.Name)}
		if kind == kindTrustBundle {
			target.Namespace = ""
		}
		a, problem := b.authority(kind, target, policyReasons)
		if problem != nil {
			if p.unresolved == nil {
				p.unresolved = problem
			}
			continue
		}
		p.authorities = addAuthority(p.authorities, a)
	}
	if len(p.authorities) == 0 {
		p.rejected = because(gatewayv1.BackendTLSPolicyReasonNoValidCACertificate,
			"None of the CA certificates can be used, so no connection to the backend is made. Mend validation.caCertificateRefs.")
	}
}

// backendTLS is how TLS to a port is begun; nil: not at all. A policy that names
// the port goes before one for the whole Service. One that is broken lets
// nothing through.
func (b *builder) backendTLS(service Name, port *corev1.ServicePort, speaks Protocol) *BackendTLS {
	if speaks == ProtocolUDP {
		return nil
	}
	var chosen *policy
	for _, p := range b.policiesOf(service) {
		if p.conflicted || p.section != "" && p.section != port.Name {
			continue
		}
		if chosen == nil || chosen.section == "" && p.section != "" {
			chosen = p
		}
	}
	if chosen == nil {
		return nil
	}
	v := chosen.object.Spec.Validation
	t := &BackendTLS{
		Policy: Name{chosen.object.Namespace, chosen.object.Name}, Broken: chosen.rejected != nil, ServerName: string(v.Hostname),
		Authorities: idsOf(chosen.authorities), System: chosen.system, ClientCertificate: b.clientCertificate,
	}
	for _, s := range v.SubjectAltNames {
		switch s.Type {
		case gatewayv1.HostnameSubjectAltNameType:
			t.SANs = append(t.SANs, SAN{DNS: string(s.Hostname)})
		case gatewayv1.URISubjectAltNameType:
			t.SANs = append(t.SANs, SAN{URI: string(s.URI)})
		}
	}
	return t
}
