//go:build e2e

package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func upForTest(t *testing.T, config Config) *Cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a testbed needs root")
	}
	config.Progress = NewProgress(testWriter{t})
	c, err := Up(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Down(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, limit time.Duration, what string, try func() error) {
	t.Helper()
	var err error
	if !await(limit, func() bool { err = try(); return err == nil }) {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestCluster(t *testing.T) {
	c := upForTest(t, Config{Name: "e2e-a", Nodes: 2})
	client, err := c.Client()
	must(t, err)
	createEcho(t, client)
	_, err = c.Kubectl(t.Context(), "rollout", "status", "deployment/echo", "--timeout=60s")
	must(t, err)
	reached := func(host, url string) error {
		out, err := c.Exec(t.Context(), host, "curl", "-sS", "--max-time", "2", url)
		if err == nil && !strings.Contains(out, `"pod": "echo-`) {
			err = fmt.Errorf("unexpected answer %q", out)
		}
		return err
	}
	service, err := client.CoreV1().Services("default").Get(t.Context(), "echo", metav1.GetOptions{})
	must(t, err)
	for _, ip := range service.Spec.ClusterIPs {
		if strings.Contains(ip, ":") {
			ip = "[" + ip + "]"
		}
		for _, node := range c.Nodes() {
			eventually(t, time.Minute, "reach the Service from "+node, func() error { return reached(node, "http://"+ip+"/") })
		}
	}
	t.Run("DNS", func(t *testing.T) { lookUp(t, c, service.Spec.ClusterIP) })
	t.Run("kubectl logs and exec", func(t *testing.T) { useKubelet(t, c) })
	t.Run("cut and heal", func(t *testing.T) { cutAndHeal(t, c) })
	t.Run("API server restart", func(t *testing.T) { restartAPIServer(t, c, client) })
	t.Run("load", func(t *testing.T) { loadImage(t, c) })
	t.Run("power failure of a node", func(t *testing.T) { killAndStart(t, c, client) })
	t.Run("a second one beside it", func(t *testing.T) { secondCluster(t, c) })
	t.Run("down", func(t *testing.T) { downTwice(t, c) })
}

func createEcho(t *testing.T, client kubernetes.Interface) {
	labels := map[string]string{"app": "echo"}
	replicas, families := int32(2), corev1.IPFamilyPolicyRequireDualStack
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	_, err := client.AppsV1().Deployments("default").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "echo"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					Containers: []corev1.Container{{
						Name: "echo", Image: EchoImage, Env: []corev1.EnvVar{field("POD_NAME", "metadata.name"), field("NAMESPACE", "metadata.namespace")},
					}},
					TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
						MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule,
						LabelSelector: &metav1.LabelSelector{MatchLabels: labels},
					}},
				},
			},
		},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "echo"},
		Spec: corev1.ServiceSpec{
			Selector: labels, IPFamilyPolicy: &families,
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(3000)}},
		},
	}, metav1.CreateOptions{})
	must(t, err)
}

func lookUp(t *testing.T, c *Cluster, want string) {
	// A resolver over a connection from the node itself: the test needs no program for look-ups.
	eventually(t, 30*time.Second, "look the Service up", func() error {
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.Dial(ctx, NodeName(1), "udp", DNSAddressv4+":53")
		}}
		addrs, err := resolver.LookupHost(t.Context(), "echo.default.svc.cluster.local")
		if err != nil {
			return err
		}
		if !strings.Contains(strings.Join(addrs, " "), want) {
			return fmt.Errorf("got %v, want %s among them", addrs, want)
		}
		return nil
	})
}

func useKubelet(t *testing.T, c *Cluster) {
	pod, err := c.Kubectl(t.Context(), "get", "pods", "-l", "app=echo", "-o", "jsonpath={.items[0].metadata.name}")
	must(t, err)
	logs, err := c.Kubectl(t.Context(), "logs", pod)
	must(t, err)
	if !strings.Contains(logs, "3000") {
		t.Errorf("logs: %q", logs)
	}
	_, err = c.Kubectl(t.Context(), "exec", pod, "--", "/no-such-program")
	var failed *ExecError
	if !errors.As(err, &failed) || !strings.Contains(failed.Stderr, "no-such-program") {
		t.Errorf("exec must reach the container's runtime: %v", err)
	}
}

func cutAndHeal(t *testing.T, c *Cluster) {
	v4, _, err := c.HostAddresses(NodeName(2))
	must(t, err)
	ping := func() error {
		_, err := c.Exec(t.Context(), Client, "curl", "-sSk", "--max-time", "1", "https://"+v4+":10250/healthz")
		return err
	}
	eventually(t, 10*time.Second, "reach the node before the cut", ping)
	must(t, c.Cut(NodeName(2)))
	if err := ping(); err == nil {
		t.Error("the node answers though it is cut off")
	}
	must(t, c.Heal(NodeName(2)))
	eventually(t, 10*time.Second, "reach the node after healing", ping)
	if err := c.Cut("node9"); err == nil || !strings.Contains(err.Error(), "node2") {
		t.Errorf("a host that is not there must be refused with the names of those that are: %v", err)
	}
}

