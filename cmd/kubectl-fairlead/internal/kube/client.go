package kube

import (
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/version"
)

// Scheme has the kinds that the commands know. Others are read as unstructured
// objects.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	var errs []error
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, discoveryv1.AddToScheme, eventsv1.AddToScheme, metav1.AddMetaToScheme,
		gatewayv1.Install, v1alpha1.AddToScheme,
	} {
		errs = append(errs, add(s))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("registering kinds: %w", err)
	}
	return s, nil
}

// Client is a client with the caller's rights, for commands that write.
func (e *Env) Client() (client.Client, error) { return e.Connect() }

// Reader is a client that reads with the caller's rights, and goes on without what
// they do not give.
func (e *Env) Reader() (*Reader, error) {
	c, err := e.Connect()
	if err != nil {
		return nil, err
	}
	return NewReader(c), nil
}

// connect makes a client from the flags and the kubeconfig.
func (e *Env) connect() (client.Client, error) {
	cfg, err := e.Config.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster by kubeconfig and flags: %w", err)
	}
	cfg.UserAgent = "kubectl-fairlead/" + version.Version
	cfg.QPS = -1 // a command reads a few lists
	cfg.WarningHandler = rest.NoWarnings{}
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", cfg.Host, err)
	}
	return c, nil
}
