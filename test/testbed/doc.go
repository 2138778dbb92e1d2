// Package testbed brings up a real Kubernetes cluster of several nodes on one machine, for demonstrations and for
// tests that need one. Every node is a network namespace with its own containerd, kubelet and kube-proxy; a router, a
// client host and a host with etcd and the API server are on the same layer-2 segment. The namespaces have no way out
// of the machine, and several clusters of different names run side by side without seeing each other.
//
// It needs root, Linux, and Debian's packages or their like; it builds all of Kubernetes from Go modules.
package testbed
