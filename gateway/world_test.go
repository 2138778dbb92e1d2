package gateway

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// world is a cluster in a file: the first Gateway is the one that is built.
type world struct {
	in         Input
	namespaces map[string]map[string]string
	secrets    map[Name]*corev1.Secret
	configMaps map[Name]*corev1.ConfigMap
	services   map[Name]*corev1.Service
	grants     []*gatewayv1.ReferenceGrant
	policies   []*gatewayv1.BackendTLSPolicy
}

func (w *world) Namespace(name string) (map[string]string, bool) {
	l, ok := w.namespaces[name]
	return l, ok
}
func (w *world) Secret(n Name) *corev1.Secret       { return w.secrets[n] }
func (w *world) ConfigMap(n Name) *corev1.ConfigMap { return w.configMaps[n] }
func (w *world) Service(n Name) *corev1.Service     { return w.services[n] }
func (w *world) TrustBundle(string) (string, bool, bool) {
	return "", false, false
}

func (w *world) Grants(namespace string) []*gatewayv1.ReferenceGrant {
	var out []*gatewayv1.ReferenceGrant
	for _, g := range w.grants {
		if g.Namespace == namespace {
			out = append(out, g)
		}
	}
	return out
}

func (w *world) Policies(service Name) []*gatewayv1.BackendTLSPolicy {
	var out []*gatewayv1.BackendTLSPolicy
	for _, p := range w.policies {
		for _, t := range p.Spec.TargetRefs {
			if p.Namespace == service.Namespace && string(t.Name) == service.Name {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

// readWorld reads the objects of a file, in the order given by shuffle.
func readWorld(t *testing.T, path string, shuffle func(n int, swap func(i, j int))) *world {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, gatewayv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decode := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	docs := kyaml.NewYAMLReader(newReader(raw))
	var objects []runtime.Object
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		o, _, err := decode.Decode(doc, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", path, err, doc)
		}
		objects = append(objects, o)
	}
	shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
	w := &world{
		namespaces: map[string]map[string]string{}, secrets: map[Name]*corev1.Secret{},
		configMaps: map[Name]*corev1.ConfigMap{}, services: map[Name]*corev1.Service{},
	}
	for _, o := range objects {
		w.add(t, o)
	}
	w.in.Objects = w
	if w.in.Gateway == nil {
		t.Fatalf("%s has no Gateway", path)
	}
	return w
}

func inOrder(int, func(i, j int)) {}

func (w *world) add(t *testing.T, o runtime.Object) {
	t.Helper()
	meta, ok := o.(metav1.Object)
	if !ok {
		t.Fatalf("%T is no object", o)
	}
	n := Name{meta.GetNamespace(), meta.GetName()}
	if meta.GetGeneration() == 0 {
		meta.SetGeneration(1)
	}
	switch o := o.(type) {
	case *gatewayv1.Gateway:
		w.in.Gateway = o
	case *gatewayv1.ListenerSet:
		w.in.ListenerSets = append(w.in.ListenerSets, o)
	case *gatewayv1.HTTPRoute:
		w.in.Routes.HTTP = append(w.in.Routes.HTTP, o)
	case *gatewayv1.GRPCRoute:
		w.in.Routes.GRPC = append(w.in.Routes.GRPC, o)
	case *gatewayv1.TLSRoute:
		w.in.Routes.TLS = append(w.in.Routes.TLS, o)
	case *gatewayv1.TCPRoute:
		w.in.Routes.TCP = append(w.in.Routes.TCP, o)
	case *gatewayv1.UDPRoute:
		w.in.Routes.UDP = append(w.in.Routes.UDP, o)
	case *gatewayv1.ReferenceGrant:
		w.grants = append(w.grants, o)
	case *gatewayv1.BackendTLSPolicy:
		w.policies = append(w.policies, o)
	case *corev1.Namespace:
		w.namespaces[o.Name] = o.Labels
	case *corev1.Service:
		w.services[n] = o
	case *corev1.Secret:
		w.secrets[n] = o
		if names := o.Annotations["test/certificate"]; names != "" {
			chain, key := makeCertificate(t, strings.Split(names, ",")...)
			o.Data = map[string][]byte{corev1.TLSCertKey: chain, corev1.TLSPrivateKeyKey: key}
		}
	case *corev1.ConfigMap:
		w.configMaps[n] = o
		if o.Annotations["test/authority"] != "" {
			chain, _ := makeCertificate(t, "ca")
			o.Data = map[string]string{caKey: string(chain)}
		}
	default:
		t.Fatalf("%T has no place in the test's world", o)
	}
}

// makeCertificate makes a self-signed certificate.
func makeCertificate(t testing.TB, names ...string) (chain, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
