package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/test/testbed"
)

const long = `testbed brings up a real, dual-stack Kubernetes cluster on this machine. Every node is a network namespace
with its own containerd, kubelet and kube-proxy. Beside the nodes there are, on the same layer-2 segment:

  control   etcd, API server, controller manager, scheduler     172.30.0.10   fd00:30::10
  node1...  the nodes                                           172.30.0.11   fd00:30::11 ...
  client    a host outside the cluster                          172.30.0.2    fd00:30::2
  router    the default gateway                                 172.30.0.1    fd00:30::1

Free for virtual IPs: 172.30.0.100-172.30.0.250 and fd00:30::100-fd00:30::2ff. Nothing can leave the machine.
It needs root and Go. The first run builds Kubernetes (about ten minutes on two cores) into a cache:
$FAIRLEAD_CACHE, or ~/.cache/fairlead. Clusters of several names run at once; $FAIRLEAD_TESTBED_NAME is the default name.`

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "testbed", Short: "Real Kubernetes clusters of several nodes on one machine", Long: long,
		SilenceUsage: true, SilenceErrors: true,
	}
	name := root.PersistentFlags().String("name", defaultName(), "the cluster's name")
	root.AddCommand(upCommand(name), downCommand(name), execCommand(name), kubectlCommand(name), loadCommand(name),
		linkCommand(name, "cut", "Take a host off the network", (*testbed.Cluster).Cut),
		linkCommand(name, "heal", "Put a host back on the network", (*testbed.Cluster).Heal),
		buildCommand(), listCommand(), envCommand(name))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nusage: %s (see %s --help)", err, cmd.UseLine(), cmd.CommandPath())
	})
	return root
}

func defaultName() string {
	if name := os.Getenv("FAIRLEAD_TESTBED_NAME"); name != "" {
		return name
	}
	return testbed.DefaultName
}

func exactly(n int) cobra.PositionalArgs { return withUsage(cobra.ExactArgs(n)) }
func atLeast(n int) cobra.PositionalArgs { return withUsage(cobra.MinimumNArgs(n)) }

// withUsage says how the command is written when its arguments do not fit.
func withUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return fmt.Errorf("%w\nusage: %s", err, cmd.UseLine())
		}
		return nil
	}
}

func upCommand(name *string) *cobra.Command {
	config := testbed.Config{Reuse: true, Detached: true}
	cmd := &cobra.Command{
		Use: "up", Short: "Bring a cluster up, or find it up already", Args: exactly(0),
		Long: "Bring a cluster up and wait until its nodes are Ready and its DNS serves. A healthy cluster of the same name\n" +
			"and shape is left as it is. If this fails or is interrupted, nothing is left.",
		Example: "  testbed up\n  testbed up --name other --nodes 5 --proxy-mode iptables",
		RunE: func(cmd *cobra.Command, _ []string) error {
			config.Name, config.Progress = *name, testbed.NewProgress(cmd.ErrOrStderr())
			c, err := testbed.Up(cmd.Context(), config)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "export KUBECONFIG=%s\n", c.Kubeconfig())
			return nil
		},
	}
	cmd.Flags().IntVar(&config.Nodes, "nodes", testbed.DefaultNodes, "number of nodes")
	cmd.Flags().StringVar(&config.ProxyMode, "proxy-mode", "nftables", "kube-proxy's mode: nftables or iptables")
	cmd.Flags().StringVar(&config.GatewayAPI, "gateway-api", "experimental", "channel of the Gateway API's CRDs: experimental, standard, or none (and no Envoy)")
	return cmd
}

func downCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Remove a cluster and all that is left of it", Args: exactly(0),
		Long: "Remove a cluster: its processes, mounts, namespaces, cgroups and files. It also removes what a crash or a kill\n" +
			"left of one, and is harmless when there is nothing.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return testbed.Down(cmd.Context(), *name, testbed.NewProgress(cmd.ErrOrStderr()))
		},
	}
}

