// Package journey runs the commands of a migration against a real API server, and
// compares what people see with golden files.
package journey

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/exit"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/golden"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/inhabit"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/root"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/test/apiserver"
)

// api is the API server of these tests; nil where there is none.
var api *envtest.Environment

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	// The first command sets the log of libraries, before anything of theirs runs.
	root.Run(context.Background(), kube.NewEnv(genericiooptions.NewTestIOStreamsDiscard(), time.Now), []string{"--help"})
	more := apiserver.Options{GatewayAPI: "standard", CRDs: []string{filepath.Join("testdata", "crds.yaml")}}
	os.Exit(apiserver.Main(m, more, func(env *envtest.Environment) { api = env }))
}

// shell runs the plugin as a user.
type shell struct {
	t   *testing.T
	cfg *rest.Config
}

func (s *shell) client() (client.Client, error) {
	scheme, err := kube.Scheme()
	if err != nil {
		return nil, err
	}
	return client.New(s.cfg, client.Options{Scheme: scheme})
}

// run gives what a command prints, on stdout and then on stderr, and its exit code.
func (s *shell) run(in string, args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	env := kube.NewEnv(genericiooptions.IOStreams{In: strings.NewReader(in), Out: &o, ErrOut: &e}, time.Now)
	env.Connect = s.client
	code = root.Run(s.t.Context(), env, args)
	return o.String(), e.String(), code
}

// sees compares what a command prints with a golden file.
func (s *shell) sees(name string, code int, args ...string) {
	s.t.Helper()
	out, errs, got := s.run("", args...)
	if got != code {
		s.t.Errorf("%v ends with %d, want %d: %s", args, got, code, errs)
	}
	text := "$ kubectl fairlead " + strings.Join(args, " ") + "\n" + out + errs
	golden.Text(s.t, name+".txt", text)
}

func addresses(ctx context.Context, c client.Client) (map[string]string, error) {
	var list corev1.ServiceList
	if err := c.List(ctx, &list); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for i := range list.Items {
		s := &list.Items[i]
		for _, in := range s.Status.LoadBalancer.Ingress {
			out[s.Namespace+"/"+s.Name] += in.IP + " "
		}
	}
	return out, nil
}

func TestFromMetalLB(t *testing.T) {
	if api == nil {
		t.Skip(apiserver.Missing)
	}
	s := &shell{t: t, cfg: api.Config}
	c, err := s.client()
	if err != nil {
		t.Fatal(err)
	}
	inhabit.From(t, c, filepath.Join("testdata", "cluster.yaml"))
	before, err := addresses(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	s.sees("audit-before", exit.Wrong, "audit")
	s.sees("import", exit.Wrong, "import", "metallb")
	var pools v1alpha1.IPAddressPoolList
	if err := c.List(t.Context(), &pools); err != nil || len(pools.Items) > 0 {
		t.Fatalf("import without --apply wrote %d pools (%v)", len(pools.Items), err)
	}
	if _, errs, code := s.run("", "import", "metallb", "--apply"); code != exit.Wrong || !strings.Contains(errs, "3 objects of fairlead.dev written") {
		t.Errorf("import --apply ends with %d: %s", code, errs)
	}
	if _, errs, _ := s.run("", "import", "metallb", "--apply"); !strings.Contains(errs, "0 objects of fairlead.dev written") {
		t.Errorf("a second import writes: %s", errs)
	}
	share(t, c)
	s.sees("import-again", exit.Fine, "import", "metallb")
	s.sees("annotations", exit.Wrong, "annotations", "-A")
	s.sees("annotations-one", exit.Fine, "annotations", "service", "legacy", "-n", "shop", "--apply")
	s.sees("annotations-none", exit.Fine, "annotations", "service", "legacy", "-n", "shop")
	var legacy corev1.Service
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "legacy"}, &legacy); err != nil {
		t.Fatal(err)
	}
	if legacy.Spec.LoadBalancerIP != "" || legacy.Annotations[v1alpha1.AnnotationAddresses] != "172.30.0.100" {
		t.Errorf("legacy asks by %q and %v", legacy.Spec.LoadBalancerIP, legacy.Annotations)
	}
	s.sees("audit-after", exit.Fine, "audit")
	after, err := addresses(t.Context(), c)
	if diff := cmp.Diff(before, after); err != nil || diff != "" {
		t.Errorf("addresses have changed: %v\n%s", err, diff)
	}
	lacking(t, c)
}

