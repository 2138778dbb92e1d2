package controllers

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/gateway/pki"
)

// authoritySecret is the Secret with the authority that signs the certificates
// between Envoys and the controller.
const authoritySecret = "fairlead-xds-authority"

// secretData is how a Secret is made from what it has; it also says when to look
// again.
type secretData func(have map[string][]byte) (map[string][]byte, time.Time, error)

// certify writes the certificate of a fleet, if it needs a new one.
func (g *gateways) certify(ctx context.Context, id fleet.ID) (time.Time, error) {
	authority, look, err := g.authority(ctx)
	if err != nil {
		return time.Time{}, err
	}
	labels := map[string]string{fleet.FleetLabel: id.Name()}
	_, next, err := g.keepSecret(ctx, id.SecretName(), labels, func(have map[string][]byte) (map[string][]byte, time.Time, error) {
		return pki.Leaf(have, authority, pki.Fleet(id.Name()), g.Clock.Now(), rand.Reader, pki.DefaultRules())
	})
	return earliest(look, next), err
}

// authority reads or makes the authority.
func (g *gateways) authority(ctx context.Context) (map[string][]byte, time.Time, error) {
	return g.keepSecret(ctx, authoritySecret, nil, func(have map[string][]byte) (map[string][]byte, time.Time, error) {
		return pki.Authority(have, g.Clock.Now(), rand.Reader, pki.DefaultRules())
	})
}

// keepSecret brings a Secret of ours in line, read past the cache: what is signed
// must follow from what is written.
func (s *shell) keepSecret(ctx context.Context, name string, labels map[string]string, wanted secretData) (map[string][]byte, time.Time, error) {
	key := client.ObjectKey{Namespace: s.Namespace, Name: name}
	secret := &corev1.Secret{}
	err := s.live.Get(ctx, key, secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, time.Time{}, fmt.Errorf("reading Secret %s: %w", key, err)
	}
	missing := err != nil
	data, look, err := wanted(secret.Data)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("making Secret %s: %w", key, err)
	}
	if !missing && maps.EqualFunc(secret.Data, data, func(a, b []byte) bool { return string(a) == string(b) }) {
		return data, look, nil
	}
	before := secret.DeepCopy()
	secret.Data = data
	if missing {
		secret.ObjectMeta = metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Labels: map[string]string{"app.kubernetes.io/part-of": "fairlead"}}
		maps.Copy(secret.Labels, labels)
		secret.Type = corev1.SecretTypeOpaque
		err = s.client.Create(ctx, secret, client.FieldOwner(v1alpha1.FieldManager))
	} else {
		err = s.client.Patch(ctx, secret, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(v1alpha1.FieldManager))
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("writing Secret %s: %w", key, err)
	}
	return data, look, nil
}

// addServer serves the feed while this controller leads, with a certificate of
// its own that no other process ever has.
func (g *gateways) addServer(mgr manager.Manager, address string) error {
	log := mgr.GetLogger().WithName("xds")
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		identity := &pki.Identity{}
		var own map[string][]byte
		renew := func() (time.Time, error) {
			authority, look, err := g.authority(ctx)
			if err != nil {
				return time.Time{}, err
			}
			var next time.Time
			if own, next, err = pki.Leaf(own, authority, pki.Controller(g.fleet.XDSServerName()), g.Clock.Now(), rand.Reader, pki.DefaultRules()); err != nil {
				return time.Time{}, fmt.Errorf("making the xDS server's certificate: %w", err)
			}
			return earliest(look, next), identity.Set(own)
		}
		next := g.until(ctx, renew, func(err error) { log.Error(err, "There is no certificate for the xDS server yet") })
		if ctx.Err() != nil {
			return nil
		}
		go g.renewing(ctx, next, renew, func(err error) {
			log.Error(err, "The certificate of the xDS server was not looked at; it is tried again")
		})
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listening for Envoys: %w", err)
		}
		return g.feed.Serve(ctx, listener, identity.Server())
	}))
}

// retrySecrets is the wait between two attempts to read or write Secrets.
const retrySecrets = 2 * time.Second

// until tries again until it works, and gives back when to look again.
func (g *gateways) until(ctx context.Context, try func() (time.Time, error), failed func(error)) time.Time {
	for {
		next, err := try()
		if err == nil {
			return next
		}
		if ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			return time.Time{}
		case <-time.After(retrySecrets):
		}
	}
}

// renewing looks again when it is time.
func (g *gateways) renewing(ctx context.Context, next time.Time, try func() (time.Time, error), failed func(error)) {
	for {
		timer := time.NewTimer(max(next.Sub(g.Clock.Now()), time.Minute))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			next = g.until(ctx, try, failed)
		}
	}
}

// classOwner makes Kubernetes remove a fleet with its class, also while nobody
// else does.
func classOwner(class *gatewayv1.GatewayClass) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: gatewayv1.GroupVersion.String(), Kind: "GatewayClass", Name: class.Name, UID: class.UID}}
}

// fingerprint tells states of an object apart.
func fingerprint(o any) (string, error) {
	raw, err := json.Marshal(o)
	if err != nil {
		return "", fmt.Errorf("writing %T as JSON: %w", o, err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:12]), nil
}

// partial is an empty object of the same kind of which only the metadata is read.
func (g *gateways) partial(o client.Object) *metav1.PartialObjectMetadata {
	gvk, err := apiutil.GVKForObject(o, g.client.Scheme())
	if err != nil {
		panic(err) // a kind that Scheme does not have
	}
	p := &metav1.PartialObjectMetadata{}
	p.SetGroupVersionKind(gvk)
	return p
}
