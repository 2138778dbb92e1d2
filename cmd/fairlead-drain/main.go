// Command fairlead-drain ends an Envoy without losing a connection. `install PATH`
// copies it to PATH (in an init container), `drain` drains (as the preStop hook of
// Envoy's container).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/gateway/fleet/drain"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fairlead-drain:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: fairlead-drain install PATH, or fairlead-drain drain --socket=PATH [--settle=5s] [--timeout=30s] [--ignore=PREFIX]")

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "install" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding this program: %w", err)
		}
		return drain.Install(self, args[1])
	}
	if len(args) == 0 || args[0] != "drain" {
		return errUsage
	}
	set := flag.NewFlagSet("drain", flag.ContinueOnError)
	var o drain.Options
	var ignore string
	set.StringVar(&o.Socket, "socket", "", "Envoy's admin socket")
	set.DurationVar(&o.Settle, "settle", 5*time.Second, "how long Envoy goes on as before")
	set.DurationVar(&o.Timeout, "timeout", 30*time.Second, "how long to wait for clients to leave after that")
	set.StringVar(&ignore, "ignore", "", "statistics prefix of a listener whose connections do not count")
	if err := set.Parse(args[1:]); err != nil {
		return err
	}
	if o.Socket == "" || set.NArg() > 0 {
		return errUsage
	}
	if ignore != "" {
		o.Ignore = []string{ignore}
	}
	left, err := drain.Run(ctx, o)
	if err == nil && left > 0 {
		fmt.Printf("fairlead-drain: %d connections were still open after %s\n", left, o.Timeout)
	}
	return err
}
