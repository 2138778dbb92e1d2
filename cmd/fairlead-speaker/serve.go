package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/agent"
	"github.com/fairlead/fairlead/announcer/bfd"
	"github.com/fairlead/fairlead/announcer/bfd/apart"
	"github.com/fairlead/fairlead/announcer/bgp"
	"github.com/fairlead/fairlead/announcer/l2"
	"github.com/fairlead/fairlead/announcer/members"
	"github.com/fairlead/fairlead/announcer/reject"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/internal/program"
	"github.com/fairlead/fairlead/version"
)

func serve(ctx context.Context, f *flags, log logr.Logger, tracer trace.TracerProvider) error {
	restConfig, scheme, err := apiServer()
	if err != nil {
		return err
	}
	config, err := f.agentConfig(log)
	if err != nil {
		return err
	}
	config.Tracer = tracer
	if config.Cache, err = agent.NewCache(restConfig, scheme, f.namespace, f.gossipSecret); err != nil {
		return err
	}
	if f.bgp {
		config.PasswordSecret = f.passwordSecret
		if config.Passwords, err = agent.NewPasswords(restConfig, scheme, f.namespace, f.passwordSecret); err != nil {
			return err
		}
	}
	if config.Client, err = client.New(restConfig, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	recorder, stopEvents, err := eventRecorder(ctx, restConfig, scheme)
	if err != nil {
		return err
	}
	defer stopEvents()
	config.Events = recorder
	a, err := agent.New(config)
	if err != nil {
		return err
	}
	if err := metrics.Registry.Register(a); err != nil {
		return fmt.Errorf("registering the metrics: %w", err)
	}
	return f.runAll(ctx, a, restConfig)
}

// runAll runs the agent beside its servers, which go on until it has handed over.
// A server that fails ends the agent too, in order.
func (f *flags) runAll(ctx context.Context, a *agent.Agent, restConfig *rest.Config) error {
	group, serving := errgroup.WithContext(context.WithoutCancel(ctx))
	serving, stop := context.WithCancel(serving)
	announcing, depart := context.WithCancel(ctx)
	context.AfterFunc(serving, depart)
	group.Go(func() error {
		defer stop()
		return a.Run(announcing)
	})
	group.Go(func() error { return serveProbes(serving, f.probeAddress, a) })
	if program.Serves(f.metricsAddress) {
		server, err := metricsserver.NewServer(metricsserver.Options{BindAddress: f.metricsAddress}, restConfig, http.DefaultClient)
		if err != nil {
			stop()
			return fmt.Errorf("setting up metrics at %s: %w", f.metricsAddress, err)
		}
		group.Go(func() error { return server.Start(serving) })
	}
	return group.Wait()
}

// apiServer finds the API server and the kinds that are read and written.
func apiServer() (*rest.Config, *runtime.Scheme, error) {
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("finding the API server (in a pod, or by KUBECONFIG): %w", err)
	}
	config.UserAgent = "fairlead-speaker/" + version.Version
	config.QPS = -1 // the agent limits its own writes
	scheme := runtime.NewScheme()
	err = errors.Join(corev1.AddToScheme(scheme), discoveryv1.AddToScheme(scheme), eventsv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
	return config, scheme, err
}

func (f *flags) agentConfig(log logr.Logger) (agent.Config, error) {
	config := agent.Config{
		Log: log, Node: f.node, Version: version.Version, Namespace: f.namespace, Secret: f.gossipSecret,
		Options: announcer.Options{IgnoreExcludeLabel: f.ignoreExclude},
		NewEngine: func(onEvent func(l2.Event), known func(net.HardwareAddr) bool) (agent.Engine, error) {
			return l2.New(l2.Config{Log: log.WithName("l2"), Exclude: f.exclude, Known: known, OnEvent: onEvent})
		},
		NewMembers: func(ctx context.Context, g agent.Gossip) (agent.Membership, error) {
			return members.Start(ctx, members.Config{
				Log: log.WithName("members"), Node: f.node, Address: g.Address, Port: f.gossipPort, Version: version.Version,
				Keys: g.Keys, Expected: g.Nodes, Grace: f.seatGrace, Settle: f.settle, OnChange: g.OnChange, OnMessage: g.OnMessage,
			})
		},
	}
	if f.bgp {
		config.NewRouter = func(onEvent func(bgp.Event)) agent.Router {
			return bgp.New(bgp.Config{Log: log.WithName("bgp"), OnEvent: onEvent})
		}
		self, err := os.Executable()
		if err != nil {
			return agent.Config{}, fmt.Errorf("finding this program, to run BFD by: %w", err)
		}
		config.NewWatchdog = func(onEvent func(bfd.Event)) agent.Watchdog {
			return apart.New(apart.Config{Log: log.WithName("bfd"), Program: self, Args: []string{bfdName, f.logLevel}, OnEvent: onEvent})
		}
	}
	if f.answer && !usesIPVS(log) {
		config.NewRejecter = func(addresses []netip.Addr) agent.Rejecter {
			c := reject.Config{Log: log.WithName("reject")}
			for _, a := range addresses {
				switch {
				case a.Is4() && !c.Node4.IsValid():
					c.Node4 = a
				case a.Is6() && !c.Node6.IsValid():
					c.Node6 = a
				}
			}
			return reject.New(c)
		}
	}
	return config, nil
}

// ipvsInterface is there while kube-proxy uses IPVS. It has all service
// addresses, so that packets to them never take the forward path.
const ipvsInterface = "kube-ipvs0"

func usesIPVS(log logr.Logger) bool {
	if _, err := net.InterfaceByName(ipvsInterface); err != nil {
		return false
	}
	log.Info("kube-proxy uses IPVS on this node: ports that nobody serves are not refused, and pings are left to IPVS", "interface", ipvsInterface)
	return true
}

func eventRecorder(ctx context.Context, config *rest.Config, scheme *runtime.Scheme) (events.EventRecorder, func(), error) {
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("making a client for Events: %w", err)
	}
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: clients.EventsV1()})
	if err := broadcaster.StartRecordingToSinkWithContext(context.WithoutCancel(ctx)); err != nil {
		return nil, nil, fmt.Errorf("recording Events: %w", err)
	}
	return broadcaster.NewRecorder(scheme, "fairlead-speaker"), broadcaster.Shutdown, nil
}

// serveProbes answers the kubelet until ctx ends.
func serveProbes(ctx context.Context, address string, a *agent.Agent) error {
	if !program.Serves(address) {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("/healthz", probe(a.Healthy))
	mux.Handle("/readyz", probe(a.Ready))
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.ListenAndServe(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving probes at %s: %w", address, err)
	}
	return nil
}

func probe(check func() error) http.Handler {
	return healthz.CheckHandler{Checker: func(*http.Request) error { return check() }}
}
