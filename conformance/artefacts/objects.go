package artefacts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// wholeGroups are the API groups of which everything is written, whatever kinds
// the installed version has.
var wholeGroups = []string{"gateway.networking.k8s.io", "gateway.networking.x-k8s.io", "fairlead.dev"}

// kubernetesResources are written of the namespaces of the suite and of Fairlead.
var kubernetesResources = []schema.GroupVersionResource{
	{Version: "v1", Resource: "events"},
	{Version: "v1", Resource: "namespaces"},
	{Version: "v1", Resource: "pods"},
	{Version: "v1", Resource: "serviceaccounts"},
	{Version: "v1", Resource: "services"},
	{Group: "apps", Version: "v1", Resource: "daemonsets"},
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
}

// suiteNamespaces begin all names of namespaces that the suite makes.
const suiteNamespaces = "gateway-"

func (c *Collector) writeObjects(ctx context.Context, dir string) error {
	resources, err := c.groupResources()
	for _, r := range append(resources, kubernetesResources...) {
		err = errors.Join(err, c.writeResource(ctx, dir, r))
	}
	return err
}

// groupResources are the resources of wholeGroups, each in the version that the
// API server names first.
func (c *Collector) groupResources() ([]schema.GroupVersionResource, error) {
	_, lists, err := c.discovery.ServerGroupsAndResources()
	if err != nil {
		err = fmt.Errorf("asking for the kinds of objects: %w", err)
	}
	var out []schema.GroupVersionResource
	seen := map[schema.GroupResource]bool{}
	for _, list := range lists {
		gv, parseErr := schema.ParseGroupVersion(list.GroupVersion)
		if parseErr != nil || !slices.Contains(wholeGroups, gv.Group) {
			continue
		}
		for _, r := range list.APIResources {
			resource := gv.WithResource(r.Name)
			if strings.Contains(r.Name, "/") || seen[resource.GroupResource()] || !slices.Contains(r.Verbs, "list") {
				continue
			}
			seen[resource.GroupResource()] = true
			out = append(out, resource)
		}
	}
	return out, err
}

func (c *Collector) writeResource(ctx context.Context, dir string, r schema.GroupVersionResource) error {
	list, err := c.objects.Resource(r).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing %s: %w", r.GroupResource(), err)
	}
	var text bytes.Buffer
	for i := range list.Items {
		object := &list.Items[i]
		if !slices.Contains(wholeGroups, r.Group) && !c.concerns(object) {
			continue
		}
		// Who wrote which field when is most of the text, and seldom of use.
		object.SetManagedFields(nil)
		one, err := yaml.Marshal(object)
		if err != nil {
			return fmt.Errorf("writing %s: %w", r.GroupResource(), err)
		}
		text.WriteString("---\n")
		text.Write(one)
	}
	if text.Len() == 0 {
		return nil
	}
	return write(filepath.Join(dir, r.GroupResource().String()+".yaml"), text.Bytes())
}

// concerns says whether an object of Kubernetes lies in a namespace of the suite
// or of Fairlead, or is one: the rest of the cluster is nobody's business here.
func (c *Collector) concerns(object *unstructured.Unstructured) bool {
	namespace := object.GetNamespace()
	if object.GetKind() == "Namespace" {
		namespace = object.GetName()
	}
	return namespace == c.Namespace || strings.HasPrefix(namespace, suiteNamespaces)
}
