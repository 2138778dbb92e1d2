package feed

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/pki"
)

// fleetOf reads the fleet from the verified certificate of a connection.
func fleetOf(ctx context.Context) (string, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", errors.New("the connection has no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.VerifiedChains[0]) == 0 {
		return "", errors.New("the client shows no certificate that is trusted")
	}
	return pki.FleetOf(info.State.VerifiedChains[0][0])
}

// longestName is that of a namespace, a slash and a pod's name.
const longestName = 63 + 1 + 253

// podOf reads who an Envoy is: its cluster must be the fleet of its certificate, its
// id NAMESPACE/POD.
func podOf(node *corev3.Node, fleetName string) (gateway.Name, error) {
	if node.GetCluster() != fleetName {
		return gateway.Name{}, fmt.Errorf("the Envoy's node.cluster is %q, but its certificate is of the fleet %q", shorten(node.GetCluster()), fleetName)
	}
	ns, name, ok := strings.Cut(node.GetId(), "/")
	odd := func(r rune) bool { return r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }
	if !ok || ns == "" || name == "" || len(node.GetId()) > longestName || strings.ContainsFunc(ns+name, odd) {
		return gateway.Name{}, fmt.Errorf("the Envoy's node.id is %q: it must be NAMESPACE/POD", shorten(node.GetId()))
	}
	return gateway.Name{Namespace: ns, Name: name}, nil
}

// join takes an Envoy in. One that was there under its name is let go: it has come
// anew, and its old connection has not noticed.
func (f *Feed) join(fleetName string, pod gateway.Name) *stream {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.fleet(fleetName)
	for old := range fl.streams {
		if old.pod == pod {
			f.detach(old)
			close(old.evicted)
		}
	}
	s := newStream(f, fl, pod)
	fl.streams[s] = struct{}{}
	if fl.open {
		s.begin()
	}
	s.log.Info("An Envoy has come", "answered", fl.open)
	f.tellOf(fl)
	return s
}

func (f *Feed) leave(s *stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := s.fleet.streams[s]; ok {
		f.detach(s)
		s.log.Info("An Envoy has gone")
	}
}

// detach forgets a stream and what only it asked for.
func (f *Feed) detach(s *stream) {
	delete(s.fleet.streams, s)
	s.begun = false
	s.fleet.desert(s)
	for _, k := range []kind{assignments, secrets} {
		for name := range s.types[k].items {
			f.retire(s.fleet, ref{k, name})
		}
	}
	f.tellOf(s.fleet)
}

// tellOf makes known that all Gateways of a fleet may have got on.
func (f *Feed) tellOf(fl *fleet) {
	for gw := range fl.gateways {
		f.news.add(fl.name, gw)
	}
}
