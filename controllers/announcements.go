package controllers

import (
	"context"
	"net/netip"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

func (s *shell) addAnnouncements(manager.Manager) error  { return nil }
func (s *shell) addAdvertisements(manager.Manager) error { return nil }

func (s *shell) noteAddress(context.Context, netip.Addr) error { return nil }
