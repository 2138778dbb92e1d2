package adopt

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/imports"
)

// daemons are a DaemonSet of three pods, of which some are ready, and some are as it
// describes them now.
func daemons(namespace, name, image, env string, ready, updated int) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: DaemonSet
metadata: {name: %s, namespace: %s}
spec: {template: {spec: {containers: [{name: c, image: %q, env: [%s]}]}}}
status: {numberReady: %d, updatedNumberScheduled: %d, desiredNumberScheduled: 3, currentNumberScheduled: 3, numberMisscheduled: 0}
`, name, namespace, image, env, ready, updated)
}

// decider is the Deployment of a controller that gives addresses, and runs.
func decider(namespace, name, image string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, namespace: %s}
spec: {template: {spec: {containers: [{name: c, image: %q}]}}}
status: {readyReplicas: 1, replicas: 1, updatedReplicas: 1}
`, name, namespace, image)
}

// other is a controller that the command does not touch.
type other struct {
	config, decider string
	// voice is what announces for it.
	voice func(ready, updated int) string
	// gone are parts of the keys of its workloads.
	gone []string
	// label is the one by which nodes announce for Fairlead.
	label string
}

const kubeVipImage = "ghcr.io/kube-vip/kube-vip:v1.0.0"

func others() map[imports.Source]other {
	return map[imports.Source]other{
		imports.KubeVip: {
			config: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kubevip, namespace: kube-system}\ndata: {range-global: 172.30.0.100-172.30.0.110}\n",
			voice: func(ready, updated int) string {
				return daemons("kube-system", "kube-vip-ds", kubeVipImage, `{name: vip_arp, value: "true"}, {name: svc_enable, value: "true"}`, ready, updated)
			},
			gone: []string{"kube-vip-ds"}, label: v1alpha1.LabelAnnouncesLayer2,
		},
		imports.PureLB: {
			config: `apiVersion: purelb.io/v1
kind: ServiceGroup
metadata: {name: default, namespace: purelb}
spec: {local: {v4pool: {subnet: 172.30.0.0/24, pool: 172.30.0.100-172.30.0.110, aggregation: default}}}
---
apiVersion: purelb.io/v1
kind: LBNodeAgent
metadata: {name: default, namespace: purelb}
spec: {local: {localint: default, extlbint: kube-lb0}}
`,
			decider: decider("purelb", "allocator", "ghcr.io/purelb/purelb/allocator:v0.13.0"),
			voice: func(ready, updated int) string {
				return daemons("purelb", "lbnodeagent", "ghcr.io/purelb/purelb/lbnodeagent:v0.13.0", "", ready, updated)
			},
			gone: []string{"purelb/allocator", "purelb/lbnodeagent"}, label: v1alpha1.LabelAnnouncesLayer2,
		},
		imports.OpenELB: {
			config: `apiVersion: network.kubesphere.io/v1alpha2
kind: Eip
metadata: {name: lan, annotations: {eip.openelb.kubesphere.io/is-default-eip: "true"}}
spec: {address: 172.30.0.100-172.30.0.110, protocol: bgp}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpConf
metadata: {name: default}
spec: {as: 64512}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpPeer
metadata: {name: tor}
spec: {conf: {peerAs: 64513, neighborAddress: 172.30.0.1}}
`,
			decider: decider("openelb-system", "openelb-controller", "kubesphere/openelb-controller:v0.6.0"),
			voice: func(ready, updated int) string {
				return daemons("openelb-system", "openelb-speaker", "kubesphere/openelb-speaker:v0.6.0", "", ready, updated)
			},
			gone: []string{"openelb-system/openelb-controller", "openelb-system/openelb-speaker"}, label: v1alpha1.LabelAnnouncesBGP,
		},
	}
}

// newOther is a cluster with another controller than MetalLB, which runs.
func newOther(t *testing.T, source imports.Source) (*world, other) {
	t.Helper()
	w, o := newWorld(t), others()[source]
	w.drop("metallb")
	w.options.Source = source
	w.add(o.config, o.voice(3, 3))
	if o.decider != "" {
		w.add(o.decider)
	}
	return w, o
}

