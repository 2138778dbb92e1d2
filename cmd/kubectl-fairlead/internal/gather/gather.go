// Package gather reads from a cluster what migration looks at: the Services and
// what stands around them, and the configuration and the workloads of others.
package gather

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/migrate/audit"
	"github.com/fairlead/fairlead/migrate/forecast"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/pools"
)

// Cluster reads what a forecast is made of.
func Cluster(ctx context.Context, r *kube.Reader) (forecast.Cluster, error) {
	var c forecast.Cluster
	var services corev1.ServiceList
	var namespaces corev1.NamespaceList
	var nodes corev1.NodeList
	var ours v1alpha1.IPAddressPoolList
	var ledger v1alpha1.AddressList
	for _, list := range []client.ObjectList{&services, &namespaces, &nodes, &ours, &ledger} {
		if err := r.List(ctx, list); err != nil {
			return c, err
		}
	}
	c.Services, c.Pools, c.Ledger = services.Items, ours.Items, ledger.Items
	c.Namespaces = map[string]map[string]string{}
	for i := range namespaces.Items {
		c.Namespaces[namespaces.Items[i].Name] = namespaces.Items[i].Labels
	}
	var err error
	c.Ranges, err = Ranges(ctx, r, &nodes)
	return c, err
}

// Ranges reads what the cluster uses itself: the addresses of its nodes and of its
// Services.
func Ranges(ctx context.Context, r *kube.Reader, nodes *corev1.NodeList) ([]allocator.ClusterRange, error) {
	var out []allocator.ClusterRange
	for i := range nodes.Items {
		out = append(out, pools.OfNode(&nodes.Items[i])...)
	}
	cidrs, err := Unstructured(ctx, r, schema.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "ServiceCIDR"})
	if err != nil {
		return nil, err
	}
	for i := range cidrs {
		var cidr networkingv1.ServiceCIDR
		if runtime.DefaultUnstructuredConverter.FromUnstructured(cidrs[i].Object, &cidr) == nil {
			out = append(out, pools.OfServiceCIDR(&cidr)...)
		}
	}
	pools.SortRanges(out)
	return out, nil
}

// Unstructured lists the objects of a kind that the plugin does not know.
func Unstructured(ctx context.Context, r *kube.Reader, kind schema.GroupVersionKind, opts ...client.ListOption) ([]unstructured.Unstructured, error) {
	list := &unstructured.UnstructuredList{}
	kind.Kind += "List"
	list.SetGroupVersionKind(kind)
	if err := r.List(ctx, list, opts...); err != nil {
		return nil, err
	}
	return list.Items, nil
}

// Foreign reads what controllers are configured by, each kind in the newest version
// that the cluster has.
func Foreign(ctx context.Context, r *kube.Reader, sources ...imports.Source) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	for _, source := range sources {
		for _, k := range imports.Kinds(source) {
			found, err := ofKind(ctx, r, k)
			if err != nil {
				return nil, fmt.Errorf("reading what %s is configured by: %w", source, err)
			}
			out = append(out, found...)
		}
	}
	return out, nil
}

func ofKind(ctx context.Context, r *kube.Reader, k imports.Kind) ([]unstructured.Unstructured, error) {
	var opts []client.ListOption
	if k.Name != "" {
		opts = append(opts, client.MatchingFields{"metadata.name": k.Name})
	}
	if k.Namespace != "" {
		opts = append(opts, client.InNamespace(k.Namespace))
	}
	for _, v := range k.Versions {
		found, err := Unstructured(ctx, r, schema.GroupVersionKind{Group: k.Group, Version: v, Kind: k.Kind}, opts...)
		if err != nil || len(found) > 0 {
			return found, err
		}
	}
	return nil, nil
}

// Workloads reads Deployments, StatefulSets and DaemonSets, and the pods that
// kubelets start by themselves, as kube-vip is often run.
func Workloads(ctx context.Context, r *kube.Reader) ([]audit.Workload, error) {
	var deployments appsv1.DeploymentList
	var sets appsv1.StatefulSetList
	var daemons appsv1.DaemonSetList
	for _, list := range []client.ObjectList{&deployments, &sets, &daemons} {
		if err := r.List(ctx, list); err != nil {
			return nil, err
		}
	}
	var out []audit.Workload
	add := func(kind string, o metav1.ObjectMeta, spec *corev1.PodSpec, ready, wanted int32) {
		w := audit.Workload{Kind: kind, Namespace: o.Namespace, Name: o.Name, Labels: o.Labels, Ready: int(ready), Wanted: int(wanted)}
		for i := range spec.Containers {
			w.Containers = append(w.Containers, container(&spec.Containers[i]))
		}
		out = append(out, w)
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		add("Deployment", d.ObjectMeta, &d.Spec.Template.Spec, d.Status.ReadyReplicas, wanted(d.Spec.Replicas))
	}
	for i := range sets.Items {
		d := &sets.Items[i]
		add("StatefulSet", d.ObjectMeta, &d.Spec.Template.Spec, d.Status.ReadyReplicas, wanted(d.Spec.Replicas))
	}
	for i := range daemons.Items {
		d := &daemons.Items[i]
		add("DaemonSet", d.ObjectMeta, &d.Spec.Template.Spec, d.Status.NumberReady, d.Status.DesiredNumberScheduled)
	}
	static, err := staticPods(ctx, r)
	return append(out, static...), err
}

func staticPods(ctx context.Context, r *kube.Reader) ([]audit.Workload, error) {
	var list corev1.PodList
	if err := r.List(ctx, &list, client.InNamespace(metav1.NamespaceSystem)); err != nil {
		return nil, err
	}
	var out []audit.Workload
	for i := range list.Items {
		p := &list.Items[i]
		if owner := metav1.GetControllerOf(p); owner == nil || owner.Kind != "Node" {
			continue
		}
		w := audit.Workload{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, Labels: p.Labels, Wanted: 1}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				w.Ready = 1
			}
		}
		for j := range p.Spec.Containers {
			w.Containers = append(w.Containers, container(&p.Spec.Containers[j]))
		}
		out = append(out, w)
	}
	return out, nil
}

func wanted(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

func container(c *corev1.Container) audit.Container {
	out := audit.Container{Image: c.Image, Args: append(append([]string{}, c.Command...), c.Args...), Env: map[string]string{}}
	for _, e := range c.Env {
		out.Env[e.Name] = e.Value
	}
	return out
}

// CiliumConfig reads what Cilium is configured by, where its operator is among the
// workloads. Nil: it is not there, or may not be read.
func CiliumConfig(ctx context.Context, r *kube.Reader, workloads []audit.Workload) (map[string]string, error) {
	for i := range workloads {
		w := &workloads[i]
		if !slices.ContainsFunc(w.Containers, func(c audit.Container) bool { return audit.PartOf(audit.Cilium, c.Image) == "operator" }) {
			continue
		}
		config := &corev1.ConfigMap{}
		found, err := r.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: audit.CiliumConfigMap}, config)
		if err != nil || !found {
			return nil, err
		}
		if config.Data == nil {
			return map[string]string{}, nil
		}
		return config.Data, nil
	}
	return nil, nil
}

// CRDs reads the names of CustomResourceDefinitions.
func CRDs(ctx context.Context, r *kube.Reader) ([]string, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinitionList"})
	if err := r.List(ctx, list); err != nil {
		return nil, err
	}
	var out []string
	for i := range list.Items {
		if name := list.Items[i].Name; strings.Contains(name, ".") {
			out = append(out, name)
		}
	}
	return out, nil
}
