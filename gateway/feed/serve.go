package feed

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	// An Envoy that does not answer is given up after both: its endpoints stay
	// announced that long if its node dies.
	pingAfter, pingWait = 3 * time.Second, 3 * time.Second
	// pingLeast is how often Envoys may ping us.
	pingLeast = time.Second
	// largestRequest holds the names and versions of some ten thousand resources.
	largestRequest = 32 << 20
	// streamsEach is how many streams a connection may have; an Envoy has one.
	streamsEach = 8
	// together is how many requests are handled before they are answered.
	together = 64
	// handshakeWait bounds the TLS handshake.
	handshakeWait = 10 * time.Second
)

// Serve serves Envoys on a listener until the context ends, and returns when all are
// gone; the listener is closed. Only clients with a certificate that the
// configuration trusts get past the handshake, and they get what their certificate's
// fleet has. Serve is for the leader: a controller that does not serve sends its
// Envoys elsewhere. It may be called again.
func (f *Feed) Serve(ctx context.Context, l net.Listener, config *tls.Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingWait}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingLeast, PermitWithoutStream: true}),
		grpc.MaxRecvMsgSize(largestRequest), grpc.MaxConcurrentStreams(streamsEach), grpc.ConnectionTimeout(handshakeWait),
		grpc.WaitForHandlers(true), grpc.ForceServerCodecV2(newCodec()),
	)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, f)
	var running sync.WaitGroup
	running.Go(func() { f.spread(ctx) })
	running.Go(func() {
		<-ctx.Done()
		server.Stop()
	})
	err := server.Serve(l)
	ended := ctx.Err() != nil
	cancel()
	running.Wait()
	if ended || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return fmt.Errorf("serving Envoys on %s: %w", l.Addr(), err)
}

// DeltaAggregatedResources is an Envoy's stream.
func (f *Feed) DeltaAggregatedResources(str discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	fleetName, err := fleetOf(str.Context())
	if err != nil {
		f.log.Info("A client is refused", "reason", err.Error())
		return status.Error(codes.Unauthenticated, err.Error())
	}
	first, err := str.Recv()
	if err != nil {
		return err
	}
	pod, err := podOf(first.GetNode(), fleetName)
	if err != nil {
		f.log.Info("A client is refused", "fleet", fleetName, "reason", err.Error())
		return status.Error(codes.PermissionDenied, err.Error())
	}
	s := f.join(fleetName, pod)
	defer f.leave(s)
	requests := make(chan *discoveryv3.DeltaDiscoveryRequest, together)
	requests <- first
	go func() {
		defer close(requests)
		for {
			req, err := str.Recv()
			if err != nil {
				return
			}
			select {
			case requests <- req:
			case <-str.Context().Done():
				return
			}
		}
	}()
	return f.converse(s, str, requests)
}

// converse answers one Envoy until it goes.
func (f *Feed) converse(s *stream, str discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer, requests <-chan *discoveryv3.DeltaDiscoveryRequest) error {
	for {
		at, err := f.flush(s, str)
		if err != nil {
			return err
		}
		var due <-chan time.Time
		var stop func() bool
		if !at.IsZero() {
			t := f.clock.NewTimer(at.Sub(f.clock.Now()))
			due, stop = t.C(), t.Stop
		}
		select {
		case req, ok := <-requests:
			if !ok {
				return str.Context().Err()
			}
			f.take(s, req, requests)
		case <-s.wakeup:
		case <-due:
		case <-s.evicted:
			return status.Error(codes.Aborted, "another stream of this Envoy has taken over, or its fleet is no more")
		case <-str.Context().Done():
			return str.Context().Err()
		}
		if stop != nil {
			stop()
		}
	}
}

// take handles a request, and those that wait behind it: an Envoy may ask for each
// name by itself, and is answered once.
func (f *Feed) take(s *stream, req *discoveryv3.DeltaDiscoveryRequest, more <-chan *discoveryv3.DeltaDiscoveryRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.handle(req)
	for range len(more) {
		if req, ok := <-more; ok {
			s.handle(req)
		}
	}
}

// flush sends what there is to send, and returns when to look again.
func (f *Feed) flush(s *stream, str discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) (time.Time, error) {
	for {
		f.mu.Lock()
		resp := s.next(f.clock.Now())
		at := s.deadline()
		f.mu.Unlock()
		if resp == nil {
			return at, nil
		}
		if err := str.SendMsg(resp); err != nil {
			return at, err
		}
	}
}
