// Package explain is `kubectl fairlead explain`: it reads what bears on one Service,
// Gateway or address, and shows the chain of it.
package explain

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/chain"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/service"
)

// Command is `kubectl fairlead explain`.
func Command(env *kube.Env) *cobra.Command {
	c := &cobra.Command{
		Use: "explain", Short: "The whole chain of a Service, a Gateway or an address, and what stops it",
		Long: `The whole chain of a Service, a Gateway or an address on one screen: what is asked for and where,
what was decided, what the status says and who wrote it, who announces it, who answers, what stops it, and
what to do. The exit code is 1 where something is wrong.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			return fmt.Errorf("what is to be explained? Write one of: %s service NAME, %[1]s gateway NAME, %[1]s address IP", c.CommandPath())
		},
	}
	for _, one := range []struct {
		use, short string
		aliases    []string
		list       client.ObjectList
		explain    func(context.Context, *kube.Env, *kube.Reader, string) (*chain.Report, error)
	}{
		{"service NAME", "Explain a Service", []string{"svc", "services"}, &corev1.ServiceList{}, explainService},
		{"gateway NAME", "Explain a Gateway", []string{"gtw", "gateways"}, &gatewayv1.GatewayList{}, explainGateway},
		{"address IP", "Explain an address", []string{"addr", "addresses"}, &v1alpha1.AddressList{}, explainAddress},
	} {
		c.AddCommand(&cobra.Command{
			Use: one.use, Aliases: one.aliases, Short: one.short, Args: cobra.ExactArgs(1), ValidArgsFunction: env.Complete(one.list),
			RunE: func(c *cobra.Command, args []string) error { return run(c, env, args[0], one.explain) },
		})
	}
	return c
}

func run(c *cobra.Command, env *kube.Env, name string, explain func(context.Context, *kube.Env, *kube.Reader, string) (*chain.Report, error)) error {
	if env.AllNamespaces {
		return errors.New("one object is explained, in one namespace: take --all-namespaces out")
	}
	return env.Show(func(ctx context.Context, r *kube.Reader) (output.Result, bool, error) {
		report, err := explain(ctx, env, r, name)
		if err != nil {
			return nil, false, err
		}
		return report, len(report.Problems) > 0, nil
	})(c, nil)
}

// find reads the object that is explained.
func find(ctx context.Context, env *kube.Env, r *kube.Reader, kind, name string, o client.Object) error {
	ns, err := env.Namespace()
	if err != nil {
		return err
	}
	found, err := r.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, o)
	switch {
	case err != nil:
		return err
	case found:
		return nil
	case r.Absent(o):
		return fmt.Errorf("this cluster knows no %s: the CRDs of the Gateway API are not installed", kind)
	case len(r.Gaps()) > 0:
		return fmt.Errorf("you may not read %s %s/%s: the right %q is missing", kind, ns, name, r.Gaps()[0])
	}
	return fmt.Errorf("there is no %s %s in namespace %s: name another namespace with -n", kind, name, ns)
}

func explainService(ctx context.Context, env *kube.Env, r *kube.Reader, name string) (*chain.Report, error) {
	var svc corev1.Service
	if err := find(ctx, env, r, service.KindService, name, &svc); err != nil {
		return nil, err
	}
	s, err := read(ctx, r, env.Now())
	if err != nil {
		return nil, err
	}
	if chain.Foreign(&svc) {
		if err := readClass(ctx, s, r, &svc); err != nil {
			return nil, err
		}
	}
	if err := readEndpoints(ctx, s, r, types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}); err != nil {
		return nil, err
	}
	err = readHolders(ctx, s, r, s.Held(v1alpha1.HolderReference{Kind: service.KindService, Namespace: svc.Namespace, Name: svc.Name}))
	s.Partly = len(r.Gaps()) > 0
	return chain.Service(s, &svc), err
}

func explainGateway(ctx context.Context, env *kube.Env, r *kube.Reader, name string) (*chain.Report, error) {
	var gw gatewayv1.Gateway
	if err := find(ctx, env, r, gateway.KindGateway, name, &gw); err != nil {
		return nil, err
	}
	s, err := read(ctx, r, env.Now())
	if err != nil {
		return nil, err
	}
	var class gatewayv1.GatewayClass
	found, err := r.Get(ctx, client.ObjectKey{Name: string(gw.Spec.GatewayClassName)}, &class)
	if err != nil {
		return nil, err
	}
	if found {
		s.Class = &class
	}
	err = readHolders(ctx, s, r, s.Held(v1alpha1.HolderReference{Kind: gateway.KindGateway, Namespace: gw.Namespace, Name: gw.Name}))
	s.Partly = len(r.Gaps()) > 0
	return chain.Gateway(s, &gw), err
}

func explainAddress(ctx context.Context, env *kube.Env, r *kube.Reader, name string) (*chain.Report, error) {
	ip, err := netip.ParseAddr(name)
	if err != nil {
		if ip, err = v1alpha1.ParseAddressName(name); err != nil {
			return nil, fmt.Errorf("%q is no IP address: write 192.0.2.7 or 2001:db8::7", name)
		}
	}
	s, err := read(ctx, r, env.Now())
	if err != nil {
		return nil, err
	}
	for i := range s.Addresses {
		if a := &s.Addresses[i]; a.Spec.Address == ip.Unmap().String() {
			err = readHolders(ctx, s, r, []*v1alpha1.Address{a})
		}
	}
	s.Partly = len(r.Gaps()) > 0
	return chain.Address(s, ip.Unmap()), err
}
