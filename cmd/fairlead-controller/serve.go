package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/fairlead/fairlead/controllers"
	"github.com/fairlead/fairlead/service"
	"github.com/fairlead/fairlead/telemetry"
	"github.com/fairlead/fairlead/version"
)

// flushing is how long the last traces may take to be sent.
const flushing = 3 * time.Second

// level reads --log-level.
func level(s string) (zapcore.Level, error) {
	switch strings.ToLower(s) {
	case "error":
		return zapcore.ErrorLevel, nil
	case "info":
		return zapcore.InfoLevel, nil
	case "debug":
		return zapcore.DebugLevel, nil
	}
	return 0, fmt.Errorf("--log-level is %q: set it to error, info or debug", s)
}

func newLogger(s string) (logr.Logger, error) {
	l, err := level(s)
	if err != nil {
		return logr.Logger{}, err
	}
	c := zap.NewProductionConfig()
	c.Level = zap.NewAtomicLevelAt(l)
	c.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	c.DisableStacktrace, c.DisableCaller = true, true
	z, err := c.Build()
	if err != nil {
		return logr.Logger{}, fmt.Errorf("setting up the log: %w", err)
	}
	return zapr.NewLogger(z), nil
}

func serve(ctx context.Context, f *flags) error {
	log, err := newLogger(f.logLevel)
	if err != nil {
		return err
	}
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	tracer, stopTracing, err := telemetry.New(ctx, "fairlead-controller")
	if err != nil {
		return err
	}
	defer func() {
		// The process ends, so its context has ended too.
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushing)
		defer cancel()
		if err := stopTracing(flush); err != nil {
			log.Info("The last traces were not sent", "cause", err.Error())
		}
	}()
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
		Namespace: f.namespace, GossipSecret: f.gossipSecret, Workers: f.workers,
		IgnoreExcludeLabel: f.ignoreExclude, Tracer: tracer, Failpoint: failpoint,
	})
	if err != nil {
		return err
	}
	log.Info("Starting", "version", version.Version)
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
	scheme, err := controllers.Scheme()
	if err != nil {
		return nil, err
	}
	o := controllers.ManagerOptions(scheme)
	o.Logger = log
	o.LeaderElection, o.LeaderElectionID, o.LeaderElectionNamespace = f.leaderElect, f.leaderElectID, f.leaderElectSpace
	o.Metrics = metricsserver.Options{BindAddress: f.metricsAddress}
	o.HealthProbeBindAddress = f.probeAddress
	o.GracefulShutdownTimeout = ptr.To(5 * time.Second)
	mgr, err := manager.New(controllers.Unlimited(cfg), o)
	if err != nil {
		return nil, fmt.Errorf("setting up the manager: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("caches", controllers.CachesSynced(mgr))
}
