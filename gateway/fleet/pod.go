package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ObservePort is where an Envoy answers /ready, /live and /stats/prometheus. It
// lies outside the range of Gateways' ports.
const ObservePort = 7954

const (
	observePortName       = "observe"
	bootstrapPrint        = "fairlead.dev/bootstrap" // annotation: a changed bootstrap is a rollout
	bootstrapFile         = "envoy.yaml"
	certificateFile       = "certificate.yaml"
	authorityFile         = "authority.yaml"
	configDir             = "/etc/fairlead/envoy"
	tlsDir                = "/etc/fairlead/xds"
	runDir                = "/run/fairlead"
	toolDir               = "/opt/fairlead"
	adminSocket           = runDir + "/admin.sock"
	drainProgram          = "fairlead-drain"
	user            int64 = 65532
)

// Times of an orderly end: the addresses of the Envoy are withdrawn while it
// still takes connections (settle), then it sends its clients elsewhere
// (Workload.Drain), then it is ended, at the latest after a margin.
const (
	settle = 5 * time.Second
	margin = 10 * time.Second
)

func (b builder) pod(bootstrap string, affinity *corev1.Affinity) corev1.PodTemplateSpec {
	labels := maps.Clone(b.workload.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, b.labels())
	annotations := maps.Clone(b.infrastructure.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	sum := sha256.Sum256([]byte(bootstrap))
	annotations[bootstrapPrint] = hex.EncodeToString(sum[:])[:16]
	annotations["kubectl.kubernetes.io/default-container"] = "envoy"
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
		Spec: corev1.PodSpec{
			ServiceAccountName: b.id.Name(), AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			ImagePullSecrets: b.settings.PullSecrets, PriorityClassName: b.workload.PriorityClassName,
			NodeSelector: b.workload.NodeSelector, Tolerations: b.workload.Tolerations, Affinity: affinity,
			TerminationGracePeriodSeconds: new(int64((settle + b.workload.Drain + margin) / time.Second)),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: new(user), RunAsGroup: new(user), FSGroup: new(user),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			InitContainers: []corev1.Container{b.tools()},
			Containers:     []corev1.Container{b.envoy()},
			Volumes:        b.volumes(),
		},
	}
}

func confined() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), Privileged: new(false),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// tools brings the program that drains Envoy to where Envoy's container can run
// it: Envoy's image has no shell and nothing that could speak to its admin socket.
func (b builder) tools() corev1.Container {
	return corev1.Container{
		Name: "tools", Image: b.settings.ToolImage, ImagePullPolicy: b.settings.PullPolicy,
		Command: []string{"/" + drainProgram, "install", toolDir + "/" + drainProgram},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")},
		},
		SecurityContext: confined(),
		VolumeMounts:    []corev1.VolumeMount{{Name: "tools", MountPath: toolDir}},
	}
}

func (b builder) envoy() corev1.Container {
	return corev1.Container{
		Name: "envoy", Image: b.image(), ImagePullPolicy: b.settings.PullPolicy,
		Args: b.arguments(),
		Env: []corev1.EnvVar{
			{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
			{Name: "POD_NAMESPACE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}},
		},
		Ports:     []corev1.ContainerPort{{Name: observePortName, ContainerPort: ObservePort, Protocol: corev1.ProtocolTCP}},
		Resources: *b.workload.Resources.DeepCopy(),
		// An Envoy without a controller waits for its first configuration as
		// long as it takes: nothing is won by starting it anew, and the wait
		// between restarts would only make it late.
		StartupProbe: probe("/ready", 1, 2, 1<<30),
		// An Envoy that has died is found out by kubelet, and one that hangs by
		// the controller. This must not take one for gone that is only slow,
		// since on an overloaded node all are.
		ReadinessProbe: probe("/ready", 2, 5, 3),
		LivenessProbe:  probe("/live", 10, 2, 6),
		Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{
			toolDir + "/" + drainProgram, "drain", "--socket=" + adminSocket,
			"--ignore=" + observePrefix, "--settle=" + settle.String(), "--timeout=" + b.workload.Drain.String(),
		}}}},
		SecurityContext: confined(),
		VolumeMounts: []corev1.VolumeMount{
			{Name: "config", MountPath: configDir, ReadOnly: true},
			{Name: "xds", MountPath: tlsDir, ReadOnly: true},
			{Name: "run", MountPath: runDir},
			{Name: "tools", MountPath: toolDir, ReadOnly: true},
		},
	}
}

func (b builder) image() string {
	for _, image := range []string{b.workload.Image, b.settings.Image} {
		if image != "" {
			return image
		}
	}
	return DefaultImage
}

// arguments name the node here, since Envoy expands no variables in its bootstrap.
func (b builder) arguments() []string {
	args := []string{
		"--config-path", configDir + "/" + bootstrapFile,
		"--service-node", "$(POD_NAMESPACE)/$(POD_NAME)",
		"--service-cluster", b.id.Name(),
		"--log-level", "warning",
		"--disable-hot-restart",
		"--drain-time-s", strconv.Itoa(drainSeconds(b.workload.Drain)),
		"--drain-strategy", "gradual",
	}
	if n := b.workload.concurrency(); n > 0 {
		args = append(args, "--concurrency", strconv.Itoa(int(n)))
	}
	return args
}

// drainSeconds is the time over which Envoy tells its clients to go, one after
// the other. The last third of the wait is for clients that ask seldom.
func drainSeconds(wait time.Duration) int {
	return max(1, int(wait*2/3/time.Second))
}

func (w Workload) concurrency() int32 {
	if w.Concurrency > 0 {
		return w.Concurrency
	}
	limit, ok := w.Resources.Limits[corev1.ResourceCPU]
	if !ok {
		return 0
	}
	return int32(max(1, limit.MilliValue()/1000))
}

// probe asks every period, in seconds, and waits so many for the answer.
func probe(path string, period, wait, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString(observePortName)}},
		PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: wait,
	}
}

func (b builder) volumes() []corev1.Volume {
	small := resource.MustParse("64Mi")
	return []corev1.Volume{
		{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: b.id.Name()}}}},
		{Name: "xds", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: b.id.SecretName(), DefaultMode: new(int32(0o440))}}},
		{Name: "run", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &small}}},
		{Name: "tools", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &small}}},
	}
}

// The files by which Envoy finds its certificate and the xDS server's authority.
// It reads them anew when the Secret's folder changes.
const (
	certificateSecret = `resources:
- "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: certificate
  tls_certificate:
    certificate_chain: {filename: ` + tlsDir + `/tls.crt}
    private_key: {filename: ` + tlsDir + `/tls.key}
    watched_directory: {path: ` + tlsDir + `}
`
	authoritySecret = `resources:
- "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: authority
  validation_context:
    trusted_ca: {filename: ` + tlsDir + `/ca.crt}
    watched_directory: {path: ` + tlsDir + `}
`
)

// memoryLimit in bytes, 0 if there is none.
func (w Workload) memoryLimit() int64 {
	limit := w.Resources.Limits[corev1.ResourceMemory]
	return limit.Value()
}

// fileIn is a path in the folder of the bootstrap.
func fileIn(name string) string { return fmt.Sprintf("%s/%s", configDir, name) }
