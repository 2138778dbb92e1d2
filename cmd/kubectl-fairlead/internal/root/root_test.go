package root

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// run runs the plugin without a cluster.
func run(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	streams, _, o, e := genericiooptions.NewTestIOStreams()
	env := kube.NewEnv(streams, func() time.Time { return noon })
	env.Connect = func() (client.Client, error) { return nil, errors.New("no cluster here") }
	code = Run(t.Context(), env, args)
	return o.String(), e.String(), code
}

func TestEnds(t *testing.T) {
	for _, tt := range []struct {
		args      string
		code      int
		out, errs string // contained; errs "": nothing at all
	}{
		{"--help", 0, "Exit codes", ""},
		{"version --client", 0, "Plugin:", ""},
		{"version --client -o json", 0, `"plugin"`, ""},
		{"version", 2, "", "Error: no cluster here\n"},
		{"version now", 2, "", "See: kubectl fairlead version --help"},
		{"version --wrong", 2, "", "See: kubectl fairlead version --help"},
		{"version -o xml", 2, "", "table, wide, json, yaml"},
		{"no-such", 2, "", `unknown command "no-such"`},
		{"completion bash", 0, "kubectl-fairlead", ""},
		{"completion kubectl", 0, "kubectl-fairlead __complete", ""},
		{"__complete version -o ", 0, "yaml", "Completion ended"},
	} {
		out, errs, code := run(t, strings.Split(tt.args, " ")...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.errs) || tt.errs == "" && errs != "" {
			t.Errorf("%s: code %d\n%s\n%s", tt.args, code, out, errs)
		}
		if strings.Contains(errs, "Usage:") {
			t.Errorf("%s: an error comes with all of the usage:\n%s", tt.args, errs)
		}
	}
}

func TestHelpHasTheFlagsOfKubectl(t *testing.T) {
	out, _, _ := run(t, "version", "--help")
	for _, flag := range []string{"--kubeconfig", "--context", "--namespace", "--as ", "--as-group", "--token", "--server", "--request-timeout", "--all-namespaces", "--output"} {
		if !strings.Contains(out, flag) {
			t.Errorf("the help does not know %s:\n%s", flag, out)
		}
	}
}

const kubeconfig = `apiVersion: v1
kind: Config
current-context: edge
contexts:
- {name: edge, context: {cluster: one, user: me, namespace: shop}}
- {name: core, context: {cluster: one, user: me}}
clusters:
- {name: one, cluster: {server: "https://192.0.2.1:6443"}}
users:
- {name: me, user: {token: secret}}
`

func TestNamespaceAndContexts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, namespace, scope, filter string }{
		{"", "shop", "shop", ""},
		{"--context=core", "default", "default", ""},
		{"-n web", "web", "web", "web"},
		{"-n web -A", "web", "", ""},
	} {
		env := kube.NewEnv(genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &bytes.Buffer{}, ErrOut: &bytes.Buffer{}}, time.Now)
		c, err := Command(env)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.ParseFlags(append([]string{"--kubeconfig=" + path}, strings.Fields(tt.args)...)); err != nil {
			t.Fatal(err)
		}
		ns, err1 := env.Namespace()
		scope, err2 := env.Scope()
		if err1 != nil || err2 != nil || ns != tt.namespace || scope != tt.scope || env.Filter() != tt.filter {
			t.Errorf("%q: %q %v, %q %v, %q", tt.args, ns, err1, scope, err2, env.Filter())
		}
	}
	out, _, _ := run(t, "__complete", "--kubeconfig="+path, "--context", "")
	if !strings.HasPrefix(out, "core\nedge\n") {
		t.Errorf("contexts are completed with %q", out)
	}
}
