package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// settle is longer than the chart lets a node that came back wait before it
// takes addresses again (values speaker.settle and speaker.seatGrace).
const settle = 25 * time.Second

// target is a dual-stack Service whose addresses a client asks for.
type target struct {
	name      string
	addresses []netip.Addr // IPv4, IPv6
	home      string       // the node that announces it while all is well
}

// targets creates dual-stack Services and waits until all answer and stay where
// they are.
func (b *bench) targets(ctx context.Context, n int) ([]target, error) {
	if _, err := b.createServices(ctx, 0, n, lab.DualStack); err != nil {
		return nil, err
	}
	var all []target
	for i := range n {
		addresses, err := b.lab.AwaitAddresses(ctx, namespace, serviceName(i), 2)
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			if _, err := b.lab.AwaitAnswer(ctx, testbed.Client, a, 80); err != nil {
				return nil, err
			}
		}
		all = append(all, target{name: serviceName(i), addresses: addresses})
	}
	// Where the Services are before all nodes have settled is not their home.
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	for i := range all {
		home, err := b.announcer(ctx, all[i].addresses[0])
		if err != nil {
			return nil, err
		}
		all[i].home = home
	}
	return all, b.awaitHomes(ctx, all)
}

// announcer is the node that the ledger says announces an address.
func (b *bench) announcer(ctx context.Context, a netip.Addr) (string, error) {
	var o v1alpha1.Address
	if err := b.lab.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.AddressName(a)}, &o); err != nil {
		return "", fmt.Errorf("reading Address %s: %w", a, err)
	}
	if o.Status.Layer2 == nil || o.Status.Layer2.Node == "" {
		return "", fmt.Errorf("nobody announces %s: %+v", a, o.Status)
	}
	return o.Status.Layer2.Node, nil
}

// awaitHomes waits until every address is announced from its home, by the ledger
// and on the wire, and by nobody else: then all nodes have settled.
func (b *bench) awaitHomes(ctx context.Context, all []target) error {
	macs, err := b.hardwareAddresses(ctx)
	if err != nil {
		return err
	}
	return lab.Await(ctx, 3*time.Minute, "all addresses to be at home again", func(ctx context.Context) error {
		for _, t := range all {
			for _, a := range t.addresses {
				node, err := b.announcer(ctx, a)
				if err != nil {
					return err
				}
				answering, err := b.whoHas(ctx, a)
				if err != nil {
					return err
				}
				if node != t.home || len(answering) != 1 || answering[0] != macs[t.home] {
					return fmt.Errorf("%s is announced by %s, answered for by %v; its home is %s, %s", a, node, answering, t.home, macs[t.home])
				}
			}
		}
		return nil
	})
}

// awaitMoved waits until the ledger says that another node announces an address.
func (b *bench) awaitMoved(ctx context.Context, a netip.Addr, from string) error {
	return lab.Await(ctx, time.Minute, fmt.Sprintf("%s to leave %s", a, from), func(ctx context.Context) error {
		now, err := b.announcer(ctx, a)
		if err == nil && now == from {
			err = fmt.Errorf("it is still there")
		}
		return err
	})
}

// whoHas are the hardware addresses that answer the client host for an address.
func (b *bench) whoHas(ctx context.Context, a netip.Addr) (macs []string, err error) {
	err = b.cluster.InNamespace(testbed.Client, func() error {
		macs, err = lab.WhoHas(ctx, "eth0", a)
		return err
	})
	return macs, err
}

// hardwareAddresses are those of the nodes on the segment.
func (b *bench) hardwareAddresses(ctx context.Context) (map[string]string, error) {
	macs := map[string]string{}
	for _, n := range b.cluster.Nodes() {
		out, err := b.cluster.Exec(ctx, n, "cat", "/sys/class/net/eth0/address")
		if err != nil {
			out, err = b.cluster.Exec(ctx, n, "sh", "-c", "ip -brief link show eth0 | awk '{print $3}'")
		}
		if err != nil {
			return nil, fmt.Errorf("asking for the hardware address of %s: %w", n, err)
		}
		macs[n] = strings.TrimSpace(out)
	}
	return macs, nil
}
