package xds_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
	"github.com/fairlead/fairlead/gateway/xds/envoytest"
)

// refusedPairs are the Secrets that make no listener, and what is said of them.
var refusedPairs = map[string]string{
	"empty":           "tls.crt is missing",
	"garbage":         "certificate 1 cannot be read",
	"crossed":         "private key does not match public key",
	"rsa-short":       "its RSA key has 1024 bits, and must have 2048",
	"p224":            "its key is of the curve P-224",
	"staple":          "must-staple",
	"chain-broken":    "certificate 2 cannot be read",
	"chain-torn":      "1 of 2 PEM blocks cannot be decoded",
	"chain-unencoded": "1 of 2 PEM blocks cannot be decoded",
	"chain-headers":   "PEM block 1 has headers",
}

// refusedBundles are the ConfigMaps by which no client can be validated.
var refusedBundles = map[string]string{
	"empty":     "no PEM certificate",
	"broken":    "certificate 2 cannot be read",
	"torn":      "1 of 2 PEM blocks cannot be decoded",
	"unencoded": "1 of 2 PEM blocks cannot be decoded",
	"key":       "it holds a PRIVATE KEY",
	"trusted":   "it holds a TRUSTED CERTIFICATE",
	"crl":       "it holds a X509 CRL",
	"headers":   "PEM block 1 has headers",
}

// TestMaterial has each certificate and bundle either taken by Envoy or told of at
// the listener that refers to it: Envoy would refuse the listener for one.
func TestMaterial(t *testing.T) {
	c := newCluster(t)
	g := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "gw"}}
	g.Spec.TLS = &gatewayv1.GatewayTLSConfig{Frontend: &gatewayv1.FrontendTLSConfig{}}
	said := map[gatewayv1.SectionName]string{}
	add := func(name string, port gatewayv1.PortNumber, secret, refusal string) {
		l := gatewayv1.Listener{Name: gatewayv1.SectionName(name), Protocol: gatewayv1.HTTPSProtocolType, Port: port}
		l.Hostname = new(gatewayv1.Hostname(name + ".example.com"))
		l.TLS = &gatewayv1.ListenerTLSConfig{CertificateRefs: []gatewayv1.SecretObjectReference{{Name: gatewayv1.ObjectName(secret)}}}
		g.Spec.Listeners = append(g.Spec.Listeners, l)
		said[l.Name] = refusal
	}
	for _, name := range names(c.secrets) {
		add("pair-"+name, 443, name, refusedPairs[name])
	}
	for i, name := range names(c.bundles) {
		port := gatewayv1.PortNumber(1000 + i)
		add("bundle-"+name, port, "good", refusedBundles[name])
		g.Spec.TLS.Frontend.PerPort = append(g.Spec.TLS.Frontend.PerPort, gatewayv1.TLSPortConfig{Port: port, TLS: gatewayv1.TLSConfig{
			Validation: &gatewayv1.FrontendTLSValidation{CACertificateRefs: []gatewayv1.ObjectReference{{Kind: "ConfigMap", Name: gatewayv1.ObjectName(name)}}},
		}})
	}
	built := gateway.Build(gateway.Input{Gateway: g, Objects: c})
	for _, l := range built.Status(gateway.Progress{}).Gateway.Listeners {
		resolved := fmt.Sprint(l.Conditions[2].Status, l.Conditions[2].Message)
		if refusal := said[l.Name]; !strings.HasPrefix(resolved, "True") != (refusal != "") || !strings.Contains(resolved, refusal) {
			t.Errorf("%s: want %q, got %q", l.Name, refusal, resolved)
		}
	}
	envoytest.Validate(t, xds.Encode(built.Model, shifted, xds.Settings{}))
}
