// Package annotating is `kubectl fairlead annotations`: Services that ask by
// spec.loadBalancerIP or by annotations of others ask by Fairlead's instead.
package annotating

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/diff"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/exit"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/gather"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/migrate/annotations"
	"github.com/fairlead/fairlead/migrate/forecast"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/migrate/plan"
	"github.com/fairlead/fairlead/plural"
	"github.com/fairlead/fairlead/pools"
	"github.com/fairlead/fairlead/service"
)

const long = `Rewrites what a Service asks for from spec.loadBalancerIP and the annotations of MetalLB, kube-vip, Cilium, PureLB,
Calico, loxilb and OpenELB to Fairlead's own annotations. The wish stays the same, which is checked, so the
address stays. Each Service changes in one write.

Shows the difference. --apply writes it: to the cluster, to the files that were named, or to stdout for -f -.`

// Command is `kubectl fairlead annotations`.
func Command(env *kube.Env) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "annotations [service NAME...]", Short: "Rewrite spec.loadBalancerIP and foreign annotations to Fairlead's", Long: long,
		Example: "  kubectl fairlead annotations service legacy\n  kubectl fairlead annotations -A --apply\n  kubectl fairlead annotations -f service.yaml --apply\n  kubectl fairlead annotations -n shop --pin",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return nil
			case args[0] != "service" && args[0] != "services" && args[0] != "svc":
				return fmt.Errorf("%q cannot be rewritten: name it as service NAME", args[0])
			case len(o.files) > 0:
				return fmt.Errorf("name Services or files, not both")
			case len(args) > 1 && env.AllNamespaces:
				return fmt.Errorf("a Service by name is in one namespace: leave -A out")
			}
			return nil
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return []cobra.Completion{"service"}, cobra.ShellCompDirectiveNoFileComp
			}
			return env.Complete(&corev1.ServiceList{})(c, nil, begun)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(o.files) > 0 {
				return runFiles(env, o)
			}
			return runCluster(c.Context(), env, args, o)
		},
	}
	c.Flags().StringSliceVarP(&o.files, "filename", "f", nil, "Files with manifests, instead of the cluster (- is stdin)")
	c.Flags().BoolVar(&o.apply, "apply", false, "Write what is shown")
	c.Flags().BoolVar(&o.pin, "pin", false, "Ask also for the addresses that the status shows")
	return c
}

type options struct {
	files      []string
	apply, pin bool
}

// runFiles rewrites manifests.
func runFiles(env *kube.Env, o options) error {
	all := Annotations{}
	for _, name := range o.files {
		before, err := env.ReadFile(name)
		if err != nil {
			return err
		}
		after, found, err := annotations.Manifest(before, service.Surroundings{}, annotations.Options{Pin: o.pin})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		changed := false
		for _, w := range found {
			all.add(w)
			changed = changed || len(w.Changes) > 0
		}
		if !changed {
			after = before
		}
		all.diffs = append(all.diffs, diff.Unified(name, string(before), string(after)))
		switch {
		case !o.apply:
		case name == "-":
			all.text = string(after)
		case !bytes.Equal(before, after):
			if err := os.WriteFile(name, after, 0o644); err != nil {
				return fmt.Errorf("writing %s: %w", name, err)
			}
		}
		all.Applied = o.apply
	}
	if err := env.Print(&all); err != nil {
		return err
	}
	if all.wrong() {
		return exit.ErrWrong
	}
	return nil
}

// runCluster rewrites live Services, each in one write.
func runCluster(ctx context.Context, env *kube.Env, args []string, o options) error {
	r, err := env.Reader()
	if err != nil {
		return err
	}
	scope, err := env.Scope()
	if err != nil {
		return err
	}
	c, err := gather.Cluster(ctx, r)
	if err != nil {
		return err
	}
	list, err := chosen(c.Services, scope, args)
	if err != nil {
		return err
	}
	all, todo, err := rewrite(&c, list, o)
	if err != nil {
		return err
	}
	if o.apply {
		if err := write(ctx, env, todo); err != nil {
			return err
		}
		all.Applied = true
	}
	if err := env.Print(all); err != nil {
		return err
	}
	return env.End(r, all.wrong())
}

// rewrite rewrites Services, and gives those that change.
func rewrite(c *forecast.Cluster, list []*corev1.Service, o options) (*Annotations, []*annotations.Rewritten, error) {
	var pool []allocator.Pool
	for i := range c.Pools {
		p, _ := pools.Read(&c.Pools[i])
		pool = append(pool, p)
	}
	set := pools.Addresses(pool)
	all := &Annotations{}
	var todo []*annotations.Rewritten
	for _, svc := range list {
		around := service.Surroundings{NamespaceLabels: c.Namespaces[svc.Namespace], InPool: set.Contains}
		w := annotations.Rewrite(svc, around, annotations.Options{Pin: o.pin})
		all.add(w)
		d, err := liveDiff(svc, w)
		if err != nil {
			return nil, nil, err
		}
		all.diffs = append(all.diffs, d)
		if len(w.Changes) > 0 {
			todo = append(todo, w)
		}
	}
	return all, todo, nil
}

