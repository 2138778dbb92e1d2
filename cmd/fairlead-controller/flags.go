package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/fairlead/fairlead/arguments"
	"github.com/fairlead/fairlead/cmd/internal/program"
	"github.com/fairlead/fairlead/controllers"
	"github.com/fairlead/fairlead/telemetry"
)

// flags are the settings of the command line.
type flags struct {
	defaultClass     bool
	statusClasses    []string
	namespace        string
	gossipSecret     string
	passwordSecret   string
	leaderElect      bool
	leaderElectID    string
	leaderElectSpace string
	metricsAddress   string
	probeAddress     string
	workers          int
	ignoreExclude    bool
	logLevel         string
	failpoint        string
	gateways         gatewayFlags
}

// LogLevel is how much is logged.
func (f *flags) LogLevel() string { return f.logLevel }

// parse reads the command line. Without an error and without flags, what was
// asked for (help, the version) has been written to out.
func parse(args []string, out io.Writer) (*flags, error) {
	f := &flags{failpoint: os.Getenv("FAIRLEAD_FAILPOINT")}
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	var classes string
	set.BoolVar(&f.defaultClass, "default-class", false, "serve Services of type LoadBalancer that name no spec.loadBalancerClass too; those of class fairlead.dev/lb are served in any case")
	set.StringVar(&classes, "status-classes", "", "loadBalancerClasses of other controllers, separated by commas, whose status addresses are announced where they lie in a pool")
	set.StringVar(&f.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the namespace the controller runs in; default from POD_NAMESPACE")
	set.StringVar(&f.gossipSecret, "gossip-secret", controllers.DefaultGossipSecret, "the Secret in --namespace with the speakers' gossip key; made if there is none")
	set.StringVar(&f.passwordSecret, "bgp-password-secret", controllers.DefaultPasswordSecret, "the Secret in --namespace where the passwords of BGP peers are gathered for the speakers; made if it is needed")
	set.BoolVar(&f.leaderElect, "leader-elect", true, "let one of several replicas work at a time")
	set.StringVar(&f.leaderElectID, "leader-elect-id", "fairlead-controller", "the name of the Lease for --leader-elect")
	set.StringVar(&f.leaderElectSpace, "leader-elect-namespace", "", "the namespace of the Lease; default --namespace")
	set.StringVar(&f.metricsAddress, "metrics-bind-address", ":7951", "where Prometheus metrics are served (0: nowhere)")
	set.StringVar(&f.probeAddress, "health-probe-bind-address", ":8081", "where /healthz and /readyz are served (0: nowhere)")
	set.IntVar(&f.workers, "workers", 24, "how many Services are worked on at once")
	set.BoolVar(&f.ignoreExclude, "ignore-exclude-lb", false, "nodes labelled node.kubernetes.io/exclude-from-external-load-balancers may announce too; set it as on the speakers")
	set.StringVar(&f.logLevel, "log-level", "info", "how much is logged: error, info or debug")
	f.gateways.define(set)
	if done, err := program.ParseFlags(set, "gives addresses to Services of type LoadBalancer and to Gateways", args, out); done || err != nil {
		return nil, err
	}
	f.statusClasses = arguments.List(classes)
	if f.leaderElectSpace == "" {
		f.leaderElectSpace = f.namespace
	}
	return f, f.check()
}

// check says what is wrong with the settings, and what to write instead.
func (f *flags) check() error {
	var errs []error
	add := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	for _, c := range f.statusClasses {
		if problems := validation.IsQualifiedName(c); len(problems) > 0 {
			add("--status-classes: %q is not a loadBalancerClass: %s", c, strings.Join(problems, "; "))
		}
	}
	if f.leaderElect && f.leaderElectSpace == "" {
		add("--leader-elect needs a namespace for its Lease: set --namespace (or POD_NAMESPACE), or --leader-elect=false for a single replica")
	}
	if f.workers < 1 || f.workers > 1000 {
		add("--workers is %d: set it to a number from 1 to 1000", f.workers)
	}
	errs = append(errs, program.CheckAddress("metrics-bind-address", f.metricsAddress, ":7951"),
		program.CheckAddress("health-probe-bind-address", f.probeAddress, ":8081"))
	errs = append(errs, f.gateways.check(f.namespace)...)
	if _, err := telemetry.LogLevel(f.logLevel); err != nil {
		errs = append(errs, err)
	}
	if _, err := parseFailpoint(f.failpoint); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
