package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace/noop"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/controllers"
	"github.com/fairlead/fairlead/version"
)

func TestFlags(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	t.Setenv("FAIRLEAD_FAILPOINT", "")
	for _, tt := range []struct {
		args string
		want []string // in the error; none: it is fine
	}{
		{"--namespace=x", nil},
		{"--leader-elect=false", nil},
		{"--namespace=x --status-classes=example.com/a,example.com/b --workers=8 --metrics-bind-address=0", nil},
		{"", []string{"--leader-elect", "--namespace"}},
		{"--namespace=x --workers=0", []string{"--workers", "from 1 to 1000"}},
		{"--namespace=x --log-level=loud", []string{"--log-level", "loud", "debug"}},
		{"--namespace=x --metrics-bind-address=7951", []string{"--metrics-bind-address", ":7951"}},
		{"--namespace=x --status-classes=a/b/c", []string{"--status-classes", "a/b/c"}},
		{"--namespace=x --defaultclass", []string{"defaultclass"}},
		{"--namespace=x now", []string{"now", "flags"}},
	} {
		_, err := parse(strings.Fields(tt.args), io.Discard)
		if (err != nil) != (len(tt.want) > 0) {
			t.Errorf("%q: error %v", tt.args, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: the error does not say %q: %v", tt.args, want, err)
			}
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	var out bytes.Buffer
	if f, err := parse([]string{"--version"}, &out); f != nil || err != nil || strings.TrimSpace(out.String()) != version.Version {
		t.Errorf("%v, %v, %q", f, err, out.String())
	}
	out.Reset()
	if f, err := parse([]string{"--help"}, &out); f != nil || err != nil || !strings.Contains(out.String(), "-default-class") {
		t.Errorf("%v, %v, %q", f, err, out.String())
	}
}

func TestFailpointsAreRead(t *testing.T) {
	for _, good := range []string{"", "address.create", "address.create.after", "service.status.before:3"} {
		if _, err := parseFailpoint(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"address", "address.create:0", "address.create:x", "somewhere.else", ":1"} {
		if _, err := parseFailpoint(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(url string) (string, error) {
	r, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, body)
	}
	return string(body), err
}

func TestTheControllerServes(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: it names the directory with kube-apiserver and etcd that this test runs against")
	}
	env := &envtest.Environment{CRDDirectoryPaths: []string{filepath.Join("..", "..", "charts", "fairlead", "files", "crds")}, ErrorIfCRDPathMissing: true}
	cfg, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	user, err := env.AddUser(envtest.User{Name: "fairlead", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", path)
	metrics, probes := freeAddress(t), freeAddress(t)
	f, err := parse([]string{"--default-class", "--namespace=default", "--metrics-bind-address=" + metrics, "--health-probe-bind-address=" + probes, "--log-level=error"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- serve(ctx, f, logr.Discard(), noop.NewTracerProvider()) }()

	scheme, err := controllers.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{
		&v1alpha1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "public"}, Spec: v1alpha1.IPAddressPoolSpec{Addresses: []v1alpha1.AddressRange{"192.0.2.0/28"}}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: ptr.To(false), Ports: []corev1.ServicePort{{Port: 80}},
		}},
	} {
		if err := c.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the Service has an address", func() error {
		var s corev1.Service
		if err := c.Get(ctx, client.ObjectKey{Namespace: "default", Name: "web"}, &s); err != nil {
			return err
		}
		if len(s.Status.LoadBalancer.Ingress) != 1 {
			return fmt.Errorf("status is %+v", s.Status)
		}
		return nil
	})
	eventually(t, "the gossip key is there", func() error {
		return c.Get(ctx, client.ObjectKey{Namespace: "default", Name: controllers.DefaultGossipSecret}, &corev1.Secret{})
	})
	eventually(t, "the controller is ready", func() error {
		_, err := get("http://" + probes + "/readyz")
		return err
	})
	eventually(t, "the metrics tell the pool's usage", func() error {
		body, err := get("http://" + metrics + "/metrics")
		if err == nil && !strings.Contains(body, `fairlead_controller_pool_assigned_addresses{family="IPv4",pool="public"} 1`) {
			err = fmt.Errorf("they do not")
		}
		return err
	})
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}
