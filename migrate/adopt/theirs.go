package adopt

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/audit"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/plural"
)

// theirs are the workloads of the other controller.
type theirs struct {
	deciders []*appsv1.Deployment
	speakers []*appsv1.DaemonSet
	// others of it are known, and not touched.
	others bool
	// voices are those that announce, of a controller whose workloads are not touched.
	voices []*audit.Workload
}

func (t *theirs) there() bool { return len(t.deciders)+len(t.speakers) > 0 || t.others }

// findWorkloads finds those of the other controller, and Fairlead's.
func (a *adoption) findWorkloads() {
	for i := range a.Deployments {
		d := &a.Deployments[i]
		switch {
		case partIn("Fairlead", &d.Spec.Template.Spec) == "controller":
			a.fairlead = d
		case a.Source == imports.MetalLB && partIn(a.name, &d.Spec.Template.Spec) == "controller":
			a.theirs.deciders = append(a.theirs.deciders, d)
		}
	}
	for i := range a.DaemonSets {
		if d := &a.DaemonSets[i]; a.Source == imports.MetalLB && partIn(a.name, &d.Spec.Template.Spec) == "speaker" {
			a.theirs.speakers = append(a.theirs.speakers, d)
		}
	}
	if a.Source == imports.MetalLB {
		return
	}
	for i := range a.Workloads {
		if w := &a.Workloads[i]; audit.Announces(a.name, w) {
			a.theirs.voices = append(a.theirs.voices, w)
		}
	}
	if c := a.audit.Of(a.Source); c != nil {
		a.theirs.others = c.Running && a.serves(c)
	}
}

// serves tells whether a controller that runs is there for Services: as the cluster's
// network, and as the holder of the control plane's address, it stays.
func (a *adoption) serves(c *audit.Controller) bool {
	switch {
	case a.network():
		return c.TakesClassless
	case a.Source == imports.KubeVip:
		return len(a.theirs.voices) > 0
	}
	return true
}

// installed tells whether the other has what announces, ready or not.
func (a *adoption) installed() bool {
	return a.theirs.there() || len(a.theirs.voices) > 0 && !a.network()
}

// network tells whether the other controller is the cluster's network too, which
// stays when it gives no addresses any more.
func (a *adoption) network() bool { return a.Source == imports.Cilium || a.Source == imports.Calico }

func partIn(controller string, spec *corev1.PodSpec) string {
	for i := range spec.Containers {
		if p := audit.PartOf(controller, spec.Containers[i].Image); p != "" {
			return p
		}
	}
	return ""
}

// stopped tells whether a Deployment is at zero, and its pods are gone.
func stopped(d *appsv1.Deployment) bool {
	return ptr.Deref(d.Spec.Replicas, 1) == 0 && d.Status.Replicas == 0
}

// runs tells whether a Deployment runs as it is written.
func runs(d *appsv1.Deployment) bool {
	want := ptr.Deref(d.Spec.Replicas, 1)
	return want > 0 && d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas >= want &&
		d.Status.ReadyReplicas >= want && d.Status.Replicas == d.Status.UpdatedReplicas
}

// theyDecide tells whether the other controller gives addresses now to Services
// without a class.
func (a *adoption) theyDecide() bool {
	if a.Source == imports.MetalLB {
		return slices.ContainsFunc(a.theirs.deciders, func(d *appsv1.Deployment) bool { return !stopped(d) })
	}
	c := a.audit.Of(a.Source)
	return c != nil && c.Running && c.TakesClassless
}

// goOn tells whether the other controller is set to go on giving addresses.
func (a *adoption) goOn() bool {
	if a.Source == imports.MetalLB {
		return slices.ContainsFunc(a.theirs.deciders, func(d *appsv1.Deployment) bool { return ptr.Deref(d.Spec.Replicas, 1) > 0 })
	}
	return a.theyDecide()
}

// isDefault tells whether Fairlead is set to serve Services without a class.
func (a *adoption) isDefault() bool {
	if a.fairlead == nil {
		return false
	}
	return slices.ContainsFunc(a.audit.Controllers, func(c audit.Controller) bool { return c.Name == "Fairlead" && c.TakesClassless })
}

// helm is the command that makes Fairlead the default, or not.
func (a *adoption) helm(on bool) string {
	release, namespace := "fairlead", "fairlead-system"
	if a.fairlead != nil {
		namespace = a.fairlead.Namespace
		if r := a.fairlead.Labels["app.kubernetes.io/instance"]; r != "" {
			release = r
		}
	}
	return fmt.Sprintf("helm upgrade %s CHART -n %s --reset-then-reuse-values --set services.defaultClass=%t", release, namespace, on)
}

// replicas is the annotation that remembers how many replicas a Deployment had before
// it was stopped.
const replicas = "fairlead.dev/replicas"

