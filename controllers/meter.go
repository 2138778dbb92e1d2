package controllers

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/service"
)

// meterEvery is how often the gauges are brought up to date.
const meterEvery = 5 * time.Second

// addMeter keeps gauges that no single event changes.
func (s *shell) addMeter(mgr manager.Manager) error {
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		ticker := time.NewTicker(meterEvery)
		defer ticker.Stop()
		ofGateways := newGatewayMeter()
		for {
			waitingClaims.WithLabelValues().Set(float64(s.ledger.Waiting()))
			contestsOpen.WithLabelValues().Set(float64(s.contests.count(service.Contest.Contested)))
			if g := s.gateways.Load(); g != nil {
				ofGateways.read(g)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
		}
	}))
}
