//go:build bench

package controllers

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/test/cpu"
)

// BenchmarkNewRoute is an HTTPRoute that comes, with a hostname of its own, among many on
// one Gateway: the whole controller, against an API server and one Envoy that takes all.
// It tells the CPU of this process, in which that Envoy and the client that creates the
// route are too, less what it uses at rest; and how often each controller looked and wrote.
// With FAIRLEAD_PROFILE it writes a profile of the changes. Run with
//
//	go test -tags bench -run XXX -bench NewRoute -benchtime 60x ./controllers
func BenchmarkNewRoute(b *testing.B) {
	for _, n := range []int{20, 1000, 5000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) { benchmarkNewRoute(b, n) })
	}
}

// routePace is the wait after each new route: what it has to do is over then.
const routePace = 40 * time.Millisecond

func benchmarkNewRoute(b *testing.B, n int) {
	w := newBench(b)
	w.pool("public", nil, "192.0.2.0/29")
	serve, address := w.withGateways()
	r := w.start(serve, asInstalled)
	class := w.class()
	w.world.create(w.newGateway("web", class), backendIn(w.ns))
	each(n, benchWorkers, func(i int) { w.world.create(w.numbered(i)) })
	id := fleet.ID{Class: class}
	w.fleetPod(id, "envoy-1", "node1", "10.0.0.7")
	w.envoy(address, id, "envoy-1")
	gw := w.says("web", gatewayv1.GatewayConditionAccepted, metav1.ConditionTrue, gatewayv1.GatewayReasonAccepted)
	w.eventually("the Gateway has an address", func() error {
		if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(gw), gw); err != nil || len(gw.Status.Addresses) == 0 {
			return fmt.Errorf("it has none: %w", err)
		}
		return nil
	})
	w.announce(netip.MustParseAddr(gw.Status.Addresses[0].Value))
	w.says("web", gatewayv1.GatewayConditionProgrammed, metav1.ConditionTrue, gatewayv1.GatewayReasonProgrammed)
	w.attached(n)
	w.answered(n)
	time.Sleep(5 * time.Second) // what comes of all these routes is over

	began, start := cpu.Used(b), time.Now()
	time.Sleep(10 * time.Second)
	idle := (cpu.Used(b) - began).Seconds() / time.Since(start).Seconds()

	profile(b, n)
	looks, writes := reconciles(b), r.total()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, start = cpu.Used(b), time.Now()
	i := n
	for b.Loop() {
		w.world.create(w.numbered(i))
		i++
		time.Sleep(routePace)
	}
	used := (cpu.Used(b) - began).Seconds() - idle*time.Since(start).Seconds()
	b.ReportMetric(1000*used/float64(b.N), "cpu-ms/op")
	runtime.ReadMemStats(&after)
	b.ReportMetric(1000*idle, "idle-millicores")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/1000/float64(b.N), "alloc-kB/op")
	b.ReportMetric(float64(after.HeapSys-after.HeapReleased)/(1<<20), "heap-MiB")
	b.ReportMetric(float64(r.total()-writes)/float64(b.N), "writes/op")
	for name, count := range reconciles(b) {
		if more := count - looks[name]; more*10 > float64(b.N) {
			b.ReportMetric(more/float64(b.N), name+"/op")
		}
	}
	w.attached(i)
}

// profile writes profiles of what follows, if one is asked for.
func profile(b *testing.B, n int) {
	b.Helper()
	path := os.Getenv("FAIRLEAD_PROFILE")
	if path == "" {
		return
	}
	allocs := func(when string) {
		f, err := os.Create(fmt.Sprintf("%s.%d.allocs.%s", path, n, when))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		if err := pprof.Lookup("allocs").WriteTo(f, 0); err != nil {
			b.Fatal(err)
		}
	}
	allocs("before")
	f, err := os.Create(fmt.Sprintf("%s.%d.cpu", path, n))
	if err != nil {
		b.Fatal(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		pprof.StopCPUProfile()
		f.Close()
		allocs("after")
	})
}

// numbered is a route with a hostname of its own.
func (w *world) numbered(i int) *gatewayv1.HTTPRoute {
	r := w.newRoute(fmt.Sprintf("r%05d", i), "web", "s")
	r.Spec.Hostnames = []gatewayv1.Hostname{gatewayv1.Hostname(fmt.Sprintf("host%d.example.com", i))}
	return r
}

// attached waits until a Gateway says how many routes it has.
func (w *world) attached(n int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d routes are attached", n), func() error {
		gw := &gatewayv1.Gateway{}
		if err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: "web"}, gw); err != nil {
			return err
		}
		if got := gw.Status.Listeners[0].AttachedRoutes; int(got) != n {
			return fmt.Errorf("%d are", got)
		}
		return nil
	})
}

// answered waits until all routes are.
func (w *world) answered(n int) {
	w.t.Helper()
	i := 0
	w.eventually("all routes are answered", func() error {
		for ; i < n; i++ {
			o := w.numbered(i)
			if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(o), o); err != nil || len(o.Status.Parents) == 0 {
				return fmt.Errorf("route %d is not: %w", i, err)
			}
		}
		return nil
	})
}

// total is how many requests that change something were made.
func (r *requests) total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := 0
	for _, n := range r.made {
		sum += n
	}
	return sum
}

// backendIn is the Service behind all routes.
func backendIn(namespace string) *corev1.Service {
	s := serviceOf("s")
	s.Namespace = namespace
	return s
}
