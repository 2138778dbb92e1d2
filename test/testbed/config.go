package testbed

import (
	"fmt"
	"regexp"
	"time"
)

// Config says which cluster to bring up. The zero value is usable: three nodes, nftables, the name "demo".
type Config struct {
	// Name tells clusters apart that run at once: lower-case letters, digits and inner dashes, at most 20.
	// Empty means DefaultName.
	Name string `json:"name"`
	// Nodes is the number of nodes, from 1 to MaxNodes. Zero means DefaultNodes.
	Nodes int `json:"nodes"`
	// ProxyMode is kube-proxy's mode: "nftables" (default) or "iptables".
	ProxyMode string `json:"proxyMode"`
	// GatewayAPI is the channel of the Gateway API's CRDs that the cluster gets: "experimental" (default) or "standard",
	// with the image of Envoy on every node; or "none", without either.
	GatewayAPI string `json:"gatewayAPI,omitempty"`
	// ExtraArgs are further flags per program, for example {"kube-apiserver": {"--v=4"}}. They come last, so they win.
	ExtraArgs map[string][]string `json:"extraArgs,omitempty"`

	// Reuse takes a healthy cluster of this name and shape as it is. Without it a cluster of this name that another
	// living process owns is an error, and one that its owner left behind is removed first.
	Reuse bool `json:"-"`
	// Detached lets the cluster outlive this process; otherwise it counts as left behind once this process is gone.
	Detached bool `json:"-"`
	// Timeout bounds each wait of Up (API server, nodes Ready, DNS). Zero means two minutes.
	Timeout time.Duration `json:"-"`
	// Progress is told the steps of Up and Down.
	Progress Progress `json:"-"`
}

// Defaults and limits of Config.
const (
	DefaultName  = "demo"
	DefaultNodes = 3
	// MaxNodes keeps node addresses below the segment's free addresses, which start at .100.
	MaxNodes = 50

	proxyNFTables = "nftables"
	proxyIPTables = "iptables"

	channelExperimental = "experimental"
	channelStandard     = "standard"
	channelNone         = "none"
)

// The name becomes part of namespace names, of cgroups and of paths of unix sockets (at most 107 bytes).
var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$`)

func checkName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("cluster name %q: use 1 to 20 lower-case letters, digits and dashes, no dash first or last", name)
	}
	return nil
}

// complete fills defaults in and refuses what cannot work.
func (c Config) complete() (Config, error) {
	if c.Name == "" {
		c.Name = DefaultName
	}
	if err := checkName(c.Name); err != nil {
		return c, err
	}
	if c.Nodes == 0 {
		c.Nodes = DefaultNodes
	}
	if c.Nodes < 1 || c.Nodes > MaxNodes {
		return c, fmt.Errorf("%d nodes: a cluster has 1 to %d", c.Nodes, MaxNodes)
	}
	if c.ProxyMode == "" {
		c.ProxyMode = proxyNFTables
	}
	if c.ProxyMode != proxyNFTables && c.ProxyMode != proxyIPTables {
		return c, fmt.Errorf("proxy mode %q: use %s or %s", c.ProxyMode, proxyNFTables, proxyIPTables)
	}
	if c.GatewayAPI == "" {
		c.GatewayAPI = channelExperimental
	}
	if c.GatewayAPI != channelExperimental && c.GatewayAPI != channelStandard && c.GatewayAPI != channelNone {
		return c, fmt.Errorf("channel %q of the Gateway API: use %s, %s or %s", c.GatewayAPI, channelExperimental, channelStandard, channelNone)
	}
	for name := range c.ExtraArgs {
		if !isProgram(name) {
			return c, fmt.Errorf("extra arguments for %q: the programs of a cluster are %v", name, programNames())
		}
	}
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Minute
	}
	return c, nil
}
