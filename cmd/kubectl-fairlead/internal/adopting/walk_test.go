package adopting

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	"github.com/fairlead/fairlead/migrate/adopt"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/test/apiserver"
)

// api is the API server of these tests; nil where there is none.
var api *envtest.Environment

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	more := apiserver.Options{GatewayAPI: "standard", CRDs: []string{filepath.Join("testdata", "crds.yaml")}}
	os.Exit(apiserver.Main(m, more, func(env *envtest.Environment) { api = env }))
}

// shell runs the command as a user.
type shell struct {
	t    *testing.T
	cfg  *rest.Config
	c    client.Client
	peer imports.Source
}

func newShell(t *testing.T, cfg *rest.Config) *shell {
	t.Helper()
	scheme, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return &shell{t: t, cfg: cfg, c: c, peer: imports.MetalLB}
}

// run gives what the command prints, on stdout and then on stderr, and its exit code.
func (s *shell) run(args ...string) (string, int) {
	s.t.Helper()
	var o, e bytes.Buffer
	env := kube.NewEnv(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &o, ErrOut: &e}, time.Now)
	env.Connect = func() (client.Client, error) { return s.c, nil }
	c := Command(env)
	env.AddFlags(c.Flags())
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(append([]string{string(s.peer), "--pause=200ms"}, args...))
	err := c.ExecuteContext(s.t.Context())
	if err != nil && !exit.Said(err) {
		fmt.Fprintln(&e, "Error:", err)
	}
	out := "$ kubectl fairlead adopt " + string(s.peer) + " " + strings.Join(args, " ") + "\n" + o.String() + e.String()
	s.t.Log("\n" + out)
	return out, exit.Code(err)
}

// does runs the command, and wants an exit code.
func (s *shell) does(code int, args ...string) string {
	s.t.Helper()
	out, got := s.run(args...)
	if got != code {
		s.t.Fatalf("%v ends with %d, want %d", args, got, code)
	}
	return out
}

// patience is how long a command is given at most to come to where it gets no further.
const patience = 30 * time.Second

// stuck runs the command, which can not come to its end, with more and more time until it says all that is wanted: on a busy
// machine it may not get that far at first.
func (s *shell) stuck(want []string, args ...string) {
	s.t.Helper()
	for timeout := time.Second; ; timeout *= 2 {
		out := s.does(exit.Wrong, append(args, "--timeout="+timeout.String())...)
		missing := slices.DeleteFunc(slices.Clone(want), func(w string) bool { return strings.Contains(out, w) })
		if len(missing) == 0 {
			return
		}
		if timeout > patience {
			s.t.Errorf("%v does not say %q", args, missing)
			return
		}
	}
}

// sees compares what the command shows with a golden file.
func (s *shell) sees(name string, code int, args ...string) {
	s.t.Helper()
	golden.Text(s.t, name+".txt", s.does(code, args...))
}

// theirs are the specs of MetalLB's objects.
func (h *hands) theirs() map[string]any {
	out := map[string]any{}
	for kind, version := range map[string]string{"IPAddressPool": "v1beta1", "L2Advertisement": "v1beta1", "BGPAdvertisement": "v1beta1", "BGPPeer": "v1beta2"} {
		list, err := h.list(h.T.Context(), "metallb.io", version, kind)
		if err != nil {
			h.T.Fatal(err)
		}
		for i := range list {
			out[kind+" "+list[i].GetName()] = list[i].Object["spec"]
		}
	}
	return out
}

// traces are what an adoption leaves behind.
func (h *hands) traces(ctx context.Context) []string {
	var out []string
	nodes, err := h.nodes(ctx)
	if err != nil {
		h.T.Fatal(err)
	}
	for i := range nodes {
		for key := range nodes[i].Labels {
			if strings.HasPrefix(key, "fairlead.dev/") {
				out = append(out, nodes[i].Name+" "+key)
			}
		}
	}
	for _, kind := range []string{"IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer", "Address"} {
		list, err := h.list(ctx, v1alpha1.GroupVersion.Group, "v1alpha1", kind)
		if err != nil {
			h.T.Fatal(err)
		}
		for i := range list {
			o := &list[i]
			selectors, _, _ := unstructured.NestedSlice(o.Object, "spec", "nodeSelectors")
			_, reserved, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "reservedFor")
			if len(o.GetAnnotations()) > 0 || reserved || strings.Contains(fmt.Sprint(selectors), "fairlead.dev/") {
				out = append(out, kind+" "+o.GetName())
			}
		}
	}
	slices.Sort(out)
	return out
}

