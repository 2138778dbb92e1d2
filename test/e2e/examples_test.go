//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/gateway-api-conformance-images/echo-basic/grpcechoserver"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// exampleNames are the names in the examples that mean something else in a world:
// there are several at the same time.
func (w *world) exampleNames() map[string]string {
	return map[string]string{
		"shop": w.namespace, "team": w.namespace + "-team", "fairlead": w.namespace, "team-edge": w.namespace + "-edge", "public": w.pool,
	}
}

// examplePorts are where the pods of the tests listen.
var examplePorts = map[int64]int64{8080: lab.EchoPort, 5353: lab.DNSPort}

// example applies a file of examples/, with names and ports of this world.
func (w *world) example(file string) {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(lab.Root(), "examples", file))
	if err != nil {
		w.Fatal(err)
	}
	names := w.exampleNames()
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(&o.Object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			w.Fatalf("%s: %v", file, err)
		}
		o.Object = renamed(o.Object, "", names).(map[string]any)
		w.apply(o)
		if o.GetNamespace() != w.namespace {
			w.Cleanup(func() { _ = w.Client.Delete(context.Background(), o) })
		}
	}
}

// renamed is a part of an object with other names, and other ports of pods.
func renamed(part any, key string, names map[string]string) any {
	switch v := part.(type) {
	case map[string]any:
		for k := range v {
			v[k] = renamed(v[k], k, names)
		}
	case []any:
		for i := range v {
			v[i] = renamed(v[i], key, names)
		}
	case string:
		if to, ok := names[v]; ok && key != "app" {
			return to
		}
	case float64: // as JSON has it
		if to, ok := examplePorts[int64(v)]; ok && key == "targetPort" {
			return to
		}
		return int64(v)
	}
	return part
}

// front wants pods of front to answer at an address.
func (w *world) front(a netip.Addr, port uint16) {
	w.Helper()
	if got := w.answers(a, port); !strings.HasPrefix(got.Pod, "front-") {
		w.Errorf("%s was answered by %+v", netip.AddrPortFrom(a, port), got)
	}
}

// curls waits until curl at the client host says something.
func (w *world) curls(what, want string, args ...string) {
	w.Helper()
	w.await(what, func(ctx context.Context) error {
		out, err := w.Cluster.Exec(ctx, testbed.Client, append([]string{"curl", "--silent", "--show-error", "--max-time", "2"}, args...)...)
		if err != nil {
			return err
		}
		if !strings.Contains(out, want) {
			return fmt.Errorf("it got %q, want %q in it", out, want)
		}
		return nil
	})
}

// certificate makes a Secret with a certificate for a name, signed by itself, and
// says what it is; edits change what is signed.
func (w *world) certificate(name, dns string, edits ...func(*x509.Certificate)) (certificate, key []byte) {
	w.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: dns}, DNSNames: []string{dns},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, edit := range edits {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		w.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		w.Fatal(err)
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	w.apply(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key},
	})
	return certificate, key
}

// authority makes a ConfigMap that vouches for a certificate.
func (w *world) authority(name string, certificate []byte) {
	w.Helper()
	w.apply(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Data: map[string]string{"ca.crt": string(certificate)}})
}

// clientCertificate makes files with a certificate for clients, for which the
// ConfigMap clients vouches, and its key.
func (w *world) clientCertificate() (certificate, key string) {
	w.Helper()
	c, k := w.certificate("client", "client.example.com")
	w.authority("clients", c)
	certificate, key = filepath.Join(w.TempDir(), "client.crt"), filepath.Join(w.TempDir(), "client.key")
	if err := errors.Join(os.WriteFile(certificate, c, 0o600), os.WriteFile(key, k, 0o600)); err != nil {
		w.Fatal(err)
	}
	return certificate, key
}

// vault makes pods that serve TLS, and know the Gateway by its certificate.
func (w *world) vault() {
	w.Helper()
	own, _ := w.certificate("vault", "vault.example.com")
	gateways, _ := w.certificate("gateway-client", "gateway.example.com")
	w.authority("vault-ca", own)
	w.authority("vault-clients", gateways)
	w.serve("vault", "vault", "vault-clients", map[string]string{
		"TLS_SERVER_CERT": "/tls/tls.crt", "TLS_SERVER_PRIVKEY": "/tls/tls.key", "TLS_CLIENT_CACERTS": "/ca/ca.crt",
	})
}

