package adopt

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/test/golden"
)

func compare(t *testing.T, name string, r *Report) {
	t.Helper()
	golden.Compare(t, filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".txt"), words(r))
}

// Each stage of a way that nothing stands in.
func TestStages(t *testing.T) {
	w := newWorld(t)
	compare(t, "stage-1-books", w.to(Books))
	compare(t, "stage-2-pools", w.to(Pools))
	compare(t, "stage-3-decide", w.to(Decide))
	w.write(w.report().Current().Forth.Writes)
	compare(t, "stage-4-deciding", w.report())
	w.serve()
	compare(t, "stage-5-announce", w.to(Announce))
	w.write(w.report().Current().Forth.Writes)
	compare(t, "stage-6-one-node", w.report())
	w.add(sessionOf("node2", "Established"))
	compare(t, "stage-7-end", w.to(End))
	w.options.Remove = true
	compare(t, "stage-8-remove", w.report())
	w.drop("metallb-system/controller")
	w.drop("metallb-system/speaker")
	compare(t, "stage-9-gone", w.report())
	compare(t, "stage-10-done", w.to(""))
}

func sessionOf(node, state string) string {
	return `apiVersion: fairlead.dev/v1alpha1
kind: SpeakerStatus
metadata: {name: ` + node + `}
status: {bgp: {sessions: [{peer: tor, state: ` + state + `, since: "2026-07-01T12:00:00Z", lastError: {message: "refused: Bad Peer AS", at: "2026-07-01T12:00:00Z"}}]}}
`
}

// From each stage the way back leads to where it began.
func TestBack(t *testing.T) {
	for _, stage := range []Name{Pools, Decide, Announce, End} {
		t.Run(string(stage), func(t *testing.T) {
			w := newWorld(t, sessionOf("node2", "Established"))
			before := maps.Clone(w.objects)
			w.to(stage)
			for range 30 {
				s := w.report().Last()
				if s == nil {
					break
				}
				w.react(s)
				w.write(s.Back.Writes)
			}
			for _, o := range w.objects {
				delete(o.Object, "status")
			}
			for key, o := range before {
				o = o.DeepCopy()
				delete(o.Object, "status")
				if w.objects[key] == nil && o.GetKind() == "ServiceL2Status" {
					continue
				}
				if w.objects[key] == nil {
					t.Errorf("%s is gone", key)
				} else if diff := cmp.Diff(spec(o), spec(w.objects[key])); diff != "" && o.GetKind() != "Service" {
					t.Errorf("%s is not as before (-before +now):\n%s", key, diff)
				}
			}
			for key := range w.objects {
				if before[key] == nil {
					t.Errorf("%s is left", key)
				}
			}
		})
	}
}

// spec is what matters of an object, as it was written.
func spec(o *unstructured.Unstructured) any {
	m, _, _ := unstructured.NestedMap(o.Object, "spec")
	if m == nil {
		m = map[string]any{}
	}
	for _, k := range []string{"strategy", "template", "updateStrategy"} {
		delete(m, k)
	}
	if m["replicas"] == nil && o.GetKind() == "Deployment" {
		m["replicas"] = int64(1)
	}
	return map[string]any{"labels": o.GetLabels(), "annotations": len(o.GetAnnotations()), "spec": m}
}

// From the end there is a way back as well. MetalLB is installed again for it, and
// nothing is given back before it can announce: the Secret that its speakers mount went
// with the Deployment of its controller.
func TestBackFromTheEnd(t *testing.T) {
	w := newWorld(t, sessionOf("node2", "Established"))
	before := maps.Clone(w.objects)
	w.options.Remove = true
	w.to("")
	back := func(n Name) *Move {
		for range 10 {
			s := w.report().Step(n)
			if len(s.Back.Writes) == 0 {
				return &s.Back
			}
			w.write(s.Back.Writes)
		}
		t.Fatalf("%s is never taken back", n)
		return nil
	}
	back(End)
	compare(t, "end-back-1-install", w.report())
	w.add(reinstalled("1", "0"))
	if waits := back(End).Waits; len(waits) != 1 || !strings.Contains(waits[0], "(0 of 3 are ready)") {
		t.Errorf("it waits for %v", waits)
	}
	compare(t, "end-back-2-no-speakers", w.report())
	w.add(reinstalled("0", "3"))
	if m := back(End); !m.Done {
		t.Errorf("with speakers it is not done: %+v", m)
	}
	compare(t, "end-back-3-speakers", w.report())
	for range 30 {
		s := w.report().Last()
		if s == nil {
			break
		}
		w.react(s)
		w.write(s.Back.Writes)
	}
	for key, o := range before {
		if o.GetKind() == "ServiceL2Status" || o.GetKind() == "Service" {
			continue
		}
		if diff := cmp.Diff(spec(o), spec(w.objects[key])); diff != "" {
			t.Errorf("%s is not as before (-before +now):\n%s", key, diff)
		}
	}
	for key, o := range w.objects {
		if before[key] == nil && (o.GetKind() != "Address" || len(o.GetAnnotations()) > 0) {
			t.Errorf("%s is left", key)
		}
	}
}

