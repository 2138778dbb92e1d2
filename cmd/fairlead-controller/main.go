// Command fairlead-controller gives addresses to Services of type LoadBalancer,
// keeps the ledger of addresses, and says in statuses what is.
package main

import (
	"context"
	"io"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead/fairlead/cmd/internal/program"
)

const name = "fairlead-controller"

func main() {
	program.Main(name, func(args []string, out io.Writer) (*program.Program, error) {
		f, err := parse(args, out)
		if f == nil || err != nil {
			return nil, err
		}
		return &program.Program{LogLevel: f.logLevel, Serve: func(ctx context.Context, log logr.Logger, tracer trace.TracerProvider) error {
			return serve(ctx, f, log, tracer)
		}}, nil
	})
}
