// Package migrate is `kubectl fairlead migrate`: an address moves from a Service to
// a Gateway, back, and between two of a kind, and nobody loses a connection.
package migrate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/migrate/plan"
)

const long = `Moves the addresses of a Service or Gateway to another Service or Gateway, without losing a
connection. Without --apply it shows what would be written, and what is not simply the same
afterwards, and writes nothing.

With --apply it writes that, asks the controller for the takeover, and tells of each phase as it is
reached. If the controller refuses, or --timeout passes, it takes back what it asked for. If it is
interrupted, the takeover goes on: run it again to follow it.

Exit codes: 0 the takeover is done; 1 it was refused or called back, or without --apply there is
something to do; 2 the command could not do its work.`

// flags are those of the command.
type flags struct {
	toGateway, toService string
	create, apply        bool
	cleanup              bool
	class, ports         string
	http, tcp            []int32
	tls                  []string
	withSharers          bool
	timeout              time.Duration
}

// Command is `kubectl fairlead migrate`.
func Command(env *kube.Env) *cobra.Command {
	c := &cobra.Command{Use: "migrate", Short: "Move an address between Services and Gateways", Long: long, Args: cobra.NoArgs}
	c.AddCommand(
		from(env, plan.Service, &corev1.ServiceList{}, "kubectl fairlead migrate service legacy --to-gateway web --create --apply"),
		from(env, plan.Gateway, &gatewayv1.GatewayList{}, "kubectl fairlead migrate gateway web --to-service legacy --apply"),
	)
	return c
}

// from is the command for holders of a kind.
func from(env *kube.Env, kind plan.Kind, list client.ObjectList, example string) *cobra.Command {
	f := &flags{}
	name := strings.ToLower(string(kind))
	c := &cobra.Command{
		Use: name + " NAME (--to-gateway [NAMESPACE/]NAME | --to-service [NAMESPACE/]NAME)", Short: "Move the addresses of a " + string(kind), Long: long, Example: "  " + example,
		Args: cobra.ExactArgs(1), ValidArgsFunction: env.Complete(list),
		RunE: func(c *cobra.Command, args []string) error {
			in, err := f.input(env, kind, args[0])
			if err != nil {
				return err
			}
			r, err := newRun(env, f, in)
			if err != nil {
				return err
			}
			return r.run(c.Context())
		},
	}
	f.add(c, kind)
	return c
}

func (f *flags) add(c *cobra.Command, kind plan.Kind) {
	set := c.Flags()
	set.StringVar(&f.toGateway, "to-gateway", "", "The Gateway that is to have the addresses")
	set.StringVar(&f.toService, "to-service", "", "The Service that is to have the addresses")
	set.BoolVar(&f.create, "create", false, "Make the new holder if there is none")
	set.BoolVar(&f.apply, "apply", false, "Do it. Without this, nothing is written")
	set.BoolVar(&f.cleanup, "cleanup", false, "If it fails, remove what this run has made")
	set.StringVar(&f.class, "class", "", "GatewayClass of a new Gateway (needed where Fairlead has several)")
	set.StringVar(&f.ports, "ports", "", "What becomes of ports that the new holder has not: keep (the old one serves them on, beside the new one) or drop")
	set.DurationVar(&f.timeout, "timeout", 5*time.Minute, "How long the takeover may take before it is called back")
	if kind == plan.Gateway {
		set.BoolVar(&f.withSharers, "with-sharers", false, "Give the address back to all Services that handed it over at once")
	}
	if kind == plan.Service {
		set.BoolVar(&f.withSharers, "with-sharers", false, "Move all Services that share the address, at once, to the one Gateway")
		set.Int32SliceVar(&f.http, "http", nil, "Ports to carry as HTTP, whatever their appProtocol says")
		set.Int32SliceVar(&f.tcp, "tcp", nil, "Ports to carry as bytes, whatever their appProtocol says")
		set.StringArrayVar(&f.tls, "tls", nil, "PORT=HOST[,HOST...]: TLS to pass through for these hosts; may be repeated")
	}
	// The only error is that there is no such flag.
	_ = c.RegisterFlagCompletionFunc("ports", cobra.FixedCompletions([]string{plan.PortsKeep, plan.PortsDrop}, cobra.ShellCompDirectiveNoFileComp))
	c.MarkFlagsOneRequired("to-gateway", "to-service")
	c.MarkFlagsMutuallyExclusive("to-gateway", "to-service")
	c.MarkFlagsMutuallyExclusive("with-sharers", "to-"+strings.ToLower(string(kind)))
}

// input is what the command line asks for.
func (f *flags) input(env *kube.Env, kind plan.Kind, name string) (*plan.Input, error) {
	ns, err := env.Namespace()
	if err != nil {
		return nil, err
	}
	to, toName := plan.Gateway, f.toGateway
	if f.toService != "" {
		to, toName = plan.Service, f.toService
	}
	target := gateway.Name{Namespace: ns, Name: toName}
	if space, rest, ok := strings.Cut(toName, "/"); ok {
		target = gateway.Name{Namespace: space, Name: rest}
	}
	if target.Name == "" || target.Namespace == "" || strings.Contains(target.Name, "/") {
		return nil, fmt.Errorf("%q names no %s: write NAME, or NAMESPACE/NAME", toName, to)
	}
	if f.ports != "" && f.ports != plan.PortsKeep && f.ports != plan.PortsDrop {
		return nil, fmt.Errorf("--ports %q: write %s or %s", f.ports, plan.PortsKeep, plan.PortsDrop)
	}
	tls, err := hostsOf(f.tls)
	if err != nil {
		return nil, err
	}
	return &plan.Input{
		From: plan.Holder{Kind: kind, Name: gateway.Name{Namespace: ns, Name: name}}, To: plan.Holder{Kind: to, Name: target},
		Options: plan.Options{Create: f.create, Class: f.class, Ports: f.ports, HTTP: f.http, Streams: f.tcp, TLS: tls, WithSharers: f.withSharers},
	}, nil
}

// hostsOf reads the values of --tls.
func hostsOf(values []string) (map[int32][]string, error) {
	out := map[int32][]string{}
	for _, v := range values {
		port, hosts, ok := strings.Cut(v, "=")
		n, err := strconv.ParseUint(port, 10, 16)
		if !ok || err != nil || n == 0 || hosts == "" {
			return nil, fmt.Errorf("--tls %q is not PORT=HOST[,HOST...], such as 443=db.example.com", v)
		}
		out[int32(n)] = append(out[int32(n)], strings.Split(hosts, ",")...)
	}
	return out, nil
}
