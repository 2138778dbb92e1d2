package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// certificate is one read from a Secret.
type certificate struct {
	Certificate
	names []string // DNS names it is good for, in lower case
}

// caKey is the key of CA certificates in a ConfigMap (Gateway API, GEP-1897).
const caKey = "ca.crt"

// examineTLS finds the certificates of a listener that ends TLS, and how it
// validates those of clients.
func (b *builder) examineTLS(l *listener) {
	if l.spec.TLS == nil || len(l.spec.TLS.CertificateRefs) == 0 {
		l.fail(because(gatewayv1.ListenerReasonInvalidCertificateRef, "The listener ends TLS and names no certificate. Set tls.certificateRefs."))
		return
	}
	for _, ref := range l.spec.TLS.CertificateRefs {
		id, problem := b.certificate(l.owner, ref, gatewayv1.ListenerReasonInvalidCertificateRef)
		if problem != nil {
			l.fail(problem)
			continue
		}
		l.certificates = appendNew(l.certificates, id)
	}
	if l.protocol() == gatewayv1.HTTPSProtocolType {
		b.examineFrontend(l)
	}
}

// fail notes a reference that cannot be followed; what is not permitted is told
// before all else.
func (l *listener) fail(v *verdict) {
	if l.unresolved == nil || v.reason == string(gatewayv1.ListenerReasonRefNotPermitted) && l.unresolved.reason != v.reason {
		l.unresolved = v
	}
}

// certificate reads the Secret that an owner refers to. Of another namespace
// without a grant nothing is told, not even whether it exists.
func (b *builder) certificate(from *owner, ref gatewayv1.SecretObjectReference, invalid gatewayv1.ListenerConditionReason) (string, *verdict) {
	kind := groupKind{kind: "Secret"}
	if ref.Group != nil {
		kind.group = string(*ref.Group)
	}
	if ref.Kind != nil {
		kind.kind = string(*ref.Kind)
	}
	if kind != kindSecret {
		return "", because(invalid, "Certificates of kind %s are not supported. Refer to a Secret of type kubernetes.io/tls.", kind)
	}
	target := Name{from.name.Namespace, string(ref.Name)}
	if ref.Namespace != nil {
		target.Namespace = string(*ref.Namespace)
	}
	if !b.permitted(from.kind, from.name.Namespace, kindSecret, target) {
		return "", because(gatewayv1.ListenerReasonRefNotPermitted,
			"No ReferenceGrant in namespace %s lets a %s of namespace %s use Secret %s.", target.Namespace, from.kind.kind, from.name.Namespace, target.Name)
	}
	id := "secret/" + target.String()
	if _, known := b.certificates[id]; known {
		return id, nil
	}
	secret := b.objects.Secret(target)
	if secret == nil {
		// Secrets of other types are not asked for: they are none of our business, and this may be one.
		return "", because(invalid, "There is no Secret %s of type %s.", target, corev1.SecretTypeTLS)
	}
	c, err := readCertificate(secret)
	if err != nil {
		return "", because(invalid, "Secret %s has no usable certificate: %v.", target, err)
	}
	c.ID = id
	b.certificates[id] = c
	return id, nil
}

func (k groupKind) String() string {
	if k.group == "" {
		return k.kind
	}
	return k.group + "/" + k.kind
}

// readCertificate reads a Secret as the API server types kubernetes.io/tls. What
// is not PEM, a key of another certificate, or a kind that it does not support,
// Envoy would reject with the whole listener.
func readCertificate(s *corev1.Secret) (certificate, error) {
	chain, key := s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]
	switch {
	case len(chain) == 0:
		return certificate{}, fmt.Errorf("%s is missing", corev1.TLSCertKey)
	case len(key) == 0:
		return certificate{}, fmt.Errorf("%s is missing", corev1.TLSPrivateKeyKey)
	}
	blocks, err := pemBlocks(chain)
	if err != nil {
		return certificate{}, fmt.Errorf("%s: %w", corev1.TLSCertKey, err)
	}
	all, err := certificatesIn(blocks)
	if err != nil {
		return certificate{}, fmt.Errorf("%s: %w", corev1.TLSCertKey, err)
	}
	if _, err := pemBlocks(key); err != nil {
		return certificate{}, fmt.Errorf("%s: %w", corev1.TLSPrivateKeyKey, err)
	}
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		return certificate{}, fmt.Errorf("%s and %s do not make a pair: %s", corev1.TLSCertKey, corev1.TLSPrivateKeyKey, strings.TrimPrefix(err.Error(), "tls: "))
	}
	leaf := all[0]
	if err := servable(leaf); err != nil {
		return certificate{}, err
	}
	c := certificate{Certificate: Certificate{Chain: chain, Key: key, NotAfter: leaf.NotAfter}}
	for _, n := range leaf.DNSNames {
		c.names = append(c.names, strings.ToLower(n))
	}
	return c, nil
}

// readBundle says what is wrong with PEM that should hold CA certificates.
func readBundle(text string) error {
	blocks, err := pemBlocks([]byte(text))
	if err != nil {
		return err
	}
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("it holds a %s where only certificates belong", block.Type)
		}
	}
	if len(blocks) == 0 {
		return errors.New("it holds no PEM certificate")
	}
	_, err = certificatesIn(blocks)
	return err
}

// The two ways in which a reference to CA certificates is wrong; the reasons for
// it differ by who refers.
type caReasons struct{ ref, kind string }

