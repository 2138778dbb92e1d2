package journey

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/exit"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/root"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/test/apiserver"
	"github.com/fairlead/fairlead/test/golden"
)

// A walk goes with one of the other controllers from a cluster as it leaves it, by the
// examples that it publishes, to Fairlead. What its page in docs shows is what the
// commands of the walk print.
type walk struct {
	*shell
	source imports.Source
	c      client.Client
	hands  *hands
	page   string
	before map[string]string
}

// begin makes the cluster: what the other publishes, and what stands in
// testdata/SOURCE.yaml, which comes before it where both have an object.
func begin(t *testing.T, source imports.Source) *walk {
	t.Helper()
	o := apiserver.Options{GatewayAPI: "standard", Flags: apiserver.DualStack}
	if crds := filepath.Join("testdata", string(source)+".crds.yaml"); exists(crds) {
		o.CRDs = append(o.CRDs, crds)
	}
	cfg := apiserver.Start(t, o)
	w := &walk{shell: &shell{t: t, cfg: cfg}, source: source}
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "migration-"+string(source)+".md"))
	if err != nil {
		t.Fatal(err)
	}
	w.page = string(page)
	if w.c, err = w.client(); err != nil {
		t.Fatal(err)
	}
	own := w.decode(filepath.Join("testdata", string(source)+".yaml"))
	has := map[string]bool{}
	for i := range own {
		has[nameOf(&own[i])] = true
	}
	published := w.decode(filepath.Join("..", "..", "..", "..", "migrate", "imports", "testdata", string(source)+".published.in.yaml"))
	for i := range own {
		w.create(&own[i])
	}
	for i := range published {
		o := &published[i]
		if acceptable(o); !has[nameOf(o)] {
			w.create(o)
		}
	}
	w.hands = work(t, cfg, w.c)
	w.hands.Await("workloads to be ready", w.hands.ready)
	if w.before, err = addresses(t.Context(), w.c); err != nil {
		t.Fatal(err)
	}
	return w
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (w *walk) decode(path string) []unstructured.Unstructured {
	w.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	objects, err := imports.Decode(text)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range objects {
		if o := &objects[i]; o.GetNamespace() == "" && (o.GetKind() == "Service" || o.GetKind() == "ConfigMap") {
			o.SetNamespace("default")
		}
	}
	return objects
}

func nameOf(o *unstructured.Unstructured) string {
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// acceptable makes of an example what an API server takes: some are not as they stand.
func acceptable(o *unstructured.Unstructured) {
	o.SetName(strings.ToLower(o.GetName()))
	data, _ := o.Object["data"].(map[string]any)
	for key, v := range data {
		if on, is := v.(bool); is && on {
			data[key] = "true"
		} else if is {
			data[key] = "false"
		}
	}
}

// create makes an object with its status, as the manager wrote it whom an annotation
// names that is only for this.
func (w *walk) create(o *unstructured.Unstructured) {
	w.t.Helper()
	const by = "test/written-by"
	notes := o.GetAnnotations()
	manager := notes[by]
	delete(notes, by)
	o.SetAnnotations(notes)
	status := o.Object["status"]
	if err := w.c.Create(w.t.Context(), o); err != nil {
		w.t.Fatalf("creating %s: %v", nameOf(o), err)
	}
	if status == nil || o.GetKind() != "Service" {
		return
	}
	o.Object["status"] = status
	if err := w.c.Status().Update(w.t.Context(), o, client.FieldOwner(manager)); err != nil {
		w.t.Fatalf("writing the status of %s: %v", nameOf(o), err)
	}
}

// person does something when the command says that it waits for it.
type person struct {
	when string
	do   func()
}

// screen is what somebody sees of a command that runs, who acts on it.
type screen struct {
	bytes.Buffer
	people []person
}

func (s *screen) Write(p []byte) (int, error) {
	n, err := s.Buffer.Write(p)
	for len(s.people) > 0 && strings.Contains(string(p), s.people[0].when) {
		do := s.people[0].do
		s.people = s.people[1:]
		do()
	}
	return n, err
}

// types runs a command while people act on what it says. The pause is shorter than its
// default, and not shown.
func (w *walk) types(code int, line string, people ...person) string {
	w.t.Helper()
	out, errs := &screen{people: people}, &bytes.Buffer{}
	env := kube.NewEnv(genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: errs}, time.Now)
	env.Connect = w.client
	args := strings.Fields(line)
	if args[0] == "adopt" {
		args = append(args, "--pause=200ms", "--timeout=60s")
	}
	if got := root.Run(w.t.Context(), env, args); got != code {
		w.t.Fatalf("%s ends with %d, want %d:\n%s%s", line, got, code, out, errs)
	}
	for _, p := range out.people {
		w.t.Errorf("%s never says %q", line, p.when)
	}
	text := "$ kubectl fairlead " + line + "\n" + out.String() + errs.String()
	w.t.Log("\n" + text)
	return text
}