// reinstalled is MetalLB as its manifest installs it again, with so many replicas of
// its controller and so many speakers that are ready.
func reinstalled(replicas, ready string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata: {name: controller, namespace: metallb-system}
spec: {replicas: ` + replicas + `, selector: {matchLabels: {app: metallb}}, template: {spec: {containers: [{name: controller, image: "quay.io/metallb/controller:v0.16.1"}]}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: speaker, namespace: metallb-system}
spec:
  selector: {matchLabels: {app: speaker}}
  template:
    spec:
      containers: [{name: speaker, image: "quay.io/metallb/speaker:v0.16.1"}]
      volumes: [{name: memberlist, secret: {secretName: memberlist}}]
status: {numberReady: ` + ready + `, desiredNumberScheduled: 3, currentNumberScheduled: 3, numberMisscheduled: 0}
`
}

// A MetalLB that is installed again without a word to the command is the one that
// stops: Fairlead would take addresses out of the statuses.
func TestInstalledBeside(t *testing.T) {
	w := newWorld(t, sessionOf("node2", "Established"))
	w.options.Remove = true
	w.to("")
	w.add(reinstalled("1", "3"))
	compare(t, "installed-beside", w.report())
	w.scale(0)
	compare(t, "installed-beside-stopped", w.report())
}

// Before the other stops giving addresses, Fairlead's controller has to run. Afterwards it is waited for: one that starts
// again, as helm upgrade has it do, or that a busy node starves for a moment, is no reason to stop half way.
func TestFairleadIsNotReady(t *testing.T) {
	w := newWorld(t)
	w.to(Decide)
	deployment := w.objects["apps Deployment fairlead-system/fairlead-controller"].Object
	ready := func(n int64) {
		deployment["status"] = map[string]any{"replicas": int64(2), "updatedReplicas": int64(2), "readyReplicas": n}
	}
	ready(0)
	if s := w.report().Current(); s.State != Blocked || !strings.Contains(strings.Join(s.Forth.Stop, " "), "controller does not run") {
		t.Errorf("before the step begins: %s, stops for %q; want it blocked by a controller that does not run", s.State, s.Forth.Stop)
	}
	ready(1)
	if s := w.report().Current(); s.State == Blocked {
		t.Errorf("one of two is ready: stops for %q", s.Forth.Stop)
	}
	w.write(w.report().Current().Forth.Writes)
	ready(0)
	if s := w.report().Current(); s.State != Begun || len(s.Forth.Stop) > 0 || len(s.Forth.Waits) == 0 {
		t.Errorf("when the step has begun: %s, stops for %q, waits for %q; want it to wait", s.State, s.Forth.Stop, s.Forth.Waits)
	}
}

// Of several BGPPeers one is changed after the other, there and back.
func TestPeerByPeer(t *testing.T) {
	w := newWorld(t, "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: tor2, namespace: metallb-system}\nspec: {myASN: 64512, peerASN: 64514, peerAddress: 172.30.0.2}\n")
	w.to(Decide)
	peers := func(m *Move) (n int) {
		for _, x := range m.Writes {
			if x.Object().GetKind() == "BGPPeer" {
				n++
			}
		}
		return n
	}
	step := w.report().Current()
	if step.Name != Decide || len(step.Forth.Writes) != 1 || peers(&step.Forth) != 1 || !step.Forth.Settle {
		t.Fatalf("at first it writes %+v", step.Forth)
	}
	w.write(step.Forth.Writes)
	if step = w.report().Current(); step.Name != Decide || len(step.Forth.Writes) < 2 || peers(&step.Forth) != 1 || step.Forth.Settle {
		t.Fatalf("then it writes %+v", step.Forth)
	}
	w.write(step.Forth.Writes)
	for n := 2; n > 0; {
		s := w.report().Last()
		if s.Name != Decide {
			t.Fatalf("%d BGPPeers stay bound", n)
		}
		if is := peers(&s.Back); is > 1 || is == 1 && s.Back.Settle != (n == 2) {
			t.Fatalf("on the way back it writes %+v", s.Back)
		}
		n -= peers(&s.Back)
		w.write(s.Back.Writes)
	}
}

// What is lost of MetalLB on the way is named before anything is given back to it.
func TestLostOnTheWay(t *testing.T) {
	for name, in := range map[string]struct {
		to  Name
		out func(w *world)
	}{
		"speakers":           {End, func(w *world) { w.drop("metallb-system/speaker") }},
		"speakers are down":  {End, func(w *world) { w.ready(1) }},
		"a node is down":     {End, func(w *world) { w.ready(2); w.nodeDown("node3") }},
		"controller":         {Announce, func(w *world) { w.drop("metallb-system/controller") }},
		"controller stopped": {Announce, func(w *world) { w.forgetReplicas(); w.helm(false); w.release() }},
		"a sharing key": {Announce, func(w *world) {
			w.objects[" Service edge/dns"].SetAnnotations(map[string]string{"fairlead.dev/sharing-key": "dns"})
		}},
		"a pool": {Announce, func(w *world) {
			w.add("apiVersion: fairlead.dev/v1alpha1\nkind: IPAddressPool\nmetadata: {name: more}\nspec: {addresses: [172.30.0.140-172.30.0.149]}\n", lb("new", "172.30.0.140", 80, ""))
			w.serve()
		}},
		"a class is set": {Decide, func(w *world) { w.limit("metallb") }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sessionOf("node2", "Established"))
			w.to(in.to)
			in.out(w)
			for s := w.report().Last(); s != nil && s.Name == Decide && len(s.Back.Writes) > 0; s = w.report().Last() {
				w.write(s.Back.Writes)
			}
			compare(t, "lost-"+name, w.report())
		})
	}
}

// What speakers said that are gone is not waited for.
func TestStatusesOfSpeakersThatAreGone(t *testing.T) {
	w := newWorld(t, sessionOf("node2", "Established"),
		"apiVersion: metallb.io/v1beta1\nkind: ServiceBGPStatus\nmetadata: {name: bgp-1, namespace: metallb-system}\nstatus: {node: node2}\n")
	w.drop("metallb-system/speaker")
	w.to(End)
}

// react does what others do on the way back.
func (w *world) react(s *Step) {
	if s.Name == Announce {
		for i, n := range w.snapshot().Nodes {
			if n.Labels[v1alpha1.LabelAnnouncesBGP] == "" {
				delete(w.objects[fmt.Sprintf("fairlead.dev SpeakerStatus /node%d", i+1)].Object, "status")
			}
		}
	}
	if s.Name != Decide || len(s.Back.Writes) > 0 {
		return
	}
	w.helm(false)
	w.release()
}

// release is what Fairlead does with its ledger when it is not the default any more.
func (w *world) release() {
	for key, o := range w.objects {
		if o.GetKind() != "Address" {
			continue
		}
		state := "Retained"
		if _, reserved, _ := unstructured.NestedMap(o.Object, "spec", "reservedFor"); reserved {
			state = "Reserved"
		} else {
			_ = unstructured.SetNestedMap(o.Object, map[string]any{"kind": "Service", "namespace": "shop", "name": "dns", "at": "2026-07-01T12:00:00Z"}, "spec", "released")
		}
		unstructured.RemoveNestedField(o.Object, "spec", "holders")
		_ = unstructured.SetNestedField(o.Object, state, "spec", "state")
		w.objects[key] = o
	}
}

// What stands in the way is named, and nothing is written over it.
func TestBad(t *testing.T) {
	for name, in := range map[string]func(w *world){
		"nothing there": func(w *world) {
			w.drop("metallb")
		},
		"controller gone": func(w *world) { w.drop("metallb-system/controller") },
		"speakers gone":   func(w *world) { w.drop("metallb-system/speaker") },
		"only kinds": func(w *world) {
			w.drop("apps Deployment metallb-system")
			w.drop("apps DaemonSet metallb-system")
		},
		"overlapping pools": func(w *world) {
			w.add("apiVersion: fairlead.dev/v1alpha1\nkind: IPAddressPool\nmetadata: {name: old}\nspec: {addresses: [172.30.0.108-172.30.0.120]}\n")
		},
		"only statuses": func(w *world) {
			w.drop("apps Deployment metallb-system")
			w.drop("apps DaemonSet metallb-system")
			w.drop("metallb.io ")
		},
		"outside every pool": func(w *world) { w.add(lb("far", "10.9.9.9", 81, "")) },
		"twice":              func(w *world) { w.add(lb("second", "172.30.0.105", 80, "")) },
		"hostname": func(w *world) {
			w.add("apiVersion: v1\nkind: Service\nmetadata: {name: aws, namespace: shop}\nspec: {type: LoadBalancer, ipFamilies: [IPv4], ports: [{port: 80}]}\nstatus: {loadBalancer: {ingress: [{hostname: a.example.com}]}}\n")
		},
		"unparsable":   func(w *world) { w.add(lb("odd", "172.30.0.300", 80, "")) },
		"both default": func(w *world) { w.helm(true) },
		"reserved for another": func(w *world) {
			w.add(address("172.30.0.105", "reservedFor: {kind: Gateway, namespace: shop, name: web}"))
		},
		"held by another": func(w *world) {
			w.add(address("172.30.0.105", "state: Bound, holders: [{kind: Gateway, namespace: shop, name: web, state: Bound}]"))
		},
		"set aside": func(w *world) { w.add(address("172.30.0.105", "state: Reserved")) },
		"all pools are announced": func(w *world) {
			w.add("apiVersion: fairlead.dev/v1alpha1\nkind: L2Advertisement\nmetadata: {name: all}\n")
		},
		"no Fairlead":     func(w *world) { w.drop("fairlead-controller") },
		"controller at 0": func(w *world) { w.scale(0) },
		"a class":         func(w *world) { w.limit("metallb"); w.add(classed("far", "metallb"), classed("near", "metallb")) },
		"a class of many": func(w *world) {
			w.limit("metallb")
			for _, n := range []string{"a", "b", "c", "d", "e", "f", "g"} {
				w.add(classed(n, "metallb"), classed(n+"-of-another", "example.com/lb"))
			}
		},
		"a class of nobody": func(w *world) { w.limit("metallb") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			in(w)
			for range 5 {
				r := w.report()
				s := r.Current()
				if s == nil || s.State == Blocked || len(s.Forth.Writes) == 0 || s.Name == Decide {
					break
				}
				w.write(s.Forth.Writes)
			}
			compare(t, "bad-"+name, w.report())
		})
	}
}

func classed(name, class string) string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: shop}\nspec: {type: LoadBalancer, loadBalancerClass: " + class +
		", ipFamilies: [IPv4], ports: [{port: 80}]}\nstatus: {loadBalancer: {ingress: [{ip: 172.30.0.109}]}}\n"
}

func address(ip, spec string) string {
	return "apiVersion: fairlead.dev/v1alpha1\nkind: Address\nmetadata: {name: " + ip + "}\nspec: {address: " + ip + ", " + spec + "}\n"
}

func lb(name, ip string, port int, annotations string) string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: shop, annotations: {" + annotations + "}}\nspec: {type: LoadBalancer, ipFamilies: [IPv4], ports: [{port: " +
		string(rune('0'+port/10)) + string(rune('0'+port%10)) + "}]}\nstatus: {loadBalancer: {ingress: [{ip: " + ip + "}]}}\n"
}

// A session that is refused says so, and the speakers of others let go first.
func TestSessionsAreAwaited(t *testing.T) {
	w := newWorld(t, sessionOf("node2", "Active"))
	w.to(Announce)
	w.write(w.report().Current().Forth.Writes)
	w.add("apiVersion: metallb.io/v1beta1\nkind: ServiceBGPStatus\nmetadata: {name: bgp-1, namespace: metallb-system}\nstatus: {node: node2}\n")
	compare(t, "session-refused", w.report())
}

func TestUnknownSource(t *testing.T) {
	if _, err := Of(Snapshot{}, Options{Source: "kube-router"}); err == nil {
		t.Error("kube-router is adopted from")
	}
}

// Controllers that no label reaches are told of by their own instructions.
func TestOthers(t *testing.T) {
	for _, source := range imports.Sources()[1:] {
		w := newWorld(t)
		w.options.Source = source
		r := w.report()
		if r.Steps[0].State != Blocked {
			t.Errorf("%s: %s", source, words(r))
		}
	}
	w := newWorld(t)
	w.drop("metallb")
	w.options.Source = imports.PureLB
	w.add("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: allocator, namespace: purelb}\nspec: {template: {spec: {containers: [{name: a, image: \"ghcr.io/purelb/purelb/allocator:v0.12\"}]}}}\nstatus: {readyReplicas: 1, replicas: 1, updatedReplicas: 1}\n",
		"apiVersion: fairlead.dev/v1alpha1\nkind: IPAddressPool\nmetadata: {name: public}\nspec: {addresses: [172.30.0.100-172.30.0.110], sharing: AcrossNamespaces}\n")
	compare(t, "purelb", w.to(Decide))
	w.write(w.report().Current().Forth.Writes)
	compare(t, "purelb-deciding", w.report())
	w.drop("purelb/allocator")
	compare(t, "purelb-removed", w.report())
}

// Of a controller that is the network too, it cannot be seen whether it lets go: the
// command says what to do, and goes no further.
func TestNetworks(t *testing.T) {
	w := newWorld(t)
	w.drop("metallb")
	w.options.Source = imports.Cilium
	w.add("apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: cilium, namespace: kube-system}\nspec: {template: {spec: {containers: [{name: agent, image: \"quay.io/cilium/cilium:v1.19.0\"}]}}}\nstatus: {numberReady: 3, desiredNumberScheduled: 3, currentNumberScheduled: 3, numberMisscheduled: 0}\n",
		"apiVersion: cilium.io/v2\nkind: CiliumLoadBalancerIPPool\nmetadata: {name: public}\nspec: {blocks: [{start: 172.30.0.100, stop: 172.30.0.110}]}\n")
	compare(t, "cilium", w.to(Pools))
	w.write(w.report().Current().Forth.Writes)
	compare(t, "cilium-decide", w.report())
}

func selectorGen() *rapid.Generator[metav1.LabelSelector] {
	return rapid.Custom(func(t *rapid.T) metav1.LabelSelector {
		var s metav1.LabelSelector
		if rapid.Bool().Draw(t, "labels") {
			s.MatchLabels = map[string]string{rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"): rapid.SampledFrom([]string{"1", "2"}).Draw(t, "value")}
		}
		if rapid.Bool().Draw(t, "expressions") {
			s.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key2"), Operator: rapid.SampledFrom([]metav1.LabelSelectorOperator{metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist}).Draw(t, "op")}}
		}
		return s
	})
}

// A bond never widens what is selected, leaves out what it says, splits each node
// between the two controllers, and comes off without a trace.
func TestBonds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(selectorGen(), 0, 3).Draw(t, "selectors")
		kind := rapid.SampledFrom([]string{"L2Advertisement", "BGPPeer"}).Draw(t, "kind")
		node := map[string]string{}
		for _, k := range []string{"a", "b"} {
			if v := rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, k); v != "" {
				node[k] = v
			}
		}
		if rapid.Bool().Draw(t, "labelled") {
			node[bondOf(kind, true).label] = "true"
		}
		was := matches(list, node)
		us, them := bondOf(kind, true).tie(list), bondOf(kind, false).tie(list)
		if ours, theirs := matches(us, node), matches(them, node); ours && theirs || (ours || theirs) != was {
			t.Errorf("was %v, ours %v, theirs %v", was, ours, theirs)
		}
		for _, b := range []bond{bondOf(kind, true), bondOf(kind, false)} {
			tied := b.tie(list)
			if !b.holds(tied) || matches(b.loose(tied), node) != was || !slices.EqualFunc(b.tie(tied), tied, equalSelectors) {
				t.Errorf("%v becomes %v and then %v", list, tied, b.loose(tied))
			}
		}
	})
}

func equalSelectors(a, b metav1.LabelSelector) bool { return cmp.Equal(a, b) }
