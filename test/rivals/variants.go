package rivals

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// Chisel replaces the ingress list on every event, without a look at what is
// there: it reads the status and sends the whole Service back as a merge patch
// that bears the resourceVersion of its read, as chisel-operator does.
func Chisel(address string) Rival {
	return Rival{Name: "chisel", Manager: chiselManager, Status: true, act: func(ctx context.Context, c kubernetes.Interface, svc *corev1.Service) (bool, error) {
		api := c.CoreV1().Services(svc.Namespace)
		read, err := api.Get(ctx, svc.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		read.ManagedFields = nil
		read.Status = corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: address}}}}
		body, err := json.Marshal(read)
		if err != nil {
			return false, fmt.Errorf("encoding the patch: %w", err)
		}
		_, err = api.Patch(ctx, svc.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: chiselManager, FieldValidation: "Strict"}, "status")
		return true, err
	}}
}

// Replacer replaces the ingress list by an update of the status where it differs
// from its own, as controllers do that keep a list of their own.
func Replacer(address string) Rival {
	const manager = "status-replacer"
	return statusWriter("replacer", manager, func(svc *corev1.Service) bool {
		if in := svc.Status.LoadBalancer.Ingress; len(in) == 1 && in[0].IP == address {
			return false
		}
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address}}
		return true
	})
}

// PortAdder adds the ports of the Service to every entry, as kube-vip does.
func PortAdder() Rival {
	return statusWriter("port-adder", "kube-vip", func(svc *corev1.Service) bool {
		changed := false
		for i := range svc.Status.LoadBalancer.Ingress {
			if in := &svc.Status.LoadBalancer.Ingress[i]; len(in.Ports) == 0 {
				in.Ports, changed = []corev1.PortStatus{{Port: svc.Spec.Ports[0].Port, Protocol: svc.Spec.Ports[0].Protocol}}, true
			}
		}
		return changed
	})
}

func statusWriter(name, manager string, change func(*corev1.Service) bool) Rival {
	return Rival{Name: name, Manager: manager, Status: true, act: func(ctx context.Context, c kubernetes.Interface, svc *corev1.Service) (bool, error) {
		svc = svc.DeepCopy()
		if !change(svc) {
			return false, nil
		}
		_, err := c.CoreV1().Services(svc.Namespace).UpdateStatus(ctx, svc, metav1.UpdateOptions{FieldManager: manager})
		return true, err
	}}
}

// AnnotationDeleter removes every annotation, as controllers do that take the
// whole of metadata for their own.
func AnnotationDeleter() Rival {
	return specWriter("annotation-deleter", "gateway-operator", func(svc *corev1.Service) bool {
		if len(svc.Annotations) == 0 {
			return false
		}
		svc.Annotations = nil
		return true
	})
}

// ExternalIPs rewrites spec.externalIPs, to and fro on every event.
func ExternalIPs(addresses ...string) Rival {
	turn := 0
	return specWriter("external-ips", "inlets-operator", func(svc *corev1.Service) bool {
		turn++
		svc.Spec.ExternalIPs = []string{addresses[turn%len(addresses)]}
		return true
	})
}

// LoadBalancerIP writes spec.loadBalancerIP where it is another, as cloud
// providers for virtual IPs do.
func LoadBalancerIP(address string) Rival {
	return specWriter("load-balancer-ip", "cloud-provider", func(svc *corev1.Service) bool {
		if svc.Spec.LoadBalancerIP == address {
			return false
		}
		svc.Spec.LoadBalancerIP = address
		return true
	})
}

// Annotator insists on a value of an annotation. Two with different values
// alternate for ever.
func Annotator(manager, key, value string) Rival {
	return specWriter("annotator", manager, func(svc *corev1.Service) bool {
		if svc.Annotations[key] == value {
			return false
		}
		if svc.Annotations == nil {
			svc.Annotations = map[string]string{}
		}
		svc.Annotations[key] = value
		return true
	})
}

// Template re-applies the whole Service from a template on every event, and so
// takes out what the template does not have.
func Template(template *corev1.Service) Rival {
	turn := 0
	return specWriter("template", "database-operator", func(svc *corev1.Service) bool {
		turn++
		svc.Annotations, svc.Labels = maps.Clone(template.Annotations), maps.Clone(template.Labels)
		if svc.Labels == nil {
			svc.Labels = map[string]string{}
		}
		svc.Labels["turn"] = fmt.Sprint(turn)
		svc.Spec.Ports = slices.Clone(template.Spec.Ports)
		svc.Spec.Selector = maps.Clone(template.Spec.Selector)
		svc.Spec.LoadBalancerIP = template.Spec.LoadBalancerIP
		return true
	})
}

func specWriter(name, manager string, change func(*corev1.Service) bool) Rival {
	return Rival{Name: name, Manager: manager, act: func(ctx context.Context, c kubernetes.Interface, svc *corev1.Service) (bool, error) {
		svc = svc.DeepCopy()
		if !change(svc) {
			return false, nil
		}
		_, err := c.CoreV1().Services(svc.Namespace).Update(ctx, svc, metav1.UpdateOptions{FieldManager: manager})
		return true, err
	}}
}

// Recreator deletes and makes a Service again when its class is not the one it
// wants, as the class of a Service cannot be changed.
func Recreator(class string) Rival {
	const manager = "gateway-fabric"
	return Rival{Name: "recreator", Manager: manager, act: func(ctx context.Context, c kubernetes.Interface, svc *corev1.Service) (bool, error) {
		if svc.Spec.LoadBalancerClass != nil && *svc.Spec.LoadBalancerClass == class {
			return false, nil
		}
		api := c.CoreV1().Services(svc.Namespace)
		if err := api.Delete(ctx, svc.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return false, err
		}
		fresh := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name, Labels: svc.Labels, Annotations: svc.Annotations},
			Spec:       svc.Spec,
		}
		fresh.Spec.LoadBalancerClass = &class
		fresh.Spec.ClusterIP, fresh.Spec.ClusterIPs, fresh.Spec.HealthCheckNodePort = "", nil, 0
		err := retry.OnError(retry.DefaultBackoff, apierrors.IsAlreadyExists, func() error {
			_, err := api.Create(ctx, fresh, metav1.CreateOptions{FieldManager: manager})
			return err
		})
		return true, err
	}}
}
