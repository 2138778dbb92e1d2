package artefacts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// writeEnvoys asks every Envoy whose admin socket this machine sees for its
// configuration.
func (c *Collector) writeEnvoys(ctx context.Context, dir string, pods []corev1.Pod) error {
	sockets, err := filepath.Glob(c.EnvoySockets)
	if err != nil {
		return fmt.Errorf("looking for the sockets of Envoys: %w", err)
	}
	var errs []error
	for _, socket := range sockets {
		text, err := askSocket(ctx, socket, "/config_dump?include_eds")
		if err != nil {
			errs = append(errs, fmt.Errorf("reading the configuration of the Envoy at %s: %w", socket, err))
			continue
		}
		errs = append(errs, write(filepath.Join(dir, owner(socket, pods)+".json"), text))
	}
	return errors.Join(errs...)
}

// owner is the pod in whose volume a socket is: the kubelet names the folder of a
// pod after its UID.
func owner(socket string, pods []corev1.Pod) string {
	parts := strings.Split(socket, string(filepath.Separator))
	for _, part := range parts {
		for _, pod := range pods {
			if string(pod.UID) == part {
				return pod.Namespace + "." + pod.Name
			}
		}
	}
	// A pod that is gone, perhaps: its folder still tells it from others.
	return strings.Join(parts[max(0, len(parts)-5):], "_")
}

// askSocket is an HTTP GET by a unix socket.
func askSocket(ctx context.Context, socket, path string) ([]byte, error) {
	// Paths of sockets may have 107 bytes, and those below a kubelet have more.
	dir, err := os.Open(filepath.Dir(socket))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	short := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(socket))
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", short)
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", response.Status)
	}
	return text, nil
}
