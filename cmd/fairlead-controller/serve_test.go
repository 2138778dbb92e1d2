package main

import (
	"testing"

	"k8s.io/client-go/rest"
)

// What holds for the Lease does not hold for everything else: a timeout would end
// every watch.
func TestLeaseConfigIsItsOwn(t *testing.T) {
	cfg := &rest.Config{Host: "https://api.example.com", UserAgent: "fairlead-controller/test"}
	if lease := leaseConfig(cfg); lease.Timeout != leaseTimeout || lease.Host != cfg.Host {
		t.Errorf("the Lease's client is %+v", lease)
	}
	if cfg.Timeout != 0 || cfg.UserAgent != "fairlead-controller/test" {
		t.Errorf("the controllers' client has timeout %s and is called %q", cfg.Timeout, cfg.UserAgent)
	}
}
