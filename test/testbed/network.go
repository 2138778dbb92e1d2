package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const bridgeName = "br0"

func portName(host string) string { return "veth-" + host }

// inNamespace runs f on a thread inside the network namespace at path. Sockets that f opens stay in that namespace;
// goroutines that f starts do not run in it.
func inNamespace(path string, f func() error) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("open the network namespace %s: %w", path, err)
	}
	defer ns.Close()
	return onOwnThread(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter the network namespace %s: %w", path, err)
		}
		return f()
	})
}

// onOwnThread runs f on a thread that no other goroutine uses meanwhile, so that f may change the thread's network
// namespace. The thread goes back to its own namespace afterwards, or is thrown away if it cannot.
func onOwnThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		returned := errors.New("the function called in a network namespace ended its goroutine")
		defer func() { result <- returned }()
		home, err := netns.Get()
		if err != nil {
			returned = fmt.Errorf("open this thread's network namespace: %w", err)
			return
		}
		defer home.Close()
		err = f()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		returned = err
	}()
	return <-result
}

// network builds the cluster's namespaces, its bridge and its routes.
type network struct {
	layout layout
	nodes  int
}

func (n network) build() error {
	hosts := hostsOf(n.nodes)
	for _, name := range append([]string{lan}, hostNames(hosts)...) {
		if err := addNamespace(n.layout.ns(name)); err != nil {
			return fmt.Errorf("make the network namespace of %s: %w", name, err)
		}
	}
	if err := inNamespace(n.layout.nsPath(lan), func() error { return addBridge(bridgeName) }); err != nil {
		return fmt.Errorf("make the segment's bridge: %w", err)
	}
	for _, h := range hosts {
		if err := n.connect(h); err != nil {
			return err
		}
	}
	return nil
}

// connect puts a host that has a namespace on the segment.
func (n network) connect(h host) error {
	if err := n.plug(h); err != nil {
		return fmt.Errorf("plug %s into the segment: %w", h.Name, err)
	}
	if err := inNamespace(n.layout.nsPath(h.Name), func() error { return n.configure(h) }); err != nil {
		return fmt.Errorf("configure the network of %s: %w", h.Name, err)
	}
	return nil
}

func hostNames(hosts []host) []string {
	var names []string
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	return names
}

func addNamespace(name string) error {
	return onOwnThread(func() error {
		ns, err := netns.NewNamed(name)
		if err != nil {
			return err
		}
		defer ns.Close()
		return setUp("lo")
	})
}

func addBridge(name string) error {
	off := false
	bridge := &netlink.Bridge{LinkAttrs: linkNamed(name), MulticastSnooping: &off}
	if err := netlink.LinkAdd(bridge); err != nil {
		return err
	}
	return setUp(name)
}

func linkNamed(name string) netlink.LinkAttrs {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	return attrs
}

// plug joins the host's eth0 and a port of the bridge.
func (n network) plug(h host) error {
	return join(n.layout, h, bridgeName, portName(h.Name), "eth0")
}

func (n network) configure(h host) error {
	// Duplicate address detection would hold link-local addresses back for a second or two.
	settings := map[string]string{
		"net/ipv6/conf/all/accept_dad": "0", "net/ipv6/conf/default/accept_dad": "0", "net/ipv6/conf/eth0/accept_dad": "0",
		"net/ipv6/conf/eth0/accept_ra": "0",
	}
	if h.Routes || h.node() > 0 {
		settings["net/ipv4/ip_forward"] = "1"
		settings["net/ipv6/conf/all/forwarding"] = "1"
	}
	if h.Routes {
		settings["net/ipv4/fib_multipath_hash_policy"] = "1"
	}
	for name, value := range settings {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
			return fmt.Errorf("set the kernel parameter %s to %s: %w", strings.ReplaceAll(name, "/", "."), value, err)
		}
	}
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	for _, cidr := range []string{h.v4() + "/24", h.v6() + "/64"} {
		if err := addAddress(link, cidr); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set eth0 up: %w", err)
	}
	return n.addRoutes(h)
}

func addAddress(link netlink.Link, cidr string) error {
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	addr.Flags = unix.IFA_F_NODAD
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("add the address %s: %w", cidr, err)
	}
	return nil
}

// addRoutes gives every host but the router a default route, and nodes and control the way to each node's pods.
func (n network) addRoutes(h host) error {
	if h.Name == Router {
		return nil
	}
	routes := [][2]string{{"0.0.0.0/0", routerHost.v4()}, {"::/0", routerHost.v6()}}
	if h == controlHost || h.node() > 0 {
		for _, other := range hostsOf(n.nodes) {
			if other != h {
				routes = append(routes, other.routesToPods()...)
			}
		}
	}
	for _, r := range routes {
		if err := addRoute(r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

// RouteToPods gives a host outside of the cluster a way to the pods, so that it can answer them: no node puts its own
// address in place of theirs.
func (c *Cluster) RouteToPods(ctx context.Context, host string) error {
	for _, node := range c.hosts() {
		for _, r := range node.routesToPods() {
			if _, err := c.Exec(ctx, host, "ip", "route", "replace", r[0], "via", r[1]); err != nil {
				return fmt.Errorf("giving %s the way to the pods of %s: %w", host, node.Name, err)
			}
		}
	}
	return nil
}

// routesToPods are the prefixes of a node's pods, each with its next hop; a host that is no node has none.
func (h host) routesToPods() [][2]string {
	i := h.node()
	if i == 0 {
		return nil
	}
	return [][2]string{{podCIDRv4(i), h.v4()}, {podCIDRv6(i), h.v6()}}
}

func addRoute(to, via string) error {
	_, dst, err := net.ParseCIDR(to)
	if err != nil {
		return err
	}
	if err := netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)}); err != nil {
		return fmt.Errorf("add the route to %s by %s: %w", to, via, err)
	}
	return nil
}

func setUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// setPort sets the bridge's port of the host up or down.
func (n network) setPort(name string, up bool) error {
	return inNamespace(n.layout.nsPath(lan), func() error {
		link, err := netlink.LinkByName(portName(name))
		if err != nil {
			return fmt.Errorf("find the port of %s: %w", name, err)
		}
		if up {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	})
}

// removeNamespaces deletes every network namespace of the cluster.
func removeNamespaces(l layout) error {
	names, err := namespacesOf(l)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, removeNamespace(name))
	}
	return errors.Join(errs...)
}

func removeNamespace(name string) error {
	path := filepath.Join(netnsDir, name)
	// EINVAL: a namespace whose making was interrupted is a plain file.
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount the network namespace %s: %w", name, err)
	}
	return os.Remove(path)
}

func namespacesOf(l layout) ([]string, error) {
	entries, err := os.ReadDir(netnsDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the network namespaces: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), l.nsPrefix()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// dialIn connects from inside a namespace. The address must be a literal: a look-up of a name may run on other threads.
func dialIn(ctx context.Context, nsPath, network, address string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if bare, _, _ := strings.Cut(name, "%"); net.ParseIP(bare) == nil {
		return nil, fmt.Errorf("dial %s: the host must be an IP address", address)
	}
	var conn net.Conn
	err = inNamespace(nsPath, func() error {
		var d net.Dialer
		var err error
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
