package testbed

// Every version that the testbed pins stands in this file. A change of any of them, or of the build flags beside them,
// gives the program another folder in the cache, so that programs of two versions never mix.
const (
	goToolchain       = "go1.27.3"
	kubernetesVersion = "v1.37.2"
	etcdVersion       = "v3.7.3"
	containerdVersion = "v2.4.2"
	corednsVersion    = "v1.15.0"
	echoVersion       = "v0.1.0"
	gatewayAPIVersion = "v1.7.0" // Envoy's version is release/envoyimage's
	metallbVersion    = "v0.16.1"
)

// References of the images that every node of a cluster has.
const (
	// EchoImage answers HTTP requests with a JSON description of the request and of the pod that answered.
	EchoImage = "registry.k8s.io/gateway-api/conformance/echo-basic:v0.1.0"
	// echoNextImage is the same program under the newer tag that manifests also use.
	echoNextImage = "registry.k8s.io/gateway-api/conformance/echo-basic:v0.2.0"
	// PauseImage holds a pod's namespaces; it also serves as a pod that does nothing.
	PauseImage = "testbed.local/pause:1"
	// CoreDNSImage is the cluster's DNS server, with the plugins that it needs there and no others.
	CoreDNSImage = "testbed.local/coredns:" + corednsVersion
)

// aptPackages maps each program or file that must be on the machine to the Debian package that brings it.
var aptPackages = []requirement{
	{Program: "runc", Package: "runc"},
	{Program: "ip", Package: "iproute2"},
	{Program: "nft", Package: "nftables"},
	{Program: "iptables", Package: "iptables"},
	{Program: "conntrack", Package: "conntrack"},
	{Program: "curl", Package: "curl"},
	{Program: "nsenter", Package: "util-linux"},
	{Program: "bridge", Dirs: cniDirs, Package: "containernetworking-plugins"},
}

// routerPackages bring the routers that tests of BGP and BFD speak with. A cluster needs none.
var routerPackages = []requirement{
	{Program: "bgpd", Dirs: []string{"/usr/lib/frr"}, Package: "frr"},
	{Program: "bird", Package: "bird2"},
}

// cniDirs are the folders in which CNI plugins are looked for, in this order.
var cniDirs = []string{"/usr/lib/cni", "/opt/cni/bin"}

// envoyGatewayVersion is that of the Envoy Gateway that LoadEnvoyGateway brings.
const envoyGatewayVersion = "v1.9.0"

// envoyGateway is built when a test asks for it.
var envoyGateway = component{
	Name: "envoy-gateway", Module: "github.com/envoyproxy/gateway", Version: envoyGatewayVersion, LDFlags: "-s -w",
	Programs: []program{{"envoy-gateway", "github.com/envoyproxy/gateway/cmd/envoy-gateway"}},
}

// components are the modules that the testbed builds, in the order of their building.
var components = []component{
	{
		Name: "kubernetes", Module: "k8s.io/kubernetes", Version: kubernetesVersion, Staging: true,
		LDFlags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2" +
			" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37",
		Programs: []program{
			{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"},
			{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
			{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"},
			{"kubelet", "k8s.io/kubernetes/cmd/kubelet"},
			{"kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"},
			{"kubectl", "k8s.io/kubernetes/cmd/kubectl"},
		},
	},
	{
		Name: "etcd", Module: "go.etcd.io/etcd/server/v3", Version: etcdVersion, LDFlags: "-s -w",
		Programs: []program{{"etcd", "go.etcd.io/etcd/server/v3"}},
	},
	{
		Name: "containerd", Module: "github.com/containerd/containerd/v2", Version: containerdVersion,
		LDFlags: "-s -w", Tags: "no_btrfs no_devmapper no_zfs no_aufs",
		Programs: []program{
			{"containerd", "github.com/containerd/containerd/v2/cmd/containerd"},
			{"containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"},
			{"ctr", "github.com/containerd/containerd/v2/cmd/ctr"},
		},
	},
	{
		Name: "echo", Module: "sigs.k8s.io/gateway-api-conformance-images", Version: echoVersion, LDFlags: "-s -w",
		Programs: []program{{"echo-basic", "sigs.k8s.io/gateway-api-conformance-images/echo-basic"}},
	},
	{
		Name: "coredns", Module: "github.com/coredns/coredns", Version: corednsVersion, LDFlags: "-s -w",
		Source: "_src/coredns/main.go", Programs: []program{{"coredns", "."}},
	},
	{
		Name: "pause", LDFlags: "-s -w",
		Source: "_src/pause/main.go", Programs: []program{{"pause", "."}},
	},
	{
		Name: "apiproxy", LDFlags: "-s -w",
		Source: "_src/apiproxy/main.go", Programs: []program{{"apiproxy", "."}},
	},
}

// metallb is built when a test asks for it.
var metallb = component{
	Name: "metallb", Module: "go.universe.tf/metallb", Version: metallbVersion, LDFlags: "-s -w",
	Programs: []program{
		{"controller", "go.universe.tf/metallb/controller"},
		{"speaker", "go.universe.tf/metallb/speaker"},
	},
}

// contourVersion is that of the Contour that LoadContour brings.
const contourVersion = "v1.33.8"

// contour is built when a test asks for it.
var contour = component{
	Name: "contour", Module: "github.com/projectcontour/contour", Version: contourVersion, LDFlags: "-s -w",
	Programs: []program{{"contour", "github.com/projectcontour/contour/cmd/contour"}},
}
