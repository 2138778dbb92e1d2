package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// state is what a cluster writes about itself, so that another process can use or remove it.
type state struct {
	Config  Config    `json:"config"`
	Phase   string    `json:"phase"`
	Owner   owner     `json:"owner"`
	Created time.Time `json:"created"`
	APIURL  string    `json:"apiURL"` // for the root network namespace
	Token   string    `json:"token"`
	CA      []byte    `json:"ca"`
	Bins    Binaries  `json:"bins"`
}

const (
	phaseStarting = "starting"
	phaseUp       = "up"
)

// owner is the process that a cluster ends with; the zero value is a cluster that outlives its maker.
type owner struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

func (o owner) alive() bool { return o.PID != 0 && record{PID: o.PID, Start: o.Start}.alive() }

func thisProcess() (owner, error) {
	ticks, _, err := statOf(os.Getpid())
	return owner{PID: os.Getpid(), Start: ticks}, err
}

func readState(l layout) (state, error) {
	var s state
	text, err := os.ReadFile(l.state())
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read the state of cluster %s: %w", l.Name, err)
	}
	return s, nil
}

// Cluster is a running cluster. Its methods may be called from several goroutines at once.
type Cluster struct {
	layout   layout
	state    state
	cgroups  cgroups
	programs programs
	say      Progress
	further  further
}

func newCluster(l layout, s state, cg cgroups, say Progress) *Cluster {
	return &Cluster{layout: l, state: s, cgroups: cg, programs: newPrograms(l, s.Config, s.Bins), say: say}
}

// Up brings a cluster up and returns when all its nodes are Ready and its DNS serves. If it fails or ctx ends, it
// removes what it made. With an empty cache of programs it takes some ten minutes, otherwise seconds.
func Up(ctx context.Context, config Config) (*Cluster, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	if err := checkRoot(); err != nil {
		return nil, err
	}
	l := newLayout(runBase(os.Getenv), config.Name)
	unlock, err := lockCluster(ctx, l, config.Progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if c, err := takeOver(ctx, l, config); c != nil || err != nil {
		return c, err
	}
	bins, err := prepare(ctx, l, config)
	if errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("bring up cluster %s: %w: nothing was started", config.Name, context.Canceled)
	}
	if err != nil {
		return nil, err
	}
	c, err := create(ctx, l, config, bins)
	if err != nil {
		return nil, abandon(ctx, l, fmt.Errorf("bring up cluster %s: %w", config.Name, err))
	}
	return c, nil
}

// abandon removes a cluster that could not be brought up. The logs are kept, unless it was given up on purpose.
func abandon(ctx context.Context, l layout, err error) error {
	if ctx.Err() != nil {
		return errors.Join(fmt.Errorf("%w: what was started is removed again", err), remove(l))
	}
	if keptErr := keepLogs(l); keptErr == nil {
		err = fmt.Errorf("%w\nthe logs are kept in %s", err, l.failedLogs())
	}
	return errors.Join(err, remove(l))
}

func keepLogs(l layout) error {
	if err := os.RemoveAll(l.failedLogs()); err != nil {
		return err
	}
	return os.Rename(l.path("logs"), l.failedLogs())
}

func lockCluster(ctx context.Context, l layout, say Progress) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(l.Run), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of clusters: %w", err)
	}
	return lockFile(ctx, l.lock(), func() { say.printf("waiting for another up or down of cluster %s to end", l.Name) })
}

// takeOver deals with what is already there under the name: it returns a cluster to be used as it is, removes what was
// left behind, or says why neither is right.
func takeOver(ctx context.Context, l layout, config Config) (*Cluster, error) {
	s, err := readState(l)
	if errors.Is(err, os.ErrNotExist) {
		return nil, remove(l)
	}
	// A cluster whose making did not end, while nobody holds the lock, has lost its maker.
	leftBehind := err != nil || s.Phase != phaseUp || (s.Owner.PID != 0 && !s.Owner.alive())
	if leftBehind {
		config.Progress.printf("removing what is left of an earlier cluster %s", l.Name)
		return nil, remove(l)
	}
	if !config.Reuse {
		return nil, fmt.Errorf("cluster %s is already up (%s): take another name, or remove it with: testbed down --name %s",
			l.Name, s.Owner, l.Name)
	}
	if !sameShape(s.Config, config) {
		return nil, fmt.Errorf("cluster %s is already up with %d nodes, proxy mode %s, Gateway API %s%s: remove it first with: testbed down --name %s",
			l.Name, s.Config.Nodes, s.Config.ProxyMode, s.Config.GatewayAPI, extraNote(s.Config), l.Name)
	}
	c, err := Attach(l.Name)
	if err != nil {
		return nil, err
	}
	c.say = config.Progress
	if err := c.Healthy(ctx); err != nil {
		return nil, fmt.Errorf("cluster %s is up but not healthy: remove it with: testbed down --name %s\n%w", l.Name, l.Name, err)
	}
	config.Progress.printf("cluster %s is already up", l.Name)
	return c, nil
}

