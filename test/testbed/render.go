package testbed

import (
	"encoding/json"
	"fmt"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/yaml"
)

// renderKubeconfig is a kubeconfig with everything in it, so that it works from any folder.
func renderKubeconfig(cluster, server string, ca []byte, token string) ([]byte, error) {
	text, err := yaml.Marshal(clientcmdapi.Config{
		APIVersion: "v1", Kind: "Config", CurrentContext: cluster,
		Clusters:  []clientcmdapi.NamedCluster{{Name: cluster, Cluster: clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}}},
		AuthInfos: []clientcmdapi.NamedAuthInfo{{Name: cluster, AuthInfo: clientcmdapi.AuthInfo{Token: token}}},
		Contexts:  []clientcmdapi.NamedContext{{Name: cluster, Context: clientcmdapi.Context{Cluster: cluster, AuthInfo: cluster}}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the kubeconfig of %s: %w", cluster, err)
	}
	return text, nil
}

// user is one line of the API server's token file.
type user struct {
	Name, Token string
	File        string // whose kubeconfig it is
	Groups      []string
}

// users are who may talk to the API server: an administrator and each program under its usual name, so that the
// rights of all but the administrator are those of any cluster.
func users(nodes int, token func() string) []user {
	out := []user{
		{Name: "admin", File: "admin", Groups: []string{"system:masters"}},
		{Name: "system:kube-controller-manager", File: "kube-controller-manager"},
		{Name: "system:kube-scheduler", File: "kube-scheduler"},
		{Name: "system:kube-proxy", File: "kube-proxy"},
	}
	for i := 1; i <= nodes; i++ {
		out = append(out, user{Name: "system:node:" + NodeName(i), File: NodeName(i), Groups: []string{"system:nodes"}})
	}
	for i := range out {
		out[i].Token = token()
	}
	return out
}

func renderTokens(users []user) []byte {
	var text strings.Builder
	for _, u := range users {
		fmt.Fprintf(&text, "%s,%s,%s,%q\n", u.Token, u.Name, u.Name, strings.Join(u.Groups, ","))
	}
	return []byte(text.String())
}

func renderCNI(l layout, h host) ([]byte, error) {
	subnet := func(cidr string) []any { return []any{map[string]any{"subnet": cidr}} }
	return json.MarshalIndent(map[string]any{
		"cniVersion": "1.0.0", "name": l.cniNetwork(),
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
				"ipam": map[string]any{
					"type": "host-local", "dataDir": l.path(h.Name, "ipam"),
					"ranges": []any{subnet(podCIDRv4(h.node())), subnet(podCIDRv6(h.node()))},
					"routes": []any{map[string]any{"dst": "0.0.0.0/0"}, map[string]any{"dst": "::/0"}},
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]any{"portMappings": true}},
		},
	}, "", "  ")
}

// renderContainerd is one node's containerd: own folders and sockets, and no NRI, whose socket all would share.
// restrict_oom_score_adj is for machines whose root may not lower the score (no CAP_SYS_RESOURCE).
func renderContainerd(l layout, h host, runc, cniDir string) []byte {
	return fmt.Appendf(nil, `version = 3
root = %q
state = %q
[grpc]
  address = %q
[ttrpc]
  address = %q
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = %q
[plugins."io.containerd.cri.v1.runtime"]
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [%q]
    conf_dir = %q
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = %q
`, l.path(h.Name, "containerd"), l.path(h.Name, "state"), l.socket(h.Name), l.socket(h.Name)+".ttrpc",
		PauseImage, cniDir, l.path(h.Name, "cni"), runc)
}

// renderKubelet lets anyone on the segment use the kubelet's server: nothing but the cluster can reach it.
func renderKubelet(l layout, h host) ([]byte, error) {
	return yaml.Marshal(map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"failCgroupV1": false, "cgroupDriver": "cgroupfs", "cgroupRoot": l.podCgroup(h.Name),
		"enforceNodeAllocatable": []string{}, "localStorageCapacityIsolation": false,
		"evictionHard": map[string]string{}, "imageGCHighThresholdPercent": 100, "failSwapOn": false,
		"resolvConf": "", "clusterDomain": "cluster.local", "clusterDNS": []string{DNSAddressv4},
		"containerRuntimeEndpoint": "unix://" + l.socket(h.Name),
		"podLogsDir":               l.path(h.Name, "pod-logs"),
		"volumePluginDir":          l.path(h.Name, "volume-plugins"),
		"authentication":           map[string]any{"anonymous": map[string]any{"enabled": true}, "webhook": map[string]any{"enabled": false}},
		"authorization":            map[string]any{"mode": "AlwaysAllow"},
	})
}

func renderProxy(l layout, h host, mode string) ([]byte, error) {
	return yaml.Marshal(map[string]any{
		"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
		"mode": mode, "hostnameOverride": h.Name, "clusterCIDR": PodCIDRv4 + "," + PodCIDRv6,
		"clientConnection": map[string]any{"kubeconfig": l.kubeconfig("kube-proxy")},
		// The limits of connection tracking belong to the machine.
		"conntrack": map[string]any{"maxPerCore": 0, "min": 0},
	})
}