func (h *hands) none(kind string) {
	h.T.Helper()
	list, err := h.list(h.T.Context(), v1alpha1.GroupVersion.Group, "v1alpha1", kind)
	if err != nil || len(list) > 0 {
		h.T.Errorf("%d of kind %s are left (%v)", len(list), kind, err)
	}
}

// From MetalLB to Fairlead step by step, all the way back, and forth again to the
// end. No Service ever shows another address.
func TestThereAndBack(t *testing.T) {
	if api == nil {
		t.Skip(apiserver.Missing)
	}
	s := newShell(t, api.Config)
	inhabit.From(t, s.c, filepath.Join("testdata", "cluster.yaml"))
	h := work(t, api.Config, s.c)
	before := h.theirs()

	s.lacksRights()
	s.sees("1-before", exit.Wrong)
	s.speaksToPrograms()
	s.does(exit.Fine, "--apply")
	s.sees("2-books", exit.Wrong)
	s.does(exit.Fine, "--apply")
	s.sees("3-pools", exit.Wrong)
	s.unanswered(h, before)
	s.stuck([]string{"helm upgrade fairlead CHART -n fairlead-system --reset-then-reuse-values --set services.defaultClass=true"}, "--apply")
	h.WantUnmoved()
	h.Helm(true)
	s.does(exit.Fine, "--apply")
	s.sees("4-decided", exit.Wrong)
	s.refuses(h)
	s.does(exit.Fine, "--apply")
	s.sees("5-announced", exit.Wrong)
	h.WantUnmoved()

	s.does(exit.Fine, "--undo", "--apply")
	s.sees("6-undo", exit.Wrong, "--undo")
	s.does(exit.Wrong, "--undo", "--apply", "--timeout=2s")
	h.Helm(false)
	s.does(exit.Fine, "--undo", "--all", "--apply")
	s.sees("7-back", exit.Fine, "--undo")
	h.WantUnmoved()
	if diff := cmp.Diff(before, h.theirs()); diff != "" {
		t.Errorf("MetalLB's objects are not as before (-before +now):\n%s", diff)
	}
	if left := h.traces(t.Context()); len(left) > 0 {
		t.Errorf("traces are left: %v", left)
	}
	for _, kind := range []string{"IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer", "Address"} {
		h.none(kind)
	}

	s.does(exit.Wrong, "--all", "--apply", "--timeout=2s")
	h.Helm(true)
	s.does(exit.Fine, "--all", "--apply", "--remove")
	s.sees("8-end", exit.Fine)
	h.WantUnmoved()
	if left := h.traces(t.Context()); len(left) > 0 {
		t.Errorf("traces are left: %v", left)
	}
	var daemons appsv1.DaemonSetList
	if err := s.c.List(t.Context(), &daemons); err != nil || len(daemons.Items) > 0 {
		t.Errorf("%d DaemonSets are left (%v)", len(daemons.Items), err)
	}
	s.backFromTheEnd(h, before)
}

// backFromTheEnd goes the whole way back when MetalLB was removed: it is installed
// again when the command asks for it.
func (s *shell) backFromTheEnd(h *hands, before map[string]any) {
	s.t.Helper()
	s.stuck([]string{"waits for you to install MetalLB again"}, "--undo", "--apply")
	h.install(s.t.Context())
	s.stuck([]string{"It waits for its speakers to run (0 of 3 are ready)"}, "--undo", "--apply")
	h.speakersReady(s.t.Context(), 3)
	if err := s.goesOn(adopt.End); err != nil {
		s.t.Errorf("with speakers: %v", err)
	}
	h.WantUnmoved()
	s.does(exit.Fine, "--undo", "--apply")
	s.sees("9-back-to-decide", exit.Wrong, "--undo")
	h.Helm(false)
	s.does(exit.Fine, "--undo", "--all", "--apply")
	h.WantUnmoved()
	if diff := cmp.Diff(before, h.theirs()); diff != "" {
		s.t.Errorf("MetalLB's objects are not as before (-before +now):\n%s", diff)
	}
	if left := h.traces(s.t.Context()); len(left) > 0 {
		s.t.Errorf("traces are left: %v", left)
	}
	d := &appsv1.Deployment{}
	if err := s.c.Get(s.t.Context(), client.ObjectKey{Namespace: "metallb-system", Name: "controller"}, d); err != nil || *d.Spec.Replicas != 1 || len(d.Annotations) > 0 {
		s.t.Errorf("MetalLB's controller is %+v (%v)", d, err)
	}
}

