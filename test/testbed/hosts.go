package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// stopGrace is how long a program has to end by itself.
const stopGrace = 10 * time.Second

// ExecError is a command that failed on a host.
type ExecError struct {
	Host   string
	Args   []string
	Stdout string
	Stderr string
	Err    error // an *exec.ExitError if the command ran
}

func (e *ExecError) Error() string {
	text := fmt.Sprintf("%s on %s: %v", strings.Join(e.Args, " "), e.Host, e.Err)
	if said := strings.TrimSpace(e.Stderr); said != "" {
		text += "\n" + tail(said, 10)
	}
	return text
}

// Unwrap returns why the command failed.
func (e *ExecError) Unwrap() error { return e.Err }

// Command prepares a command that will run on the host, that is in its network namespace, with kubectl on its PATH and
// the administrator's kubeconfig in its environment. Down and KillNode end it, however it was started. A host that the
// cluster does not have makes the command fail.
func (c *Cluster) Command(host string, args ...string) *exec.Cmd {
	return c.CommandContext(context.Background(), host, args...)
}

// CommandContext is Command; the command is killed when ctx ends.
func (c *Cluster) CommandContext(ctx context.Context, host string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, shell, enterHost(c.layout, c.cgroups, host, args)...)
	cmd.Env = c.hostEnv()
	return cmd
}

func (c *Cluster) hostEnv() []string {
	path := strings.Join(append([]string{filepath.Dir(c.state.Bins["kubectl"]), os.Getenv("PATH")}, systemDirs...), ":")
	return append(os.Environ(), "KUBECONFIG="+c.SegmentKubeconfig(), "PATH="+path)
}

// Exec runs a command on the host and returns what it wrote to its standard output. The error of a command that failed
// is an *ExecError.
func (c *Cluster) Exec(ctx context.Context, host string, args ...string) (string, error) {
	if len(args) == 0 {
		return "", errors.New("no command to run")
	}
	if _, err := c.host(host); err != nil {
		return "", err
	}
	cmd := c.CommandContext(ctx, host, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return out.String(), &ExecError{Host: host, Args: args, Stdout: out.String(), Stderr: errs.String(), Err: err}
	}
	return out.String(), nil
}

// Kubectl runs kubectl as the administrator and returns what it wrote to its standard output.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.Exec(ctx, Control, append([]string{c.state.Bins["kubectl"]}, args...)...)
}

// InNamespace runs f on a thread inside the host's network namespace. Sockets that f opens stay on the host; goroutines
// that f starts, and names that it resolves, are not in the namespace.
func (c *Cluster) InNamespace(host string, f func() error) error {
	if _, err := c.host(host); err != nil {
		return err
	}
	return inNamespace(c.layout.nsPath(host), f)
}

// Dial connects from the host; the address must have a literal IP.
func (c *Cluster) Dial(ctx context.Context, host, network, address string) (net.Conn, error) {
	if _, err := c.host(host); err != nil {
		return nil, err
	}
	return dialIn(ctx, c.layout.nsPath(host), network, address)
}

