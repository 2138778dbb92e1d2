package testbed

import (
	"crypto/x509"
	"encoding/csv"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

var (
	testLayout = newLayout("/run/t", "a")
	testNode   = host{Name: "node2", Number: 12}
)

func TestKubeconfigLoads(t *testing.T) {
	text, err := renderKubeconfig("a", "https://172.30.0.10:6443", []byte("the authority"), "secret")
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://172.30.0.10:6443" || config.BearerToken != "secret" || string(config.CAData) != "the authority" {
		t.Errorf("got %+v", config)
	}
}

func TestTokensAreReadBack(t *testing.T) {
	n := 0
	text := renderTokens(users(2, func() string { n++; return fmt.Sprint("token", n) }))
	lines, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string]string{}
	tokens := map[string]bool{}
	for _, l := range lines {
		groups[l[1]], tokens[l[0]] = l[3], true
	}
	if len(tokens) != len(lines) {
		t.Error("two users share a token")
	}
	if groups["admin"] != "system:masters" || groups["system:node:node2"] != "system:nodes" {
		t.Errorf("groups: %v", groups)
	}
	for name, group := range groups {
		if name != "admin" && group == "system:masters" {
			t.Errorf("%s has all rights", name)
		}
	}
}

func TestCNI(t *testing.T) {
	text, err := renderCNI(testLayout, testNode)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Name    string
		Plugins []struct {
			Type string
			IPAM struct{ Ranges [][]struct{ Subnet string } }
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	ranges := fmt.Sprint(got.Plugins[0].IPAM.Ranges)
	if got.Name != "fairlead.a.pods" || ranges != "[[{10.244.2.0/24}] [{fd00:244:2::/64}]]" {
		t.Errorf("name %s, ranges %s", got.Name, ranges)
	}
}

func TestNodeConfigurations(t *testing.T) {
	kubelet, err := renderKubelet(testLayout, testNode)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := renderProxy(testLayout, testNode, proxyIPTables)
	if err != nil {
		t.Fatal(err)
	}
	var k, p map[string]any
	if err := yaml.Unmarshal(kubelet, &k); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(proxy, &p); err != nil {
		t.Fatal(err)
	}
	if k["cgroupRoot"] != "/fairlead-testbed/a/pods/node2" || k["containerRuntimeEndpoint"] != "unix:///run/t/a/node2/containerd.sock" {
		t.Errorf("kubelet: %s", kubelet)
	}
	if p["mode"] != "iptables" || p["hostnameOverride"] != "node2" {
		t.Errorf("kube-proxy: %s", proxy)
	}
	containerd := string(renderContainerd(testLayout, testNode, "/usr/sbin/runc", "/usr/lib/cni"))
	for _, want := range []string{
		`address = "/run/t/a/node2/containerd.sock"`, `BinaryName = "/usr/sbin/runc"`, `bin_dirs = ["/usr/lib/cni"]`, `root = "/run/t/a/node2/containerd"`,
	} {
		if !strings.Contains(containerd, want) {
			t.Errorf("containerd's configuration lacks %s:\n%s", want, containerd)
		}
	}
}

func TestServerCertificate(t *testing.T) {
	keys, err := newPKI(time.Now(), []string{"172.30.0.10", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(keys.ca.cert) {
		t.Fatal("the authority's certificate cannot be read")
	}
	block, _ := pem.Decode(keys.server.cert)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"172.30.0.10", "127.0.0.1", "kubernetes.default.svc"} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "172.30.0.11"}); err == nil {
		t.Error("valid for an address that it was not made for")
	}
}

func TestExtraArgumentsComeLast(t *testing.T) {
	config := Config{Name: "a", ExtraArgs: map[string][]string{Kubelet: {"--v=4"}}}
	p := newPrograms(testLayout, config, Binaries{Kubelet: "/bin/kubelet", Etcd: "/bin/etcd"})
	spec := p.kubelet(testNode)
	if spec.Args[0] != "/bin/kubelet" || spec.Args[len(spec.Args)-1] != "--v=4" {
		t.Errorf("kubelet: %v", spec.Args)
	}
	if slices.Contains(p.etcd().Args, "--v=4") {
		t.Error("etcd got the kubelet's arguments")
	}
}