// share allows what the audit asks for.
func share(t *testing.T, c client.Client) {
	t.Helper()
	var p v1alpha1.IPAddressPool
	if err := c.Get(t.Context(), client.ObjectKey{Name: "public"}, &p); err != nil {
		t.Fatal(err)
	}
	p.Spec.Sharing = v1alpha1.SharingAcrossNamespaces
	if err := c.Update(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
}

// lacking runs the audit as a user who may read Services only.
func lacking(t *testing.T, c client.Client) {
	t.Helper()
	user, err := api.AddUser(envtest.User{Name: "reader", Groups: []string{"readers"}}, api.Config)
	if err != nil {
		t.Fatal(err)
	}
	rights, err := imports.Decode([]byte(`apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [services, namespaces], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: User, name: reader, apiGroup: rbac.authorization.k8s.io}]
`))
	if err != nil {
		t.Fatal(err)
	}
	for i := range rights {
		if err := c.Create(t.Context(), &rights[i]); err != nil && !meta.IsNoMatchError(err) {
			t.Fatal(err)
		}
	}
	s := &shell{t: t, cfg: user.Config()}
	for _, args := range [][]string{{"audit"}, {"import", "metallb"}} {
		_, errs, code := s.run("", args...)
		if code == exit.Fine || !strings.Contains(errs, "ipaddresspools.metallb.io") {
			t.Errorf("%v ends with %d and does not name the right: %s", args, code, errs)
		}
	}
	if _, errs, code := s.run("", "annotations", "service", "dns", "-n", "shop", "--apply"); code != exit.Failed || !strings.Contains(errs, "forbidden") {
		t.Errorf("annotations --apply ends with %d: %s", code, errs)
	}
}

func TestFiles(t *testing.T) {
	s := &shell{t: t}
	in := "apiVersion: v1\nkind: Service\nmetadata:\n  name: web # ours\nspec:\n  type: LoadBalancer\n  loadBalancerIP: 192.0.2.7\n"
	path := filepath.Join(t.TempDir(), "service.yaml")
	if err := os.WriteFile(path, []byte(in), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, code := s.run("", "annotations", "-f", path)
	if code != exit.Wrong || !strings.Contains(out, "-  loadBalancerIP: 192.0.2.7") || !strings.Contains(out, "Nothing was written") {
		t.Errorf("it ends with %d:\n%s", code, out)
	}
	if now, _ := os.ReadFile(path); string(now) != in {
		t.Errorf("it wrote without --apply:\n%s", now)
	}
	if out, errs, code := s.run("", "annotations", "-f", path, "--apply"); code != exit.Fine {
		t.Errorf("it ends with %d:\n%s%s", code, out, errs)
	}
	const want = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web # ours\n  annotations:\n    fairlead.dev/addresses: 192.0.2.7\nspec:\n  type: LoadBalancer\n"
	if now, _ := os.ReadFile(path); string(now) != want {
		t.Errorf("it wrote\n%s", now)
	}
	if out, _, code := s.run(in, "annotations", "-f", "-", "--apply"); code != exit.Fine || out != want {
		t.Errorf("it ends with %d:\n%s", code, out)
	}
	out, errs, code := s.run("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a, namespace: m}\nspec: {addresses: [192.0.2.0/24]}\n", "import", "metallb", "-f", "-")
	if code != exit.Fine || !strings.Contains(out, "kind: IPAddressPool") || !strings.Contains(errs, "Nothing was written") {
		t.Errorf("it ends with %d:\n%s%s", code, out, errs)
	}
	out, _, code = s.run("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a, namespace: m}\nspec: {addresses: [x]}\n", "import", "metallb", "-f", "-", "-o", "json")
	if code != exit.Wrong || !strings.Contains(out, `"effect": "Lost"`) {
		t.Errorf("it ends with %d:\n%s", code, out)
	}
	for _, args := range [][]string{{"import"}, {"import", "other"}, {"import", "metallb", "-f", path + "x"}, {"annotations", "pod", "x"}, {"annotations", "service", "x", "-f", path}} {
		if _, errs, code := s.run("", args...); code != exit.Failed || errs == "" {
			t.Errorf("%v ends with %d: %s", args, code, errs)
		}
	}
}
