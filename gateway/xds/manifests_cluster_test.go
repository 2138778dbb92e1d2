package xds_test

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
)

// cluster is what manifests refer to; it is the gateway.Objects of a drawn Gateway.
type cluster struct {
	secrets  map[string]map[string][]byte // in every namespace, by name
	bundles  map[string]string            // in every namespace, by name
	services map[gateway.Name]*corev1.Service
	grants   []*gatewayv1.ReferenceGrant
	policies []*gatewayv1.BackendTLSPolicy
}

var namespaces = []string{"infra", "app", "other"}

func (c *cluster) Namespace(name string) (map[string]string, bool) {
	return map[string]string{"name": name}, slices.Contains(namespaces, name)
}

func (c *cluster) Secret(n gateway.Name) *corev1.Secret {
	data, ok := c.secrets[n.Name]
	if !ok {
		return nil
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: n.Namespace, Name: n.Name}, Data: data}
}

func (c *cluster) ConfigMap(n gateway.Name) *corev1.ConfigMap {
	text, ok := c.bundles[n.Name]
	if !ok {
		return nil
	}
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: n.Namespace, Name: n.Name}, Data: map[string]string{"ca.crt": text}}
}

func (c *cluster) Service(n gateway.Name) *corev1.Service { return c.services[n] }

func (c *cluster) Grants(namespace string) []*gatewayv1.ReferenceGrant {
	return slices.DeleteFunc(slices.Clone(c.grants), func(g *gatewayv1.ReferenceGrant) bool { return g.Namespace != namespace })
}

func (c *cluster) Policies(service gateway.Name) []*gatewayv1.BackendTLSPolicy {
	return slices.DeleteFunc(slices.Clone(c.policies), func(p *gatewayv1.BackendTLSPolicy) bool {
		return p.Namespace != service.Namespace || !slices.ContainsFunc(p.Spec.TargetRefs, func(t gatewayv1.LocalPolicyTargetReferenceWithSectionName) bool {
			return string(t.Name) == service.Name
		})
	})
}

func (c *cluster) TrustBundle(name string) (pem string, ok, served bool) {
	pem, ok = c.bundles[name]
	return pem, ok, name != "a"
}

// newCluster has certificates and Services of every kind that there is.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{secrets: pairs(t), bundles: authorities(t), services: map[gateway.Name]*corev1.Service{}}
	for _, namespace := range namespaces {
		for _, name := range []string{"web", "grpc", "dns"} {
			c.services[gateway.Name{Namespace: namespace, Name: name}] = &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
				Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
					{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP},
					{Name: "h2c", Port: 81, Protocol: corev1.ProtocolTCP, AppProtocol: new("kubernetes.io/h2c")},
					{Name: "ws", Port: 82, Protocol: corev1.ProtocolTCP, AppProtocol: new("kubernetes.io/wss")},
					{Name: "udp", Port: 80, Protocol: corev1.ProtocolUDP},
					{Name: "sctp", Port: 83, Protocol: corev1.ProtocolSCTP},
					{Port: 65535, Protocol: corev1.ProtocolTCP, AppProtocol: new("what?")},
				}},
			}
		}
		external := gateway.Name{Namespace: namespace, Name: "external"}
		c.services[external] = &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "external"},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com", Ports: []corev1.ServicePort{{Port: 80}}},
		}
	}
	return c
}

// with is the same cluster with grants and policies.
func (c *cluster) with(grants []*gatewayv1.ReferenceGrant, policies []*gatewayv1.BackendTLSPolicy) *cluster {
	out := *c
	out.grants, out.policies = grants, policies
	return &out
}

// odd is a certificate that is not as usual.
type odd struct {
	key             crypto.Signer // nil: P-256
	from, to        time.Duration // 0: an hour, around now
	extensions      []pkix.Extension
	signer          *ca // nil: itself
	names           []string
	withoutPurposes bool
}

// certify gives the certificate and its key in DER.
func (o odd) certify(t testing.TB) (cert, key []byte) {
	t.Helper()
	if o.key == nil {
		o.key = ecKey(t)
	}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "odd"}, DNSNames: o.names, ExtraExtensions: o.extensions,
		NotBefore: time.Now().Add(cmp.Or(o.from, -time.Hour)), NotAfter: time.Now().Add(cmp.Or(o.to, time.Hour)),
	}
	if !o.withoutPurposes {
		template.KeyUsage = x509.KeyUsageDigitalSignature
	}
	parent, sign := template, o.key
	if o.signer != nil {
		parent, sign = o.signer.cert, o.signer.key
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, parent, o.key.Public(), sign)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = x509.MarshalPKCS8PrivateKey(o.key); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// pair is a Secret's data.
func pair(chain, key string) map[string][]byte {
	return map[string][]byte{corev1.TLSCertKey: []byte(chain), corev1.TLSPrivateKeyKey: []byte(key)}
}

