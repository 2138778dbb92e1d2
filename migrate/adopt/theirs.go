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
)

// theirs are the workloads of the other controller.
type theirs struct {
	deciders []*appsv1.Deployment
	speakers []*appsv1.DaemonSet
	// others of it are known, and not touched.
	others bool
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
	if c := a.audit.Of(a.Source); c != nil && a.Source != imports.MetalLB {
		a.theirs.others = c.Running && (!a.network() || c.TakesClassless)
	}
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
	switch t := &a.theirs; {
	case a.Source != imports.MetalLB || a.ended || len(t.deciders) > 0 && len(t.speakers) > 0:
		return nil
	case len(t.speakers) > 0:
		return []string{"The Deployment of MetalLB's controller is gone. If its ValidatingWebhookConfiguration is still there, nobody answers it, and MetalLB's objects cannot be changed: delete it before step Decide."}
	default:
		return []string{"MetalLB's speakers are gone. Nobody announces its addresses until Fairlead does."}
	}
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
	case imports.KubeVip:
		return "Remove its DaemonSet, or its static pods from /etc/kubernetes/manifests (those that serve the control plane stay, with svc_enable=false)."
	case imports.Cilium:
		return "Delete its announcements: kubectl delete ciliuml2announcementpolicies,ciliumbgpadvertisements --all."
	case imports.Calico:
		return "Take serviceLoadBalancerIPs out of its BGPConfiguration: calicoctl patch bgpconfiguration default."
	}
	return "Uninstall it: helm uninstall, or kubectl delete -f with its manifest, but keep its CustomResourceDefinitions."
}
