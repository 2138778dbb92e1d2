package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/cmd/internal/program"
	"github.com/fairlead/fairlead/controllers"
	"github.com/fairlead/fairlead/gateway/fleet"
)

// gatewayFlags are the settings for Gateways.
type gatewayFlags struct {
	enabled     bool
	envoyImage  string
	toolImage   string
	pullPolicy  string
	pullSecrets string
	listen      string
	service     string
	podIPs      string
}

func (g *gatewayFlags) define(set *flag.FlagSet) {
	set.BoolVar(&g.enabled, "gateways", false, "serve Gateways of GatewayClasses with the controllerName fairlead.dev/gateway-controller, as soon as the CRDs of the Gateway API are installed")
	set.StringVar(&g.envoyImage, "envoy-image", fleet.DefaultImage, "the image of Envoy, where a GatewayConfig names no other")
	set.StringVar(&g.toolImage, "tool-image", "", "the image that has /fairlead-drain, which lets an Envoy end in order")
	set.StringVar(&g.pullPolicy, "image-pull-policy", string(corev1.PullIfNotPresent), "when the images of Envoys' pods are pulled: Always, IfNotPresent or Never")
	set.StringVar(&g.pullSecrets, "image-pull-secrets", "", "names of Secrets in --namespace for pulling them, separated by commas")
	set.StringVar(&g.listen, "xds-bind-address", ":18000", "where the leader serves configuration to Envoys")
	set.StringVar(&g.service, "xds-service", "fairlead-xds", "the Service in --namespace by which Envoys reach it")
	set.StringVar(&g.podIPs, "pod-ips", os.Getenv("POD_IPS"), "the addresses of the controller's own pod, separated by commas: the families of the cluster; default from POD_IPS")
}

// families are those of the cluster's pods, the cluster's first one first.
func (g *gatewayFlags) families() ([]corev1.IPFamily, error) {
	var out []corev1.IPFamily
	for text := range strings.SplitSeq(g.podIPs, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("--pod-ips: %q is no IP address: write those of the pod, such as 10.0.0.7,fd00::7", text)
		}
		family := corev1.IPv6Protocol
		if ip.Unmap().Is4() {
			family = corev1.IPv4Protocol
		}
		if !slices.Contains(out, family) {
			out = append(out, family)
		}
	}
	if len(out) == 0 {
		out = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	return out, nil
}

// check says what is wrong with the settings, and what to write instead.
func (g *gatewayFlags) check(namespace string) []error {
	if !g.enabled {
		return nil
	}
	var errs []error
	if namespace == "" {
		errs = append(errs, fmt.Errorf("--gateways needs the namespace in which Envoys run: set --namespace (or POD_NAMESPACE)"))
	}
	if g.toolImage == "" {
		errs = append(errs, fmt.Errorf("--gateways needs --tool-image: the image fairlead-drain"))
	}
	if !slices.Contains([]string{"Always", "IfNotPresent", "Never"}, g.pullPolicy) {
		errs = append(errs, fmt.Errorf("--image-pull-policy is %q: set it to Always, IfNotPresent or Never", g.pullPolicy))
	}
	_, err := g.families()
	return append(errs, err, program.CheckAddress("xds-bind-address", g.listen, ":18000"))
}

func (g *gatewayFlags) options() controllers.GatewayOptions {
	families, _ := g.families() // checked
	o := controllers.GatewayOptions{Enabled: g.enabled, Listen: g.listen, Fleet: fleet.Settings{
		Image: g.envoyImage, ToolImage: g.toolImage, PullPolicy: corev1.PullPolicy(g.pullPolicy), XDSService: g.service, XDSPort: portOf(g.listen), Families: families,
	}}
	for name := range strings.SplitSeq(g.pullSecrets, ",") {
		if name = strings.TrimSpace(name); name != "" {
			o.Fleet.PullSecrets = append(o.Fleet.PullSecrets, corev1.LocalObjectReference{Name: name})
		}
	}
	return o
}

// portOf is the port of an address that was checked.
func portOf(address string) uint16 {
	_, text, _ := strings.Cut(address[strings.LastIndex(address, ":"):], ":")
	var port uint16
	if _, err := fmt.Sscan(text, &port); err != nil {
		return 0
	}
	return port
}
