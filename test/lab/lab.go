// Package lab is a testbed cluster with Fairlead on it, and the means to look at
// it from outside as a client of the network does. The demo, the end-to-end
// tests and the end-to-end figures share it.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/chart"
	"github.com/fairlead/fairlead/test/testbed"
)

// Where Fairlead is installed in a lab.
const (
	Namespace   = "fairlead-system"
	ReleaseName = "fairlead"
	Repository  = "ghcr.io/fairlead"
)

// Lab is a cluster with Fairlead on it.
type Lab struct {
	Cluster *testbed.Cluster
	// Client reads and writes as the administrator, without a cache and
	// without a limit on requests.
	Client client.WithWatch
	Config *rest.Config
	// Version is the tag of the images last loaded.
	Version string
}

// New makes a lab of a cluster that is up.
func New(cluster *testbed.Cluster) (*Lab, error) {
	config := rest.CopyConfig(cluster.RESTConfig())
	config.QPS = -1
	config.WarningHandlerWithContext = rest.NoWarnings{} // of deprecated fields, which users have all the same
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return &Lab{Cluster: cluster, Client: c, Config: config}, nil
}

// Scheme knows Kubernetes' own kinds, Fairlead's and the Gateway API's.
func Scheme() (*kruntime.Scheme, error) {
	scheme := kruntime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme), gatewayv1.Install(scheme))
}

// Root is the folder of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// LoadImages builds Fairlead's images from the working tree, for this machine's
// architecture, and brings them to all nodes under the tag version.
func (l *Lab) LoadImages(ctx context.Context, version string) error {
	dir, err := os.MkdirTemp("", "fairlead-images-")
	if err != nil {
		return fmt.Errorf("making a folder for images: %w", err)
	}
	defer os.RemoveAll(dir)
	build := exec.CommandContext(ctx, "go", "run", "./release", "images",
		"--version", version, "--arch", runtime.GOARCH, "--repository", Repository, "--out", dir,
		"--envoy=false") // the testbed's nodes have it
	build.Dir = Root()
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building images: %w\n%s", err, out)
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	if err != nil {
		return err
	}
	for _, a := range archives {
		if err := l.Cluster.Load(ctx, a); err != nil {
			return err
		}
	}
	l.Version = version
	return nil
}

// Release is the chart's release in this lab.
func (l *Lab) Release() (*chart.Release, error) {
	return chart.New(l.Config, ReleaseName, Namespace, func(string, ...any) {})
}

// Values are chart values for images that were loaded, overlaid with others.
func (l *Lab) Values(over chart.Values) chart.Values {
	values := chart.Values{"image": chart.Values{"repository": Repository, "tag": l.Version, "pullPolicy": "Never"}}
	for k, v := range over {
		values[k] = v
	}
	return values
}

// Install installs or upgrades the chart and waits until its pods are ready.
func (l *Lab) Install(ctx context.Context, over chart.Values) error {
	release, err := l.Release()
	if err != nil {
		return err
	}
	return release.Apply(ctx, chart.Dir(), l.Values(over), 2*time.Minute)
}

// Await calls check until it returns nil, and says what it said last if that
// does not come within the timeout. A check that takes long is called less
// often, so that looking does not slow down what is looked at.
func Await(ctx context.Context, timeout time.Duration, what string, check func(context.Context) error) error {
	return await(ctx, timeout, what, 4, check)
}

// await pauses after a check for so many times as long as it took.
func await(ctx context.Context, timeout time.Duration, what string, pauses int, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var last error
	for {
		start := time.Now()
		err := check(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // not that it was cut short
			last = err
		}
		pause := time.NewTimer(max(50*time.Millisecond, time.Duration(pauses)*time.Since(start)))
		select {
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("waiting %s for %s: %w", timeout, what, last)
		case <-pause.C:
		}
	}
}

// Apply creates objects, or updates their specs where they exist.
func (l *Lab) Apply(ctx context.Context, objects ...client.Object) error {
	for _, o := range objects {
		name := fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())
		err := l.Client.Create(ctx, o)
		if apierrors.IsAlreadyExists(err) {
			current := o.DeepCopyObject().(client.Object)
			if err := l.Client.Get(ctx, client.ObjectKeyFromObject(o), current); err != nil {
				return fmt.Errorf("reading %s: %w", name, err)
			}
			o.SetResourceVersion(current.GetResourceVersion())
			err = l.Client.Update(ctx, o)
		}
		if err != nil {
			return fmt.Errorf("applying %s: %w", name, err)
		}
	}
	return nil
}

// Pool is an IPAddressPool.
func Pool(name string, addresses ...string) *v1alpha1.IPAddressPool {
	p := &v1alpha1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, a := range addresses {
		p.Spec.Addresses = append(p.Spec.Addresses, v1alpha1.AddressRange(a))
	}
	return p
}

// Everywhere is an L2Advertisement of all pools from all nodes.
func Everywhere() *v1alpha1.L2Advertisement {
	return &v1alpha1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: "everywhere"}}
}

// MakeNamespace is a Namespace.
func MakeNamespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
