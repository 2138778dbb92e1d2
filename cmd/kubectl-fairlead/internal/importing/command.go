// Package importing is `kubectl fairlead import`: the configuration of another
// load-balancer controller as Fairlead's objects.
package importing

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/exit"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/gather"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/migrate/adopt"
	"github.com/fairlead/fairlead/migrate/forecast"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/plural"
	"github.com/fairlead/fairlead/service"
)

const long = `Reads pools, advertisements, peers, BFD profiles and communities of another controller, from the cluster or
from files, and writes them as Fairlead's objects to stdout. Everything that has no equal, or means something
else, stands above them as a comment, with the reason and what to do.

What comes from the cluster is checked against its Services: Fairlead's allocator is asked whether each would
have the address that it has.

Nothing is written to the cluster without --apply.`

// Command is `kubectl fairlead import`.
func Command(env *kube.Env) *cobra.Command {
	var o options
	names := make([]string, 0, len(imports.Sources()))
	for _, s := range imports.Sources() {
		names = append(names, string(s))
	}
	c := &cobra.Command{
		Use: "import " + strings.Join(names, "|"), Short: "Another controller's pools, advertisements and peers as Fairlead's", Long: long,
		Example: "  kubectl fairlead import metallb > fairlead.yaml\n  kubectl fairlead import cilium -f pools.yaml -f peers.yaml\n  kubectl fairlead import purelb --apply",
		Args:    cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), ValidArgs: names,
		RunE: func(c *cobra.Command, args []string) error {
			return run(c.Context(), env, imports.Source(args[0]), o)
		},
	}
	c.Flags().StringSliceVarP(&o.files, "filename", "f", nil, "Files with the manifests, instead of the cluster (- is stdin)")
	c.Flags().BoolVar(&o.apply, "apply", false, "Create the objects, or change those that are there")
	return c
}

type options struct {
	files []string
	apply bool
}

func run(ctx context.Context, env *kube.Env, source imports.Source, o options) error {
	var r *kube.Reader
	if len(o.files) == 0 || o.apply {
		var err error
		if r, err = env.Reader(); err != nil {
			return err
		}
	}
	objects, err := read(ctx, env, r, source, o.files)
	if err != nil {
		return err
	}
	made, err := imports.Read(source, objects)
	if err != nil {
		return err
	}
	out := newImport(source, made)
	if r != nil {
		if err := out.compare(ctx, r); err != nil {
			return err
		}
		if err := out.check(ctx, env, r); err != nil {
			return err
		}
	}
	if err := env.Print(out); err != nil {
		return err
	}
	if o.apply {
		err = out.apply(ctx, env)
	}
	if err != nil {
		return err
	}
	out.summary(env.Streams.ErrOut, o.apply)
	if r == nil {
		if out.wrong() {
			return exit.ErrWrong
		}
		return nil
	}
	return env.End(r, out.wrong())
}

// read reads the manifests from files, or from the cluster.
func read(ctx context.Context, env *kube.Env, r *kube.Reader, source imports.Source, files []string) ([]unstructured.Unstructured, error) {
	if len(files) == 0 {
		found, err := gather.Foreign(ctx, r, source)
		return adopt.Unbound(found), err
	}
	var out []unstructured.Unstructured
	for _, name := range files {
		text, err := env.ReadFile(name)
		if err != nil {
			return nil, err
		}
		objects, err := imports.Decode(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, objects...)
	}
	return adopt.Unbound(out), nil
}

// check asks the allocator for the Services of the cluster, with the imported pools
// beside those that are there.
func (i *Import) check(ctx context.Context, env *kube.Env, r *kube.Reader) error {
	c, err := gather.Cluster(ctx, r)
	if err != nil {
		return err
	}
	pools := i.pools()
	for n := range c.Pools {
		if !slices.ContainsFunc(pools, func(p v1alpha1.IPAddressPool) bool { return p.Name == c.Pools[n].Name }) {
			pools = append(pools, c.Pools[n])
		}
	}
	c.Pools, c.Config, c.Now = pools, service.Config{Default: true}, env.Now()
	i.Checked = true
	for _, o := range forecast.Of(c) {
		if len(o.Has) == 0 {
			continue
		}
		i.Services++
		if !o.Verdict.Quiet() {
			i.Differences = append(i.Differences, difference(&o))
		}
	}
	return nil
}

// apply creates what is not there, and changes what differs.
func (i *Import) apply(ctx context.Context, env *kube.Env) error {
	c, err := env.Client()
	if err != nil {
		return err
	}
	for n := range i.objects {
		o := &i.objects[n]
		switch {
		case o.live == nil:
			err = c.Create(ctx, o.object)
		case o.diff != "":
			err = c.Update(ctx, o.object)
		default:
			continue
		}
		if err != nil {
			return fmt.Errorf("writing %s %s: %w%s", o.kind, o.object.GetName(), err, i.so(n))
		}
		o.written = true
	}
	return nil
}

// so says how far a run came that fails.
func (i *Import) so(n int) string {
	if n == 0 {
		return ". Nothing was written"
	}
	return fmt.Sprintf(". Before it, %s was written; run the command again when this is mended", plural.Count(n, "object"))
}

// compare looks which of the objects are there, and differ.
func (i *Import) compare(ctx context.Context, r *kube.Reader) error {
	for n := range i.objects {
		if err := i.objects[n].find(ctx, r); err != nil {
			return err
		}
	}
	i.keepBonds()
	for n := range i.objects {
		if o := &i.objects[n]; o.live != nil {
			if err := o.over(); err != nil {
				return err
			}
		}
	}
	return nil
}

// find reads the object that is there, if there is one.
func (o *object) find(ctx context.Context, r *kube.Reader) error {
	live, ok := reflect.New(reflect.TypeOf(o.object).Elem()).Interface().(client.Object)
	if !ok {
		return fmt.Errorf("a %T cannot be read", o.object)
	}
	there, err := r.Get(ctx, client.ObjectKeyFromObject(o.object), live)
	if err == nil && there {
		o.live = live
	}
	return err
}
