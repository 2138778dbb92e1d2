package artefacts

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// gatewayLabel is on what belongs to a Gateway (GEP-1762).
	gatewayLabel = "gateway.networking.k8s.io/gateway-name"
	// mostLogs keeps one noisy container from filling the disk.
	mostLogs = 8 << 20
)

// pods are Fairlead's own and those that serve a Gateway.
func (c *Collector) pods(ctx context.Context) ([]corev1.Pod, error) {
	own, err := c.core.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of %s: %w", c.Namespace, err)
	}
	pods := own.Items
	serving, err := c.core.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: gatewayLabel})
	if err != nil {
		return pods, fmt.Errorf("listing the pods of Gateways: %w", err)
	}
	for _, pod := range serving.Items {
		if pod.Namespace != c.Namespace {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

func (c *Collector) writeLogs(ctx context.Context, dir string, pod corev1.Pod, since time.Time) error {
	restarted := map[string]bool{}
	for _, s := range pod.Status.ContainerStatuses {
		restarted[s.Name] = s.RestartCount > 0
	}
	most := int64(mostLogs)
	start := metav1.NewTime(since)
	var errs []error
	for _, container := range pod.Spec.Containers {
		options := &corev1.PodLogOptions{Container: container.Name, SinceTime: &start, Timestamps: true, LimitBytes: &most}
		path := filepath.Join(dir, pod.Namespace+"."+pod.Name+"."+container.Name)
		errs = append(errs, c.writeLog(ctx, path+".log", pod, options))
		if restarted[container.Name] {
			before := *options
			// It may have died before the test began, of what it is about.
			before.Previous, before.SinceTime = true, nil
			errs = append(errs, c.writeLog(ctx, path+".previous.log", pod, &before))
		}
	}
	return errors.Join(errs...)
}

func (c *Collector) writeLog(ctx context.Context, path string, pod corev1.Pod, options *corev1.PodLogOptions) error {
	text, err := c.core.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, options).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("reading the log of %s in pod %s/%s: %w", options.Container, pod.Namespace, pod.Name, err)
	}
	return write(path, text)
}
