//go:build bench

package controllers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/apiserver"
	"github.com/fairlead/fairlead/test/cpu"
)

// The figures of the documentation, against the API server alone. Run with
//
//	go test -tags bench -run XXX -bench Throughput -benchtime 1x ./controllers

const benchWorkers = 16

// serverTime is the CPU time of the API server and its etcd so far. Unlike the
// time a clock shows, it hardly depends on what else the machine does.
func serverTime() time.Duration {
	var ticks int64
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		name, rest, ok := strings.Cut(string(raw), ") ")
		f := strings.Fields(rest)
		if !ok || len(f) < 13 || f[1] != strconv.Itoa(os.Getpid()) || (!strings.HasSuffix(name, "(kube-apiserver") && !strings.HasSuffix(name, "(etcd")) {
			continue
		}
		user, _ := strconv.ParseInt(f[11], 10, 64)
		system, _ := strconv.ParseInt(f[12], 10, 64)
		ticks += user + system
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// each runs f for 0..n-1 in some workers.
func each(n, workers int, f func(i int)) {
	next := make(chan int)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}

type benchWorld struct {
	*world
	b *testing.B
	// rawServer is the API server's CPU time of the last raw run.
	rawServer time.Duration
}

func newBench(b *testing.B) *benchWorld {
	b.Helper()
	if apiServer == nil {
		b.Skip(apiserver.Missing)
	}
	scheme, err := Scheme()
	if err != nil {
		b.Fatal(err)
	}
	c, err := client.New(Unlimited(apiServer), client.Options{Scheme: scheme})
	if err != nil {
		b.Fatal(err)
	}
	w := &benchWorld{world: &world{t: b, c: c, ns: fmt.Sprintf("test-%d", worlds.Add(1))}, b: b}
	w.namespace(w.ns, nil)
	b.Cleanup(w.empty)
	return w
}

func (w *benchWorld) create(n int) {
	each(n, benchWorkers, func(i int) {
		if err := w.c.Create(w.ctx(), w.newService(fmt.Sprintf("s%05d", i))); err != nil {
			w.b.Error(err)
		}
	})
}

// raw writes what n Services cost, without any logic: an Address, a status patch,
// an Event each. It gives how many Services a second the API server takes.
func (w *benchWorld) raw(n, workers int) float64 {
	w.create(n)
	began, server := time.Now(), serverTime()
	defer func() { w.rawServer = serverTime() - server }()
	each(n, workers, func(i int) {
		ctx, name := w.ctx(), fmt.Sprintf("s%05d", i)
		ip := fmt.Sprintf("10.200.%d.%d", i/256, i%256)
		a := &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: ip, Finalizers: []string{v1alpha1.AddressFinalizer}}, Spec: v1alpha1.AddressSpec{
			Address: ip, Pool: "public", State: v1alpha1.AddressBound, Summary: "Service " + w.ns + "/" + name,
			Holders: []v1alpha1.AddressHolder{{
				HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: w.ns, Name: name}, Since: metav1.Now(), State: v1alpha1.AddressBound,
				Ports: []v1alpha1.HolderPort{{Protocol: "TCP", Port: 80}}, Endpoints: name, ExternalTrafficPolicy: "Cluster",
			}},
		}}
		if err := w.c.Create(ctx, a); err != nil {
			w.b.Error(err)
		}
		patch := fmt.Sprintf(`{"status":{"loadBalancer":{"ingress":[{"ip":%q,"ipMode":"VIP"}]},"conditions":[{"type":"fairlead.dev/Address","status":"True","reason":"Assigned","message":"%s from pool public.","lastTransitionTime":%q}]}}`,
			ip, ip, time.Now().UTC().Format(time.RFC3339))
		answer := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
		if err := w.c.Status().Patch(ctx, answer, client.RawPatch(types.StrategicMergePatchType, []byte(patch)), client.FieldOwner("raw")); err != nil {
			w.b.Error(err)
		}
		e := &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name + ".raw"}, EventTime: metav1.NowMicro(), ReportingController: "raw", ReportingInstance: "raw",
			Action: "Assign", Reason: "AddressAssigned", Type: "Normal", Note: ip + " from pool public.",
			Regarding: corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: w.ns, Name: name},
		}
		if err := w.c.Create(ctx, e); err != nil {
			w.b.Error(err)
		}
	})
	return float64(n) / time.Since(began).Seconds()
}