// sees compares what a command shows with a golden file, and with the page.
func (w *walk) sees(name string, code int, line string) {
	w.t.Helper()
	text := w.types(code, line)
	golden.Compare(w.t, filepath.Join("testdata", string(w.source), name+".txt"), text)
	if name == "adopt" {
		text, _, _ = strings.Cut(text, "\n\n") // the page has the steps of it only
	}
	w.shows(strings.TrimRight(text, "\n"))
}

// does runs a command that writes, and holds the page against its progress.
func (w *walk) does(line string, people ...person) {
	w.t.Helper()
	text := w.types(exit.Fine, line, people...)
	progress, _, _ := strings.Cut(text, "\n\n")
	path := filepath.Join("testdata", string(w.source), "progress.txt")
	w.hands.progress += progress + "\n\n"
	if golden.Updating() {
		golden.Compare(w.t, path, w.hands.progress)
	}
	w.showsSteady(progress, people)
}

var seconds = regexp.MustCompile(` +\d+\.\d s  `)

// steady leaves out of progress what differs from run to run: times, and what is awaited
// that comes by itself, and what was changed, in one write or, where Fairlead was faster
// at one of the objects, in two. What waits for a person comes after "waits for ".
func steady(text string, people []person) string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(seconds.ReplaceAllString(strings.TrimSuffix(line, "\n"), "  "))
		_, waits, found := strings.Cut(line, "waits for ")
		asked := slices.ContainsFunc(people, func(p person) bool { return strings.Contains(waits, p.when) })
		if (!found || asked) && !strings.Contains(line, "  changed ") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// showsSteady checks that the page shows progress, but for what differs from run to run.
func (w *walk) showsSteady(progress string, people []person) {
	w.t.Helper()
	if !golden.Updating() && !strings.Contains(steady(w.page, people), steady(progress, people)) {
		w.t.Errorf("docs/migration-%s.md does not show what was printed:\n%s", w.source, progress)
	}
}

// shows checks that the page has some lines, one after the other.
func (w *walk) shows(text string) {
	w.t.Helper()
	if golden.Updating() {
		return
	}
	block := func(text string) string {
		return "    " + strings.ReplaceAll(seconds.ReplaceAllString(text, "  "), "\n", "\n    ")
	}
	page := strings.ReplaceAll(seconds.ReplaceAllString(w.page, "  "), "\n\n", "\n    \n")
	if !strings.Contains(page, block(text)) {
		w.t.Errorf("docs/migration-%s.md does not show what was printed:\n%s", w.source, text)
	}
}

// ends checks that no Service shows another address than at first.
func (w *walk) ends() {
	w.t.Helper()
	after, err := addresses(w.t.Context(), w.c)
	if diff := cmp.Diff(w.before, after); err != nil || diff != "" {
		w.t.Errorf("addresses have changed: %v\n%s", err, diff)
	}
	w.hands.WantUnmoved()
}

// daemon changes a DaemonSet of the other, or deletes it.
func (w *walk) daemon(namespace, name string, change func(*appsv1.DaemonSet)) func() {
	return func() {
		d := &appsv1.DaemonSet{}
		err := w.c.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, d)
		if err == nil && change == nil {
			err = w.c.Delete(w.t.Context(), d)
		} else if err == nil {
			change(d)
			err = w.c.Update(w.t.Context(), d)
		}
		if err != nil {
			w.t.Error(err)
		}
	}
}

// removes deletes a Deployment of the other.
func (w *walk) removes(namespace, name string) func() {
	return func() {
		d := &appsv1.Deployment{}
		d.Namespace, d.Name = namespace, name
		if err := w.c.Delete(w.t.Context(), d); err != nil {
			w.t.Error(err)
		}
	}
}

func all(do ...func()) func() {
	return func() {
		for _, f := range do {
			f()
		}
	}
}

// eachEnv sets a variable of each container that has it.
func eachEnv(name, value string) func(*appsv1.DaemonSet) {
	return func(d *appsv1.DaemonSet) {
		for i := range d.Spec.Template.Spec.Containers {
			env := d.Spec.Template.Spec.Containers[i].Env
			for j := range env {
				if env[j].Name == name {
					env[j].Value = value
				}
			}
		}
	}
}

// installs installs Fairlead beside the other, for its own class.
func (w *walk) installs() {
	w.t.Helper()
	for _, o := range w.decode(filepath.Join("testdata", "fairlead.yaml")) {
		w.create(&o)
	}
	w.hands.Await("Fairlead to run", func(ctx context.Context) bool { return w.hands.ready(ctx) && w.hands.speaking(ctx) })
}