// authority reads CA certificates from a ConfigMap or a ClusterTrustBundle.
func (b *builder) authority(kind groupKind, target Name, why caReasons) (Authority, *verdict) {
	switch kind {
	case kindConfigMap:
		return b.readOnce("configmap/"+target.String(), why, func() (text, where string, problem *verdict) {
			cm := b.objects.ConfigMap(target)
			if cm == nil {
				return "", "", because(why.ref, "ConfigMap %s does not exist.", target)
			}
			return cm.Data[caKey], fmt.Sprintf("%s of ConfigMap %s", caKey, target), nil
		})
	case kindTrustBundle:
		return b.readOnce("clustertrustbundle/"+target.Name, why, func() (text, where string, problem *verdict) {
			text, ok, served := b.objects.TrustBundle(target.Name)
			switch {
			case !served:
				return "", "", because(why.kind, "This cluster has no ClusterTrustBundles. Refer to a ConfigMap with the key %s.", caKey)
			case !ok:
				return "", "", because(why.ref, "ClusterTrustBundle %s does not exist.", target.Name)
			}
			return text, "ClusterTrustBundle " + target.Name, nil
		})
	}
	return Authority{}, because(why.kind, "CA certificates of kind %s are not supported. Refer to a ConfigMap with the key %s.", kind, caKey)
}

// readOnce reads CA certificates once for all that refer to them. Look finds them
// and says where they are.
func (b *builder) readOnce(id string, why caReasons, look func() (text, where string, problem *verdict)) (Authority, *verdict) {
	if known, ok := b.authorities[id]; ok {
		b.objects.note(known.seen)
		return known.value, nil
	}
	var text, where string
	var problem *verdict
	seen := b.objects.noting(func() { text, where, problem = look() })
	b.objects.note(seen)
	if problem != nil {
		return Authority{}, problem
	}
	if err := readBundle(text); err != nil {
		return Authority{}, because(why.ref, "%s has no usable CA certificates: %v.", where, err)
	}
	a := Authority{ID: id, Bundle: []byte(text)}
	b.authorities[id] = found[Authority]{value: a, seen: seen}
	return a, nil
}

// addAuthority adds one that is not among those there are.
func addAuthority(list []Authority, a Authority) []Authority {
	if slices.ContainsFunc(list, func(have Authority) bool { return have.ID == a.ID }) {
		return list
	}
	return append(list, a)
}

func idsOf(list []Authority) []string {
	var out []string
	for _, a := range list {
		out = append(out, a.ID)
	}
	return out
}

var frontendReasons = caReasons{
	ref:  string(gatewayv1.ListenerReasonInvalidCACertificateRef),
	kind: string(gatewayv1.ListenerReasonInvalidCACertificateKind),
}

// examineFrontend applies the Gateway's rules on client certificates to an HTTPS
// listener: those of its port, else the default (GEP-91).
func (b *builder) examineFrontend(l *listener) {
	v := b.frontend(l.spec.Port)
	if v == nil {
		return
	}
	gw := b.owners[0]
	client := &ClientValidation{InsecureFallback: v.Mode == gatewayv1.AllowInsecureFallback}
	for _, ref := range v.CACertificateRefs {
		kind := groupKind{string(ref.Group), string(ref.Kind)}
		target := Name{gw.name.Namespace, string(ref.Name)}
		if kind == kindTrustBundle {
			target.Namespace = ""
		} else if ref.Namespace != nil {
			target.Namespace = string(*ref.Namespace)
		}
		if kind != kindTrustBundle && !b.permitted(gw.kind, gw.name.Namespace, kind, target) {
			l.fail(because(gatewayv1.ListenerReasonRefNotPermitted,
				"No ReferenceGrant in namespace %s lets a Gateway of namespace %s use %s %s.", target.Namespace, gw.name.Namespace, kind.kind, target.Name))
			continue
		}
		a, problem := b.authority(kind, target, frontendReasons)
		if problem != nil {
			l.fail(problem)
			continue
		}
		client.Authorities = appendNew(client.Authorities, a.ID)
		b.trusted = addAuthority(b.trusted, a)
	}
	if len(client.Authorities) == 0 {
		l.rejected = because(gatewayv1.ListenerReasonNoValidCACertificate,
			"None of the CA certificates for validating clients on port %d can be used, so no client is let in. Mend spec.tls.frontend of the Gateway.", l.spec.Port)
		return
	}
	l.client = client
}

// frontend is the validation of clients on a port; nil: none.
func (b *builder) frontend(port gatewayv1.PortNumber) *gatewayv1.FrontendTLSValidation {
	t := b.in.Gateway.Spec.TLS
	if t == nil || t.Frontend == nil {
		return nil
	}
	i := slices.IndexFunc(t.Frontend.PerPort, func(p gatewayv1.TLSPortConfig) bool { return p.Port == port })
	if i >= 0 {
		return t.Frontend.PerPort[i].TLS.Validation
	}
	return t.Frontend.Default.Validation
}

// clientCertificate is what the Gateway shows to backends; empty: nothing.
func (b *builder) findClientCertificate() {
	t := b.in.Gateway.Spec.TLS
	if t == nil || t.Backend == nil || t.Backend.ClientCertificateRef == nil {
		return
	}
	id, problem := b.certificate(b.owners[0], *t.Backend.ClientCertificateRef, gatewayv1.ListenerConditionReason(gatewayv1.GatewayReasonInvalidClientCertificateRef))
	b.clientCertificate, b.unresolved = id, problem
}