func restartAPIServer(t *testing.T, c *Cluster, client kubernetes.Interface) {
	must(t, c.StopProcess(Control, "apiserver"))
	if _, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("the API server answers though it is stopped")
	}
	must(t, c.StartProcess(Control, APIServer))
	must(t, c.AwaitAPI(t.Context()))
	must(t, c.KillProcess(Control, APIServer))
	must(t, c.StartProcess(Control, APIServer))
	must(t, c.AwaitAPI(t.Context()))
	must(t, c.Healthy(t.Context()))
	// The kubeconfig of the root network namespace goes another way than the client.
	cmd := exec.Command(c.Binary("kubectl"), "get", "nodes", "-o", "name")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig())
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "node/node1") {
		t.Errorf("kubectl in the root namespace: %s, %v", out, err)
	}
}

// loadImage brings the two kinds of archives: docker save's, and an OCI layout for two architectures.
func loadImage(t *testing.T, c *Cluster) {
	dir := t.TempDir()
	docker := filepath.Join(dir, "images.tar")
	must(t, writeImages(c.state.Bins, builtIn, docker))
	must(t, c.Load(t.Context(), docker))
	const reference = "testbed.local/two-architectures:v1"
	oci := filepath.Join(dir, "oci.tar")
	writeOCIArchive(t, c.state.Bins["pause"], reference, oci)
	must(t, c.Load(t.Context(), oci))
	_, err := c.Kubectl(t.Context(), "run", "two", "--image="+reference, "--image-pull-policy=Never")
	must(t, err)
	_, err = c.Kubectl(t.Context(), "wait", "--for=condition=Ready", "pod/two", "--timeout=60s")
	must(t, err)
	if err := c.Load(t.Context(), docker+".none"); err == nil {
		t.Error("an archive that is not there was loaded")
	}
}

func writeOCIArchive(t *testing.T, program, reference, archive string) {
	t.Helper()
	image, err := programImage(program, "/"+filepath.Base(program))
	must(t, err)
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	dir := filepath.Join(t.TempDir(), "layout")
	path, err := ocilayout.Write(dir, empty.Index)
	must(t, err)
	must(t, path.AppendIndex(index, ocilayout.WithAnnotations(map[string]string{
		"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": "v1",
	})))
	out, err := exec.Command("tar", "-C", dir, "-cf", archive, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
}

func killAndStart(t *testing.T, c *Cluster, client kubernetes.Interface) {
	killed := time.Now().Truncate(time.Second) // as exact as a condition's times are
	must(t, c.KillNode(NodeName(2)))
	if pids := c.cgroups.members(c.layout.podCgroup(NodeName(2))); len(pids) > 0 {
		t.Errorf("processes %v run on the killed node", pids)
	}
	must(t, c.StartNode(t.Context(), NodeName(2)))
	must(t, c.AwaitNodes(t.Context()))
	node, err := client.CoreV1().Nodes().Get(t.Context(), NodeName(2), metav1.GetOptions{})
	must(t, err)
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.LastTransitionTime.Time.Before(killed) {
			t.Errorf("the node was taken for Ready by what its killed kubelet said: %+v", condition)
		}
	}
	eventually(t, 2*time.Minute, "pods start anew on the node", func() error {
		pods, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{
			LabelSelector: "app=echo", FieldSelector: "spec.nodeName=" + NodeName(2),
		})
		if err != nil {
			return err
		}
		if len(pods.Items) != 1 {
			return fmt.Errorf("%d pods on the node", len(pods.Items))
		}
		for _, status := range pods.Items[0].Status.ContainerStatuses {
			if status.RestartCount == 0 || !status.Ready {
				return fmt.Errorf("restarted %d times, ready %v", status.RestartCount, status.Ready)
			}
		}
		return nil
	})
	service, err := client.CoreV1().Services("default").Get(t.Context(), "echo", metav1.GetOptions{})
	must(t, err)
	eventually(t, time.Minute, "reach the Service from the node", func() error {
		_, err := c.Exec(t.Context(), NodeName(2), "curl", "-sS", "--max-time", "2", "http://"+service.Spec.ClusterIP+"/")
		return err
	})
}

func secondCluster(t *testing.T, first *Cluster) {
	second := upForTest(t, Config{Name: "e2e-a-b", Nodes: 1, ProxyMode: "iptables"})
	out, err := second.Kubectl(t.Context(), "get", "nodes", "-o", "name")
	must(t, err)
	if strings.TrimSpace(out) != "node/node1" {
		t.Errorf("nodes of the second cluster: %q", out)
	}
	must(t, first.Healthy(t.Context()))
	_, err = Up(t.Context(), Config{Name: first.Name(), Nodes: 2})
	if err == nil || !strings.Contains(err.Error(), "testbed down") {
		t.Errorf("a cluster in use must not be taken: %v", err)
	}
	_, err = Up(t.Context(), Config{Name: first.Name(), Nodes: 1, Reuse: true})
	if err == nil || !strings.Contains(err.Error(), "2 nodes") {
		t.Errorf("a cluster of another shape must not be taken: %v", err)
	}
	must(t, second.Down())
	must(t, first.Healthy(t.Context()))
}

