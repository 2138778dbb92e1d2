package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/fairlead/fairlead/controllers"
	"github.com/fairlead/fairlead/service"
	"github.com/fairlead/fairlead/version"
)

func serve(ctx context.Context, f *flags, log logr.Logger, tracer trace.TracerProvider) error {
	failpoint, err := parseFailpoint(f.failpoint)
	if err != nil {
		return err
	}
	mgr, err := newManager(f, log)
	if err != nil {
		return err
	}
	err = controllers.Add(mgr, controllers.Options{
		Service:   service.Config{Default: f.defaultClass, StatusClasses: f.statusClasses},
		Namespace: f.namespace, GossipSecret: f.gossipSecret, PasswordSecret: f.passwordSecret, Workers: f.workers,
		IgnoreExcludeLabel: f.ignoreExclude, Tracer: tracer, Failpoint: failpoint,
		Gateways: f.gateways.options(),
	})
	if err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the controllers: %w", err)
	}
	return nil
}

func newManager(f *flags, log logr.Logger) (manager.Manager, error) {
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the API server (in a pod, or by KUBECONFIG): %w", err)
	}
	cfg.UserAgent = "fairlead-controller/" + version.Version
	cfg.WarningHandlerWithContext = controllers.WithoutPrescribed(ctrllog.NewKubeAPIWarningLogger(ctrllog.KubeAPIWarningLoggerOptions{}))
	scheme, err := controllers.Scheme()
	if err != nil {
		return nil, err
	}
	o := controllers.ManagerOptions(scheme)
	o.Logger = log
	if f.gateways.enabled {
		controllers.KeepFleets(&o.Cache, f.namespace)
	}
	o.LeaderElection, o.LeaderElectionID, o.LeaderElectionNamespace = f.leaderElect, f.leaderElectID, f.leaderElectSpace
	o.Metrics = metricsserver.Options{BindAddress: f.metricsAddress}
	o.HealthProbeBindAddress = f.probeAddress
	o.GracefulShutdownTimeout = ptr.To(5 * time.Second)
	if f.leaderElect {
		if o.LeaderElectionResourceLockInterface, err = leaseLock(cfg, f); err != nil {
			return nil, err
		}
	}
	mgr, err := manager.New(controllers.Unlimited(cfg), o)
	if err != nil {
		return nil, fmt.Errorf("setting up the manager: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("caches", controllers.CachesSynced(mgr))
}

// leaseLock is the Lease of the leader. The manager's own would write an Event at
// each change of the leader, of which the Lease itself tells.
func leaseLock(cfg *rest.Config, f *flags) (resourcelock.Interface, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("finding a name for the holder of the Lease: %w", err)
	}
	clients, err := kubernetes.NewForConfig(leaseConfig(cfg))
	if err != nil {
		return nil, fmt.Errorf("making a client for the Lease: %w", err)
	}
	return resourcelock.New(resourcelock.LeasesResourceLock, f.leaderElectSpace, f.leaderElectID, clients.CoreV1(), clients.CoordinationV1(),
		resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())})
}

// leaseConfig is for the Lease alone: with its timeout, every watch of the others
// would end after that time and begin anew.
func leaseConfig(cfg *rest.Config) *rest.Config {
	c := rest.AddUserAgent(rest.CopyConfig(cfg), "leader-election")
	c.Timeout = leaseTimeout
	return c
}

// leaseTimeout is how long one look at the Lease may take; it lies below the time
// in which the leader must renew it.
const leaseTimeout = 2 * time.Second