// chosen are the Services that are named, or all load balancers in scope.
func chosen(all []corev1.Service, scope string, args []string) ([]*corev1.Service, error) {
	var out []*corev1.Service
	if len(args) < 2 {
		for i := range all {
			if svc := &all[i]; svc.Spec.Type == corev1.ServiceTypeLoadBalancer && (scope == "" || svc.Namespace == scope) {
				out = append(out, svc)
			}
		}
		return out, nil
	}
	for _, name := range args[1:] {
		found := false
		for i := range all {
			if svc := &all[i]; svc.Name == name && svc.Namespace == scope {
				found, out = true, append(out, svc)
				if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
					return nil, fmt.Errorf("service %s/%s is of type %s: only Services of type LoadBalancer ask for addresses", scope, name, svc.Spec.Type)
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no Service %s in namespace %s: name another, or the namespace with -n", name, scope)
		}
	}
	return out, nil
}

// liveDiff is what changes in a Service, of the parts that can change.
func liveDiff(svc *corev1.Service, w *annotations.Rewritten) (string, error) {
	if len(w.Changes) == 0 {
		return "", nil
	}
	before, err := manifest(svc)
	if err != nil {
		return "", err
	}
	after, err := manifest(w.Service)
	if err != nil {
		return "", err
	}
	return diff.Unified("service "+svc.Namespace+"/"+svc.Name, before, after), nil
}

func manifest(svc *corev1.Service) (string, error) {
	o := svc.DeepCopy()
	o.APIVersion, o.Kind = "v1", "Service"
	o.ManagedFields = nil
	text, err := imports.Manifest(o)
	return string(text), err
}

// write makes all changes. It stops at the first that fails, and says how far it came.
func write(ctx context.Context, env *kube.Env, todo []*annotations.Rewritten) error {
	if len(todo) == 0 {
		return nil
	}
	c, err := env.Client()
	if err != nil {
		return err
	}
	for i, w := range todo {
		patch, err := w.Patch()
		if err != nil {
			return err
		}
		o := w.Service.DeepCopy()
		if err := c.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(plan.FieldManager)); err != nil {
			return fmt.Errorf("rewriting Service %s/%s: %w. Of %s, %d rewritten; run the command again when this is mended", o.Namespace, o.Name, err, plural.Count(len(todo), "Service"), i)
		}
	}
	return nil
}

// Annotations is what becomes of Services.
type Annotations struct {
	Services []Service `json:"services"`
	Applied  bool      `json:"applied"`

	diffs []string
	text  string
}

// Service is what becomes of one.
type Service struct {
	Namespace string               `json:"namespace,omitempty"`
	Name      string               `json:"name"`
	Changes   []annotations.Change `json:"changes,omitempty"`
	Refused   []string             `json:"refused,omitempty"`
	Hints     []string             `json:"hints,omitempty"`
}

func (a *Annotations) add(w *annotations.Rewritten) {
	a.Services = append(a.Services, Service{
		Namespace: w.Service.Namespace, Name: w.Service.Name, Changes: w.Changes, Refused: w.Refused, Hints: w.Hints,
	})
}

// wrong tells whether something would change, or cannot.
func (a *Annotations) wrong() bool {
	for i := range a.Services {
		if s := &a.Services[i]; len(s.Refused) > 0 || len(s.Changes) > 0 && !a.Applied {
			return true
		}
	}
	return false
}

// Write shows the differences, or the new manifest of -f - --apply.
func (a *Annotations) Write(w io.Writer, _ bool) error {
	if a.text != "" {
		_, err := io.WriteString(w, a.text)
		return err
	}
	var s strings.Builder
	for _, d := range a.diffs {
		s.WriteString(d)
	}
	changed, refused := 0, 0
	for i := range a.Services {
		v := &a.Services[i]
		name := strings.TrimPrefix(v.Namespace+"/"+v.Name, "/")
		for _, r := range v.Refused {
			fmt.Fprintf(&s, "%s is not rewritten: %s\n", name, r)
		}
		if len(v.Refused) > 0 {
			refused++
		}
		if len(v.Changes) > 0 {
			changed++
			for _, h := range v.Hints {
				fmt.Fprintf(&s, "%s: %s\n", name, h)
			}
		}
	}
	end := "Nothing was written: --apply writes it."
	switch {
	case changed == 0:
		end = "There is nothing to write."
	case a.Applied:
		end = "Written."
	}
	fmt.Fprintf(&s, "%d of %s change, %d cannot. %s\n", changed, plural.Count(len(a.Services), "Service"), refused, end)
	_, err := io.WriteString(w, s.String())
	return err
}
