// Command bench measures every figure that Fairlead's documentation gives, on
// this machine, in one run, and prints one table.
//
//	go run ./test/bench --list
//	go run ./test/bench --only 'allocator|membership'
//	go run ./test/bench --out docs/figures.md
//
// Most parts need root: they run on a cluster of their own (test/testbed), which
// goes when the run ends. A part that fails is said in the table, the others go
// on, and the command ends with an error.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

func main() {
	ctrllog.SetLogger(logr.Discard()) // what fails comes back as an error
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// part is a group of figures that are measured together.
type part struct {
	name, about string
	run         func(context.Context, *bench) ([]row, error)
}

var parts = []part{
	{"allocator", "the Go benchmarks of the allocator", allocatorPart},
	{"membership", "detection time and false alarms of the speakers' gossip", membershipPart},
	{"bfd", "false alarms of BFD in an hour in which other pods keep all cores busy", bfdPart("little", 3600)},
	{"bfdgarbage", "the same for ten minutes in which the parent of the sessions' process makes all the garbage that it can, too", bfdPart("much", 600)},
	{"bfdcost", "CPU and memory of the process of BFD, by number of sessions", bfdCostPart},
	{"api", "raw speed of the API server; lag of new Services; a backlog", apiPart},
	{"resources", "memory and CPU of controller and speakers by number of addresses", resourcesPart},
	{"takeover", "nodes cut off: when a client is served again", takeoverPart},
	{"orderly", "drains, rolling updates, killed speakers: connections that fail", orderlyPart},
	{"away", "API server and controller away: what stays announced", awayPart},
	{"failover", "BGP: nodes cut off that a router spreads over, with BFD and without", failoverPart},
	{"both", "layer 2 and BGP at once: nodes cut off, killed speakers, seen on the segment and behind the router", bothPart},
	{"moves", "BGP: planned moves, drains, rolling updates, killed speakers under 1000 new connections a second", movesPart},
	{"prefixes", "BGP: 5000 addresses to three routers, and one more", prefixesPart},
	{"bgpmemory", "BGP: memory of a speaker for a route that it announces, and for a prefix that a peer sends", bgpMemoryPart},
	{"quiet", "requests at the API server over a restart and a rest", quietPart},
	{"routes", "new HTTPRoutes with one Envoy under load, by number of routes: until the first 200; CPU per change", routesPart},
	{"backends", "a route's backend changes with one Envoy under load: until the new one answers", backendsPart},
	{"gateways", "new Gateways, alone and many at once: until programmed, until they answer", gatewaysPart},
	{"rollouts", "rolling updates, drains and crashes of Envoys and controllers under 1000 new connections a second", rolloutsPart},
	{"takeovers", "Services and Gateways that take the addresses of each other over, and back, under 1000 new connections a second: what fails, breaks or moves, and how long it takes", takeoversPart},
	{"size", "memory and CPU with many routes; a cold start of the controllers", sizePart},
	{"proxy", "requests through a Gateway, and through the same Envoy configured by hand", proxyPart},
}

type options struct {
	only  string
	quick bool
	out   string
	list  bool
	name  string
}

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "bench", Short: "Measure every figure in the documentation",
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	c.Flags().StringVar(&o.only, "only", "", "run the parts whose name matches this regular expression")
	c.Flags().BoolVar(&o.quick, "quick", false, "few and small runs: shows that all parts work, not what they measure")
	c.Flags().StringVar(&o.out, "out", "", "also write the table to this file, such as docs/figures.md; what it has of parts that are not run stays")
	c.Flags().BoolVar(&o.list, "list", false, "list the parts and end")
	c.Flags().StringVar(&o.name, "name", "bench", "name of the testbed cluster")
	return c
}

func (o options) run(ctx context.Context) error {
	chosen, err := choose(parts, o.only)
	if err != nil {
		return err
	}
	if o.list {
		for _, p := range chosen {
			fmt.Printf("%-12s %s\n", p.name, p.about)
		}
		return nil
	}
	where, err := thisMachine(ctx)
	if err != nil {
		return err
	}
	b := &bench{name: o.name, quick: o.quick, began: time.Now()}
	defer b.down()
	earlier, err := o.earlier()
	if err != nil {
		return err
	}
	report := report{machine: where, quick: o.quick}
	for _, p := range chosen {
		report.parts = append(report.parts, b.measure(ctx, p))
		if ctx.Err() != nil {
			break // what was interrupted is no figure
		}
		if err := o.write(report.markdown(parts, earlier)); err != nil {
			return err
		}
	}
	b.say("done")
	fmt.Printf("\n%s", report.markdown(chosen, ""))
	return errors.Join(ctx.Err(), report.failed())
}

// earlier is the table that --out has already, if any.
func (o options) earlier() (string, error) {
	if o.out == "" {
		return "", nil
	}
	text, err := os.ReadFile(o.out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("reading the table of an earlier run: %w", err)
	}
	return string(text), nil
}

func (o options) write(table string) error {
	if o.out == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(o.out), 0o755); err != nil {
		return fmt.Errorf("making the folder of the table: %w", err)
	}
	if err := os.WriteFile(o.out, []byte(table), 0o644); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

// choose picks the parts whose name matches.
func choose(all []part, only string) ([]part, error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("--only %q is no regular expression: %w", only, err)
	}
	var chosen []part
	for _, p := range all {
		if pattern.MatchString(p.name) {
			chosen = append(chosen, p)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("--only %q matches no part; --list names them", only)
	}
	return chosen, nil
}

// measure runs a part and turns its error into a row, so that the others go on.
func (b *bench) measure(ctx context.Context, p part) measured {
	b.say("=== %s: %s", p.name, p.about)
	start := time.Now()
	rows, err := p.run(ctx, b)
	if err != nil {
		b.say("    FAILED: %v", err)
		rows = append(rows, row{what: p.about, err: err})
	}
	took := time.Since(start)
	b.say("    %s took %s", p.name, took.Round(time.Second))
	return measured{part: p, rows: rows, took: took}
}