// stop scales the other's controller to zero.
func (a *adoption) stop() []Write {
	var out []Write
	for _, d := range a.theirs.deciders {
		if ptr.Deref(d.Spec.Replicas, 1) == 0 {
			continue
		}
		before := generic(d, "apps/v1", "Deployment")
		after := annotated(before, replicas, fmt.Sprint(ptr.Deref(d.Spec.Replicas, 1)))
		out = append(out, Write{before, scaled(after, 0)})
	}
	return out
}

// startAgain scales it to what it was.
func (a *adoption) startAgain() []Write {
	var out []Write
	for _, d := range a.theirs.deciders {
		n := int64(0)
		if _, err := fmt.Sscan(d.Annotations[replicas], &n); err != nil || n < 1 {
			continue
		}
		before := generic(d, "apps/v1", "Deployment")
		after := annotated(annotated(before, replicas, ""), v1alpha1.AnnotationAdopted, "")
		out = append(out, Write{before, scaled(after, n)})
	}
	return out
}

// again is what is awaited on the way back from the end.
func (a *adoption) again() string {
	switch {
	case a.Source == imports.MetalLB:
		return "you to install MetalLB again, its controller with 0 replicas where that can be said: else it is stopped as soon as it is seen"
	case a.network():
		return fmt.Sprintf("you to let %s announce again", a.name)
	}
	out := fmt.Sprintf("you to install %s again", a.name)
	if a.Source == imports.KubeVip {
		out += ", with svc_enable=true"
	}
	if a.onLayer2() || len(a.L2Advertisements) > 0 {
		out += ". Then both answer for an address on layer 2, until Fairlead lets it go: clients reach it by the one or the other"
	}
	return out
}

// oweStart notes on a controller that was installed with 0 replicas that the way back
// of Decide starts it.
func (a *adoption) oweStart() []Write {
	var out []Write
	for _, d := range a.theirs.deciders {
		if ptr.Deref(d.Spec.Replicas, 1) == 0 && d.Annotations[replicas] == "" {
			before := generic(d, "apps/v1", "Deployment")
			out = change(out, before, annotated(before, replicas, "1"))
		}
	}
	return out
}

// starts are what is awaited until the other's controller runs.
func (a *adoption) starts() []string {
	var out []string
	for _, d := range a.theirs.deciders {
		switch {
		case ptr.Deref(d.Spec.Replicas, 1) == 0:
			out = append(out, fmt.Sprintf("you to start its controller: kubectl scale deployment -n %s %s --replicas=1", d.Namespace, d.Name))
		case !runs(d):
			out = append(out, "its controller to run")
		}
	}
	return out
}

// mute says what is awaited until the other announces what it is given; empty: it
// does. Nodes that are not ready are not waited for.
func (a *adoption) mute() string {
	switch {
	case a.network():
		if (a.byBGP() || a.onLayer2()) && !a.announcesStill() {
			return a.again()
		}
		return ""
	case a.Source != imports.MetalLB:
		return a.hoarse()
	}
	if len(a.theirs.speakers) == 0 {
		return "the DaemonSet of its speakers"
	}
	ready, wanted := 0, 0
	for _, d := range a.theirs.speakers {
		ready, wanted = ready+int(d.Status.NumberReady), wanted+int(d.Status.DesiredNumberScheduled)
	}
	if ready >= max(1, wanted-a.lost()) {
		return ""
	}
	out := fmt.Sprintf("its speakers to run (%d of %d are ready)", ready, wanted)
	d := a.theirs.speakers[0]
	secret := keySecret(d)
	if secret == "" || ready > 0 {
		return out
	}
	return out + fmt.Sprintf(`. They mount Secret %s, which goes when the Deployment of its controller is deleted, and which that makes when it runs. If it is not there: `+
		`kubectl create secret generic -n %s %s --from-literal=secretkey="$(openssl rand -base64 128)"`, secret, d.Namespace, secret)
}

// hoarse is mute of a controller whose workloads are not touched.
func (a *adoption) hoarse() string {
	if len(a.theirs.voices) == 0 {
		return a.again()
	}
	ready, wanted := 0, 0
	for _, w := range a.theirs.voices {
		if !a.rolledOut(w) {
			return fmt.Sprintf("%s %s/%s of %s to be rolled out", w.Kind, w.Namespace, w.Name, a.name)
		}
		ready, wanted = ready+w.Ready, wanted+w.Wanted
	}
	if ready >= max(1, wanted-a.lost()) {
		return ""
	}
	return fmt.Sprintf("what announces for %s to run (%d of %d are ready)", a.name, ready, wanted)
}

// rolledOut tells whether the pods of a workload are those that it describes now,
// ready or not.
func (a *adoption) rolledOut(w *audit.Workload) bool {
	for i := range a.DaemonSets {
		if d := &a.DaemonSets[i]; w.Kind == "DaemonSet" && d.Namespace == w.Namespace && d.Name == w.Name {
			return d.Status.ObservedGeneration >= d.Generation && int(d.Status.UpdatedNumberScheduled) >= int(d.Status.DesiredNumberScheduled)-a.lost()
		}
	}
	for i := range a.Deployments {
		if d := &a.Deployments[i]; w.Kind == "Deployment" && d.Namespace == w.Namespace && d.Name == w.Name {
			return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas >= ptr.Deref(d.Spec.Replicas, 1)
		}
	}
	return true
}

