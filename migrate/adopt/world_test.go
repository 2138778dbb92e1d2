package adopt

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/audit"
	"github.com/fairlead/fairlead/migrate/imports"
)

// world is a cluster in memory.
type world struct {
	t       *testing.T
	objects map[string]*unstructured.Unstructured
	options Options
}

func keyOf(o *unstructured.Unstructured) string {
	return o.GroupVersionKind().Group + " " + o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// newWorld is the cluster of testdata, with MetalLB, and Fairlead for its own class.
func newWorld(t *testing.T, more ...string) *world {
	t.Helper()
	w := &world{t: t, objects: map[string]*unstructured.Unstructured{}, options: Options{Source: imports.MetalLB}}
	text, err := os.ReadFile(filepath.Join("testdata", "cluster.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	w.add(append([]string{string(text)}, more...)...)
	return w
}

func (w *world) add(texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		list, err := imports.Decode([]byte(text))
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range list {
			w.objects[keyOf(&list[i])] = &list[i]
		}
	}
}

// drop takes objects away whose key contains a text.
func (w *world) drop(part string) {
	w.t.Helper()
	n := len(w.objects)
	maps.DeleteFunc(w.objects, func(key string, _ *unstructured.Unstructured) bool { return strings.Contains(key, part) })
	if n == len(w.objects) {
		w.t.Fatalf("there is no %q", part)
	}
}

func listOf[T any](w *world, kind string) []T {
	w.t.Helper()
	var out []T
	for _, key := range slices.Sorted(maps.Keys(w.objects)) {
		o := w.objects[key]
		if o.GetKind() != kind || o.GroupVersionKind().Group == metallbGroup {
			continue
		}
		var x T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &x); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

func (w *world) snapshot() Snapshot {
	var s Snapshot
	s.Services, s.Pools, s.Ledger = listOf[corev1.Service](w, "Service"), listOf[v1alpha1.IPAddressPool](w, "IPAddressPool"), listOf[v1alpha1.Address](w, "Address")
	s.L2Advertisements, s.BGPAdvertisements = listOf[v1alpha1.L2Advertisement](w, "L2Advertisement"), listOf[v1alpha1.BGPAdvertisement](w, "BGPAdvertisement")
	s.Peers, s.Nodes, s.Speakers = listOf[v1alpha1.BGPPeer](w, "BGPPeer"), listOf[corev1.Node](w, "Node"), listOf[v1alpha1.SpeakerStatus](w, "SpeakerStatus")
	s.Deployments, s.DaemonSets = listOf[appsv1.Deployment](w, "Deployment"), listOf[appsv1.DaemonSet](w, "DaemonSet")
	s.Now = time.Unix(1000, 0)
	for _, key := range slices.Sorted(maps.Keys(w.objects)) {
		switch o := w.objects[key]; {
		case o.GetKind() == "CustomResourceDefinition":
			s.CRDs = append(s.CRDs, o.GetName())
		case strings.HasPrefix(o.GetKind(), "Service") && o.GroupVersionKind().Group == metallbGroup:
			s.Announcing = append(s.Announcing, *o)
		case o.GroupVersionKind().Group == metallbGroup, configures(w.options.Source, o):
			s.Foreign = append(s.Foreign, *o)
		}
	}
	work := func(kind string, meta metav1.ObjectMeta, spec *corev1.PodSpec, ready, wanted int32) {
		x := audit.Workload{Kind: kind, Namespace: meta.Namespace, Name: meta.Name, Ready: int(ready), Wanted: int(wanted)}
		for _, c := range spec.Containers {
			env := map[string]string{}
			for _, e := range c.Env {
				env[e.Name] = e.Value
			}
			x.Containers = append(x.Containers, audit.Container{Image: c.Image, Args: c.Args, Env: env})
		}
		s.Workloads = append(s.Workloads, x)
	}
	for i := range s.Deployments {
		d := &s.Deployments[i]
		work("Deployment", d.ObjectMeta, &d.Spec.Template.Spec, d.Status.ReadyReplicas, ptr.Deref(d.Spec.Replicas, 1))
	}
	for i := range s.DaemonSets {
		d := &s.DaemonSets[i]
		work("DaemonSet", d.ObjectMeta, &d.Spec.Template.Spec, d.Status.NumberReady, d.Status.DesiredNumberScheduled)
	}
	return s
}

// configures tells whether an object is of a kind that a source is configured by.
func configures(source imports.Source, o *unstructured.Unstructured) bool {
	return slices.ContainsFunc(imports.Kinds(source), func(k imports.Kind) bool { return k.Group == o.GroupVersionKind().Group && k.Kind == o.GetKind() })
}

func (w *world) report() *Report {
	w.t.Helper()
	r, err := Of(w.snapshot(), w.options)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// write does what is to be written; Deployments follow, and MetalLB lets labelled nodes
// go.
func (w *world) write(list []Write) {
	for _, x := range list {
		delete(w.objects, keyOf(x.Object()))
		if x.After != nil {
			w.objects[keyOf(x.After)] = x.After.DeepCopy()
		}
	}
	nodes := w.snapshot().Nodes
	for key, o := range w.objects {
		if o.GetKind() == "ServiceL2Status" && nodes[0].Labels[v1alpha1.LabelAnnouncesLayer2] != "" {
			delete(w.objects, key)
		}
		if o.GetKind() == "Deployment" {
			n, set, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
			if !set {
				n = 1
			}
			o.Object["status"] = map[string]any{"replicas": n, "updatedReplicas": n, "readyReplicas": n}
		}
	}
}

// to goes forth until a step is the current one.
func (w *world) to(n Name) *Report {
	w.t.Helper()
	for range 20 {
		r := w.report()
		s := r.Current()
		if s == nil || s.Name == n {
			return r
		}
		if len(s.Forth.Writes) == 0 {
			w.t.Fatalf("%s has nothing to write: %+v", s.Name, s)
		}
		w.write(s.Forth.Writes)
		if s.Name == Decide {
			w.serve()
		}
	}
	w.t.Fatalf("it never comes to %s", n)
	return nil
}

// serve makes Fairlead the default, which enters all addresses that statuses show.
func (w *world) serve() {
	w.helm(true)
	for _, r := range (&adoption{Snapshot: w.snapshot(), made: &imports.Result{}}).reservations() {
		name := v1alpha1.AddressName(r.address)
		o := &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.AddressSpec{Address: r.address.String()}}
		for _, have := range listOf[v1alpha1.Address](w, "Address") {
			if have.Name == name {
				o = &have
			}
		}
		o.Spec.State, o.Spec.Holders = v1alpha1.AddressBound, nil
		for _, s := range r.services {
			o.Spec.Holders = append(o.Spec.Holders, v1alpha1.AddressHolder{HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: s.Namespace, Name: s.Name}, State: v1alpha1.AddressBound})
		}
		o.Status.Conditions = []metav1.Condition{{Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionTrue, Reason: "Layer2"}}
		u := ours(o, "Address")
		w.objects[keyOf(u)] = u
	}
}

func (w *world) helm(on bool) {
	o := w.objects["apps Deployment fairlead-system/fairlead-controller"]
	o.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["args"] = []any{fmt.Sprintf("--default-class=%t", on)}
}

// metallb is one of MetalLB's workloads.
func (w *world) metallb(kind, name string) map[string]any {
	return w.objects["apps "+kind+" metallb-system/"+name].Object
}

// scale has MetalLB's controller run with so many replicas.
func (w *world) scale(n int64) {
	o := w.metallb("Deployment", "controller")
	o["spec"].(map[string]any)["replicas"] = n
	o["status"] = map[string]any{"replicas": n, "updatedReplicas": n, "readyReplicas": n}
}

// forgetReplicas is somebody who takes the note off that the way back goes by.
func (w *world) forgetReplicas() {
	delete(w.metallb("Deployment", "controller")["metadata"].(map[string]any)["annotations"].(map[string]any), replicas)
}

// limit has MetalLB serve the Services of one class.
func (w *world) limit(class string) {
	for kind, name := range map[string]string{"Deployment": "controller", "DaemonSet": "speaker"} {
		o := w.metallb(kind, name)
		o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["args"] = []any{"--lb-class=" + class}
	}
}

// ready says how many of three speakers are.
func (w *world) ready(n int64) {
	w.metallb("DaemonSet", "speaker")["status"].(map[string]any)["numberReady"] = n
}

func (w *world) nodeDown(name string) {
	w.objects[" Node /"+name].Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "Unknown"}}}
}