func execCommand(name *string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "exec HOST COMMAND [ARGS...]", Short: "Run a command on a host", Args: atLeast(2),
		Long:    "Run a command in the network namespace of a host: client, router, control or a node. kubectl is on its PATH.",
		Example: "  testbed exec client curl -s http://172.30.0.100/\n  testbed exec node1 nft list ruleset",
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := testbed.Attach(*name)
			if err != nil {
				return err
			}
			if _, _, err := c.HostAddresses(args[0]); err != nil {
				return err
			}
			return become(c.Command(args[0], args[1:]...))
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func kubectlCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "kubectl [--name NAME] ARGS...", Short: "Run kubectl as the cluster's administrator",
		Long:    "Run kubectl as the cluster's administrator. Flags after kubectl are kubectl's, but for a leading --name.",
		Example: "  testbed kubectl get nodes -o wide\n  testbed kubectl --name other -n kube-system get pods",
		// kubectl's flags stand before and after its words, and cobra knows none of them.
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if chosen, rest, ok := leadingName(args); ok {
				*name, args = chosen, rest
			}
			if len(args) == 0 {
				return cmd.Help()
			}
			c, err := testbed.Attach(*name)
			if err != nil {
				return err
			}
			kubectl := exec.Command(c.Binary("kubectl"), args...)
			kubectl.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig())
			return become(kubectl)
		},
	}
}

// leadingName takes --name NAME or --name=NAME off the front.
func leadingName(args []string) (name string, rest []string, ok bool) {
	if len(args) >= 2 && args[0] == "--name" {
		return args[1], args[2:], true
	}
	if len(args) >= 1 && strings.HasPrefix(args[0], "--name=") {
		return strings.TrimPrefix(args[0], "--name="), args[1:], true
	}
	return "", args, false
}

// become replaces this process by the command, so that terminal, signals and exit code are the command's own.
func become(cmd *exec.Cmd) error {
	if cmd.Err != nil {
		return cmd.Err
	}
	if err := syscall.Exec(cmd.Path, cmd.Args, cmd.Env); err != nil {
		return fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	return nil
}

func loadCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "load IMAGE.tar...", Short: "Bring images to all nodes", Args: atLeast(1),
		Long: "Bring the images of archives (OCI layout or docker save, packed as tar) to all nodes. Pods then use them with\n" +
			"imagePullPolicy IfNotPresent or Never.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := testbed.Attach(*name)
			if err != nil {
				return err
			}
			for i, path := range args {
				began := time.Now()
				if err := c.Load(cmd.Context(), path); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "loaded %s into %d nodes (%d of %d, %s)\n",
					path, len(c.Nodes()), i+1, len(args), time.Since(began).Round(100*time.Millisecond))
			}
			return nil
		},
	}
}

func linkCommand(name *string, use, short string, act func(*testbed.Cluster, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " HOST", Short: short, Args: exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := testbed.Attach(*name)
			if err != nil {
				return err
			}
			return act(c, args[0])
		},
	}
}

func buildCommand() *cobra.Command {
	return &cobra.Command{
		Use: "build", Short: "Build the cluster's programs into the cache, and no more", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			began := time.Now()
			say := testbed.NewProgress(cmd.ErrOrStderr())
			bins, err := testbed.Build(cmd.Context(), say)
			if err != nil {
				return err
			}
			if _, err := testbed.Envoy(cmd.Context(), say); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%d programs and Envoy ready (%s)\n", len(bins), time.Since(began).Round(100*time.Millisecond))
			return nil
		},
	}
}

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the clusters of this machine", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			infos, err := testbed.List()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "NAME\tNODES\tPROXY\tPHASE\tAGE\tAPI SERVER")
			for _, i := range infos {
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", i.Name, i.Nodes, i.ProxyMode, i.Phase, time.Since(i.Created).Round(time.Second), i.APIURL)
			}
			return w.Flush()
		},
	}
}

func envCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "env", Short: "Print what a shell needs to use the cluster: eval \"$(testbed env)\"", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := testbed.Attach(*name)
			if err != nil {
				return err
			}
			kubectl := c.Binary("kubectl")
			dir, _, ok := strings.Cut(kubectl, "/kubectl")
			if !ok {
				return errors.New("the cluster has no kubectl")
			}
			fmt.Fprintf(cmd.OutOrStdout(), "export KUBECONFIG=%s\nexport PATH=\"$PATH\":%s\nexport FAIRLEAD_TESTBED_NAME=%s\n", c.Kubeconfig(), dir, *name)
			return nil
		},
	}
}
