// Package artefacts collects what helps to understand why a test of Gateways
// failed: objects, logs, and what Envoy was configured with.
package artefacts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Collector looks at one cluster.
type Collector struct {
	// Namespace is where Fairlead is installed.
	Namespace string
	// EnvoySockets is a pattern (filepath.Match) of the paths of Envoys' admin
	// sockets, where this machine sees the pods' volumes; empty where it does not.
	// No network leads to the sockets.
	EnvoySockets string

	objects   dynamic.Interface
	discovery discovery.DiscoveryInterface
	core      kubernetes.Interface
}

// New makes a Collector of the cluster that config leads to. The namespace is
// where Fairlead is installed.
func New(config *rest.Config, namespace string) (*Collector, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for objects: %w", err)
	}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for logs: %w", err)
	}
	return &Collector{
		Namespace: namespace,
		objects:   objects,
		discovery: core.Discovery(),
		core:      core,
	}, nil
}

// Collect writes all it can get into dir: objects/RESOURCE.yaml,
// logs/NAMESPACE.POD.CONTAINER.log since the given time, and
// envoy/NAMESPACE.POD.json of the Envoys whose sockets it sees. What it cannot get does not keep it from the rest; it
// is in the error, and in dir/missing.txt. Secrets are not read.
func (c *Collector) Collect(ctx context.Context, dir string, since time.Time) error {
	pods, err := c.pods(ctx)
	err = errors.Join(c.writeObjects(ctx, filepath.Join(dir, "objects")), err)
	for _, pod := range pods {
		err = errors.Join(err, c.writeLogs(ctx, filepath.Join(dir, "logs"), pod, since))
	}
	err = errors.Join(err, c.writeEnvoys(ctx, filepath.Join(dir, "envoy"), pods))
	if err != nil {
		err = errors.Join(err, write(filepath.Join(dir, "missing.txt"), []byte(err.Error()+"\n")))
	}
	return err
}

func write(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the folder for %s: %w", path, err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("writing an artefact: %w", err)
	}
	return nil
}
