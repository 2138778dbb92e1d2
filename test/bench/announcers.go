package main

import (
	"context"
	"errors"
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
		home, err := b.answering(ctx, all[i].addresses[0])
		if err != nil {
			return nil, err
		}
		all[i].home = home
	}
	return all, b.awaitHomes(ctx, all)
}

// answering is the one node that answers for an address on the wire, which is
// what counts; the ledger follows.
func (b *bench) answering(ctx context.Context, a netip.Addr) (string, error) {
	macs, err := b.whoHas(ctx, a)
	if err != nil {
		return "", err
	}
	if len(macs) != 1 {
		return "", fmt.Errorf("for %s these answer: %v", a, macs)
	}
	nodes, err := b.hardwareAddresses(ctx)
	if err != nil {
		return "", err
	}
	for node, mac := range nodes {
		if mac == macs[0] {
			return node, nil
		}
	}
	return "", fmt.Errorf("for %s %s answers, which is no node", a, macs[0])
}

// awaitHomes waits until the home of every address answers for it, and nobody
// else: then all nodes have settled.
func (b *bench) awaitHomes(ctx context.Context, all []target) error {
	return awaitSlowly(ctx, 2*time.Minute, time.Second, "all addresses to be at home again", func(ctx context.Context) error {
		for _, t := range all {
			for _, a := range t.addresses {
				node, err := b.answering(ctx, a)
				if err != nil {
					return err
				}
				if node != t.home {
					return fmt.Errorf("%s answers for %s, whose home is %s", node, a, t.home)
				}
			}
		}
		return nil
	})
}

// ledgerWait is how long the ledger may be behind the wire.
const ledgerWait = 15 * time.Second

// misled counts the addresses whose ledger entry does not name the node that
// answers, all being at home.
func (b *bench) misled(ctx context.Context, all []target) (int, error) {
	count, example := 0, ""
	err := awaitSlowly(ctx, ledgerWait, time.Second, "the ledger to follow", func(ctx context.Context) error {
		count = 0
		for _, t := range all {
			for _, a := range t.addresses {
				node, err := b.announcer(ctx, a)
				if err != nil || node != t.home {
					count++
					example = fmt.Sprintf("%s is answered for by %s, the ledger says %q (%v)", a, t.home, node, err)
				}
			}
		}
		if count > 0 {
			return errors.New(example)
		}
		return nil
	})
	if ctx.Err() != nil {
		return count, ctx.Err()
	}
	if err != nil {
		b.say("the ledger is wrong about %d addresses: %s", count, example)
	}
	return count, nil
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

// awaitMoved waits until another node than before answers for all addresses of a
// target.
func (b *bench) awaitMoved(ctx context.Context, t target) error {
	return lab.Await(ctx, time.Minute, fmt.Sprintf("%s to leave %s", t.name, t.home), func(ctx context.Context) error {
		for _, a := range t.addresses {
			node, err := b.answering(ctx, a)
			if err != nil {
				return err
			}
			if node == t.home {
				return fmt.Errorf("%s is still there", a)
			}
		}
		return nil
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
		// Not from /sys, which shows another network namespace's interfaces.
		out, err := b.cluster.Exec(ctx, n, "ip", "-brief", "link", "show", "dev", "eth0")
		if err != nil {
			return nil, fmt.Errorf("asking for the hardware address of %s: %w", n, err)
		}
		fields := strings.Fields(out) // eth0@if7 UP 02:00:5e:10:00:01 <flags>
		if len(fields) < 3 {
			return nil, fmt.Errorf("asking for the hardware address of %s: %q names none", n, out)
		}
		macs[n] = fields[2]
	}
	return macs, nil
}
