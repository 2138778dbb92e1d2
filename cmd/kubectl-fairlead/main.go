// Command kubectl-fairlead is the plugin `kubectl fairlead`: it explains what
// Fairlead does in a cluster, says what is wrong, and helps to move to it. It
// works with the caller's own rights.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/root"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := root.Run(ctx, kube.NewEnv(streams, time.Now), os.Args[1:])
	stop()
	os.Exit(code)
}
