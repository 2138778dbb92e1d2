package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// systemDirs are where Debian puts programs; a person's PATH often lacks the sbin ones.
var systemDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// requirement is a program of the machine and the Debian package that brings it.
type requirement struct {
	Program string
	Dirs    []string // nil means systemDirs
	Package string
}

func (r requirement) find() (path string, found bool) {
	dirs := r.Dirs
	if dirs == nil {
		dirs = systemDirs
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, r.Program)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
			return path, true
		}
	}
	return "", false
}

// tools are the paths of what the machine itself must have.
type tools struct {
	runc   string
	cniDir string
}

func findTools() tools {
	var t tools
	for _, r := range aptPackages {
		path, _ := r.find()
		switch r.Program {
		case "runc":
			t.runc = path
		case "bridge":
			t.cniDir = filepath.Dir(path)
		}
	}
	return t
}

// InstallRouters brings FRR and BIRD, which tests run in network namespaces, where the machine lacks them.
func InstallRouters(ctx context.Context, say Progress) error {
	dir := runBase(os.Getenv)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the testbed's folder: %w", err)
	}
	return installMissing(ctx, dir, routerPackages, say)
}

// installMissing brings programs that the machine lacks, by apt-get. Several clusters that come up at once take turns,
// by a lock in dir.
func installMissing(ctx context.Context, dir string, needed []requirement, say Progress) error {
	if len(absentOf(needed)) == 0 {
		return nil
	}
	unlock, err := lockFile(ctx, filepath.Join(dir, ".apt.lock"), func() { say.printf("waiting for another installation to end") })
	if err != nil {
		return err
	}
	defer unlock()
	absent := absentOf(needed)
	if len(absent) == 0 {
		return nil
	}
	var packages []string
	for _, r := range absent {
		packages = append(packages, r.Package)
	}
	aptGet, err := exec.LookPath("apt-get")
	if err != nil {
		return fmt.Errorf("this machine lacks %s and has no apt-get to install them: install %s by hand",
			describe(absent), strings.Join(packages, ", "))
	}
	say.printf("installing %s with apt-get", strings.Join(packages, ", "))
	// Something else on the machine may be installing too.
	install := append([]string{"install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"}, packages...)
	if err := run(ctx, aptGet, install...); err == nil && len(absentOf(needed)) == 0 {
		return nil
	}
	if err := run(ctx, aptGet, "update", "-q"); err != nil {
		return fmt.Errorf("fetch the package lists: %w", err)
	}
	if err := run(ctx, aptGet, install...); err != nil {
		return fmt.Errorf("install %s: %w", strings.Join(packages, ", "), err)
	}
	if absent := absentOf(needed); len(absent) > 0 {
		return fmt.Errorf("still missing after apt-get installed its package: %s", describe(absent))
	}
	return nil
}

func absentOf(needed []requirement) []requirement {
	var absent []requirement
	for _, r := range needed {
		if _, found := r.find(); !found {
			absent = append(absent, r)
		}
	}
	return absent
}

func describe(rs []requirement) string {
	var parts []string
	for _, r := range rs {
		parts = append(parts, fmt.Sprintf("%s (package %s)", r.Program, r.Package))
	}
	return strings.Join(parts, ", ")
}

// run runs a command of the machine; its output is told only if it fails.
func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{filepath.Base(name)}, args...), " "), err, tail(out.String(), 20))
	}
	return nil
}

// checkRoot tells whether this process may do what the testbed does.
func checkRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("the testbed makes network namespaces, mounts and cgroups: run it as root (sudo)")
	}
	return nil
}

// feature is something that the kernel must be able to do, and an attempt at it in a namespace of its own.
type feature struct {
	name string
	try  func() error
}

// checkKernel tries every kernel feature that a cluster uses and names all that are missing.
func checkKernel(ctx context.Context, dir string, config Config) error {
	features := []feature{
		{"bridges (CONFIG_BRIDGE)", func() error { return addBridge(bridgeName) }},
		{"veth pairs (CONFIG_VETH)", tryVeth},
		{"nftables (CONFIG_NF_TABLES)", tryNFTables},
	}
	if config.ProxyMode == proxyIPTables {
		features = append(features,
			feature{"iptables (CONFIG_NFT_COMPAT or CONFIG_IP_NF_NAT)", func() error { return run(ctx, "iptables", "-t", "nat", "-S") }},
			feature{"ip6tables (CONFIG_NFT_COMPAT or CONFIG_IP6_NF_NAT)", func() error { return run(ctx, "ip6tables", "-t", "nat", "-S") }})
	}
	var errs []error
	err := onOwnThread(func() error {
		ns, err := netns.New()
		if err != nil {
			return fmt.Errorf("network namespaces (CONFIG_NET_NS): %w", err)
		}
		defer ns.Close()
		for _, f := range features {
			if err := f.try(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
			}
		}
		if !exists("/proc/sys/net/ipv6") {
			errs = append(errs, errors.New("IPv6 (CONFIG_IPV6): /proc/sys/net/ipv6 is absent"))
		}
		return nil
	})
	errs = append(errs, err)
	if err := tryOverlay(dir); err != nil {
		errs = append(errs, fmt.Errorf("overlayfs (CONFIG_OVERLAY_FS) on %s: %w", dir, err))
	}
	errs = append(errs, checkInotify("/proc/sys/fs/inotify/max_user_instances", config.Nodes))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("this kernel, or what this process may do with it, is not enough for a cluster:\n%w", err)
	}
	return nil
}

func tryVeth() error {
	return netlink.LinkAdd(&netlink.Veth{LinkAttrs: linkNamed("try0"), PeerName: "try1"})
}

func tryNFTables() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	conn.AddTable(&nftables.Table{Name: "try", Family: nftables.TableFamilyINet})
	return conn.Flush()
}

func tryOverlay(dir string) error {
	top, err := os.MkdirTemp(dir, ".try-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(top)
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(top, name), 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", top)
	merged := filepath.Join(top, "merged")
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return err
	}
	return unix.Unmount(merged, unix.MNT_DETACH)
}

// inotifyPerNode is how many inotify instances the programs of a node take (8 were seen) with some for pods.
const inotifyPerNode = 10

// checkInotify reads the machine's limit of inotify instances, which all nodes share, from the file.
func checkInotify(path string, nodes int) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("inotify (CONFIG_INOTIFY_USER): %w", err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("read the limit of inotify instances: %w", err)
	}
	if need := inotifyPerNode * (nodes + 1); limit < need {
		return fmt.Errorf("inotify: this machine allows %d instances, %d nodes need about %d: sysctl -w fs.inotify.max_user_instances=%d",
			limit, nodes, need, 2*need)
	}
	return nil
}