func downTwice(t *testing.T, c *Cluster) {
	shims := shimSockets(c.layout, "*")
	if len(shims) == 0 {
		t.Error("no shim's socket was found while pods run")
	}
	left := c.Command(Client, "sleep", "600")
	must(t, left.Start())
	must(t, c.Down())
	if err := left.Wait(); err == nil {
		t.Error("a command on a host outlived the cluster")
	}
	if _, err := c.Exec(t.Context(), Client, "true"); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("a command on a host that is gone: %v", err)
	}
	must(t, c.Down())
	requireNothingLeft(t, c.layout, c.cgroups)
	for _, socket := range shims {
		if exists(socket) {
			t.Errorf("a shim's socket is left: %s", socket)
		}
	}
}

// requireNothingLeft looks for everything that a cluster has outside its own folder, and for that folder.
func requireNothingLeft(t *testing.T, l layout, cg cgroups) {
	t.Helper()
	if names, err := namespacesOf(l); err != nil || len(names) > 0 {
		t.Errorf("namespaces left: %v, %v", names, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if strings.Contains(string(mounts), l.Run+"/") || strings.Contains(string(mounts), l.nsPrefix()) {
		t.Error("mounts are left")
	}
	for _, root := range append(cg.roots, cg.others...) {
		if exists(filepath.Join(root, l.cgroup())) {
			t.Errorf("a cgroup is left in %s", root)
		}
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, path := range commands {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), l.Run+"/") {
			t.Errorf("a process is left: %s", strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	results, err := filepath.Glob("/var/lib/cni/results/*")
	must(t, err)
	for _, path := range results {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), l.Run+"/") {
			t.Errorf("a result of CNI is left: %s", path)
		}
	}
	if exists(l.Run) {
		t.Errorf("%s is left", l.Run)
	}
}

// TestInterruptedUp ends the context of Up while the cluster starts.
func TestInterruptedUp(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a testbed needs root")
	}
	l := newLayout(runBase(os.Getenv), "e2e-int")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		await(time.Minute, func() bool { return exists(l.recordPath(Control, APIServer)) })
		cancel()
	}()
	_, err := Up(ctx, Config{Name: l.Name, Nodes: 1, Progress: NewProgress(testWriter{t})})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	cg, err := findCgroups()
	must(t, err)
	requireNothingLeft(t, l, cg)
}

// TestKilledUp kills a process that brings a cluster up, and programs of the cluster, and brings the same one up again.
func TestKilledUp(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a testbed needs root")
	}
	const name = "e2e-kill"
	l := newLayout(runBase(os.Getenv), name)
	if os.Getenv("TESTBED_E2E_KILLED") != "" {
		_, err := Up(t.Context(), Config{Name: name, Nodes: 1})
		t.Fatalf("this process should have been killed: %v", err)
	}
	child := exec.Command("/proc/self/exe", "-test.run=^TestKilledUp$")
	child.Env = append(os.Environ(), "TESTBED_E2E_KILLED=1")
	must(t, child.Start())
	t.Cleanup(func() { must(t, Down(context.Background(), name, Progress{})) })
	if !await(time.Minute, func() bool { return exists(l.recordPath(NodeName(1), Kubelet)) }) {
		t.Error("the kubelet was not started")
	}
	must(t, child.Process.Kill())
	_ = child.Wait()
	c := upForTest(t, Config{Name: name, Nodes: 1})
	for _, program := range []string{Containerd, Kubelet} {
		must(t, c.KillProcess(NodeName(1), program))
	}
	if err := c.Healthy(t.Context()); err == nil {
		t.Error("a cluster without its kubelet is called healthy")
	}
	must(t, os.Remove(l.state()))
	must(t, Down(t.Context(), name, Progress{}))
	requireNothingLeft(t, l, c.cgroups)
}

// TestRESTConfigReachesTheAPIServerBothWays takes the configuration with and without its own way of dialling.
func TestRESTConfigReachesTheAPIServerBothWays(t *testing.T) {
	c := upForTest(t, Config{Name: "e2e-rest", Nodes: 1})
	must(t, c.Cut(Control))
	for _, straight := range []bool{true, false} {
		config := c.RESTConfig()
		if !straight {
			config.Dial = nil
		}
		client, err := kubernetes.NewForConfig(config)
		must(t, err)
		if _, err := client.Discovery().ServerVersion(); err != nil {
			t.Errorf("straight %v: %v", straight, err)
		}
	}
	must(t, c.Heal(Control))
	conn, err := c.Dial(t.Context(), Client, "tcp", fmt.Sprintf("%s:%d", controlHost.v4(), apiPort))
	must(t, err)
	if from := conn.LocalAddr().String(); !strings.HasPrefix(from, "172.30.0.2:") {
		t.Errorf("dialled from %s", from)
	}
	must(t, conn.Close())
	if _, err := c.Dial(t.Context(), Client, "tcp", "localhost:80"); err == nil {
		t.Error("a name was resolved outside the namespace")
	}
}