func (o owner) String() string {
	if o.PID == 0 {
		return "made to stay"
	}
	return fmt.Sprintf("in use by process %d", o.PID)
}

func sameShape(a, b Config) bool {
	return a.Name == b.Name && a.Nodes == b.Nodes && a.ProxyMode == b.ProxyMode && a.GatewayAPI == b.GatewayAPI &&
		len(a.ExtraArgs) == len(b.ExtraArgs) && (len(a.ExtraArgs) == 0 || reflect.DeepEqual(a.ExtraArgs, b.ExtraArgs))
}

func extraNote(c Config) string {
	if len(c.ExtraArgs) == 0 {
		return ""
	}
	return fmt.Sprintf(" and extra arguments %v", c.ExtraArgs)
}

// prepare makes sure that the machine and the cache have all that a cluster needs.
func prepare(ctx context.Context, l layout, config Config) (Binaries, error) {
	if err := installMissing(ctx, filepath.Dir(l.Run), aptPackages, config.Progress); err != nil {
		return nil, err
	}
	if err := checkKernel(ctx, filepath.Dir(l.Run), config); err != nil {
		return nil, err
	}
	bins, err := Build(ctx, config.Progress)
	if err != nil {
		return nil, fmt.Errorf("build the cluster's programs: %w", err)
	}
	if config.GatewayAPI != channelNone {
		if _, err := Envoy(ctx, config.Progress); err != nil {
			return nil, err
		}
	}
	return bins, nil
}