func TestFromKubeVip(t *testing.T) {
	w := begin(t, imports.KubeVip)
	w.other(exit.Fine, person{
		"kube-vip to leave Services without a class alone",
		all(w.removes("kube-system", "kube-vip-cloud-provider"), w.daemon("kube-system", "kube-vip-ds", eachEnv("svc_enable", "false"))),
	}, person{"you to make Fairlead the default", func() { w.hands.Helm(true) }})
}

// rest is what every walk ends with.
func (w *walk) rest(last int) {
	w.t.Helper()
	w.sees("annotations", exit.Wrong, "annotations -A")
	// Somebody who is told that a Service was changed meanwhile runs it again.
	w.hands.Await("the Services to be rewritten", func(context.Context) bool {
		_, errs, code := w.run("", "annotations", "-A", "--apply")
		if code != exit.Fine && !strings.Contains(errs, "has been modified") {
			w.t.Fatalf("annotations --apply ends with %d: %s", code, errs)
		}
		return code == exit.Fine
	})
	w.sees("audit-after", last, "audit")
	w.ends()
}

// From those that are the cluster's network the rest is a person's, once the pools are
// there.
func (w *walk) network(imported int, stop func()) {
	w.t.Helper()
	name := string(w.source)
	w.sees("audit", exit.Fine, "audit")
	w.sees("import", imported, "import "+name)
	w.installs()
	w.sees("adopt", exit.Wrong, "adopt "+name)
	w.does("adopt " + name + " --apply")
	w.does("adopt " + name + " --apply")
	w.sees("adopt-decide", exit.Wrong, "adopt "+name)
	stop()
	w.hands.Helm(true)
	w.hands.Await("Fairlead to have the addresses", w.hands.bound)
	w.label()
	w.rest(exit.Fine)
}

// label lets all nodes announce for Fairlead, as adopt says.
func (w *walk) label() {
	w.t.Helper()
	for _, name := range []string{"node1", "node2", "node3"} {
		n := &corev1.Node{}
		n.Name = name
		patch := `{"metadata":{"labels":{"fairlead.dev/announces-layer2":"true","fairlead.dev/announces-bgp":"true"}}}`
		if err := w.c.Patch(w.t.Context(), n, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestFromCilium(t *testing.T) {
	w := begin(t, imports.Cilium)
	w.network(exit.Wrong, func() {
		patch := []byte(`{"data":{"default-lb-service-ipam":"none"}}`)
		config := &corev1.ConfigMap{}
		config.Namespace, config.Name = "kube-system", "cilium-config"
		if err := w.c.Patch(t.Context(), config, client.RawPatch(types.MergePatchType, patch)); err != nil {
			t.Fatal(err)
		}
		w.deletes("cilium.io/v2alpha1 CiliumL2AnnouncementPolicy", "l2policy")
		w.deletes("cilium.io/v2 CiliumBGPAdvertisement", "bgp-advertisements")
		w.deletes("cilium.io/v2 CiliumLoadBalancerIPPool", "ip-pool-blue", "ip-pool-red")
	})
}

func (w *walk) deletes(kind string, names ...string) {
	w.t.Helper()
	version, kind, _ := strings.Cut(kind, " ")
	for _, name := range names {
		o := &unstructured.Unstructured{}
		o.SetAPIVersion(version)
		o.SetKind(kind)
		o.SetName(name)
		if err := w.c.Delete(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestFromPureLB(t *testing.T) {
	w := begin(t, imports.PureLB)
	w.other(exit.Wrong, person{"PureLB to leave Services without a class alone", w.removes("purelb-system", "allocator")},
		person{"you to make Fairlead the default", func() { w.hands.Helm(true) }},
		person{"PureLB to announce no more", w.daemon("purelb-system", "lbnodeagent", nil)})
}

func TestFromOpenELB(t *testing.T) {
	w := begin(t, imports.OpenELB)
	w.other(exit.Wrong, person{"you to make Fairlead the default", func() { w.hands.Helm(true) }},
		person{"OpenELB to announce no more", all(w.removes("openelb-system", "openelb-controller"), w.daemon("openelb-system", "openelb-speaker", nil))})
}

func TestFromCalico(t *testing.T) {
	w := begin(t, imports.Calico)
	w.network(exit.Fine, func() { w.deletes("projectcalico.org/v3 IPPool", "loadbalancerippool") })
}

// other goes from one whose workloads go when the command says so. The exit code is
// that of the last audit.
func (w *walk) other(last int, people ...person) {
	w.t.Helper()
	name := string(w.source)
	w.sees("audit", exit.Fine, "audit")
	w.sees("import", exit.Wrong, "import "+name)
	w.installs()
	w.sees("adopt", exit.Wrong, "adopt "+name)
	w.does("adopt " + name + " --apply")
	w.does("adopt " + name + " --apply")
	w.does("adopt "+name+" --all --apply", people...)
	w.rest(last)
}