// toTheEnd goes all the way there: people remove the other, and make Fairlead the
// default.
func (w *world) toTheEnd(o other) {
	w.t.Helper()
	r := w.to(Decide)
	for _, part := range o.gone {
		w.drop(part)
	}
	if len(r.Current().Forth.Writes) == 0 {
		w.serve()
	}
	w.to("")
}

func (w *world) labelled(key string) int {
	n := 0
	for _, x := range w.snapshot().Nodes {
		if _, has := x.Labels[key]; has {
			n++
		}
	}
	return n
}

// back takes a step back as far as it goes without others.
func (w *world) back(n Name) *Move {
	w.t.Helper()
	for range 10 {
		s := w.report().Step(n)
		if len(s.Back.Writes) == 0 {
			return &s.Back
		}
		w.write(s.Back.Writes)
	}
	w.t.Fatalf("%s is never taken back", n)
	return nil
}

// waitsFor checks what the way back of a step waits for, and that all nodes announce
// for Fairlead meanwhile.
func (w *world) waitsFor(n Name, o *other, want string) {
	w.t.Helper()
	m := w.back(n)
	if m.Done || len(m.Waits) != 1 || !strings.Contains(m.Waits[0], want) {
		w.t.Errorf("the way back of %s waits for %q (done: %t), want %q", n, m.Waits, m.Done, want)
	}
	if s := w.report().Step(Announce); len(s.Back.Writes) > 0 || len(s.Back.Waits) == 0 {
		w.t.Errorf("%s would be taken back: %+v", Announce, s.Back)
	}
	if got := w.labelled(o.label); got != 3 {
		w.t.Errorf("%d of 3 nodes announce for Fairlead", got)
	}
}

// On the way back from another controller's end no node is given back before all that
// announces for it runs, as it is described now.
func TestOthersAnnounceBeforeFairleadLetsGo(t *testing.T) {
	for _, source := range []imports.Source{imports.KubeVip, imports.PureLB, imports.OpenELB} {
		t.Run(string(source), func(t *testing.T) {
			w, o := newOther(t, source)
			w.toTheEnd(o)
			w.backFromOthersEnd(o)
			if m := w.report().Last(); m == nil || m.Name != Announce || !nodesOnly(m.Back.Writes) {
				t.Fatalf("the step to take back is %+v", m)
			}
			w.write(w.report().Last().Back.Writes)
			if left, want := w.labelled(o.label), map[string]int{v1alpha1.LabelAnnouncesBGP: 2}[o.label]; left != want {
				t.Errorf("%d nodes still announce for Fairlead, want %d", left, want)
			}
			w.back(Announce)
			for i := range w.snapshot().Nodes {
				delete(w.objects[fmt.Sprintf("fairlead.dev SpeakerStatus /node%d", i+1)].Object, "status")
			}
			w.back(Announce)
			w.helm(false)
			if s := w.report().Last(); s == nil || s.Name != Decide || len(s.Back.Waits) != 1 || !strings.HasPrefix(s.Back.Waits[0], "Fairlead to let ") {
				t.Errorf("before Fairlead has let go, the step to take back is %+v", s)
			}
			for range 30 {
				s := w.report().Last()
				if s == nil {
					break
				}
				w.react(s)
				w.write(s.Back.Writes)
			}
			if r := w.report(); r.Last() != nil {
				t.Errorf("it never comes to the beginning:\n%s", words(r))
			}
			for key, x := range w.objects {
				if strings.HasPrefix(key, "fairlead.dev ") && x.GetKind() != "SpeakerStatus" && (x.GetKind() != "Address" || len(x.GetAnnotations()) > 0) {
					t.Errorf("%s is left", key)
				}
			}
		})
	}
}

