package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

// until polls the condition until it holds; when it does not in time, the error has the condition's last reason.
func (c *Cluster) until(ctx context.Context, what string, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.state.Config.timeout())
	defer cancel()
	var last error
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		// Later on, programs are stopped on purpose.
		if dead := c.deadPrograms(); c.state.Phase == phaseStarting && len(dead) > 0 {
			return fmt.Errorf("%s: %w\n%s", what, err, c.lastWords(dead))
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return fmt.Errorf("%s: %w", what, ctx.Err())
			}
			return fmt.Errorf("%s: %w; at last: %w", what, ctx.Err(), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c Config) timeout() time.Duration {
	if c.Timeout == 0 {
		return 2 * time.Minute
	}
	return c.Timeout
}

// deadPrograms are those that were started and do not run any more.
func (c *Cluster) deadPrograms() []record {
	all, _ := records(c.layout)
	var dead []record
	for _, r := range all {
		if !r.alive() {
			dead = append(dead, r)
		}
	}
	return dead
}

// lastWords are the ends of the programs' logs, which are gone once a failed cluster is removed.
func (c *Cluster) lastWords(dead []record) string {
	var text strings.Builder
	for _, r := range dead {
		log, err := os.ReadFile(c.layout.logPath(r.Host, r.Name))
		if err != nil {
			log = []byte(err.Error())
		}
		fmt.Fprintf(&text, "%s on %s has ended; its log ends with:\n%s\n", r.Name, r.Host, tail(string(log), 10))
	}
	return text.String()
}

func (c *Cluster) awaitAPI(ctx context.Context, client kubernetes.Interface) error {
	return c.until(ctx, "wait for the API server", func(ctx context.Context) error {
		answer, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if failed := failedChecks(string(answer)); err != nil && failed != "" {
			return fmt.Errorf("not ready yet: %s", failed)
		}
		return err
	})
}

// failedChecks picks the checks that failed from an answer of the API server's /readyz, which lists all of them.
func failedChecks(answer string) string {
	var failed []string
	for line := range strings.Lines(answer) {
		if name, ok := strings.CutPrefix(line, "[-]"); ok {
			name, _, _ = strings.Cut(name, " ")
			failed = append(failed, name)
		}
	}
	return strings.Join(failed, ", ")
}

func (c *Cluster) awaitContainerd(ctx context.Context, node string) error {
	return c.until(ctx, "wait for containerd on "+node, func(ctx context.Context) error {
		return run(ctx, c.state.Bins["ctr"], "--address", c.layout.socket(node), "version")
	})
}

func (c *Cluster) awaitNodes(ctx context.Context, client kubernetes.Interface) error {
	return c.until(ctx, "wait for all nodes to be Ready", func(ctx context.Context) error { return nodesReady(ctx, client) })
}

func nodesReady(ctx context.Context, client kubernetes.Interface) error {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range nodes.Items {
		if reason := notReady(n); reason != "" {
			errs = append(errs, fmt.Errorf("%s is not Ready: %s", n.Name, reason))
		}
	}
	return errors.Join(errs...)
}

func notReady(n corev1.Node) string {
	for _, condition := range n.Status.Conditions {
		if condition.Type != corev1.NodeReady {
			continue
		}
		if condition.Status == corev1.ConditionTrue {
			return ""
		}
		return condition.Message
	}
	return "its kubelet has not reported yet"
}

// forgetReadiness takes back what a kubelet that was killed has said of its node: the cluster believes that for most of a
// minute, longer than it takes to start the node again.
func (c *Cluster) forgetReadiness(ctx context.Context, node string) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":%q,"status":%q,"reason":"NodeStarting","message":%q}]}}`,
		corev1.NodeReady, corev1.ConditionUnknown, "its kubelet has not reported since the node was started")
	_, err = client.CoreV1().Nodes().Patch(ctx, node, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("start %s: take back what its killed kubelet said: %w", node, err)
	}
	return nil
}

// Healthy tells whether every program of the cluster runs, the API server is ready and all nodes are.
func (c *Cluster) Healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if dead := c.deadPrograms(); len(dead) > 0 {
		return errors.New(c.lastWords(dead))
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	return nodesReady(ctx, client)
}

// createNodes registers the nodes before their kubelets do, since only so they have pod ranges from the start.
func createNodes(ctx context.Context, client kubernetes.Interface, hosts []host) error {
	for _, h := range hosts {
		i := h.node()
		if i == 0 {
			continue
		}
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: h.Name, Labels: map[string]string{corev1.LabelHostname: h.Name}},
			Spec:       corev1.NodeSpec{PodCIDR: podCIDRv4(i), PodCIDRs: []string{podCIDRv4(i), podCIDRv6(i)}},
		}
		if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("register %s: %w", h.Name, err)
		}
	}
	return nil
}