// serve makes pods that are given a Secret and a ConfigMap as files, and variables.
func (w *world) serve(name, secret, config string, variables map[string]string) {
	w.Helper()
	d := lab.Echo(w.namespace, name, 1)
	pod := &d.Spec.Template.Spec
	c := &pod.Containers[0]
	for _, v := range slices.Sorted(maps.Keys(variables)) {
		c.Env = append(c.Env, corev1.EnvVar{Name: v, Value: variables[v]})
	}
	if secret != "" {
		pod.Volumes = []corev1.Volume{
			{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}},
			{Name: "ca", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: config}}}},
		}
		c.VolumeMounts = []corev1.VolumeMount{{Name: "tls", MountPath: "/tls", ReadOnly: true}, {Name: "ca", MountPath: "/ca", ReadOnly: true}}
	}
	w.apply(d)
}

// echoes asks by gRPC for a method, and says which pod answered.
func (w *world) echoes(a netip.Addr, authority string) (pod string) {
	w.Helper()
	target := netip.AddrPortFrom(a, 80).String()
	conn, err := grpc.NewClient("passthrough:///"+target,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(authority),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return w.Cluster.Dial(ctx, testbed.Client, "tcp", target)
		}))
	if err != nil {
		w.Fatal(err)
	}
	defer conn.Close()
	c := grpcechoserver.NewGrpcEchoClient(conn)
	w.await("an answer by gRPC", func(ctx context.Context) error {
		answer, err := c.Echo(ctx, &grpcechoserver.EchoRequest{})
		if err == nil {
			pod = answer.GetAssertions().GetContext().GetPod()
		}
		return err
	})
	if _, err := c.EchoTwo(w.ctx, &grpcechoserver.EchoRequest{}); status.Code(err) != codes.Unimplemented {
		w.Errorf("a method without a route was answered with %v, want Unimplemented", err)
	}
	return pod
}

