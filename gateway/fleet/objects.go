package fleet

import (
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// DefaultImage is the Envoy that Fairlead is made for.
const DefaultImage = "docker.io/envoyproxy/envoy:distroless-v1.40.0"

// Settings are what the controller's own installation says about all fleets.
type Settings struct {
	// Namespace is the controller's; fleets run in it.
	Namespace string
	// Image is Envoy's where the class does not name another.
	Image string
	// ToolImage has the program /fairlead-drain.
	ToolImage   string
	PullPolicy  corev1.PullPolicy
	PullSecrets []corev1.LocalObjectReference
	// XDSService is the name of the Service of the xDS server in Namespace, and
	// XDSPort its port.
	XDSService string
	XDSPort    uint16
	// Families are those of the cluster's pods, at least one.
	Families []corev1.IPFamily
}

// XDSServerName is the name that the xDS server's certificate must have.
func (s Settings) XDSServerName() string { return s.XDSService + "." + s.Namespace + ".svc" }

// Metadata are the labels and annotations that a Gateway wants on what is made
// for it (spec.infrastructure).
type Metadata struct {
	Labels, Annotations map[string]string
}

// Object is what all of a fleet's objects are.
type Object interface {
	metav1.Object
	runtime.Object
}

// Objects run a fleet. Of DaemonSet and Deployment one is set; the other, and a
// Budget that is not set, must not exist.
//
// Pods wait for the Secret of ID.SecretName, so that is written first.
type Objects struct {
	ServiceAccount *corev1.ServiceAccount
	ConfigMap      *corev1.ConfigMap
	// Service selects the Envoys. Nobody connects to it: Kubernetes keeps its
	// EndpointSlices also while the controller is away, and speakers withdraw
	// the addresses of an Envoy that is not ready in them.
	Service    *corev1.Service
	DaemonSet  *appsv1.DaemonSet
	Deployment *appsv1.Deployment
	Budget     *policyv1.PodDisruptionBudget
}

// All are the objects that are set, in the order to write them in.
func (o Objects) All() []Object {
	all := []Object{o.ServiceAccount, o.ConfigMap, o.Service}
	if o.Budget != nil {
		all = append(all, o.Budget)
	}
	if o.DaemonSet != nil {
		all = append(all, o.DaemonSet)
	}
	if o.Deployment != nil {
		all = append(all, o.Deployment)
	}
	return all
}

// Build makes the objects of a fleet. The metadata count for a dedicated one only.
// They are meant for server-side apply: no field is in them that Fairlead does not
// decide, but for the status that Go's types write out even where it is empty.
func Build(id ID, c Config, s Settings, infrastructure Metadata) (Objects, error) {
	b := builder{id: id, workload: c.Workload, settings: s}
	if id.Dedicated() {
		b.infrastructure = infrastructure
	}
	text, err := Bootstrap(id, c, s)
	if err != nil {
		return Objects{}, err
	}
	out := Objects{
		ServiceAccount: b.serviceAccount(),
		ConfigMap:      b.configMap(text),
		Service:        b.service(),
	}
	if c.Workload.Kind == v1alpha1.FleetDeployment {
		out.Deployment, out.Budget = b.deployment(text), b.budget()
	} else {
		out.DaemonSet = b.daemonSet(text)
	}
	return out, nil
}

type builder struct {
	id             ID
	workload       Workload
	settings       Settings
	infrastructure Metadata
}

func (b builder) selector() map[string]string {
	return map[string]string{FleetLabel: b.id.Name()}
}

// labels are on everything; the user's own go first, ours last.
func (b builder) labels() map[string]string {
	out := maps.Clone(b.infrastructure.Labels)
	if out == nil {
		out = map[string]string{}
	}
	if b.id.Dedicated() {
		maps.Copy(out, GatewayLabels(b.id.Gateway.Name, b.id.Class))
	} else {
		out[gatewayv1.GatewayClassNameLabelKey] = labelValue(b.id.Class)
	}
	maps.Copy(out, map[string]string{
		"app.kubernetes.io/name":       "fairlead-envoy",
		"app.kubernetes.io/component":  "gateway",
		"app.kubernetes.io/managed-by": Manager,
	})
	maps.Copy(out, b.selector())
	return out
}

func (b builder) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: b.settings.Namespace, Name: b.id.Name(),
		Labels: b.labels(), Annotations: maps.Clone(b.infrastructure.Annotations),
	}
}

func (b builder) serviceAccount() *corev1.ServiceAccount {
	no := false
	return &corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: b.meta(), AutomountServiceAccountToken: &no,
	}
}

func (b builder) configMap(text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: b.meta(),
		Data:       map[string]string{bootstrapFile: text, certificateFile: certificateSecret, authorityFile: authoritySecret},
	}
}

func (b builder) service() *corev1.Service {
	policy := corev1.IPFamilyPolicyPreferDualStack
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: b.meta(),
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone, IPFamilyPolicy: &policy, Selector: b.selector(),
			Ports: []corev1.ServicePort{{Name: observePortName, Port: ObservePort, TargetPort: intstr.FromString(observePortName), Protocol: corev1.ProtocolTCP}},
		},
	}
}

// availableAfter in seconds is how long a new Envoy is ready before it counts in a
// rollout: by then the controller has listed it and kube-proxies send to it, so
// that the one it replaces may go.
const availableAfter = 5

// daemonSet replaces Envoys by starting the new one on the node beside the old
// one: no node is without.
func (b builder) daemonSet(bootstrap string) *appsv1.DaemonSet {
	surge, unavailable := intstr.FromString("10%"), intstr.FromInt32(0)
	return &appsv1.DaemonSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "DaemonSet"},
		ObjectMeta: b.meta(),
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: b.selector()}, MinReadySeconds: availableAfter,
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{
				Type:          appsv1.RollingUpdateDaemonSetStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxSurge: &surge, MaxUnavailable: &unavailable},
			},
			Template: b.pod(bootstrap, b.workload.Affinity),
		},
	}
}

func (b builder) deployment(bootstrap string) *appsv1.Deployment {
	surge, unavailable := intstr.FromString("25%"), intstr.FromInt32(0)
	affinity := b.workload.Affinity
	if affinity == nil {
		affinity = b.apart()
	}
	replicas := b.workload.Replicas
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: b.meta(),
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: b.selector()}, MinReadySeconds: availableAfter,
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &unavailable},
			},
			Template: b.pod(bootstrap, affinity),
		},
	}
}

// apart keeps the Envoys of a fleet to different nodes where that can be had.
func (b builder) apart() *corev1.Affinity {
	return &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
			Weight: 100,
			PodAffinityTerm: corev1.PodAffinityTerm{
				TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: b.selector()},
			},
		}},
	}}
}

// budget lets node drains take one Envoy after the other, and any that does not
// serve.
func (b builder) budget() *policyv1.PodDisruptionBudget {
	one, always := intstr.FromInt32(1), policyv1.AlwaysAllow
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: b.meta(),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: &one, UnhealthyPodEvictionPolicy: &always,
			Selector: &metav1.LabelSelector{MatchLabels: b.selector()},
		},
	}
}