// Load brings the images of an archive (OCI layout or docker save, as tar) to all nodes. Images of an OCI archive need
// the annotation io.containerd.image.name or org.opencontainers.image.ref.name with their full reference.
func (c *Cluster) Load(ctx context.Context, archive string) error {
	archive, err := filepath.Abs(archive)
	if err != nil {
		return err
	}
	if info, err := os.Stat(archive); err != nil {
		return fmt.Errorf("load an image: %w", err)
	} else if info.IsDir() {
		return fmt.Errorf("load an image: %s is a folder; pack it as a tar first", archive)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(3)
	for _, node := range c.Nodes() {
		group.Go(func() error {
			if err := run(ctx, c.state.Bins["ctr"], "--address", c.layout.socket(node), "--namespace", "k8s.io", "images", "import", archive); err != nil {
				return fmt.Errorf("load %s into %s: %w", archive, node, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// Cut takes the host off the segment: its link goes dead, as when a cable is pulled on the switch's side.
func (c *Cluster) Cut(host string) error { return c.setPort(host, false) }

// Heal puts a host that was cut off back on the segment.
func (c *Cluster) Heal(host string) error { return c.setPort(host, true) }

func (c *Cluster) setPort(name string, up bool) error {
	if _, err := c.host(name); err != nil {
		return err
	}
	return network{c.layout, c.state.Config.Nodes}.setPort(name, up)
}

// KillNode is a power failure of the node: its link goes dead and all its programs and pods are killed.
func (c *Cluster) KillNode(node string) error {
	if _, err := c.node(node); err != nil {
		return err
	}
	if err := c.Cut(node); err != nil {
		return err
	}
	if err := c.cgroups.killAll(c.layout.hostCgroup(node), c.layout.podCgroup(node)); err != nil {
		return fmt.Errorf("kill %s: %w", node, err)
	}
	removeShimSockets(c.layout, node)
	// The kernel's rules are gone after a power failure as well.
	_, err := c.Exec(context.Background(), node, "nft", "flush", "ruleset")
	return err
}

// StartNode starts a node that KillNode has ended. It returns when the programs run, not when the node is Ready. From
// then on the node is not Ready until its new kubelet says so, so that AwaitNodes waits for that.
func (c *Cluster) StartNode(ctx context.Context, node string) error {
	if err := c.Heal(node); err != nil {
		return err
	}
	if err := c.StartProcess(node, Containerd); err != nil {
		return err
	}
	if err := c.until(ctx, "start "+node, func(ctx context.Context) error {
		return run(ctx, c.state.Bins["ctr"], "--address", c.layout.socket(node), "version")
	}); err != nil {
		return err
	}
	if err := c.forgetReadiness(ctx, node); err != nil {
		return err
	}
	return errors.Join(c.StartProcess(node, Kubelet), c.StartProcess(node, KubeProxy))
}

// StopProcess ends a program of the host and waits until it is gone: politely, and by force after ten seconds.
// Programs are named by the constants of this package. Stopping what does not run is no error.
func (c *Cluster) StopProcess(host, program string) error {
	r, err := c.record(host, program)
	if err != nil {
		return err
	}
	return r.stop(stopGrace)
}

// KillProcess ends a program of the host by SIGKILL.
func (c *Cluster) KillProcess(host, program string) error {
	r, err := c.record(host, program)
	if err != nil {
		return err
	}
	return r.kill()
}

// SignalProcess sends a program of the host a signal, for example SIGSTOP.
func (c *Cluster) SignalProcess(host, program string, signal syscall.Signal) error {
	r, err := c.record(host, program)
	if err != nil {
		return err
	}
	return r.signal(signal)
}

// StartProcess starts a program of the host that was stopped, as it was. Starting what runs is no error.
func (c *Cluster) StartProcess(host, program string) error {
	r, err := c.record(host, program)
	if err != nil || r.alive() {
		return err
	}
	err = start(c.layout, c.cgroups, r.processSpec)
	return err
}

// AwaitAPI waits until the API server is ready, as after a restart of it.
func (c *Cluster) AwaitAPI(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	return c.awaitAPI(ctx, client)
}

// AwaitNodes waits until all nodes are Ready.
func (c *Cluster) AwaitNodes(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	return c.awaitNodes(ctx, client)
}

func (c *Cluster) record(host, program string) (record, error) {
	if _, err := c.host(host); err != nil {
		return record{}, err
	}
	r, err := readRecord(c.layout, host, programName(program))
	if errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("%s runs no program %q: the programs are %s", host, program, strings.Join(c.programsOn(host), ", "))
	}
	return r, err
}

func (c *Cluster) programsOn(host string) []string {
	all, _ := records(c.layout)
	var names []string
	for _, r := range all {
		if r.Host == host {
			names = append(names, r.Name)
		}
	}
	return names
}
