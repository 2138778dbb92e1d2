package split

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
	"github.com/fairlead/fairlead/gateway/xds/envoytest"
)

// many is a Gateway with hosts that each have a rule and a backend of their own.
type many struct {
	model *gateway.Model
	r     xds.Resources
	pods  map[gateway.Name]netip.AddrPort
}

func hostname(i int) string { return templates["counted"](i) }

func newMany(t testing.TB, n int) *many {
	m := &many{model: &gateway.Model{Gateway: gateway.Name{Namespace: "test", Name: "gw"}}, pods: map[gateway.Name]netip.AddrPort{}}
	one := pod(t)
	table := &gateway.Table{Name: "http-80"}
	for i := range n {
		service := gateway.Name{Namespace: "test", Name: fmt.Sprintf("s%05d", i)}
		m.pods[service] = one
		m.model.Backends = append(m.model.Backends, gateway.Backend{ID: backendID(i), Service: service, Port: 80, Protocol: gateway.ProtocolHTTP})
		table.Hosts = append(table.Hosts, served(i, "/v0"))
	}
	slices.SortFunc(table.Hosts, func(a, b *gateway.Host) int { return strings.Compare(a.Hostname, b.Hostname) })
	m.model.Ports = []gateway.Port{{Number: 80, Transport: gateway.TCP, HTTP: table}}
	m.r = xds.Encode(m.model, envoytest.AnyPort, xds.Settings{})
	return m
}

func backendID(i int) string { return fmt.Sprintf("test/s%05d/http", i) }

// served is host i, which serves one path.
func served(i int, path string) *gateway.Host {
	return &gateway.Host{Hostname: hostname(i), Rules: []*gateway.Rule{{
		Origin:   gateway.Origin{Kind: "HTTPRoute", Name: gateway.Name{Namespace: "test", Name: fmt.Sprintf("r%05d", i)}},
		Match:    gateway.Match{Path: gateway.PathPrefix, Value: path},
		Backends: []gateway.Destination{{Backend: backendID(i), Weight: 1}},
	}}}
}

// change has host i serve another path.
func (m *many) change(i int, path string) {
	next := *m.model
	table := *next.Ports[0].HTTP
	table.Hosts = slices.Clone(table.Hosts)
	at := slices.IndexFunc(table.Hosts, func(h *gateway.Host) bool { return h.Hostname == hostname(i) })
	table.Hosts[at] = served(i, path)
	next.Ports = []gateway.Port{{Number: 80, Transport: gateway.TCP, HTTP: &table}}
	m.model, m.r = &next, xds.Update(m.r, &next, envoytest.AnyPort, xds.Settings{})
}

// BenchmarkChange changes one virtual host, in every design in turn: once under
// requests, for the time from the response being sent to the first answer by it, and
// once without any, for Envoy's CPU.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{100, 1000, 3000, 5000} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			envoytest.Binary(b)
			m := newMany(b, n)
			var trials []*trial
			for _, d := range designs {
				trials = append(trials, newTrial(b, d, m))
			}
			b.ResetTimer()
			i := 0
			for b.Loop() {
				i++
				host, path := rand.IntN(n), "/v"+strconv.Itoa(2*i)
				m.change(host, path)
				for j := range trials {
					trials[(i+j)%len(trials)].seen(b, m, host, path)
				}
				m.change(host, "/v"+strconv.Itoa(2*i+1))
				for j := range trials {
					trials[(i+j)%len(trials)].unseen(b, m, host)
				}
			}
			b.StopTimer()
			b.ReportMetric(0, "ns/op")
			for _, t := range trials {
				t.report(b)
			}
		})
	}
}

// trial is a rig and what was measured on it.
type trial struct {
	*rig
	client *client
	times  []time.Duration
	bytes  int
	// used is the CPU of changes without requests, and since where the last one began.
	used, since time.Duration
	quiet       int
}

