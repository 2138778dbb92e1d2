// Package service says what a Service asks for, and what its status should say.
//
// It is pure: values in, values out. It knows no client, no clock and no
// goroutine; the caller passes the time, carries out the one write that comes
// out, and keeps one Contest per Service in memory between the calls. The
// round of one Service is
//
//	reading := Read(svc, surroundings, config)      // what is asked for
//	asking  := contest.Ask(svc, reading, held, now) // and what of it is followed now
//	decision from the books for asking.Claim, the ledger written
//	outcome := Status(Input{...})                   // what the status should say
//	outcome.Patch(), if outcome.Write; then Contest.Wrote or Contest.Failed
//
// A Service that is not ours (any more) goes through Clear.
package service

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// KindService is the kind in the Key of every claim made here.
const KindService = "Service"

// Config says which Services are ours.
type Config struct {
	// Default makes Services of type LoadBalancer without a class ours.
	Default bool
	// StatusClasses are classes of others that write the status of their
	// Services themselves, and whose addresses we announce where they lie in
	// one of our pools. Nothing in such a Service is written by us.
	StatusClasses []string
}

// Surroundings are what a Service is read against.
type Surroundings struct {
	// NamespaceLabels are the labels of the Service's namespace.
	NamespaceLabels map[string]string
	// InPool tells whether an address lies in one of our pools. Nil: in none.
	InPool func(netip.Addr) bool
}

// KeyOf is the key under which the books know a Service.
func KeyOf(svc *corev1.Service) allocator.Key {
	return allocator.Key{Kind: KindService, Namespace: svc.Namespace, Name: svc.Name}
}

// Ours tells whether a Service gets its addresses and its status from us: type
// LoadBalancer with our class, or without a class when we are the default. A
// Service that is being deleted is not ours any more.
func Ours(svc *corev1.Service, cfg Config) bool {
	if !balanced(svc) {
		return false
	}
	if class := svc.Spec.LoadBalancerClass; class != nil {
		return *class == v1alpha1.LoadBalancerClass
	}
	return cfg.Default
}

// Announced tells whether a Service belongs to another controller that writes
// its status itself, and we only announce what stands there (Config.StatusClasses).
// Read gives its claim; Status is not for it.
func Announced(svc *corev1.Service, cfg Config) bool {
	if !balanced(svc) || svc.Spec.LoadBalancerClass == nil {
		return false
	}
	class := *svc.Spec.LoadBalancerClass
	return class != v1alpha1.LoadBalancerClass && slices.Contains(cfg.StatusClasses, class)
}

func balanced(svc *corev1.Service) bool {
	return svc != nil && svc.Spec.Type == corev1.ServiceTypeLoadBalancer && svc.DeletionTimestamp == nil
}
