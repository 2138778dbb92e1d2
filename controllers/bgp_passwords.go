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
)

// DefaultPasswordSecret is the name of the Secret with the passwords of all BGP peers, by the name of the peer, and the keys of BFD. Speakers
// read it and no other, so that a node knows no more than it needs.
const DefaultPasswordSecret = "fairlead-bgp-passwords"

// PasswordMissing is the reason of a BGPPeer whose password, or key of BFD, is not there.
const PasswordMissing announcer.Reason = "PasswordMissing"

// passwordKeeper gathers the passwords of BGP peers, and the keys of BFD.
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
func (s *shell) keepPasswords(ctx context.Context, o *announcer.BGPObjects) (map[string][]announcer.Problem, error) {
	problems := map[string][]announcer.Problem{}
	if s.passwords.secrets == nil {
		return problems, nil
	}
	want := map[string][]byte{}
	for _, n := range neededPasswords(o) {
		password, problem, err := s.passwordOf(ctx, &n)
		switch {
		case err != nil:
			return nil, err
		case problem != nil:
			problems[n.peer] = append(problems[n.peer], *problem)
		default:
			want[n.entry] = password
		}
	}
	_, _, err := s.keepSecret(ctx, s.PasswordSecret, nil, func(map[string][]byte) (map[string][]byte, time.Time, error) {
		return want, time.Time{}, nil
	})
	return problems, err
}

// neededPassword is one that the session of a peer needs, or a key that BFD needs to watch the peer.
type neededPassword struct {
	peer string
	// entry is the one in the speakers' Secret, secret where the user has it.
	entry, secret string
	// longest is how many bytes it may have, by whom, and without is what comes of its not being there.
	longest     int
	by, without string
}

func neededPasswords(o *announcer.BGPObjects) (out []neededPassword) {
	auths := map[string]announcer.BFDAuth{}
	for i := range o.Profiles.Items {
		p := announcer.FromBFDProfile(&o.Profiles.Items[i])
		auths[p.Name] = p.Auth
	}
	for i := range o.Peers.Items {
		p := &o.Peers.Items[i]
		if ref := p.Spec.PasswordSecret; ref != nil && ref.Name != "" {
			out = append(out, neededPassword{p.Name, p.Name, ref.Name, longestPassword, "TCP", "no session is tried"})
		}
		if auth := auths[p.Spec.BFDProfile]; auth.Type != "" {
			out = append(out, neededPassword{
				p.Name, announcer.BFDKeyOf(p.Spec.BFDProfile), auth.Secret, auth.LongestKey(), string(auth.Type),
				"BFD, which BFDProfile " + p.Spec.BFDProfile + " has sign its packets, does not watch the peer",
			})
		}
	}
	return out
}

// longestPassword is what the kernel takes for TCP-MD5, in bytes.
const longestPassword = 80

// passwordOf reads a password, or says what is wrong with the Secret.
func (s *shell) passwordOf(ctx context.Context, n *neededPassword) ([]byte, *announcer.Problem, error) {
	secret, key := &corev1.Secret{}, client.ObjectKey{Namespace: s.Namespace, Name: n.secret}
	err := s.passwords.secrets.Get(ctx, key, secret)
	wrong := func(format string, args ...any) ([]byte, *announcer.Problem, error) {
		return nil, &announcer.Problem{Reason: PasswordMissing, Message: fmt.Sprintf(format, args...)}, nil
	}
	switch password := secret.Data[corev1.BasicAuthPasswordKey]; {
	case apierrors.IsNotFound(err):
		return wrong("There is no Secret %s of type %s, so %s. Create it in namespace %s, with the entry %s.", n.secret, corev1.SecretTypeBasicAuth, n.without, s.Namespace, corev1.BasicAuthPasswordKey)
	case err != nil:
		return nil, nil, fmt.Errorf("reading Secret %s: %w", key, err)
	case len(password) == 0:
		return wrong("Secret %s in namespace %s has no entry %s, or an empty one, so %s. Add it.", n.secret, s.Namespace, corev1.BasicAuthPasswordKey, n.without)
	case len(password) > n.longest:
		return wrong("The password in Secret %s in namespace %s has %d bytes, more than the %d that %s takes, so %s. Shorten it here and on the peer.", n.secret, s.Namespace, len(password), n.longest, n.by, n.without)
	default:
		return password, nil, nil
	}
}