func newTrial(b *testing.B, d design, m *many) *trial {
	t := &trial{rig: newRig(b, d, m.r, m.pods)}
	t.client = dial(b, t.address())
	t.envoy.Await("the first answer", func() error {
		status, _, err := t.client.get(hostname(0), "/v0")
		if err == nil && status != 200 {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
	return t
}

// settle ends the account of the last quiet change: what Envoy did after it had
// acknowledged it is of that change too.
func (t *trial) settle(b *testing.B) {
	if t.since != 0 {
		t.used += cpu(b, t.envoy.PID()) - t.since
		t.quiet++
		t.since = 0
	}
}

func (t *trial) seen(b *testing.B, m *many, host int, path string) {
	t.settle(b)
	name := hostname(host)
	change := t.encode(b, m.r.Routes[tableName], name, path)
	start := time.Now()
	size, acked := t.push(change)
	t.bytes += size
	for {
		status, _, err := t.client.get(name, path)
		if err != nil {
			b.Fatal(err)
		}
		if status == 200 {
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	t.times = append(t.times, time.Since(start))
	<-acked
}

func (t *trial) unseen(b *testing.B, m *many, host int) {
	change := t.encode(b, m.r.Routes[tableName], hostname(host), fmt.Sprint("quiet", len(t.times)))
	t.since = cpu(b, t.envoy.PID())
	_, acked := t.push(change)
	<-acked
}

func (t *trial) report(b *testing.B) {
	t.settle(b)
	slices.Sort(t.times)
	var sum time.Duration
	for _, d := range t.times {
		sum += d
	}
	n := len(t.times)
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	b.ReportMetric(ms(sum)/float64(n), t.String()+":mean-ms")
	b.ReportMetric(ms(t.times[(n*99-1)/100]), t.String()+":p99-ms")
	b.ReportMetric(ms(t.used)/float64(t.quiet), t.String()+":cpu-ms")
	b.ReportMetric(float64(t.bytes)/float64(n)/1000, t.String()+":kB")
	b.ReportMetric(float64(rss(b, t.envoy.PID()))/(1<<20), t.String()+":RSS-MiB")
}

// BenchmarkRequests is what a request costs in each design, in turn: an iteration is a
// while of requests over kept connections with HTTP/1.1.
func BenchmarkRequests(b *testing.B) {
	envoytest.Binary(b)
	const hosts, while = 1000, 500 * time.Millisecond
	m := newMany(b, hosts)
	var loads []*load
	for _, d := range designs {
		l := &load{trial: newTrial(b, d, m)}
		for range 8 {
			l.clients = append(l.clients, dial(b, l.address()))
		}
		l.run(b, hosts, while)
		l.rates, l.costs = nil, nil // it was to warm up
		loads = append(loads, l)
	}
	b.ResetTimer()
	i := 0
	for b.Loop() {
		i++
		for j := range loads {
			loads[(i+j)%len(loads)].run(b, hosts, while)
		}
	}
	b.StopTimer()
	b.ReportMetric(0, "ns/op")
	for _, l := range loads {
		l.report(b, loads[0])
	}
}

type load struct {
	*trial
	clients []*client
	rates   []float64 // requests per second
	costs   []float64 // microseconds of Envoy's CPU per request
}

func (l *load) run(b *testing.B, hosts int, while time.Duration) {
	var done atomic.Int64
	var all sync.WaitGroup
	before, start := cpu(b, l.envoy.PID()), time.Now()
	end := start.Add(while)
	for _, c := range l.clients {
		all.Go(func() {
			for time.Now().Before(end) {
				if status, _, err := c.get(hostname(rand.IntN(hosts)), "/v0"); err != nil || status != 200 {
					b.Errorf("status %d, %v", status, err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	n := float64(done.Load())
	l.rates = append(l.rates, n/time.Since(start).Seconds())
	l.costs = append(l.costs, (cpu(b, l.envoy.PID())-before).Seconds()*1e6/n)
}

// report compares each while with that of the first design beside it.
func (l *load) report(b *testing.B, first *load) {
	rate, _ := meanOf(l.rates, nil)
	cost, _ := meanOf(l.costs, nil)
	b.ReportMetric(rate, l.String()+":requests/s")
	b.ReportMetric(cost, l.String()+":us-cpu/request")
	if l == first {
		return
	}
	rate, spread := meanOf(l.rates, first.rates)
	b.ReportMetric(rate*100, l.String()+":rate-%")
	b.ReportMetric(spread*100, l.String()+":rate-sd-%")
	cost, spread = meanOf(l.costs, first.costs)
	b.ReportMetric(cost*100, l.String()+":cpu-%")
	b.ReportMetric(spread*100, l.String()+":cpu-sd-%")
}

// meanOf is the mean and the standard deviation of figures, or of their ratios to
// others.
func meanOf(list, to []float64) (mean, deviation float64) {
	list = slices.Clone(list)
	for i := range to {
		list[i] /= to[i]
	}
	for _, v := range list {
		mean += v / float64(len(list))
	}
	for _, v := range list {
		deviation += (v - mean) * (v - mean) / float64(max(len(list)-1, 1))
	}
	return mean, math.Sqrt(deviation)
}
