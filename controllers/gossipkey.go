package controllers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// The Secret with which speakers encrypt their gossip.
const (
	// DefaultGossipSecret is its name.
	DefaultGossipSecret = "fairlead-gossip"
	// GossipKeys is the entry with the keys: one to a line, each 32 bytes in
	// base64. All are accepted, the first encrypts. To rotate without a gap,
	// add the new key as the second line, wait until all speakers have it,
	// move it to the first line, wait, and remove the old one.
	GossipKeys = "keys"
	// gossipKeyBytes makes AES-256.
	gossipKeyBytes = 32
)

// addGossipKey makes the key if there is none, so that templates need not hold a
// secret. An existing Secret is never changed.
func (s *shell) addGossipKey(mgr manager.Manager) error {
	if s.Namespace == "" {
		return nil
	}
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		for {
			err := s.makeGossipKey(ctx)
			if err == nil {
				return nil
			}
			mgr.GetLogger().Error(err, "The speakers have no gossip key yet")
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(5 * time.Second):
			}
		}
	}))
}

func (s *shell) makeGossipKey(ctx context.Context) error {
	name := client.ObjectKey{Namespace: s.Namespace, Name: s.GossipSecret}
	err := s.live.Get(ctx, name, &corev1.Secret{})
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading Secret %s: %w", name, err)
	}
	key := make([]byte, gossipKeyBytes)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("making a gossip key: %w", err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Labels: map[string]string{"app.kubernetes.io/part-of": "fairlead"}},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{GossipKeys: []byte(base64.StdEncoding.EncodeToString(key) + "\n")},
	}
	err = s.Failpoint.around(ctx, PointGossipKey, func() error {
		return s.client.Create(ctx, secret, client.FieldOwner(v1alpha1.FieldManager))
	})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("writing Secret %s: %w", name, err)
	}
	return nil
}
