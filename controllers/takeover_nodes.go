package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/migrate/takeover"
)

// askingNode is how long one node may take to answer.
const askingNode = time.Second

// nodeAnswer is what the service proxy of a node says of a Service.
type nodeAnswer int

const (
	nodeSilent  nodeAnswer = iota // no answer
	nodeWithout                   // it has no endpoint of the Service there
	nodeServes
)

// provenOn tells whether the service proxies of the nodes with endpoints of a Service
// have taken that and them up. A Service with externalTrafficPolicy Local
// has a port on each node, at which the proxy itself says how many endpoints it
// serves there; for other Services, and where nobody answers, that is not known.
func (s *shell) provenOn(ctx context.Context, name client.ObjectKey) (takeover.Proof, string, error) {
	front := &corev1.Service{}
	if err := s.client.Get(ctx, name, front); err != nil {
		return takeover.Unknown, "", client.IgnoreNotFound(err)
	}
	if front.Spec.HealthCheckNodePort == 0 {
		return takeover.Unknown, "", nil
	}
	var listed discoveryv1.EndpointSliceList
	if err := s.client.List(ctx, &listed, client.InNamespace(name.Namespace), client.MatchingFields{sliceService: name.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return takeover.Unknown, "", fmt.Errorf("listing the endpoints of Service %s: %w", name, err)
	}
	nodes := nodesOf(listed.Items)
	answers := make([]nodeAnswer, len(nodes))
	var asking sync.WaitGroup
	for i, name := range nodes {
		asking.Go(func() { answers[i] = s.askNode(ctx, name, front) })
	}
	asking.Wait()
	var silent, without []string
	for i, a := range answers {
		switch a {
		case nodeSilent:
			silent = append(silent, nodes[i])
		case nodeWithout:
			without = append(without, nodes[i])
		}
	}
	switch {
	case len(without) > 0:
		return takeover.Disproven, fmt.Sprintf("kube-proxy of node %s does not serve the taker yet.", strings.Join(without, ", ")), nil
	case len(silent) > 0:
		return takeover.Unknown, fmt.Sprintf("kube-proxy of node %s does not answer on port %d.", strings.Join(silent, ", "), front.Spec.HealthCheckNodePort), nil
	}
	return takeover.Proven, "", nil
}

// nodesOf are the nodes with a ready endpoint.
func nodesOf(list []discoveryv1.EndpointSlice) []string {
	var out []string
	for i := range list {
		for _, e := range list[i].Endpoints {
			if e.NodeName != nil && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
				out = appendNew(out, *e.NodeName)
			}
		}
	}
	slices.Sort(out)
	return out
}

// askNode asks the service proxy of a node how many endpoints of a Service it serves.
func (s *shell) askNode(ctx context.Context, name string, front *corev1.Service) nodeAnswer {
	node := &corev1.Node{}
	if err := s.client.Get(ctx, client.ObjectKey{Name: name}, node); err != nil {
		return nodeSilent
	}
	best := nodeSilent
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && best != nodeServes {
			best = max(best, askProxy(ctx, net.JoinHostPort(a.Address, strconv.Itoa(int(front.Spec.HealthCheckNodePort))), front.Namespace, front.Name))
		}
	}
	return best
}

// askProxy reads what a service proxy says at the port for health checks of a Service.
func askProxy(ctx context.Context, address, namespace, name string) nodeAnswer {
	ctx, cancel := context.WithTimeout(ctx, askingNode)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return nodeSilent
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nodeSilent
	}
	defer func() { _ = response.Body.Close() }()
	var said struct {
		Service struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"service"`
		LocalEndpoints int `json:"localEndpoints"`
	}
	err = json.NewDecoder(http.MaxBytesReader(nil, response.Body, 1<<16)).Decode(&said)
	switch {
	case err != nil || said.Service.Namespace != namespace || said.Service.Name != name:
		return nodeSilent // somebody else answers there
	case said.LocalEndpoints > 0:
		return nodeServes
	}
	return nodeWithout
}
