//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
)

// many creates n Services with 16 workers.
func (w *world) many(n int, edits ...func(*corev1.Service)) {
	w.Helper()
	var next atomic.Int64
	group, ctx := errgroup.WithContext(w.ctx)
	for range 16 {
		group.Go(func() error {
			for {
				i := next.Add(1)
				if i > int64(n) {
					return nil
				}
				if err := w.Client.Create(ctx, lab.LoadBalancer(w.namespace, fmt.Sprintf("s%d", i), "echo", edits...)); err != nil {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		w.Fatal(err)
	}
}

// census reads all Services of the world: which have an address, which wait.
func (w *world) census(ctx context.Context) (have map[netip.Addr]string, waiting []corev1.Service, err error) {
	var all corev1.ServiceList
	if err := w.Client.List(ctx, &all, client.InNamespace(w.namespace)); err != nil {
		return nil, nil, err
	}
	have = map[netip.Addr]string{}
	for _, s := range all.Items {
		got := lab.Addresses(&s)
		if len(got) == 0 {
			waiting = append(waiting, s)
		}
		for _, a := range got {
			if before, twice := have[a]; twice {
				w.Fatalf("%s is given to %s and to %s", a, before, s.Name)
			}
			have[a] = s.Name
		}
	}
	return have, waiting, nil
}

// A /24 is given out whole, and not more than it; what waits is served as soon
// as something is free.
func TestExhaustionAndRecovery(t *testing.T) {
	w := newWorld(t, "198.51.100.0/24")
	w.backend("echo", 1)
	w.many(260)
	w.await("256 Services with an address and 4 that say why not", func(ctx context.Context) error {
		have, waiting, err := w.census(ctx)
		if err != nil {
			return err
		}
		if len(have) != 256 || len(waiting) != 4 {
			return fmt.Errorf("%d have one, %d wait", len(have), len(waiting))
		}
		for _, s := range waiting {
			if !strings.Contains(messages(&s), "no free IPv4 address") {
				return fmt.Errorf("%s says %q", s.Name, messages(&s))
			}
		}
		return nil
	})
	w.await("the pool to say that it is exhausted", func(ctx context.Context) error {
		var p v1alpha1.IPAddressPool
		if err := w.Client.Get(ctx, client.ObjectKey{Name: w.pool}, &p); err != nil {
			return err
		}
		for _, c := range p.Status.Conditions {
			if c.Type == v1alpha1.PoolExhausted && c.Status == metav1.ConditionTrue && p.Status.AssignedIPv4 == 256 && p.Status.AvailableIPv4 == 0 {
				return nil
			}
		}
		return fmt.Errorf("its status is %+v", p.Status)
	})
	have, _, err := w.census(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	freed := 0
	for _, name := range have {
		if err := w.Client.Delete(w.ctx, lab.LoadBalancer(w.namespace, name, "echo")); err != nil {
			t.Fatal(err)
		}
		if freed++; freed == 4 {
			break
		}
	}
	w.await("those that waited to be served", func(ctx context.Context) error {
		have, waiting, err := w.census(ctx)
		if err == nil && (len(have) != 256 || len(waiting) != 0) {
			err = fmt.Errorf("%d have an address, %d wait", len(have), len(waiting))
		}
		return err
	})
}

func messages(s *corev1.Service) string {
	var all []string
	for _, c := range s.Status.Conditions {
		all = append(all, c.Message)
	}
	return strings.Join(all, " ")
}

// One node answers for 3,000 IPv6 addresses (the kernel limits how many
// solicited-node groups one socket may join). They are those of 300 Services that
// ask for 10 addresses each, since kube-proxy is slow with 3,000 Services. All nodes announce
// them to a router too.
func TestThousandsOfIPv6AddressesOnOneNode(t *testing.T) {
	const services, each = 300, 10
	w := newWorld(t)
	w.apply(w.ownPool(w.pool, "fd00:30::a:0/112"), w.advertisement(func(a *v1alpha1.L2Advertisement) {
		a.Spec.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelHostname: "node1"}}}
	}))
	f := w.frr()
	w.bgp()
	w.backend("echo", 1)
	next := mustAddr("fd00:30::a:1")
	for i := range services {
		var asked []string
		for range each {
			asked = append(asked, next.String())
			next = next.Next()
		}
		w.apply(lab.LoadBalancer(w.namespace, fmt.Sprintf("s%d", i), "echo", lab.IPv6Only,
			lab.Annotate(v1alpha1.AnnotationAddresses, strings.Join(asked, ","))))
	}
	err := lab.Await(w.ctx, 4*time.Minute, "the ledger to say that node1 announces all", func(ctx context.Context) error {
		var all v1alpha1.AddressList
		if err := w.Client.List(ctx, &all); err != nil {
			return err
		}
		announced := 0
		for _, a := range all.Items {
			if a.Spec.Pool == w.pool && a.Status.Layer2 != nil && a.Status.Layer2.Node == "node1" {
				announced++
			}
		}
		if announced != services*each {
			return fmt.Errorf("%d are announced", announced)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.await("FRR to have all from every node", func(context.Context) error {
		got, err := f.Received("ipv6")
		if err != nil {
			return err
		}
		if len(got) != len(w.Cluster.Nodes()) {
			return fmt.Errorf("it has sessions with %v", got)
		}
		for peer, n := range got {
			if n != services*each {
				return fmt.Errorf("%s has sent %d", peer, n)
			}
		}
		return nil
	})
	have, _, err := w.census(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(have) != services*each {
		t.Fatalf("the Services have %d addresses, want %d", len(have), services*each)
	}
	i := 0
	for a := range have {
		if i++; i%150 == 0 {
			w.oneAnswer(a)
			w.answers(a, 80)
		}
	}
}
