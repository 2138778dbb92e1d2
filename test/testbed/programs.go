package testbed

import (
	"path/filepath"
	"slices"
	"strings"
)

// Names of the cluster's programs, for StopProcess and its siblings and for Config.ExtraArgs.
const (
	Etcd              = "etcd"                    // on Control
	APIServer         = "kube-apiserver"          // on Control
	ControllerManager = "kube-controller-manager" // on Control
	Scheduler         = "kube-scheduler"          // on Control
	Containerd        = "containerd"              // on each node
	Kubelet           = "kubelet"                 // on each node
	KubeProxy         = "kube-proxy"              // on each node

	apiProxy = "apiproxy" // on Control: lets the root network namespace reach the API server
)

func programNames() []string {
	return []string{Etcd, APIServer, ControllerManager, Scheduler, Containerd, Kubelet, KubeProxy}
}

func isProgram(name string) bool { return slices.Contains(programNames(), name) }

// programName also takes the short names that people use.
func programName(name string) string {
	switch name {
	case "apiserver":
		return APIServer
	case "controller-manager", "kcm":
		return ControllerManager
	case "scheduler":
		return Scheduler
	case "proxy":
		return KubeProxy
	}
	return name
}

// programs knows how each program of the cluster is started.
type programs struct {
	layout layout
	config Config
	bins   Binaries
	path   string // $PATH of the programs: containerd looks for its shim, kube-proxy for iptables
}

func newPrograms(l layout, c Config, bins Binaries) programs {
	dirs := []string{filepath.Dir(bins[Containerd]), filepath.Dir(bins["kubectl"])}
	return programs{layout: l, config: c, bins: bins, path: strings.Join(append(dirs, systemDirs...), ":")}
}

func (p programs) spec(name, host string, args ...string) processSpec {
	all := append([]string{p.bins[name]}, args...)
	return processSpec{Name: name, Host: host, Dir: p.layout.Run, Path: p.path, Args: append(all, p.config.ExtraArgs[name]...)}
}

func (p programs) etcd() processSpec {
	return p.spec(Etcd, Control, "--data-dir="+p.layout.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380")
}

func (p programs) apiServer() processSpec {
	pki := func(name string) string { return filepath.Join(p.layout.pki(), name) }
	return p.spec(APIServer, Control,
		"--etcd-servers=http://127.0.0.1:2379", "--secure-port=6443", "--advertise-address="+controlHost.v4(),
		"--service-cluster-ip-range="+ServiceCIDRv4+","+ServiceCIDRv6,
		"--tls-cert-file="+pki("api.crt"), "--tls-private-key-file="+pki("api.key"), "--client-ca-file="+pki("ca.crt"),
		"--service-account-key-file="+pki("sa.key"), "--service-account-signing-key-file="+pki("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--token-auth-file="+p.layout.tokens(), "--authorization-mode=Node,RBAC", "--allow-privileged=true",
		// No DNS knows the nodes' names.
		"--kubelet-preferred-address-types=InternalIP",
		// Control has no kube-proxy: webhooks are called at their endpoints.
		"--enable-aggregator-routing=true")
}

func (p programs) controllerManager() processSpec {
	return p.spec(ControllerManager, Control,
		"--kubeconfig="+p.layout.kubeconfig(ControllerManager), "--leader-elect=false", "--use-service-account-credentials",
		"--service-account-private-key-file="+filepath.Join(p.layout.pki(), "sa.key"),
		"--root-ca-file="+filepath.Join(p.layout.pki(), "ca.crt"),
		// With its own limit of 20 requests a second it takes four seconds to begin.
		"--kube-api-qps=200", "--kube-api-burst=400",
		// The testbed gives the nodes their pod ranges.
		"--controllers=*,-node-ipam-controller")
}

func (p programs) scheduler() processSpec {
	return p.spec(Scheduler, Control, "--kubeconfig="+p.layout.kubeconfig(Scheduler), "--leader-elect=false")
}

func (p programs) containerd(node string) processSpec {
	return p.spec(Containerd, node, "-c", p.layout.path(node, "containerd.toml"))
}

func (p programs) kubelet(h host) processSpec {
	return p.spec(Kubelet, h.Name, "--config="+p.layout.path(h.Name, "kubelet.yaml"),
		"--kubeconfig="+p.layout.kubeconfig(h.Name), "--hostname-override="+h.Name,
		"--node-ip="+h.v4()+","+h.v6(), "--root-dir="+p.layout.path(h.Name, "kubelet"),
		// By default all kubelets of a machine make their certificate in one file, and one that starts meanwhile reads half of it.
		"--cert-dir="+p.layout.path(h.Name, "kubelet", "pki"))
}

func (p programs) kubeProxy(node string) processSpec {
	return p.spec(KubeProxy, node, "--config="+p.layout.path(node, "proxy.yaml"))
}

func (p programs) apiProxy() processSpec {
	return p.spec(apiProxy, Control, controlHost.v4()+":6443")
}
