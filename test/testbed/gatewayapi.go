package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"

	"github.com/fairlead/fairlead/release/envoyimage"
	"github.com/fairlead/fairlead/test/gatewayapi"
)

const gatewayAPIModule = "sigs.k8s.io/gateway-api"

// Envoy is the real Envoy, as an image and as a program for this machine. It is fetched if the cache does not have it.
func Envoy(ctx context.Context, say Progress) (envoyimage.Files, error) {
	cache, err := envoyimage.CacheDir(os.Getenv)
	if err != nil {
		return envoyimage.Files{}, err
	}
	files, found := envoyimage.Cached(cache, runtime.GOARCH)
	if found {
		return files, nil
	}
	say.printf("fetching Envoy %s and making its image", envoyimage.Version)
	return envoyimage.Get(ctx, cache, runtime.GOARCH)
}

// installGatewayAPI installs what the Gateway API's release of the channel has: its CRDs and the policy that guards them.
func (c *Cluster) installGatewayAPI(ctx context.Context) error {
	channel := c.state.Config.GatewayAPI
	if channel == channelNone {
		return nil
	}
	dir, err := moduleDir(ctx, gatewayAPIModule, gatewayAPIVersion)
	if err != nil {
		return fmt.Errorf("find the CRDs of the Gateway API: %w", err)
	}
	all, crds, err := gatewayapi.Manifests(dir, channel)
	if err != nil {
		return err
	}
	if err := c.kubectl(ctx, append([]string{"apply", "--server-side"}, asFlags(all)...)...); err != nil {
		return fmt.Errorf("install the Gateway API: %w", err)
	}
	wait := []string{"wait", "--for=condition=Established", "--timeout=" + c.state.Config.Timeout.String()}
	if err := c.kubectl(ctx, append(wait, asFlags(crds)...)...); err != nil {
		return fmt.Errorf("wait for the CRDs of the Gateway API: %w", err)
	}
	c.say.printf("Gateway API %s installed, %s channel", gatewayAPIVersion, channel)
	return nil
}

func (c *Cluster) kubectl(ctx context.Context, args ...string) error {
	return run(ctx, c.Binary("kubectl"), append([]string{"--kubeconfig=" + c.Kubeconfig()}, args...)...)
}

func asFlags(files []string) []string {
	var out []string
	for _, file := range files {
		out = append(out, "--filename="+file)
	}
	return out
}

// moduleDir is the folder of a module in Go's cache, where it is fetched to if need be.
func moduleDir(ctx context.Context, module, version string) (string, error) {
	out, err := goCommand(ctx, os.TempDir(), "mod", "download", "-json", module+"@"+version)
	if err != nil {
		return "", err
	}
	var download struct{ Dir string }
	if err := json.Unmarshal(out, &download); err != nil {
		return "", fmt.Errorf("read where %s was downloaded to: %w", module, err)
	}
	return download.Dir, nil
}