// words are a report for a golden file.
func words(r *Report) string {
	var s strings.Builder
	for i := range r.Steps {
		x := &r.Steps[i]
		fmt.Fprintf(&s, "%-9s %-8s %s\n", x.Name, x.State, x.What)
		for _, why := range x.Why {
			fmt.Fprintf(&s, "          why: %s\n", why)
		}
		if x == r.Current() {
			s.WriteString(moveWords("forth", &x.Forth))
		}
		if x == r.Last() {
			s.WriteString(moveWords("back", &x.Back))
		}
	}
	for _, n := range r.Missing {
		fmt.Fprintf(&s, "missing: %s\n", n)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&s, "note: %s\n", n)
	}
	return s.String()
}

func moveWords(direction string, m *Move) string {
	var s strings.Builder
	for _, w := range m.Writes {
		sign := "~"
		switch {
		case w.Before == nil:
			sign = "+"
		case w.After == nil:
			sign = "-"
		}
		fmt.Fprintf(&s, "          %s: %s %s %s\n", direction, sign, w.Object().GetKind(), w.Object().GetName())
	}
	for _, x := range m.Waits {
		fmt.Fprintf(&s, "          %s: waits for %s\n", direction, x)
	}
	for _, x := range m.Stop {
		fmt.Fprintf(&s, "          %s: stops, since %s\n", direction, x)
	}
	return s.String()
}
