package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/fairlead/fairlead/test/lab"
)

// classTimeout is for the class, whose features the suite reads only once.
const classTimeout = "60s"

// install brings Fairlead, addresses and the class to a cluster that has the
// Gateway API.
func (o options) install(ctx context.Context, l *lab.Lab, out io.Writer) error {
	start := time.Now()
	if err := l.LoadImages(ctx, o.version); err != nil {
		return err
	}
	if err := l.Install(ctx, nil); err != nil {
		return err
	}
	for _, name := range []string{"addresses", o.mode} {
		path := filepath.Join(lab.Root(), "conformance", "manifests", name+".yaml")
		if _, err := l.Cluster.Kubectl(ctx, "apply", "--server-side", "-f", path); err != nil {
			return fmt.Errorf("applying %s: %w", path, err)
		}
	}
	if _, err := l.Cluster.Kubectl(ctx, "wait", "--for=condition=Accepted", "--timeout="+classTimeout, "gatewayclass/"+gatewayClass); err != nil {
		return fmt.Errorf("GatewayClass %s was not accepted, see the controller's log in %s: %w", gatewayClass, o.dumpPath(), err)
	}
	fmt.Fprintf(out, "Fairlead %s installed in %s\n", o.version, time.Since(start).Round(100*time.Millisecond))
	return nil
}
