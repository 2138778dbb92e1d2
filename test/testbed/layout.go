package testbed

import (
	"fmt"
	"path/filepath"
	"slices"
)

// Addresses of every cluster. Clusters do not see each other, so all have the same.
const (
	// SegmentV4 and SegmentV6 are the one layer-2 segment that all hosts are on.
	SegmentV4 = "172.30.0.0/24"
	SegmentV6 = "fd00:30::/64"
	// FirstVIPv4 to LastVIPv4 and FirstVIPv6 to LastVIPv6 are the segment's addresses that no host has.
	FirstVIPv4 = "172.30.0.100"
	LastVIPv4  = "172.30.0.250"
	FirstVIPv6 = "fd00:30::100"
	LastVIPv6  = "fd00:30::2ff"
	// PodCIDRv4, PodCIDRv6, ServiceCIDRv4 and ServiceCIDRv6 are the cluster's own ranges.
	PodCIDRv4     = "10.244.0.0/16"
	PodCIDRv6     = "fd00:244::/32"
	ServiceCIDRv4 = "10.96.0.0/16"
	ServiceCIDRv6 = "fd00:96::/112"
	// DNSAddressv4 and DNSAddressv6 are the cluster DNS Service's addresses.
	DNSAddressv4 = "10.96.0.10"
	DNSAddressv6 = "fd00:96::a"

	apiServiceV4 = "10.96.0.1"
	apiPort      = 6443
)

// Hosts that every cluster has beside its nodes.
const (
	// Router is the segment's default gateway.
	Router = "router"
	// Client is a host outside the cluster on the same segment.
	Client = "client"
	// Control runs etcd, the API server, the controller manager and the scheduler. It is no node.
	Control = "control"

	lan = "lan" // the namespace of the bridge, the segment's switch
)

// routerHost is the default gateway.
var routerHost = host{Name: Router, Number: 1, Routes: true}

// controlHost is where the API server is.
var controlHost = host{Name: Control, Number: 10}

// host is one network namespace that is plugged into the segment.
type host struct {
	Name   string
	Number int // last part of its addresses; 11 and up are nodes
	Routes bool
}

// NodeName is the name of node i, counted from 1.
func NodeName(i int) string { return fmt.Sprintf("node%d", i) }

func hostsOf(nodes int) []host {
	hosts := []host{routerHost, {Name: Client, Number: 2}, controlHost}
	for i := 1; i <= nodes; i++ {
		hosts = append(hosts, host{Name: NodeName(i), Number: 10 + i})
	}
	return hosts
}

// firstFurther to lastFurther are the numbers of hosts that are added to a cluster.
const firstFurther, lastFurther = 3, 9

// node is the host's number among the nodes from 1, or 0 if it is none.
func (h host) node() int { return max(h.Number-10, 0) }

func (h host) v4() string { return fmt.Sprintf("172.30.0.%d", h.Number) }

// v6 has the same digits as v4, read as hexadecimal.
func (h host) v6() string { return fmt.Sprintf("fd00:30::%d", h.Number) }

func podCIDRv4(node int) string { return fmt.Sprintf("10.244.%d.0/24", node) }
func podCIDRv6(node int) string { return fmt.Sprintf("fd00:244:%d::/64", node) }

// layout says where a cluster of a name keeps what. All of it follows from the name alone, so that a cluster whose
// records are lost can still be removed. The dot cannot be in a name, so no cluster's name is the start of another's.
type layout struct {
	Name string
	Run  string // the cluster's folder
}

func newLayout(base, name string) layout {
	return layout{Name: name, Run: filepath.Join(base, name)}
}

// runBase is the folder that has one folder per cluster: $FAIRLEAD_TESTBED_RUN, or /tmp/fairlead-testbed. It is short
// because paths of unix sockets must be.
func runBase(getenv func(string) string) string {
	if dir := getenv("FAIRLEAD_TESTBED_RUN"); dir != "" {
		return filepath.Clean(dir)
	}
	return "/tmp/fairlead-testbed"
}

func (l layout) path(parts ...string) string {
	return filepath.Join(slices.Insert(slices.Clone(parts), 0, l.Run)...)
}

func (l layout) lock() string { return filepath.Join(filepath.Dir(l.Run), "."+l.Name+".lock") }

// failedLogs is where the logs of a cluster stay that could not be brought up.
func (l layout) failedLogs() string { return filepath.Join(filepath.Dir(l.Run), "."+l.Name+".failed") }

func (l layout) state() string             { return l.path("cluster.json") }
func (l layout) procs() string             { return l.path("procs") }
func (l layout) images() string            { return l.path("images") }
func (l layout) pki() string               { return l.path("pki") }
func (l layout) tokens() string            { return l.path("pki", "tokens.csv") }
func (l layout) socket(node string) string { return l.path(node, "containerd.sock") }

// kubeconfig is the user's kubeconfig inside the namespaces when who is admin, and the one of a component otherwise.
func (l layout) kubeconfig(who string) string { return l.path("pki", who+".kubeconfig") }

// rootKubeconfig is the admin's kubeconfig for the root network namespace.
func (l layout) rootKubeconfig() string { return l.path("kubeconfig") }

const nsPrefix = "fairlead."

func (l layout) nsPrefix() string          { return nsPrefix + l.Name + "." }
func (l layout) ns(host string) string     { return l.nsPrefix() + host }
func (l layout) nsPath(host string) string { return filepath.Join(netnsDir, l.ns(host)) }
func (l layout) cniNetwork() string        { return nsPrefix + l.Name + ".pods" }

const (
	netnsDir   = "/run/netns"
	cgroupBase = "fairlead-testbed"
)

// cgroup is the cluster's cgroup below the root of each hierarchy: "hosts/HOST" in it has the host's programs,
// "pods/NODE" is where the node's kubelet puts pods.
func (l layout) cgroup() string                { return filepath.Join("/", cgroupBase, l.Name) }
func (l layout) hostCgroup(host string) string { return filepath.Join(l.cgroup(), "hosts", host) }
func (l layout) podCgroup(node string) string  { return filepath.Join(l.cgroup(), "pods", node) }
