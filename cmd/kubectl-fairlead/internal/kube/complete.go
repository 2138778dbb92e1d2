package kube

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// patience is how long a shell waits for names from the cluster.
const patience = 3 * time.Second

// Complete completes the first argument of a command with the names of what is in a
// list: in the namespace that is set, for kinds that have one.
func (e *Env) Complete(list client.ObjectList) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return e.names(c.Context(), list, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

func (e *Env) completeNamespaces(c *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return e.names(c.Context(), &corev1.NamespaceList{}, begun), cobra.ShellCompDirectiveNoFileComp
}

// names are those in a list that begin so. A shell is told of no error: it has
// nothing to complete with then.
func (e *Env) names(ctx context.Context, list client.ObjectList, begun string) []cobra.Completion {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := e.Connect()
	if err != nil {
		return nil
	}
	kind, err := apiutil.GVKForObject(list, c.Scheme())
	if err != nil {
		return nil
	}
	mapping, err := c.RESTMapper().RESTMapping(schema.GroupKind{Group: kind.Group, Kind: strings.TrimSuffix(kind.Kind, "List")}, kind.Version)
	if err != nil {
		return nil
	}
	var opts []client.ListOption
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		ns, err := e.Namespace()
		if err != nil {
			return nil
		}
		opts = append(opts, client.InNamespace(ns))
	}
	if c.List(ctx, list, opts...) != nil {
		return nil
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil
	}
	var out []string
	for _, item := range items {
		if o, err := meta.Accessor(item); err == nil && strings.HasPrefix(o.GetName(), begun) {
			out = append(out, o.GetName())
		}
	}
	slices.Sort(out)
	return out
}

// What a kubeconfig has names for.
func contexts(c *api.Config) []string { return slices.Sorted(maps.Keys(c.Contexts)) }
func clusters(c *api.Config) []string { return slices.Sorted(maps.Keys(c.Clusters)) }
func users(c *api.Config) []string    { return slices.Sorted(maps.Keys(c.AuthInfos)) }

// completeConfig completes with names from the kubeconfig.
func (e *Env) completeConfig(names func(*api.Config) []string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		raw, err := e.Config.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(&raw), cobra.ShellCompDirectiveNoFileComp
	}
}
