// Command fairlead-controller gives addresses to Services of type LoadBalancer,
// keeps the ledger of addresses, and says in statuses what is.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/fairlead/fairlead/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: it gives the exit code.
func run(ctx context.Context, args []string, out, errs *os.File) int {
	f, err := parse(args, out)
	switch {
	case err != nil:
		fmt.Fprintf(errs, "fairlead-controller: %v\nSee fairlead-controller --help.\n", err)
		return 2
	case f == nil:
		return 0
	}
	log, err := telemetry.NewLogger(f.logLevel)
	if err != nil {
		fmt.Fprintf(errs, "fairlead-controller: %v\n", err)
		return 1
	}
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	if err := serve(ctx, f, log); err != nil {
		fmt.Fprintf(errs, "fairlead-controller: %v\n", err)
		return 1
	}
	return 0
}