func (c *Cluster) loadBuiltIn(ctx context.Context) error {
	archive := filepath.Join(c.layout.images(), "builtin.tar")
	if err := writeImages(c.state.Bins, builtIn, archive); err != nil {
		return err
	}
	for _, n := range c.Nodes() {
		if err := c.awaitContainerd(ctx, n); err != nil {
			return err
		}
	}
	if err := c.Load(ctx, archive); err != nil {
		return err
	}
	if err := os.Remove(archive); err != nil || c.state.Config.GatewayAPI == channelNone {
		return err
	}
	envoy, err := Envoy(ctx, c.say)
	if err != nil {
		return err
	}
	return c.Load(ctx, envoy.Archive)
}

const (
	dnsNamespace = "kube-system"
	corefile     = `.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    cache 5
    loadbalance
}
`
)

// createDNS creates CoreDNS with the names and labels that it has in most clusters.
func createDNS(ctx context.Context, client kubernetes.Interface, replicas int) error {
	meta := metav1.ObjectMeta{Name: "coredns", Namespace: dnsNamespace, Labels: map[string]string{"k8s-app": "kube-dns"}}
	options := metav1.CreateOptions{}
	account := &corev1.ServiceAccount{ObjectMeta: meta}
	if _, err := client.CoreV1().ServiceAccounts(dnsNamespace).Create(ctx, account, options); err != nil {
		return err
	}
	role, binding := dnsRights()
	if _, err := client.RbacV1().ClusterRoles().Create(ctx, role, options); err != nil {
		return err
	}
	if _, err := client.RbacV1().ClusterRoleBindings().Create(ctx, binding, options); err != nil {
		return err
	}
	config := &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"Corefile": corefile}}
	if _, err := client.CoreV1().ConfigMaps(dnsNamespace).Create(ctx, config, options); err != nil {
		return err
	}
	if _, err := client.CoreV1().Services(dnsNamespace).Create(ctx, dnsService(), options); err != nil {
		return err
	}
	_, err := client.AppsV1().Deployments(dnsNamespace).Create(ctx, dnsDeployment(meta, int32(replicas)), options)
	return err
}

func dnsRights() (*rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding) {
	meta := metav1.ObjectMeta{Name: "system:coredns"}
	watch := []string{"list", "watch"}
	role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"services", "pods", "namespaces"}, Verbs: watch},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: watch},
	}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "coredns", Namespace: dnsNamespace}},
	}
	return role, binding
}

func dnsService() *corev1.Service {
	families := corev1.IPFamilyPolicyRequireDualStack
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "kube-dns", Namespace: dnsNamespace, Labels: map[string]string{"k8s-app": "kube-dns"}},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"k8s-app": "kube-dns"}, IPFamilyPolicy: &families,
			ClusterIP: DNSAddressv4, ClusterIPs: []string{DNSAddressv4, DNSAddressv6},
			Ports: []corev1.ServicePort{
				{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
				{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP},
			},
		},
	}
}

func dnsDeployment(meta metav1.ObjectMeta, replicas int32) *appsv1.Deployment {
	no, yes := false, true
	config := corev1.Volume{Name: "config", VolumeSource: corev1.VolumeSource{
		ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "coredns"}},
	}}
	container := corev1.Container{
		Name: "coredns", Image: CoreDNSImage, ImagePullPolicy: corev1.PullNever, Args: []string{"-conf", "/etc/coredns/Corefile"},
		VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/coredns", ReadOnly: true}},
		ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(8181)},
		}},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_BIND_SERVICE"}},
		},
	}
	selector := &metav1.LabelSelector{MatchLabels: meta.Labels}
	pod := corev1.PodSpec{
		ServiceAccountName: "coredns", DNSPolicy: corev1.DNSDefault, PriorityClassName: "system-cluster-critical",
		Containers: []corev1.Container{container}, Volumes: []corev1.Volume{config},
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: selector,
		}},
	}
	return &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: selector,
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: meta.Labels}, Spec: pod},
	}}
}

func (c *Cluster) awaitDNS(ctx context.Context, client kubernetes.Interface) error {
	return c.until(ctx, "wait for the cluster's DNS", func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments(dnsNamespace).Get(ctx, "coredns", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d.Status.AvailableReplicas < *d.Spec.Replicas {
			return fmt.Errorf("%d of %d replicas available", d.Status.AvailableReplicas, *d.Spec.Replicas)
		}
		return nil
	})
}
