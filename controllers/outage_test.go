package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// outage takes the caches' watches of a kind away for so long that the API server no
// longer knows what they have missed: they have to list anew.
type outage struct {
	next http.RoundTripper

	mu     sync.Mutex
	plural string
	// ended is closed at the end of an outage; nil: there is none.
	ended  chan struct{}
	missed int
	cancel map[*http.Request]context.CancelFunc
}

// on has the caches of a controller suffer the outage.
func (o *outage) on(_ *Options, m *manager.Options) {
	next := m.NewCache
	m.NewCache = func(cfg *rest.Config, opts cache.Options) (cache.Cache, error) {
		cfg, opts.HTTPClient = rest.CopyConfig(cfg), nil
		cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper {
			o.next = rt
			return o
		})
		return next(cfg, opts)
	}
}

// begin ends the watches of a kind, and waits until they are missed.
func (o *outage) begin(w *world, plural string) (end func()) {
	w.t.Helper()
	o.mu.Lock()
	ended := make(chan struct{})
	o.plural, o.ended, o.missed = plural, ended, 0
	for r, cancel := range o.cancel {
		if strings.HasSuffix(r.URL.Path, "/"+plural) {
			cancel()
		}
	}
	o.mu.Unlock()
	w.eventually("the watch of "+plural+" is missed", func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.missed == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.ended = nil
		close(ended)
	}
}

// RoundTrip implements http.RoundTripper.
func (o *outage) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("watch") == "" {
		return o.next.RoundTrip(r)
	}
	o.mu.Lock()
	if ended := o.ended; ended != nil && strings.HasSuffix(r.URL.Path, "/"+o.plural) {
		o.missed++
		o.mu.Unlock()
		select {
		case <-ended:
			return expired(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	ctx, cancel := context.WithCancel(r.Context())
	if o.cancel == nil {
		o.cancel = map[*http.Request]context.CancelFunc{}
	}
	o.cancel[r] = cancel
	o.mu.Unlock()
	return o.next.RoundTrip(r.WithContext(ctx))
}

// expired is the API server's answer to who has missed too much.
func expired(r *http.Request) (*http.Response, error) {
	status := apierrors.NewResourceExpired("too old resource version").Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	body, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: "410 Gone", StatusCode: http.StatusGone, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

// What is deleted and made anew while the API server cannot be watched is an update for
// those who watch, and its generation is that of the old one.
func TestWhatIsMadeAnewWhileTheWatchIsDownIsSeen(t *testing.T) {
	w := newWorld(t)
	old := w.pool("public", nil, "192.0.2.0/29")
	w.node("node1", nil)
	tor := w.newPeer("tor", "198.51.100.1")
	all := &v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "all"}}
	w.create(all)
	o := &outage{}
	r := w.start(o.on, func(o *Options, _ *manager.Options) { o.Settle = 30 * time.Millisecond })
	w.service("a")
	w.has("a", "192.0.2.0")
	w.isSaid(tor, v1alpha1.PeerReady, metav1.ConditionTrue, "InUse", "")
	w.isSaid(all, v1alpha1.AdvertisementReady, metav1.ConditionTrue, "InUse", "")
	w.settled(r)

	end := o.begin(w, "bgppeers")
	w.remove(tor)
	tor = w.newPeer("tor", "198.51.100.2", func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "nowhere" })
	end()
	w.isSaid(tor, v1alpha1.PeerReady, metav1.ConditionFalse, string(announcer.ProfileNotFound), "nowhere")

	end = o.begin(w, "bgpadvertisements")
	w.remove(all)
	all = &v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1alpha1.BGPAdvertisementSpec{IPAddressPools: []string{"nowhere"}}}
	w.create(all)
	end()
	w.eventually("the new advertisement says something", func() error {
		list, err := w.conditionsOf(all)
		if err == nil && meta.FindStatusCondition(list, v1alpha1.AdvertisementReady) == nil {
			err = errors.New("it says nothing")
		}
		return err
	})

	end = o.begin(w, "ipaddresspools")
	w.remove(old)
	w.pool("public", nil, "192.0.2.64/28")
	end()
	w.eventually("the address that was given lies in no pool", func() error {
		c := meta.FindStatusCondition(w.address("192.0.2.0").Status.Conditions, v1alpha1.AddressInPool)
		if c == nil || c.Status != metav1.ConditionFalse {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
	w.service("b")
	w.has("b", "192.0.2.64")
}