func create(ctx context.Context, l layout, config Config, bins Binaries) (*Cluster, error) {
	began := time.Now()
	cg, err := findCgroups()
	if err != nil {
		return nil, err
	}
	s := state{Config: config, Phase: phaseStarting, Created: began, Bins: bins}
	if !config.Detached {
		if s.Owner, err = thisProcess(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(l.Run, 0o700); err != nil {
		return nil, err
	}
	c := newCluster(l, s, cg, config.Progress)
	if err := c.begin(); err != nil {
		return nil, err
	}
	if err := c.startAll(ctx, began); err != nil {
		return nil, err
	}
	c.state.Phase = phaseUp
	if err := writeJSON(l.state(), c.state); err != nil {
		return nil, err
	}
	config.Progress.printf("cluster %s is up: %d nodes Ready and DNS serving after %s", config.Name, config.Nodes, round(time.Since(began)))
	return c, nil
}

// begin makes everything that does not run: namespaces, cgroups and files.
func (c *Cluster) begin() error {
	hosts := hostsOf(c.state.Config.Nodes)
	if err := writeJSON(c.layout.state(), c.state); err != nil {
		return err
	}
	if err := c.cgroups.make(c.layout, hosts); err != nil {
		return err
	}
	if err := (network{c.layout, c.state.Config.Nodes}).build(); err != nil {
		return err
	}
	return c.writeFiles(hosts)
}

func (c *Cluster) startAll(ctx context.Context, began time.Time) error {
	if err := c.startAPIProxy(); err != nil {
		return err
	}
	nodes := c.Nodes()
	specs := []processSpec{c.programs.etcd(), c.programs.apiServer()}
	for _, n := range nodes {
		specs = append(specs, c.programs.containerd(n))
	}
	if err := c.startSpecs(specs...); err != nil {
		return err
	}
	c.say.printf("network of %d hosts made, API server and containerds starting (%s)", len(hostsOf(len(nodes))), round(time.Since(began)))
	images, ictx := errgroup.WithContext(ctx)
	images.Go(func() error { return c.loadBuiltIn(ictx) })
	client, err := c.Client()
	if err != nil {
		return err
	}
	if err := c.startKubernetes(ctx, client, began); err != nil {
		return errors.Join(err, images.Wait())
	}
	if err := images.Wait(); err != nil {
		return err
	}
	c.say.printf("images loaded (%s)", round(time.Since(began)))
	if err := c.installGatewayAPI(ctx); err != nil {
		return err
	}
	if err := createDNS(ctx, client, min(2, len(nodes))); err != nil {
		return fmt.Errorf("set up the cluster's DNS: %w", err)
	}
	if err := c.awaitNodes(ctx, client); err != nil {
		return err
	}
	c.say.printf("%d nodes Ready (%s)", len(nodes), round(time.Since(began)))
	return c.awaitDNS(ctx, client)
}

// startKubernetes waits for the API server and starts all that talk to it.
func (c *Cluster) startKubernetes(ctx context.Context, client kubernetes.Interface, began time.Time) error {
	if err := c.awaitAPI(ctx, client); err != nil {
		return err
	}
	c.say.printf("API server ready (%s)", round(time.Since(began)))
	if err := createNodes(ctx, client, hostsOf(c.state.Config.Nodes)); err != nil {
		return err
	}
	specs := []processSpec{c.programs.controllerManager(), c.programs.scheduler()}
	for _, h := range hostsOf(c.state.Config.Nodes) {
		if h.node() > 0 {
			if err := c.awaitContainerd(ctx, h.Name); err != nil {
				return err
			}
			specs = append(specs, c.programs.kubelet(h), c.programs.kubeProxy(h.Name))
		}
	}
	return c.startSpecs(specs...)
}

func (c *Cluster) startSpecs(specs ...processSpec) error {
	for _, spec := range specs {
		if err := start(c.layout, c.cgroups, spec); err != nil {
			return err
		}
	}
	return nil
}

// startAPIProxy gives the root network namespace, which has no way into the cluster's, a loopback address of the API
// server. The kernel chooses the port, so clusters do not clash.
func (c *Cluster) startAPIProxy() error {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the API server's users: %w", err)
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer file.Close()
	if err := start(c.layout, c.cgroups, c.programs.apiProxy(), file); err != nil {
		return err
	}
	c.state.APIURL = "https://" + listener.Addr().String()
	config, err := renderKubeconfig(c.Name(), c.state.APIURL, c.state.CA, c.state.Token)
	if err != nil {
		return err
	}
	return writeFile(c.layout.rootKubeconfig(), config)
}

// writeFiles writes the keys and every program's configuration.
func (c *Cluster) writeFiles(hosts []host) error {
	keys, err := newPKI(time.Now(), []string{controlHost.v4(), controlHost.v6(), apiServiceV4, "127.0.0.1"})
	if err != nil {
		return err
	}
	who := users(c.state.Config.Nodes, newToken)
	c.state.CA, c.state.Token = keys.ca.cert, who[0].Token
	files := map[string][]byte{
		filepath.Join(c.layout.pki(), "ca.crt"):  keys.ca.cert,
		filepath.Join(c.layout.pki(), "api.crt"): keys.server.cert,
		filepath.Join(c.layout.pki(), "api.key"): keys.server.key,
		filepath.Join(c.layout.pki(), "sa.key"):  keys.saKey,
		c.layout.tokens():                        renderTokens(who),
	}
	for _, u := range who {
		server := fmt.Sprintf("https://%s:%d", controlHost.v4(), apiPort)
		if files[c.layout.kubeconfig(u.File)], err = renderKubeconfig(c.Name(), server, c.state.CA, u.Token); err != nil {
			return err
		}
	}
	for _, h := range hosts {
		if h.node() > 0 {
			if err := c.nodeFiles(h, files); err != nil {
				return err
			}
		}
	}
	for path, text := range files {
		if err := writeFile(path, text); err != nil {
			return err
		}
	}
	return os.MkdirAll(c.layout.path("logs"), 0o755)
}

func (c *Cluster) nodeFiles(h host, files map[string][]byte) (err error) {
	machine := findTools()
	files[c.layout.path(h.Name, "containerd.toml")] = renderContainerd(c.layout, h, machine.runc, machine.cniDir)
	if files[c.layout.path(h.Name, "cni", "10-pods.conflist")], err = renderCNI(c.layout, h); err != nil {
		return err
	}
	if files[c.layout.path(h.Name, "kubelet.yaml")], err = renderKubelet(c.layout, h); err != nil {
		return err
	}
	files[c.layout.path(h.Name, "proxy.yaml")], err = renderProxy(c.layout, h, c.state.Config.ProxyMode)
	return err
}

// Attach returns the cluster of that name, which this or another process has brought up. Down on it removes it.
func Attach(name string) (*Cluster, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := checkRoot(); err != nil {
		return nil, err
	}
	l := newLayout(runBase(os.Getenv), name)
	s, err := readState(l)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no cluster %s is up: bring it up with: testbed up --name %s", name, name)
	}
	if err != nil {
		return nil, err
	}
	if s.Phase != phaseUp {
		return nil, fmt.Errorf("cluster %s is not up yet (or its making was interrupted: then run testbed down --name %s)", name, name)
	}
	cg, err := findCgroups()
	if err != nil {
		return nil, err
	}
	return newCluster(l, s, cg, Progress{}), nil
}

// Name is the cluster's name.
func (c *Cluster) Name() string { return c.state.Config.Name }

// Config is what the cluster was made with, defaults filled in.
func (c *Cluster) Config() Config { return c.state.Config }

// Nodes are the names of the cluster's nodes.
func (c *Cluster) Nodes() []string {
	var names []string
	for i := 1; i <= c.state.Config.Nodes; i++ {
		names = append(names, NodeName(i))
	}
	return names
}

// Hosts are the names of all hosts: the nodes, Router, Client and Control, and those that were added.
func (c *Cluster) Hosts() []string { return hostNames(c.hosts()) }

func (c *Cluster) hosts() []host { return append(hostsOf(c.state.Config.Nodes), c.further.list()...) }

// HostAddresses are the host's addresses on the segment.
func (c *Cluster) HostAddresses(name string) (v4, v6 string, err error) {
	h, err := c.host(name)
	return h.v4(), h.v6(), err
}

func (c *Cluster) host(name string) (host, error) {
	for _, h := range c.hosts() {
		if h.Name == name {
			return h, nil
		}
	}
	return host{}, fmt.Errorf("cluster %s has no host %q: it has %v", c.Name(), name, c.Hosts())
}

func (c *Cluster) node(name string) (host, error) {
	h, err := c.host(name)
	if err == nil && h.node() == 0 {
		err = fmt.Errorf("%s is no node of cluster %s: its nodes are %v", name, c.Name(), c.Nodes())
	}
	return h, err
}

// Kubeconfig is the path of the administrator's kubeconfig for the root network namespace.
func (c *Cluster) Kubeconfig() string { return c.layout.rootKubeconfig() }

// SegmentKubeconfig is the path of the administrator's kubeconfig for use on the cluster's hosts.
func (c *Cluster) SegmentKubeconfig() string { return c.layout.kubeconfig("admin") }

// RunDir is the cluster's folder; its folder logs has the log of each program as HOST.PROGRAM.log.
func (c *Cluster) RunDir() string { return c.layout.Run }

// Binary is the path of a program that the testbed built, such as kubectl or ctr; empty if it built none of that name.
func (c *Cluster) Binary(name string) string { return c.state.Bins[name] }

// RESTConfig is the administrator's access for Go code in the root network namespace, without a client-side limit of
// requests. Connections go straight to the API server's host; what does not use the configuration's Dial (streams of
// exec, for one) goes by the proxy at its Host. Both work while Control is cut off.
func (c *Cluster) RESTConfig() *rest.Config {
	return &rest.Config{
		Host: c.state.APIURL, BearerToken: c.state.Token, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.state.CA},
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialIn(ctx, c.layout.nsPath(Control), "tcp", fmt.Sprintf("%s:%d", controlHost.v4(), apiPort))
		},
	}
}

// Client is a client by RESTConfig.
func (c *Cluster) Client() (kubernetes.Interface, error) {
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("make a client of cluster %s: %w", c.Name(), err)
	}
	return client, nil
}
