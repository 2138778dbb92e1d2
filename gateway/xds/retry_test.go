package xds_test

import (
	"math"
	"testing"
	"time"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
)

// TestBackoff keeps the wait between tries inside of what Envoy takes: a whole
// millisecond at least, and the longest not before the shortest.
func TestBackoff(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		time.Microsecond:    time.Millisecond,
		time.Second:         time.Second,
		399_996 * time.Hour: 365 * 24 * time.Hour,
		math.MaxInt64:       365 * 24 * time.Hour,
	} {
		m := &gateway.Model{Ports: []gateway.Port{{Number: 80, Transport: gateway.TCP, HTTP: &gateway.Table{Hosts: []*gateway.Host{host("*", &gateway.Rule{
			Backends: []gateway.Destination{{Backend: "a", Weight: 1}}, Retry: &gateway.Retry{Attempts: 1, Backoff: asked},
		})}}}}, Backends: []gateway.Backend{{ID: "a", Protocol: gateway.ProtocolHTTP}}}
		for _, table := range xds.Encode(m, shifted, xds.Settings{}).Routes {
			got := table.VirtualHosts[0].Routes[0].GetRoute().RetryPolicy.RetryBackOff
			if got.BaseInterval.AsDuration() != want || got.MaxInterval.AsDuration() != 10*want {
				t.Errorf("%v: %v to %v", asked, got.BaseInterval.AsDuration(), got.MaxInterval.AsDuration())
			}
		}
	}
}