// goesOn is a command that takes a step back and is still there when what it waits for
// has come.
func (s *shell) goesOn(name adopt.Name) error {
	s.t.Helper()
	var out bytes.Buffer
	env := kube.NewEnv(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out}, time.Now)
	env.Connect = func() (client.Client, error) { return s.c, nil }
	r, err := newRun(env, adopt.Options{Source: s.peer}, &flags{undo: true, apply: true, timeout: patience, pause: 200 * time.Millisecond, poll: 100 * time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	err = r.do(s.t.Context(), name)
	s.t.Logf("%s%v", out.String(), err)
	return err
}

// unanswered is a webhook that nobody serves, as a MetalLB without its controller
// leaves it: the command says so, and MetalLB's objects are as they were.
func (s *shell) unanswered(h *hands, before map[string]any) {
	s.t.Helper()
	remove := h.webhook(s.t.Context())
	s.stuck([]string{"waits for the webhook that admits this to answer. Start the controller that serves it, or delete its ValidatingWebhookConfiguration"}, "--apply")
	if diff := cmp.Diff(before, h.theirs()); diff != "" {
		s.t.Errorf("MetalLB's objects are not as before (-before +now):\n%s", diff)
	}
	h.WantUnmoved()
	remove()
}

// as runs the command as somebody who may do some things.
func (s *shell) as(user string, rules ...rbacv1.PolicyRule) *shell {
	s.t.Helper()
	if len(rules) > 0 {
		m := metav1.ObjectMeta{Name: user}
		role := &rbacv1.ClusterRole{ObjectMeta: m, Rules: rules}
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: m, Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		}
		c, err := client.New(s.cfg, client.Options{})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, o := range []client.Object{role, binding} {
			if err := c.Create(s.t.Context(), o); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	cfg := rest.CopyConfig(s.cfg)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user}
	return newShell(s.t, cfg)
}

// lacksRights is somebody who may not read, and somebody who may not write: both are
// told of it, and nothing is written.
func (s *shell) lacksRights() {
	s.t.Helper()
	out := s.as("stranger").does(exit.Failed, "--apply")
	for _, right := range []string{"list services", "list addresses.fairlead.dev", "list deployments.apps", "list l2advertisements.metallb.io"} {
		if !strings.Contains(out, right) {
			s.t.Errorf("the stranger is not told of the right to %s", right)
		}
	}
	reader := s.as("reader", rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list"}})
	if out := reader.does(exit.Failed, "--apply"); !strings.Contains(out, "create addresses.fairlead.dev") {
		s.t.Errorf("the reader is not told of the right to write")
	}
	(&hands{Cluster: inhabit.NewCluster(s.t, nil, s.c)}).none("Address")
}

// speaksToPrograms: JSON has each step, and what is written next.
func (s *shell) speaksToPrograms() {
	s.t.Helper()
	out := s.does(exit.Wrong, "-o", "json")
	_, doc, _ := strings.Cut(out, "\n")
	var v struct {
		Steps  []struct{ Step, State string }
		Next   string
		Writes []Write
	}
	if err := json.Unmarshal([]byte(doc), &v); err != nil || len(v.Steps) != 6 || v.Steps[0].State != "Next" || v.Next != "Books" || len(v.Writes) != 4 {
		s.t.Errorf("%+v, %v", v, err)
	}
}

// refuses lets the sessions of Fairlead fail: the node goes back.
func (s *shell) refuses(h *hands) {
	s.t.Helper()
	h.mu.Lock()
	h.deaf = true
	h.mu.Unlock()
	s.stuck([]string{"the BGP session of node2 with peer tor: Active", "was taken back"}, "--apply")
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node2"}}
	if err := s.c.Get(s.t.Context(), client.ObjectKeyFromObject(node), node); err != nil || len(node.Labels) != 1 {
		s.t.Errorf("node2 has %v (%v)", node.Labels, err)
	}
	h.mu.Lock()
	h.deaf = false
	h.mu.Unlock()
}