// backFromOthersEnd is a controller that is installed again by and by. Whoever asks
// for the way back only then comes to the same.
func (w *world) backFromOthersEnd(o other) {
	w.t.Helper()
	if s := w.report().Last(); s != nil {
		if m := w.back(End); !slices.ContainsFunc(m.Waits, func(x string) bool { return strings.HasPrefix(x, "you to install ") }) {
			w.t.Errorf("it waits for %q", m.Waits)
		}
	}
	if o.decider != "" {
		w.add(o.decider)
	}
	w.add(o.voice(1, 3))
	if s := w.report().Last(); s == nil || s.Name != End && s.Name != Announce {
		w.t.Errorf("the step to take back is %+v", s)
	}
	w.waitsFor(End, &o, "(1 of 3 are ready)")
	w.add(o.voice(3, 1))
	w.waitsFor(End, &o, "to be rolled out")
	w.waitsFor(Announce, &o, "to be rolled out")
	for _, part := range o.gone {
		w.drop(part)
	}
	w.waitsFor(Announce, &o, "you to install ")
	w.add(o.voice(3, 3))
	if o.decider != "" {
		w.add(o.decider)
	}
	w.nodeDown("node3")
	w.add(o.voice(2, 2))
	if m := w.back(End); !m.Done {
		w.t.Errorf("with all that can run it waits for %q", m.Waits)
	}
	w.add(o.voice(3, 3))
}

func nodesOnly(list []Write) bool {
	return len(list) > 0 && !slices.ContainsFunc(list, func(x Write) bool { return x.Object().GetKind() != "Node" })
}

// On layer 2 both announce for a while, and that is told before.
func TestOverlapIsTold(t *testing.T) {
	for source, want := range map[imports.Source]bool{imports.PureLB: true, imports.OpenELB: false} {
		w, o := newOther(t, source)
		w.toTheEnd(o)
		if m := w.back(End); len(m.Waits) != 1 || strings.Contains(m.Waits[0], "Then both answer for an address on layer 2") != want {
			t.Errorf("%s: it waits for %q", source, m.Waits)
		}
	}
}

// A kube-vip that holds the address of the control plane only stays, and is in nobody's
// way.
func TestControlPlaneOfKubeVip(t *testing.T) {
	w, _ := newOther(t, imports.KubeVip)
	w.to(Decide)
	w.add(daemons("kube-system", "kube-vip-ds", kubeVipImage, `{name: vip_arp, value: "true"}, {name: cp_enable, value: "true"}, {name: svc_enable, value: "false"}`, 3, 3))
	w.to("")
	if m := w.back(End); len(m.Waits) != 1 || !strings.HasPrefix(m.Waits[0], "you to install kube-vip again") {
		t.Errorf("the way back waits for %q", m.Waits)
	}
}

// What a network announced, it announces again before nodes are given back.
func TestNetworksAnnounceBeforeFairleadLetsGo(t *testing.T) {
	w := newWorld(t)
	w.drop("metallb")
	w.options.Source = imports.Cilium
	const policy = "apiVersion: cilium.io/v2alpha1\nkind: CiliumL2AnnouncementPolicy\nmetadata: {name: lan}\nspec: {loadBalancerIPs: true}\n"
	w.add("apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: cilium, namespace: kube-system}\nspec: {template: {spec: {containers: [{name: agent, image: \"quay.io/cilium/cilium:v1.19.0\"}]}}}\nstatus: {numberReady: 3, desiredNumberScheduled: 3, currentNumberScheduled: 3, numberMisscheduled: 0}\n",
		"apiVersion: cilium.io/v2\nkind: CiliumLoadBalancerIPPool\nmetadata: {name: public}\nspec: {blocks: [{start: 172.30.0.100, stop: 172.30.0.110}]}\n", policy)
	w.to(Decide)
	for i := range w.snapshot().Nodes {
		w.objects[fmt.Sprintf(" Node /node%d", i+1)].SetLabels(map[string]string{v1alpha1.LabelAnnouncesLayer2: "true"})
	}
	w.drop("CiliumL2AnnouncementPolicy")
	if m := w.report().Step(Announce).Back; len(m.Writes) > 0 || len(m.Waits) != 1 || m.Waits[0] != "you to let Cilium LB-IPAM announce again" {
		t.Errorf("it is taken back by %+v", m)
	}
	w.add(policy)
	if m := w.report().Step(Announce).Back; !nodesOnly(m.Writes) {
		t.Errorf("it is taken back by %+v", m)
	}
}
