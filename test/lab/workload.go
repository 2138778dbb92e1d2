package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/test/testbed"
)

// EchoPort is where echo pods listen.
const EchoPort = 3000

// Echo is a Deployment whose pods answer HTTP with a text that names the pod.
func Echo(namespace, name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	env := func(name, field string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: field}}}
	}
	grace := int64(10)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: &grace,
					TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
						MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
						LabelSelector: &metav1.LabelSelector{MatchLabels: labels},
					}},
					Containers: []corev1.Container{{
						Name: "echo", Image: testbed.EchoImage, ImagePullPolicy: corev1.PullIfNotPresent,
						// Without a share of the cores it gets nothing for seconds when this machine is busy.
						Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m")}},
						// As every server behind a proxy should: serve on until the
						// proxies know that this pod ends.
						Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 3}}},
						Env:       []corev1.EnvVar{env("POD_NAME", "metadata.name"), env("NAMESPACE", "metadata.namespace"), env("NODE_NAME", "spec.nodeName")},
						ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
							TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(EchoPort)},
						}},
					}},
				},
			},
		},
	}
}

// EchoGRPC is Echo with pods that answer calls of gRPC, and nothing else.
func EchoGRPC(namespace, name string, replicas int32) *appsv1.Deployment {
	d := Echo(namespace, name, replicas)
	c := &d.Spec.Template.Spec.Containers[0]
	c.Env = append(c.Env, corev1.EnvVar{Name: "GRPC_ECHO_SERVER", Value: "1"})
	return d
}

// DNSPort is where the pods of DNS listen, for TCP and UDP.
const DNSPort = 5353

// DNS is a Deployment of DNS servers that know no name: they answer every
// question, by TCP and by UDP, with an error. See AskDNS.
func DNS(namespace, name string, replicas int32) []client.Object {
	labels := map[string]string{"app": name}
	config := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Data:       map[string]string{"Corefile": fmt.Sprintf(".:%d {\n    errors\n}\n", DNSPort)},
	}
	pod := corev1.PodSpec{
		Volumes: []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}},
		}}},
		Containers: []corev1.Container{{
			Name: "dns", Image: testbed.CoreDNSImage, ImagePullPolicy: corev1.PullNever, Args: []string{"-conf", "/etc/coredns/Corefile"},
			VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/coredns", ReadOnly: true}},
			ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
				TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(DNSPort)},
			}},
		}},
	}
	return []client.Object{config, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
		},
	}}
}

// LoadBalancer is a Service of type LoadBalancer on port 80 for the pods with
// the label app=backend; edits change it further.
func LoadBalancer(namespace, name, backend string, edits ...func(*corev1.Service)) *corev1.Service {
	no := false
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: &no,
			Selector: map[string]string{"app": backend},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(EchoPort)}},
		},
	}
	for _, edit := range edits {
		edit(s)
	}
	return s
}

// Annotate sets an annotation.
func Annotate(key, value string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Annotations[key] = value }
}

// LoadBalancerIP sets the deprecated field.
func LoadBalancerIP(ip string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.LoadBalancerIP = ip }
}

// Port replaces the Service's port.
func Port(port int32) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.Ports[0].Port = port }
}

// Local asks for externalTrafficPolicy: Local.
func Local(s *corev1.Service) {
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

// DualStack asks for both families, IPv4 first.
func DualStack(s *corev1.Service) {
	policy := corev1.IPFamilyPolicyRequireDualStack
	s.Spec.IPFamilyPolicy = &policy
	s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
}

// IPv6Only asks for IPv6 alone.
func IPv6Only(s *corev1.Service) {
	policy := corev1.IPFamilyPolicySingleStack
	s.Spec.IPFamilyPolicy = &policy
	s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol}
}

// Addresses are the IPs in a Service's status.
func Addresses(s *corev1.Service) []netip.Addr {
	var all []netip.Addr
	for _, i := range s.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(i.IP); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// AwaitAddresses waits until the Service's status shows n addresses.
func (l *Lab) AwaitAddresses(ctx context.Context, namespace, name string, n int) ([]netip.Addr, error) {
	var got []netip.Addr
	err := Await(ctx, 30*time.Second, fmt.Sprintf("%d addresses of Service %s/%s", n, namespace, name), func(ctx context.Context) error {
		var s corev1.Service
		if err := l.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s); err != nil {
			return err
		}
		if got = Addresses(&s); len(got) != n {
			return fmt.Errorf("it has %v; conditions: %v", got, s.Status.Conditions)
		}
		return nil
	})
	return got, err
}

// AwaitReady waits until all replicas of a Deployment are ready.
func (l *Lab) AwaitReady(ctx context.Context, namespace, name string) error {
	return Await(ctx, 2*time.Minute, "Deployment "+namespace+"/"+name, func(ctx context.Context) error {
		var d appsv1.Deployment
		if err := l.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &d); err != nil {
			return err
		}
		if d.Status.ObservedGeneration < d.Generation || d.Status.ReadyReplicas != *d.Spec.Replicas || d.Status.Replicas != *d.Spec.Replicas {
			return fmt.Errorf("%d of %d pods are ready", d.Status.ReadyReplicas, *d.Spec.Replicas)
		}
		return nil
	})
}

// Abrupt has the pods of a Deployment end as they do by default: no hook keeps
// them until the proxies know.
func Abrupt(d *appsv1.Deployment) *appsv1.Deployment {
	for i := range d.Spec.Template.Spec.Containers {
		d.Spec.Template.Spec.Containers[i].Lifecycle = nil
	}
	return d
}

// Scale has a Deployment run so many pods, and waits until these are ready and
// the others gone.
func (l *Lab) Scale(ctx context.Context, namespace, name string, replicas int32) error {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	if err := l.Client.Patch(ctx, d, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("scaling Deployment %s/%s to %d: %w", namespace, name, replicas, err)
	}
	if err := l.AwaitReady(ctx, namespace, name); err != nil {
		return err
	}
	return Await(ctx, time.Minute, fmt.Sprintf("%d pods of Deployment %s/%s", replicas, namespace, name), func(ctx context.Context) error {
		var pods corev1.PodList
		err := l.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels(d.Spec.Selector.MatchLabels))
		if err == nil && len(pods.Items) != int(replicas) {
			err = fmt.Errorf("there are %d", len(pods.Items))
		}
		return err
	})
}
