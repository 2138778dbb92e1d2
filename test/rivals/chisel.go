package rivals

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

const (
	// ChiselClass is the class that chisel-operator serves beside Services without one.
	ChiselClass = "chisel-operator.io/chisel-operator-class"
	// ChiselFinalizer is what it sets on a Service that it serves.
	ChiselFinalizer = "service.chisel-operator.io/finalizer"

	chiselManager = "chisel-operator"
)

// ChiselOperator is chisel-operator 0.7.1 with an exit node at the address: it looks at
// all Services, serves those without a class and those of its own, sets its finalizer
// on them, and writes the status as Chisel does. With a class of its own
// (LOAD_BALANCER_CLASS) it looks at no others: also not to take its finalizer away.
func ChiselOperator(address, class string) Rival {
	chisel := Chisel(address)
	chisel.Name = "chisel-operator"
	write := chisel.act
	chisel.act = func(ctx context.Context, c kubernetes.Interface, svc *corev1.Service) (bool, error) {
		has := slices.Contains(svc.Finalizers, ChiselFinalizer)
		switch {
		case !chiselTakes(svc, class):
			return false, nil
		case svc.DeletionTimestamp != nil && has:
			return true, setFinalizers(ctx, c, svc, slices.DeleteFunc(slices.Clone(svc.Finalizers), isChisels))
		case svc.DeletionTimestamp != nil:
			return false, nil
		case !has:
			return true, setFinalizers(ctx, c, svc, append(slices.Clone(svc.Finalizers), ChiselFinalizer))
		}
		return write(ctx, c, svc)
	}
	return chisel
}

func isChisels(finalizer string) bool { return finalizer == ChiselFinalizer }

func chiselTakes(svc *corev1.Service, class string) bool {
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return false
	}
	has := svc.Spec.LoadBalancerClass
	if class != "" {
		return has != nil && *has == class
	}
	return has == nil || *has == ChiselClass
}

func setFinalizers(ctx context.Context, c kubernetes.Interface, svc *corev1.Service, list []string) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": list, "resourceVersion": svc.ResourceVersion}})
	if err != nil {
		return fmt.Errorf("encoding the finalizers: %w", err)
	}
	_, err = c.CoreV1().Services(svc.Namespace).Patch(ctx, svc.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: chiselManager})
	return err
}
