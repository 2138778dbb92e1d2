package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// DefaultPasswordSecret is the name of the Secret with the passwords of all BGP peers, by the name of the peer. Speakers
// read it and no other, so that a node knows no more than it needs.
const DefaultPasswordSecret = "fairlead-bgp-passwords"

// PasswordMissing is the reason of a BGPPeer whose password is not there.
const PasswordMissing announcer.Reason = "PasswordMissing"

// passwordKeeper gathers the passwords of BGP peers.
type passwordKeeper struct {
	// secrets has the Secrets of our namespace that can hold one; the manager's cache has others.
	secrets cache.Cache
}

// addPasswords makes the cache of Secrets with passwords.
func (s *shell) addPasswords(mgr manager.Manager) error {
	if s.Namespace == "" {
		return nil
	}
	c, err := cache.New(mgr.GetConfig(), cache.Options{
		Scheme: mgr.GetScheme(), DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{
				s.Namespace: {FieldSelector: fields.OneTermEqualSelector("type", string(corev1.SecretTypeBasicAuth))},
			}},
		},
	})
	if err != nil {
		return fmt.Errorf("making the cache of passwords: %w", err)
	}
	s.passwords.secrets = c
	return mgr.Add(c)
}

// keepPasswords brings the speakers' Secret in line, and returns what is wrong by peer. It looks at that Secret each
// time: where somebody took it away, sessions end, which brings us here.
func (s *shell) keepPasswords(ctx context.Context, peers []v1alpha1.BGPPeer) (map[string]announcer.Problem, error) {
	problems := map[string]announcer.Problem{}
	if s.passwords.secrets == nil {
		return problems, nil
	}
	want := map[string][]byte{}
	for i := range peers {
		p := &peers[i]
		if p.Spec.PasswordSecret == nil || p.Spec.PasswordSecret.Name == "" {
			continue
		}
		password, problem, err := s.passwordOf(ctx, p.Spec.PasswordSecret.Name)
		switch {
		case err != nil:
			return nil, err
		case problem != nil:
			problems[p.Name] = *problem
		default:
			want[p.Name] = password
		}
	}
	_, _, err := s.keepSecret(ctx, s.PasswordSecret, nil, func(map[string][]byte) (map[string][]byte, time.Time, error) {
		return want, time.Time{}, nil
	})
	return problems, err
}

// longestPassword is what the kernel takes for TCP-MD5, in bytes.
const longestPassword = 80

// passwordOf reads a password, or says what is wrong with the Secret.
func (s *shell) passwordOf(ctx context.Context, name string) ([]byte, *announcer.Problem, error) {
	secret, key := &corev1.Secret{}, client.ObjectKey{Namespace: s.Namespace, Name: name}
	err := s.passwords.secrets.Get(ctx, key, secret)
	wrong := func(format string, args ...any) ([]byte, *announcer.Problem, error) {
		return nil, &announcer.Problem{Reason: PasswordMissing, Message: fmt.Sprintf(format, args...)}, nil
	}
	switch password := secret.Data[corev1.BasicAuthPasswordKey]; {
	case apierrors.IsNotFound(err):
		return wrong("There is no Secret %s of type %s, so no session is tried. Create it in namespace %s, with the entry %s.", name, corev1.SecretTypeBasicAuth, s.Namespace, corev1.BasicAuthPasswordKey)
	case err != nil:
		return nil, nil, fmt.Errorf("reading Secret %s: %w", key, err)
	case len(password) == 0:
		return wrong("Secret %s in namespace %s has no entry %s, or an empty one, so no session is tried. Add it.", name, s.Namespace, corev1.BasicAuthPasswordKey)
	case len(password) > longestPassword:
		return wrong("The password in Secret %s in namespace %s has %d bytes, more than the %d that TCP takes, so no session is tried. Shorten it here and on the peer.", name, s.Namespace, len(password), longestPassword)
	default:
		return password, nil, nil
	}
}