// watch opens a watch of the Services. It is opened before anything is measured:
// the first one of a process takes its time.
func (w *benchWorld) watch() watch.Interface {
	c, err := client.NewWithWatch(apiServer, client.Options{Scheme: w.c.Scheme()})
	if err != nil {
		w.b.Fatal(err)
	}
	out, err := c.Watch(w.ctx(), &corev1.ServiceList{}, client.InNamespace(w.ns))
	if err != nil {
		w.b.Fatal(err)
	}
	return out
}

// lags watches until n Services show an address, and gives how long each took
// from before its create. The API server may end a watch at any time: then
// another one goes on.
func (w *benchWorld) lags(watching watch.Interface, n int, created *sync.Map) []time.Duration {
	seen := map[string]time.Time{}
	for {
		for e := range watching.ResultChan() {
			s, ok := e.Object.(*corev1.Service)
			if ok && len(s.Status.LoadBalancer.Ingress) > 0 && seen[s.Name].IsZero() {
				seen[s.Name] = time.Now()
			}
			if len(seen) == n {
				break
			}
		}
		watching.Stop()
		if len(seen) == n {
			break
		}
		watching = w.watch()
	}
	var out []time.Duration
	for name, at := range seen {
		if began, ok := created.Load(name); ok {
			out = append(out, at.Sub(began.(time.Time)))
		}
	}
	slices.Sort(out)
	return out
}

func BenchmarkThroughputRaw(b *testing.B) {
	w := newBench(b)
	const n = 1500
	for b.Loop() {
		b.ReportMetric(w.raw(n, 24), "services/s")
		b.ReportMetric(float64(w.rawServer.Microseconds())/n, "server-cpu-µs/service")
	}
}

func BenchmarkThroughputBacklog(b *testing.B) {
	w := newBench(b)
	w.pool("public", nil, "10.200.0.0/16")
	const n = 3000
	w.create(n)
	for b.Loop() {
		done, watching := make(chan []time.Duration), w.watch()
		go func() { done <- w.lags(watching, n, &sync.Map{}) }()
		if path := os.Getenv("FAIRLEAD_PROFILE"); path != "" {
			f, err := os.Create(path)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			if err := pprof.StartCPUProfile(f); err != nil {
				b.Fatal(err)
			}
			defer pprof.StopCPUProfile()
		}
		spent, server, began := cpu.Used(b), serverTime(), time.Now()
		r := w.start(asInstalled)
		<-done
		took := time.Since(began)
		b.ReportMetric(n/took.Seconds(), "services/s")
		b.ReportMetric(float64((cpu.Used(b)-spent).Microseconds())/n, "cpu-µs/service")
		w.eventually("all Events are written", func() error {
			if left := len(r.shell.events.queue); left > 0 {
				return fmt.Errorf("%d are left", left)
			}
			return nil
		})
		b.ReportMetric(n/time.Since(began).Seconds(), "services-with-events/s")
		b.ReportMetric(float64((serverTime()-server).Microseconds())/n, "server-cpu-µs/service")
	}
}

func BenchmarkThroughputLag(b *testing.B) {
	w := newBench(b)
	w.pool("public", nil, "10.200.0.0/16")
	r := w.start(asInstalled)
	w.recovered(r)
	const n = 1000
	for b.Loop() {
		var created sync.Map
		done, watching := make(chan []time.Duration), w.watch()
		go func() { done <- w.lags(watching, n, &created) }()
		each(n, benchWorkers, func(i int) {
			name := fmt.Sprintf("s%05d", i)
			created.Store(name, time.Now())
			if err := w.c.Create(context.Background(), w.newService(name)); err != nil {
				b.Error(err)
			}
		})
		lags := <-done
		b.ReportMetric(float64(lags[len(lags)/2].Milliseconds()), "p50-ms")
		b.ReportMetric(float64(lags[len(lags)*99/100].Milliseconds()), "p99-ms")
	}
}

// asInstalled undoes what tests set to be fast.
func asInstalled(o *Options, _ *manager.Options) { o.PoolStatusEvery, o.Settle = 0, 0 }