func mustStaple(t testing.TB) pkix.Extension {
	t.Helper()
	value, err := asn1.Marshal([]int{5})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: value}
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// pairs are Secrets that make listeners, and many that only look as if.
func pairs(t testing.TB) map[string]map[string][]byte {
	t.Helper()
	signer := authority(t, "signer")
	curve := func(c elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string][]byte{
		"empty":   {},
		"garbage": pair("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "key"),
	}
	for name, o := range map[string]odd{
		"good":       {names: []string{"a.example.com", "*.example.com"}, signer: signer},
		"other":      {names: []string{"example.org"}, signer: signer},
		"self":       {names: []string{"a.example.com"}},
		"nameless":   {},
		"rsa":        {key: rsaKey(t, 2048)},
		"rsa-short":  {key: rsaKey(t, 1024)},
		"rsa-uneven": {key: rsaKey(t, 2056)},
		"p224":       {key: curve(elliptic.P224())},
		"p384":       {key: curve(elliptic.P384())},
		"p521":       {key: curve(elliptic.P521())},
		"ed25519":    {key: edwards},
		"expired":    {from: -48 * time.Hour, to: -24 * time.Hour},
		"future":     {from: 24 * time.Hour, to: 48 * time.Hour},
		"staple":     {extensions: []pkix.Extension{mustStaple(t)}},
		"critical":   {extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}},
		"purpose":    {withoutPurposes: true},
	} {
		cert, key := o.certify(t)
		out[name] = pair(string(block("CERTIFICATE", cert)), string(block("PRIVATE KEY", key)))
	}
	chain, key := string(out["good"][corev1.TLSCertKey]), string(out["good"][corev1.TLSPrivateKeyKey])
	broken := string(block("CERTIFICATE", []byte("no certificate")))
	out["crossed"] = pair(chain, string(out["self"][corev1.TLSPrivateKeyKey]))
	out["chain"] = pair(chain+string(signer.bundle), key)
	out["chain-broken"] = pair(chain+broken, key)
	out["chain-torn"] = pair(chain+"-----BEGIN CERTIFICATE-----\nAA", key)
	out["chain-unencoded"] = pair(chain+"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", key)
	out["chain-key"] = pair(key+chain, chain+key)
	out["chain-text"] = pair("hello\r\n"+strings.ReplaceAll(chain, "\n", "\r\n")+"\x00bye", "\n"+key+"\n")
	out["chain-headers"] = pair(strings.Replace(chain, "CERTIFICATE-----\n", "CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1), key)
	out["chain-twice"] = pair(chain+chain, key)
	return out
}

// authorities are bundles of CA certificates, most of which have something wrong.
func authorities(t testing.TB) map[string]string {
	t.Helper()
	one, two := string(authority(t, "one").bundle), string(authority(t, "two").bundle)
	leaf, _ := odd{}.certify(t)
	short, _ := odd{key: rsaKey(t, 1024)}.certify(t)
	broken := string(block("CERTIFICATE", []byte("no certificate")))
	return map[string]string{
		"good": one, "two": one + two, "twice": one + one, "text": "hello\n" + one + "\nbye", "empty": "", "broken": one + broken,
		"torn": one + "-----BEGIN CERTIFICATE-----\nAA", "unended": strings.TrimSpace(one), "crlf": strings.ReplaceAll(one, "\n", "\r\n"),
		"unencoded": "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n" + one, "leaf": string(block("CERTIFICATE", leaf)),
		"key": one + string(block("PRIVATE KEY", []byte("key"))), "short": string(block("CERTIFICATE", short)), "trusted": strings.ReplaceAll(one, " CERTIFICATE", " TRUSTED CERTIFICATE") + two,
		"crl": one + string(block("X509 CRL", []byte("crl"))), "headers": strings.Replace(one, "CERTIFICATE-----\n", "CERTIFICATE-----\nA: b\n\n", 1),
	}
}

// names are the keys of a map in order.
func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