// examples are the files of examples/, each with what a client sees of it.
var examples = map[string]func(w *world){
	"http.yaml": func(w *world) { w.front(w.programmed("web")[0], 80) },
	"https.yaml": func(w *world) {
		a := w.programmed("secure")[0].String()
		w.curls("a redirect to HTTPS", "location: https://a.example.com/", "--include", "--header", "Host: a.example.com", "http://"+a)
		for host, name := range map[string]string{"a.example.com": "DNS:a.example.com", "any.b.example.com": "DNS:*.b.example.com"} {
			w.curls("the certificate of "+host, name, "--insecure", "--output", "/dev/null", "--write-out", "%{certs}", "--resolve", host+":443:"+a, "https://"+host)
			w.curls("front by HTTPS at "+host, "front-", "--insecure", "--resolve", host+":443:"+a, "https://"+host)
		}
	},
	"canary.yaml": func(w *world) {
		a := w.programmed("canary")[0]
		w.curls("the next version for who asks for it", "next-", "--header", "X-Canary: always", "http://"+a.String())
		seen := map[string]int{}
		for range 60 {
			name, _, _ := strings.Cut(w.answers(a, 80).Pod, "-")
			seen[name]++
		}
		if seen["front"] == 0 || seen["next"] == 0 || len(seen) != 2 {
			w.Errorf("60 requests, 70 %% of which are for front, went to %v", seen)
		}
	},
	"grpc.yaml": func(w *world) {
		if pod := w.echoes(w.programmed("rpc")[0], "rpc.example.com"); !strings.HasPrefix(pod, "rpc-") {
			w.Errorf("gRPC was answered by %q", pod)
		}
	},
	"passthrough.yaml": func(w *world) {
		a := w.programmed("passthrough")[0].String()
		where := []string{"--insecure", "--resolve", "vault.example.com:443:" + a, "https://vault.example.com"}
		w.curls("the pods' own certificate", "DNS:vault.example.com", append([]string{"--output", "/dev/null", "--write-out", "%{certs}"}, where...)...)
		w.curls("the pods by TLS", "vault-", where...)
	},
	"mtls.yaml": func(w *world) {
		certificate, key := w.clientCertificate()
		a := w.programmed("mutual")[0].String()
		where := []string{"--insecure", "--resolve", "a.example.com:443:" + a, "https://a.example.com"}
		// The pods say which certificate they were shown.
		w.curls("the pods, with certificates of both sides", "peerCertificates", append([]string{"--cert", certificate, "--key", key}, where...)...)
		if out, err := w.Cluster.Exec(w.ctx, testbed.Client, append([]string{"curl", "--silent", "--max-time", "5"}, where...)...); err == nil {
			w.Errorf("a client without a certificate got %q", out)
		}
	},
	"streams.yaml": func(w *world) {
		a := w.programmed("streams")[0]
		w.resolves("tcp", a, 53)
		w.resolves("udp", a, 53)
		if legacy := w.get("legacy"); !slices.Equal(lab.Addresses(legacy), []netip.Addr{a}) {
			w.Errorf("the Service has %v, and the Gateway %s", lab.Addresses(legacy), a)
		}
		w.front(a, 80)
	},
	"namespaces.yaml":  func(w *world) { w.front(w.programmed("shared")[0], 80) },
	"listenerset.yaml": func(w *world) { w.front(w.programmed("open")[0], 8081) },
	"addresses.yaml": func(w *world) {
		for name, port := range map[string]uint16{"fixed": 80, "beside": 8080} {
			if got := w.programmed(name); !slices.Equal(got, []netip.Addr{mustAddr("172.30.0.120")}) {
				w.Errorf("%s has %v", name, got)
			}
			w.front(mustAddr("172.30.0.120"), port)
		}
	},
	"families.yaml": func(w *world) {
		both, six := w.programmed("both"), w.programmed("six")
		if len(both) != 2 || !both[0].Is4() || !both[1].Is6() || len(six) != 1 || !six[0].Is6() {
			w.Errorf("both has %v, six %v", both, six)
		}
		for _, a := range append(both, six...) {
			w.front(a, 80)
		}
	},
	"inside.yaml": func(w *world) {
		a := w.programmed("internal")[0]
		w.await("an answer inside of the cluster", func(ctx context.Context) error {
			out, err := w.Cluster.Exec(ctx, "node1", "curl", "--silent", "--show-error", "--max-time", "2", "http://"+a.String())
			if err == nil && !strings.Contains(out, "front-") {
				err = fmt.Errorf("it got %q", out)
			}
			return err
		})
		if all := w.ledgerOf("Gateway " + w.namespace + "/internal"); len(all) > 0 {
			w.Errorf("it holds %v of a pool", all)
		}
	},
	"team.yaml": func(w *world) {
		w.front(w.programmed("edge")[0], 80)
		var pods corev1.PodList
		if err := w.Client.List(w.ctx, &pods, client.InNamespace(lab.Namespace), client.MatchingLabels{"example.com/team": "edge"}); err != nil {
			w.Fatal(err)
		}
		if len(pods.Items) != 2 {
			w.Errorf("the team has %d Envoys of its own, want 2", len(pods.Items))
		}
	},
}

// ledgerOf are the addresses that stand in the ledger for a holder.
func (w *world) ledgerOf(summary string) []string {
	w.Helper()
	var list v1alpha1.AddressList
	if err := w.Client.List(w.ctx, &list); err != nil {
		w.Fatal(err)
	}
	var out []string
	for _, a := range list.Items {
		if a.Spec.Summary == summary {
			out = append(out, a.Spec.Address)
		}
	}
	return out
}

// Every file of examples/ does what it says, applied one after the other to one
// cluster.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(lab.Root(), "examples", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	w := newWorld(t, "172.30.0.100-172.30.0.129", "fd00:30::100-fd00:30::12f")
	w.class()
	w.backend("front", 1)
	w.backend("next", 1)
	w.dns("dns")
	w.serve("rpc", "", "", map[string]string{"GRPC_ECHO_SERVER": "1"})
	w.vault()
	w.certificate("a-example-com", "a.example.com")
	w.certificate("b-example-com", "*.b.example.com")
	for _, f := range files {
		name := filepath.Base(f)
		check := examples[name]
		if check == nil {
			t.Errorf("nothing is said of what a client sees of examples/%s", name)
			continue
		}
		t.Logf("examples/%s", name)
		w.example(name)
		check(w)
	}
}
