package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/l2"
	"github.com/fairlead/fairlead/announcer/members"
	"github.com/fairlead/fairlead/cmd/internal/program"
	"github.com/fairlead/fairlead/telemetry"
)

// flags are the settings of the command line.
type flags struct {
	node           string
	namespace      string
	gossipSecret   string
	passwordSecret string
	bgp            bool
	gossipPort     int
	exclude        *regexp.Regexp
	ignoreExclude  bool
	settle         time.Duration
	seatGrace      time.Duration
	answer         bool
	metricsAddress string
	probeAddress   string
	logLevel       string
}

// LogLevel is how much is logged.
func (f *flags) LogLevel() string { return f.logLevel }

// parse reads the command line. Without an error and without flags, what was
// asked for (help, the version) has been written to out.
func parse(args []string, out io.Writer) (*flags, error) {
	f := &flags{}
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	var exclude string
	set.StringVar(&f.node, "node-name", os.Getenv("NODE_NAME"), "the node that the speaker runs on; default from NODE_NAME")
	set.StringVar(&f.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the namespace the speaker runs in; default from POD_NAMESPACE")
	set.StringVar(&f.gossipSecret, "gossip-secret", "fairlead-gossip", "the Secret in --namespace with the speakers' gossip keys")
	set.BoolVar(&f.bgp, "bgp", true, "announce by BGP to the peers that BGPPeers name")
	set.StringVar(&f.passwordSecret, "bgp-password-secret", "fairlead-bgp-passwords", "the Secret in --namespace with the passwords of BGP peers, which the controller makes")
	set.IntVar(&f.gossipPort, "gossip-port", members.DefaultPort, "the port (TCP and UDP) on which speakers talk to each other, the same on all nodes")
	set.StringVar(&exclude, "exclude-interfaces", "", "interfaces that are never used, a regular expression; default those that container networks make: "+l2.DefaultExclude.String())
	set.BoolVar(&f.ignoreExclude, "ignore-exclude-lb", false, "announce also from nodes labelled node.kubernetes.io/exclude-from-external-load-balancers")
	set.DurationVar(&f.settle, "settle", announcer.SettleTime, "how long a speaker must have been serving before addresses move to it")
	set.DurationVar(&f.seatGrace, "seat-grace", members.DefaultGrace, "how long a node keeps its addresses while its speaker restarts")
	set.BoolVar(&f.answer, "answer", true, "refuse ports that nobody serves at once and answer ping, by an nftables table of our own")
	set.StringVar(&f.metricsAddress, "metrics-bind-address", ":7952", "where Prometheus metrics are served (0: nowhere)")
	set.StringVar(&f.probeAddress, "health-probe-bind-address", "127.0.0.1:7953", "where /healthz and /readyz are served (0: nowhere)")
	set.StringVar(&f.logLevel, "log-level", "info", "how much is logged: error, info or debug")
	if done, err := program.ParseFlags(set, "tells the network which node answers for an address, and answers", args, out); done || err != nil {
		return nil, err
	}
	return f, errors.Join(f.compile(exclude), f.check())
}

func (f *flags) compile(exclude string) error {
	if exclude == "" {
		f.exclude = l2.DefaultExclude
		return nil
	}
	var err error
	if f.exclude, err = regexp.Compile(exclude); err != nil {
		return fmt.Errorf("--exclude-interfaces is %q: set it to a regular expression such as ^(docker|cni): %w", exclude, err)
	}
	return nil
}

// check says what is wrong with the settings, and what to write instead.
func (f *flags) check() error {
	var errs []error
	add := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if f.node == "" {
		add("--node-name is empty: set it, or NODE_NAME, to the name of the node (spec.nodeName)")
	}
	if f.namespace == "" {
		add("--namespace is empty: set it, or POD_NAMESPACE, to the namespace of the speakers")
	}
	if f.gossipPort < 1 || f.gossipPort > 65535 {
		add("--gossip-port is %d: set it to a number from 1 to 65535", f.gossipPort)
	}
	if f.settle <= 0 || f.seatGrace <= 0 {
		add("--settle is %s and --seat-grace is %s: set both to durations above 0, such as 10s", f.settle, f.seatGrace)
	}
	errs = append(errs, program.CheckAddress("metrics-bind-address", f.metricsAddress, ":7952"),
		program.CheckAddress("health-probe-bind-address", f.probeAddress, "127.0.0.1:7953"))
	if _, err := telemetry.LogLevel(f.logLevel); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
