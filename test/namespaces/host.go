// Package namespaces gives tests hosts of their own: network namespaces in which real packets go over real interfaces
// and nothing of the machine is touched. They end with the test.
package namespaces

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is a network namespace with a thread that lives in it.
type Host struct {
	testing.TB
	// NS is the namespace, open until the test ends.
	NS    netns.NsHandle
	calls chan func()
}

// New makes a host with the loopback interface up. The test is skipped where that is not possible.
func New(t testing.TB) *Host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	h := &Host{TB: t, calls: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and the namespace with both
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- err
			return
		}
		var err error
		h.NS, err = netns.Get()
		ready <- err
		for f := range h.calls {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Skipf("cannot make a network namespace: %v", err)
	}
	t.Cleanup(func() {
		close(h.calls)
		_ = h.NS.Close()
	})
	h.Up("lo")
	return h
}

// In runs f in the namespace. No two at once.
func (h *Host) In(f func() error) error {
	done := make(chan error)
	h.calls <- func() { done <- f() }
	return <-done
}

// Must runs f in the namespace, and ends the test if that fails.
func (h *Host) Must(what string, f func() error) {
	h.Helper()
	if err := h.In(f); err != nil {
		h.Fatalf("%s: %v", what, err)
	}
}

// Start runs f on a thread of its own in the namespace until the test ends or stop is called, which ends f's context
// and waits.
func (h *Host) Start(f func(context.Context) error) (stop func()) {
	h.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, which is in another namespace, ends with the goroutine
		err := netns.Set(h.NS)
		if err == nil {
			err = f(ctx)
		}
		done <- err
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.Error(err)
		}
	})
	h.Cleanup(stop)
	return stop
}

// Exec starts a program in the namespace. It is killed when the test ends.
func (h *Host) Exec(c *exec.Cmd) {
	h.Helper()
	h.Must("starting "+c.Path, c.Start)
	h.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
}

// Sysctl sets a kernel variable of the namespace; path is that below /proc/sys.
func (h *Host) Sysctl(path, value string) {
	h.Helper()
	h.Must("sysctl "+path, func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0o644) })
}

// Up brings an interface up and gives it addresses (in CIDR notation), which can be used at once.
func (h *Host) Up(name string, cidrs ...string) {
	h.Helper()
	h.Must("interface "+name, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
		return AddAddrs(l, cidrs...)
	})
}

// Down takes an interface down.
func (h *Host) Down(name string) {
	h.Helper()
	h.Must("interface "+name, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(l)
	})
}

// AddAddrs gives an interface addresses (in CIDR notation), which can be used at once.
func AddAddrs(l netlink.Link, cidrs ...string) error {
	for _, c := range cidrs {
		a, err := netlink.ParseAddr(c)
		if err != nil {
			return err
		}
		if a.IP.To4() == nil {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(l, a); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	return nil
}

// Wire connects two hosts by a pair of interfaces, which are down.
func Wire(a *Host, aName string, aMAC net.HardwareAddr, b *Host, bName string, bMAC net.HardwareAddr) {
	a.Helper()
	a.Must("a wire", func() error {
		v := &netlink.Veth{
			LinkAttrs: netlink.NewLinkAttrs(), PeerName: bName, PeerNamespace: netlink.NsFd(b.NS), PeerHardwareAddr: bMAC,
		}
		v.Name, v.HardwareAddr = aName, aMAC
		return netlink.LinkAdd(v)
	})
}
