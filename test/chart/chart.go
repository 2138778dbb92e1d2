// Package chart installs the Helm chart with Helm's own Go module, so that what
// the tests run is what users install.
package chart

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Values are chart values, nested as in values.yaml.
type Values = map[string]any

// Dir is the folder of the chart in this repository.
func Dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "charts", "fairlead")
}

// Render renders the chart as `helm template` does, without a cluster.
func Render(dir, name, namespace string, values Values) (string, error) {
	c, err := loader.Load(dir)
	if err != nil {
		return "", fmt.Errorf("loading chart %s: %w", dir, err)
	}
	install := action.NewInstall(&action.Configuration{})
	install.ClientOnly, install.DryRun, install.Replace = true, true, true
	install.ReleaseName, install.Namespace = name, namespace
	install.KubeVersion = &chartutil.KubeVersion{Version: "v1.37.0", Major: "1", Minor: "37"}
	rel, err := install.Run(c, values)
	if err != nil {
		return "", fmt.Errorf("rendering chart %s: %w", dir, err)
	}
	return rel.Manifest, nil
}

// Release is an installed chart.
type Release struct {
	Name, Namespace string
	config          *action.Configuration
}

// New prepares a release in a cluster; nothing is installed yet.
func New(cluster *rest.Config, name, namespace string, log func(format string, args ...any)) (*Release, error) {
	config := &action.Configuration{}
	if err := config.Init(&getter{cluster, namespace}, namespace, "secret", log); err != nil {
		return nil, fmt.Errorf("preparing Helm for release %s/%s: %w", namespace, name, err)
	}
	return &Release{Name: name, Namespace: namespace, config: config}, nil
}

// Apply installs the chart, or upgrades the release to it, and waits until its
// pods are ready.
func (r *Release) Apply(ctx context.Context, dir string, values Values, timeout time.Duration) error {
	c, err := loader.Load(dir)
	if err != nil {
		return fmt.Errorf("loading chart %s: %w", dir, err)
	}
	return r.ApplyChart(ctx, c, values, timeout)
}

// ApplyChart is Apply for a chart in memory.
func (r *Release) ApplyChart(ctx context.Context, c *chart.Chart, values Values, timeout time.Duration) error {
	history, err := action.NewGet(r.config).Run(r.Name)
	if err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
		return fmt.Errorf("looking for release %s: %w", r.Name, err)
	}
	if history == nil {
		install := action.NewInstall(r.config)
		install.ReleaseName, install.Namespace, install.CreateNamespace = r.Name, r.Namespace, true
		install.Wait, install.Timeout = true, timeout
		if _, err := install.RunWithContext(ctx, c, values); err != nil {
			return fmt.Errorf("installing release %s: %w", r.Name, err)
		}
		return nil
	}
	upgrade := action.NewUpgrade(r.config)
	upgrade.Namespace, upgrade.Wait, upgrade.Timeout = r.Namespace, true, timeout
	if _, err := upgrade.RunWithContext(ctx, r.Name, c, values); err != nil {
		return fmt.Errorf("upgrading release %s: %w", r.Name, err)
	}
	return nil
}

// Rollback goes back to the revision before the last.
func (r *Release) Rollback(timeout time.Duration) error {
	rollback := action.NewRollback(r.config)
	rollback.Wait, rollback.Timeout = true, timeout
	if err := rollback.Run(r.Name); err != nil {
		return fmt.Errorf("rolling back release %s: %w", r.Name, err)
	}
	return nil
}

// Uninstall removes the release; what carries helm.sh/resource-policy: keep stays.
func (r *Release) Uninstall(timeout time.Duration) error {
	uninstall := action.NewUninstall(r.config)
	uninstall.Wait, uninstall.Timeout, uninstall.DeletionPropagation = true, timeout, "foreground"
	if _, err := uninstall.Run(r.Name); err != nil {
		return fmt.Errorf("removing release %s: %w", r.Name, err)
	}
	return nil
}

// Status is the release as Helm has it.
func (r *Release) Status() (*release.Release, error) { return action.NewGet(r.config).Run(r.Name) }

// getter hands a rest.Config to Helm, which otherwise reads kubeconfig files.
type getter struct {
	config    *rest.Config
	namespace string
}

func (g *getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.config), nil }

func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	d, err := discovery.NewDiscoveryClientForConfig(g.config)
	if err != nil {
		return nil, fmt.Errorf("making a discovery client: %w", err)
	}
	return memory.NewMemCacheClient(d), nil
}

func (g *getter) ToRESTMapper() (meta.RESTMapper, error) {
	d, err := g.ToDiscoveryClient()
	if err != nil {
		return nil, err
	}
	return restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(d), d, nil), nil
}

func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}})
}
