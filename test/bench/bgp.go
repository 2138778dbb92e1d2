package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/routers"
	"github.com/fairlead/fairlead/test/testbed"
)

// Addresses that only a router's routes lead to.
const (
	routedIPv4 = "203.0.113.0/28"
	routedIPv6 = "2001:db8:113::/124"
)

const (
	bgpProbeEvery = 5 * time.Millisecond
	// bgpProbeTimeout is before a first packet that was lost is sent again.
	bgpProbeTimeout = 900 * time.Millisecond
	// late is an answer for which a packet was sent again.
	late = 200 * time.Millisecond
	// bgpHold is the shortest hold time that there is.
	bgpHold = 3 * time.Second
)

var (
	failoverAim = atMost(0.3) // seconds, 99th percentile
	addedAim    = atMost(50)  // milliseconds, 99th percentile
)

// routed is a scene whose addresses are announced to FRR on the testbed's router, with the client host behind it.
type routed struct {
	*bench
	frr *routers.FRR
	// watched: BFD watches the sessions.
	watched bool
}

// stageRouted sets the scene, and returns what clears it.
func (b *bench) stageRouted(ctx context.Context, s scene, bfd time.Duration, prefixes ...string) (r *routed, clear func() error, err error) {
	clearScene, err := b.stage(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	undo := []func() error{clearScene}
	clear = func() error {
		var errs []error
		for _, f := range slices.Backward(undo) {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	fail := func(err error) (*routed, func() error, error) { return nil, nil, errors.Join(err, clear()) }
	remove, err := b.lab.PutBehindRouter(ctx, prefixes...)
	if err != nil {
		return fail(err)
	}
	undo = append(undo, remove)
	dir, err := routers.Directory("frr")
	if err != nil {
		return fail(err)
	}
	start, stop := b.lab.On(testbed.Router)
	undo = append(undo, func() error { return os.RemoveAll(dir) }, func() error {
		stop()
		return nil
	})
	frr, err := routers.RunFRR(start, dir, lab.FRRConfig(bfd))
	if err != nil {
		return fail(err)
	}
	undo = append(undo, func() error { return b.clearBGP(ctx) }, frr.Kill)
	r = &routed{bench: b, frr: frr, watched: bfd > 0}
	if !s.both {
		if err := b.lab.Client.Delete(ctx, &v1alpha1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
			return fail(fmt.Errorf("removing the L2Advertisement: %w", err))
		}
	}
	if err := r.announce(ctx, bfd); err != nil {
		return fail(err)
	}
	return r, clear, nil
}

// announce makes the peer, with BFD at an interval (0: none), and an advertisement of the pool.
func (r *routed) announce(ctx context.Context, bfd time.Duration) error {
	peer := r.peer(namespace, lab.RouterV4)
	objects := []client.Object{peer, &v1alpha1.BGPAdvertisement{
		ObjectMeta: metav1.ObjectMeta{Name: namespace}, Spec: v1alpha1.BGPAdvertisementSpec{IPAddressPools: []string{namespace}},
	}}
	peer.Spec.Password = lab.BGPPassword
	if bfd > 0 {
		peer.Spec.BFDProfile = namespace
		objects = append(objects, lab.BFDProfile(namespace, bfd))
	}
	return r.lab.Apply(ctx, objects...)
}

func (b *bench) peer(name, address string) *v1alpha1.BGPPeer {
	p := lab.BGPPeer(name)
	p.Spec.PeerAddress, p.Spec.HoldTime, p.Spec.EnableGracefulRestart = address, &metav1.Duration{Duration: bgpHold}, true
	return p
}

func (b *bench) clearBGP(ctx context.Context) error {
	if ctx.Err() != nil { // interrupted: the cluster goes as a whole
		return nil
	}
	var errs []error
	for _, o := range []client.Object{&v1alpha1.BGPAdvertisement{}, &v1alpha1.BGPPeer{}, &v1alpha1.BFDProfile{}} {
		if err := b.lab.Client.DeleteAllOf(ctx, o); err != nil {
			errs = append(errs, fmt.Errorf("removing %T: %w", o, err))
		}
	}
	return errors.Join(errs...)
}

// spreadOver waits until the router sends packets for an address to so many nodes.
func (b *bench) spreadOver(ctx context.Context, a netip.Addr, n int) error {
	return awaitSlowly(ctx, 2*time.Minute, 100*time.Millisecond, fmt.Sprintf("%d next hops of %s", n, a), func(ctx context.Context) error {
		got, err := b.lab.NextHops(ctx, testbed.Router, a)
		if err == nil && got != n {
			err = fmt.Errorf("there are %d", got)
		}
		return err
	})
}

// serve creates a dual-stack Service and waits until it answers behind the router.
func (r *routed) serve(ctx context.Context) ([]netip.Addr, error) {
	if _, err := r.createServices(ctx, 0, 1, lab.DualStack); err != nil {
		return nil, err
	}
	addresses, err := r.lab.AwaitAddresses(ctx, namespace, serviceName(0), 2)
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		if _, err := r.lab.AwaitAnswer(ctx, testbed.Client, a, 80); err != nil {
			return nil, err
		}
	}
	return addresses, r.calm(ctx, addresses)
}

// calm waits until all nodes announce all addresses, and BFD sees them all: where a router takes nodes as they come, that
// begins after the session is established.
func (r *routed) calm(ctx context.Context, addresses []netip.Addr) error {
	for _, a := range addresses {
		if err := r.spreadOver(ctx, a, clusterNodes); err != nil {
			return err
		}
	}
	if !r.watched {
		return nil
	}
	return awaitSlowly(ctx, time.Minute, 100*time.Millisecond, "BFD to be up on the router", func(context.Context) error {
		var all []struct {
			Peer   string `json:"peer"`
			Status string `json:"status"`
		}
		if err := r.frr.Show("show bfd peers", &all); err != nil {
			return err
		}
		up := 0
		for _, p := range all {
			if p.Status == "up" {
				up++
			}
		}
		if up != clusterNodes || up != len(all) {
			return fmt.Errorf("it has %+v", all)
		}
		return nil
	})
}
