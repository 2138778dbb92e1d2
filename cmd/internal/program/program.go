// Package program is what Fairlead's commands have in common: how they start,
// read their command line, log, trace, and end.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/fairlead/fairlead/telemetry"
	"github.com/fairlead/fairlead/version"
)

// Flags are a command line that was read.
type Flags interface {
	comparable
	// LogLevel is one that telemetry.LogLevel knows.
	LogLevel() string
}

// Parse reads a command line. It returns nil without an error where what was
// asked for, such as help, has been written to out.
type Parse[F Flags] func(args []string, out io.Writer) (F, error)

// Serve works until ctx ends.
type Serve[F Flags] func(ctx context.Context, f F, log logr.Logger, tracer trace.TracerProvider) error

// Main runs the program of that name until a signal ends it, and exits: with 2
// if the command line is wrong, with 1 if the program fails.
func Main[F Flags](name string, parse Parse[F], serve Serve[F]) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	code := run(ctx, name, parse, serve, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is Main without the process: it gives the exit code.
func run[F Flags](ctx context.Context, name string, parse Parse[F], serve Serve[F], args []string, out, errs io.Writer) int {
	var none F
	f, err := parse(args, out)
	switch {
	case err != nil:
		fmt.Fprintf(errs, "%s: %v\nSee %s --help.\n", name, err, name)
		return 2
	case f == none:
		return 0
	}
	if err := start(ctx, name, f, serve); err != nil {
		fmt.Fprintf(errs, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

// flushing is how long the last traces may take to be sent.
const flushing = 2 * time.Second

func start[F Flags](ctx context.Context, name string, f F, serve Serve[F]) error {
	log, err := telemetry.NewLogger(f.LogLevel())
	if err != nil {
		return err
	}
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	tracer, stopTracing, err := telemetry.New(ctx, name)
	if err != nil {
		return err
	}
	defer func() {
		// The process ends, so its context has ended too.
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushing)
		defer cancel()
		if err := stopTracing(flush); err != nil {
			log.Info("The last traces were not sent", "cause", err.Error())
		}
	}()
	log.Info("Starting", "version", version.Version)
	return serve(ctx, f, log, tracer)
}

// ParseFlags reads a command line by the flags of set, and adds --help, which
// begins with what the program is for, and --version. It returns true where one
// of them was asked for and has been written to out.
func ParseFlags(set *flag.FlagSet, about string, args []string, out io.Writer) (done bool, err error) {
	showVersion := set.Bool("version", false, "print the version and end")
	set.SetOutput(io.Discard)
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		set.SetOutput(out)
		fmt.Fprintf(out, "%s %s.\n\nFlags:\n", set.Name(), about)
		set.PrintDefaults()
		return true, nil
	case err != nil:
		return false, err
	case *showVersion:
		fmt.Fprintln(out, version.Version)
		return true, nil
	case set.NArg() > 0:
		return false, fmt.Errorf("unexpected argument %q: settings are given as flags", set.Arg(0))
	}
	return false, nil
}

// Serves says whether a server is wanted at the address of a flag.
func Serves(address string) bool { return address != "" && address != "0" }

// CheckAddress says what is wrong with the flag of a server's address; example
// is a good one.
func CheckAddress(flag, address, example string) error {
	if !Serves(address) {
		return nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("--%s is %q: set it to an address and port such as %s, or to 0", flag, address, example)
	}
	return nil
}