// keySecret is the Secret that keeps speakers of MetalLB from starting before there is
// one; empty: they need none.
func keySecret(d *appsv1.DaemonSet) string {
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.Name == "memberlist" && v.Secret != nil && !ptr.Deref(v.Secret.Optional, false) {
			return v.Secret.SecretName
		}
	}
	return ""
}

// lost counts nodes that are known not to be ready.
func (a *adoption) lost() int {
	n := 0
	for i := range a.Nodes {
		if slices.ContainsFunc(a.Nodes[i].Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue
		}) {
			n++
		}
	}
	return n
}

func scaled(o *unstructured.Unstructured, n int64) *unstructured.Unstructured {
	o = o.DeepCopy()
	spec, _ := o.Object["spec"].(map[string]any)
	spec["replicas"] = n
	return o
}

// leaveOut are the writes after which their objects leave labelled nodes out, or not.
func (a *adoption) leaveOut(on bool) []Write {
	var out []Write
	for i := range a.Foreign {
		o := &a.Foreign[i]
		if a.Source != imports.MetalLB || !announces(o) {
			continue
		}
		if on {
			out = change(out, o, tied(o, false))
		} else {
			out = change(out, o, loosened(o, false))
		}
	}
	return out
}

// halves tells of a MetalLB that is there in part only.
func (a *adoption) halves() []string {
	if a.Source != imports.MetalLB || a.ended {
		return nil
	}
	var out []string
	const unserved = " Nobody gives addresses for it, and nobody answers its webhook. While there is its ValidatingWebhookConfiguration, its objects cannot be changed, " +
		"as step Decide has to: start the controller, or delete that configuration, before."
	switch {
	case a.stoppedByUs() || a.isDefault():
	case len(a.theirs.deciders) == 0:
		out = append(out, "MetalLB's controller is gone."+unserved)
	case !a.goOn():
		out = append(out, "MetalLB's controller is scaled to 0."+unserved)
	}
	if len(a.theirs.speakers) == 0 && !handedOver(a.order()) {
		out = append(out, "MetalLB's speakers are gone. Nobody announces its addresses until Fairlead does.")
	}
	return out
}

// limited says why a MetalLB that serves the Services of one class is not taken over
// from; empty: it serves those without a class.
func (a *adoption) limited() string {
	c := a.audit.Of(a.Source)
	if c == nil || c.Class == "" || a.Source != imports.MetalLB {
		return ""
	}
	var names []string
	for i := range a.Services {
		if svc := &a.Services[i]; svc.Spec.Type == corev1.ServiceTypeLoadBalancer && ptr.Deref(svc.Spec.LoadBalancerClass, "") == c.Class {
			names = append(names, svc.Namespace+"/"+svc.Name)
		}
	}
	slices.Sort(names)
	out := fmt.Sprintf("MetalLB serves only Services of class %s (its flag --lb-class)", c.Class)
	if len(names) == 0 {
		out += ", and there are none: remove it."
	} else {
		out += fmt.Sprintf(": %s. A class cannot be changed, so they stay MetalLB's, and nobody would announce them if its announcements were taken over. "+
			"Make a second Service of class %s for each that Fairlead is to have, and remove MetalLB when there is none of its class any more.", plural.Some(names), v1alpha1.LoadBalancerClass)
	}
	if !a.isDefault() {
		out += " Services without a class are not MetalLB's. To have Fairlead serve them: " + a.helm(true) + "."
	}
	return out
}

// announcingOn counts the objects by which theirs say that a node announces.
func (a *adoption) announcingOn(kind, node string) int {
	n := 0
	for i := range a.Announcing {
		o := &a.Announcing[i]
		on, _, _ := unstructured.NestedString(o.Object, "status", "node")
		if on == "" {
			on = o.GetLabels()["metallb.io/node"]
		}
		if o.GetKind() == kind && (node == "" || on == node) {
			n++
		}
	}
	return n
}

// instructions are how announcing is ended of those that cannot be told by labels.
func (a *adoption) instructions() string {
	switch a.Source {
	case imports.MetalLB:
		return "With --remove, its Deployment and DaemonSet are deleted. Uninstalling its chart or its manifest deletes its CustomResourceDefinitions too, and with them the way back: do that later."
	case imports.KubeVip:
		return "Remove its DaemonSet, or its static pods from /etc/kubernetes/manifests (those that serve the control plane stay, with svc_enable=false)."
	case imports.Cilium:
		return "Delete its announcements: kubectl delete ciliuml2announcementpolicies,ciliumbgpadvertisements --all."
	case imports.Calico:
		return "Take serviceLoadBalancerIPs out of its BGPConfiguration: calicoctl patch bgpconfiguration default."
	}
	return "Uninstall it: helm uninstall, or kubectl delete -f with its manifest, but keep its CustomResourceDefinitions."
}
