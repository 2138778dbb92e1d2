package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/test/chart"
	"github.com/fairlead/fairlead/test/lab"
)

// onUsersCluster is the demo on a cluster of the user's. It takes only
// addresses that it is given, and only Services of class fairlead.dev/lb, so
// that a load-balancer controller that is there is not disturbed.
func (o options) onUsersCluster(ctx context.Context, kubeconfig string) error {
	if o.addresses == "" {
		return fmt.Errorf("KUBECONFIG is set (%s), so the demo runs on that cluster and needs free addresses of its network: "+
			"set DEMO_ADDRESSES=192.0.2.100-192.0.2.120 (or unset KUBECONFIG for a cluster on this machine)", kubeconfig)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("reading KUBECONFIG=%s: %w", kubeconfig, err)
	}
	scheme, err := lab.Scheme()
	if err != nil {
		return err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("making a client of KUBECONFIG=%s: %w", kubeconfig, err)
	}
	l := &lab.Lab{Client: c, Config: config}
	s := steps{of: 3}
	if err := s.step("fairlead", "chart", func() (string, error) {
		release, err := l.Release()
		if err != nil {
			return "", err
		}
		values := chart.Values{"services": chart.Values{"defaultClass": false}}
		if o.version != "" {
			values["image"] = chart.Values{"tag": o.version}
		}
		return "Ready", release.Apply(ctx, chart.Dir(), values, 5*time.Minute)
	}); err != nil {
		return err
	}
	e := examplesFor(strings.Split(o.addresses, ",")...).ofOurClass()
	if e.gateway = servesGateways(c); !e.gateway {
		fmt.Println("      There is no Gateway in this demo: the cluster has no CRDs of the Gateway API, or not those of v1.7. Services do not need them.")
	}
	if err := s.step("examples", e.summary(), func() (string, error) { return "ok", e.apply(ctx, l.Apply, awaitReplicas(c)) }); err != nil {
		return err
	}
	return s.step("from here", "by ARP and NDP, if this machine is on the cluster's network:", func() (string, error) {
		return e.dialAll(ctx, l)
	})
}

func (e examples) ofOurClass() examples {
	class := "fairlead.dev/lb"
	var kept []example
	for _, x := range e.services {
		if x.n > 1 && len(e.ranges) < 2 {
			continue // there is no second family to show
		}
		x.service.Spec.LoadBalancerClass = &class
		kept = append(kept, x)
	}
	e.services = kept
	return e
}

func awaitReplicas(c client.Client) func(ctx context.Context, namespace, name string) error {
	return func(ctx context.Context, namespace, name string) error {
		return lab.Await(ctx, 5*time.Minute, "pods of "+name, func(ctx context.Context) error {
			var d appsv1.Deployment
			if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &d); err != nil {
				return err
			}
			if d.Status.ReadyReplicas < 1 {
				return errors.New("none is ready")
			}
			return nil
		})
	}
}

func (e examples) dialAll(ctx context.Context, l *lab.Lab) (string, error) {
	for _, x := range e.services {
		addresses, err := l.AwaitAddresses(ctx, namespace, x.service.Name, x.n)
		if err != nil {
			return "", err
		}
		for _, a := range addresses {
			target, verdict := dialOne(ctx, a, int(x.service.Spec.Ports[0].Port))
			fmt.Printf("      service %s/%-12s %-40s %s\n", namespace, x.service.Name, target, verdict)
		}
	}
	return "kubectl get addresses", e.dialGateway(ctx, l)
}

// dialGateway does the same with the listeners of the Gateway.
func (e examples) dialGateway(ctx context.Context, l *lab.Lab) error {
	if !e.gateway {
		return nil
	}
	addresses, err := awaitGateway(ctx, l.Client)
	if err != nil {
		return err
	}
	for _, d := range doors() {
		for _, a := range addresses {
			target, verdict := dialOne(ctx, a, int(d.listener.Port))
			fmt.Printf("      gateway %s/%-12s %-40s %s\n", namespace, web, target, verdict)
		}
	}
	return nil
}

// dialOne says whether an address takes a connection.
func dialOne(ctx context.Context, a netip.Addr, port int) (target, verdict string) {
	target = net.JoinHostPort(a.String(), strconv.Itoa(port))
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", target)
	if err != nil {
		return target, err.Error()
	}
	conn.Close()
	return target, "answers"
}

// leaveUsersCluster removes what onUsersCluster made.
func (o options) leaveUsersCluster(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("reading KUBECONFIG=%s: %w", kubeconfig, err)
	}
	scheme, err := lab.Scheme()
	if err != nil {
		return err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("making a client of KUBECONFIG=%s: %w", kubeconfig, err)
	}
	for _, o := range []client.Object{lab.MakeNamespace(namespace), lab.Pool("demo"), lab.Everywhere()} {
		if err := client.IgnoreNotFound(c.Delete(ctx, o)); err != nil {
			return fmt.Errorf("removing %s: %w", o.GetName(), err)
		}
	}
	if err := removeClass(ctx, c); err != nil {
		return err
	}
	release, err := (&lab.Lab{Config: config}).Release()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "removed the examples; removing the chart")
	return release.Uninstall(time.Minute)
}

// removeClass removes the GatewayClass, and waits until the controller has let go
// of it: nobody else would.
func removeClass(ctx context.Context, c client.Client) error {
	if !servesGateways(c) {
		return nil
	}
	o := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: class}}
	if err := client.IgnoreNotFound(c.Delete(ctx, o)); err != nil {
		return fmt.Errorf("removing GatewayClass %s: %w", class, err)
	}
	return lab.Await(ctx, time.Minute, "GatewayClass "+class+" to be gone", func(ctx context.Context) error {
		err := c.Get(ctx, client.ObjectKeyFromObject(o), o)
		if err == nil {
			return errors.New("it is still there")
		}
		return client.IgnoreNotFound(err)
	})
}
