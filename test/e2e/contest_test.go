//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/rivals"
	"github.com/fairlead/fairlead/test/testbed"
)

// fight is a Service with rivals that write into it, and what must come of it.
type fight struct {
	name   string
	rivals []rivals.Rival
	change []func(*corev1.Service)
	// reason is that of the condition Contested; empty: there is no contest.
	reason string
	// unserved is set where the rival takes the address out of the status, by
	// which kube-proxy goes: then it is announced, but connections come to
	// nothing while the rival's entry stands.
	unserved bool
	// remade is set where the rival deletes the Service.
	remade bool
	// most is how many writes of the status are ours.
	most int

	address netip.Addr
	node    string
	uid     types.UID
}

// fightFor is how long the rivals work: at our pace that is the first, free
// correction and those after 2, 6 and 14 seconds.
const fightFor = 15 * time.Second

// Other controllers as they are met in the wild, each with a Service of its own,
// all at once. The addresses stay, in the ledger and on the wire; whoever undoes
// what we write is named; our writes stay few; others notice nothing; and when
// the rivals have stopped, all is right again and nothing is written any more.
func TestRivals(t *testing.T) {
	const foreign = "203.0.113.9"
	w := newWorld(t, "172.30.0.225-172.30.0.249")
	edit(w, &v1alpha1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: w.pool}}, func(p *v1alpha1.IPAddressPool) {
		p.Spec.Retain = &metav1.Duration{Duration: 10 * time.Minute} // for the one that is deleted and made again
	})
	w.backend("echo", 3)
	template := lab.LoadBalancer(w.namespace, "template", "echo")
	fights := []*fight{
		{name: "chisel", rivals: []rivals.Rival{rivals.Chisel(foreign)}, reason: "StatusRewritten", unserved: true, most: 6},
		{name: "replacer", rivals: []rivals.Rival{rivals.Replacer(foreign)}, reason: "StatusRewritten", unserved: true, most: 6},
		{name: "port-adder", rivals: []rivals.Rival{rivals.PortAdder()}, most: 1},
		{name: "annotations", rivals: []rivals.Rival{rivals.AnnotationDeleter()}, change: []func(*corev1.Service){lab.Annotate(v1alpha1.AnnotationAddresses, "172.30.0.245")}, most: 6},
		{name: "external-ips", rivals: []rivals.Rival{rivals.ExternalIPs("203.0.113.7", "203.0.113.8")}, most: 6},
		{name: "field", rivals: []rivals.Rival{rivals.LoadBalancerIP(foreign)}, most: 6},
		{name: "fields", rivals: []rivals.Rival{rivals.LoadBalancerIP("172.30.0.246"), rivals.LoadBalancerIP("172.30.0.247")}, reason: "WishRewritten", most: 6},
		{name: "annotators", rivals: []rivals.Rival{
			rivals.Annotator("owner-one", v1alpha1.AnnotationAddresses, "172.30.0.248"), rivals.Annotator("owner-two", v1alpha1.AnnotationAddresses, "172.30.0.249"),
		}, reason: "WishRewritten", most: 6},
		{name: "template", rivals: []rivals.Rival{rivals.Template(template)}, most: 6},
		{name: "recreator", rivals: []rivals.Rival{rivals.Recreator(v1alpha1.LoadBalancerClass)}, remade: true, most: 6},
	}
	for _, f := range fights {
		f.address = w.service(f.name, "echo", 1, f.change...)[0]
	}
	bystander := w.service("bystander", "echo", 1)[0]
	w.answers(bystander, 80)
	macs := map[string]string{}
	for _, f := range fights {
		w.answers(f.address, 80)
		f.node = w.announcer(f.address, "any node", anyNode)
		w.oneAnswer(f.address)
		if macs[f.node] == "" {
			macs[f.node] = w.hardwareAddress(f.node, "eth0")
		}
		f.uid = w.get(f.name).UID
	}
	w.announcer(bystander, "any node", anyNode)
	before := w.atRest()

	journal := w.startJournal()
	defer journal.stop()
	config := rest.CopyConfig(w.Config)
	config.WarningHandler = rest.NoWarnings{} // about fields that the rivals write
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	probes := map[string]*lab.Probe{"bystander": w.StartProbe(w.ctx, testbed.Client, bystander, 80, 200*time.Millisecond, probeTimeout)}
	running := map[string][]*rivals.Fight{}
	began := time.Now()
	for _, f := range fights {
		if !f.unserved && !f.remade {
			probes[f.name] = w.StartProbe(w.ctx, testbed.Client, f.address, 80, 500*time.Millisecond, probeTimeout)
		}
		for _, r := range f.rivals {
			running[f.name] = append(running[f.name], r.Start(w.ctx, api, types.NamespacedName{Namespace: w.namespace, Name: f.name}))
		}
	}
	for _, f := range fights {
		if f.reason != "" {
			c := w.condition(f.name, "fairlead.dev/Contested", metav1.ConditionTrue, f.reason)
			w.names(f, c.Message, "the condition of "+f.name)
			w.eventNames(f)
		}
	}
	newcomer := w.service("newcomer", "echo", 1)[0]
	w.answers(newcomer, 80)
	for first := true; first || time.Since(began) < fightFor; first = false {
		for _, f := range fights {
			if f.remade {
				continue
			}
			if got := w.whoAnswers(f.address); !slices.Equal(got, []string{macs[f.node]}) {
				t.Errorf("during the fight %v answer for %s of %s; want that of %s", got, f.address, f.name, f.node)
			}
		}
	}
	fought := time.Since(began)
	for _, f := range fights {
		var theirs int64
		for _, r := range running[f.name] {
			r.Stop()
			theirs += r.Writes()
		}
		ours := journal.writes(f.name)
		t.Logf("%s: %d writes of the rivals, %d of ours to the status, in %s", f.name, theirs, ours, fought.Round(time.Second))
		if theirs == 0 {
			t.Errorf("%s: the rival has not written at all", f.name)
		}
		if ours > f.most {
			t.Errorf("%s: %d writes of ours in %s, want at most %d", f.name, ours, fought, f.most)
		}
	}

	for _, f := range fights {
		w.await(f.name+" to show its address again", func(context.Context) error {
			if got := lab.Addresses(w.get(f.name)); !slices.Contains(got, f.address) {
				return fmt.Errorf("it has %v, want %s", got, f.address)
			}
			return nil
		})
		w.answers(f.address, 80)
		w.oneAnswer(f.address)
	}
	after := w.atRest()
	for what, version := range before {
		if strings.HasSuffix(what, " bystander") || what == "Address "+bystander.String() {
			if after[what] != version {
				t.Errorf("%s was written", what)
			}
		}
	}
	for name, p := range probes {
		w.none(p.Stop(), "fight of "+name)
	}
	for _, f := range fights {
		if f.remade {
			if w.get(f.name).UID == f.uid {
				t.Errorf("%s was not made again", f.name)
			}
			continue
		}
		if now := w.announcer(f.address, "any node", anyNode); now != f.node {
			t.Errorf("%s of %s moved from %s to %s", f.address, f.name, f.node, now)
		}
		if moved := journal.moved(f); moved != "" {
			t.Errorf("the ledger's entry of %s, held by %s, became %s", f.address, f.name, moved)
		}
	}
}

// names checks that a text names one of the rivals.
func (w *world) names(f *fight, text, where string) {
	w.Helper()
	if !slices.ContainsFunc(f.rivals, func(r rivals.Rival) bool { return strings.Contains(text, r.Manager) }) {
		w.Errorf("%s does not name the rival: %q", where, text)
	}
}

// eventNames waits for the Event that tells of the contest.
func (w *world) eventNames(f *fight) {
	w.Helper()
	w.await("an Event Contested at "+f.name, func(ctx context.Context) error {
		var all eventsv1.EventList
		if err := w.Client.List(ctx, &all, client.InNamespace(w.namespace)); err != nil {
			return err
		}
		for _, e := range all.Items {
			if e.Regarding.Name == f.name && e.Reason == "Contested" {
				w.names(f, e.Note, "the Event of "+f.name)
				return nil
			}
		}
		return errors.New("there is none")
	})
}

func (w *world) get(service string) *corev1.Service {
	w.Helper()
	var s corev1.Service
	if err := w.Client.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: service}, &s); err != nil {
		w.Fatal(err)
	}
	return &s
}

// journal sees every version of the world's Services and of its Addresses.
type journal struct {
	stop func()
	mu   sync.Mutex
	// ours counts the writes of a Service's status that only Fairlead makes.
	ours      map[string]int
	addresses map[string][]*v1alpha1.Address
}

// startJournal begins with what is there.
func (w *world) startJournal() *journal {
	w.Helper()
	services, err := w.Client.Watch(w.ctx, &corev1.ServiceList{}, client.InNamespace(w.namespace))
	if err != nil {
		w.Fatal(err)
	}
	addresses, err := w.Client.Watch(w.ctx, &v1alpha1.AddressList{})
	if err != nil {
		services.Stop()
		w.Fatal(err)
	}
	j := &journal{ours: map[string]int{}, addresses: map[string][]*v1alpha1.Address{}}
	var done sync.WaitGroup
	done.Go(func() { j.readServices(services) })
	done.Go(func() { j.readAddresses(addresses) })
	j.stop = func() {
		services.Stop()
		addresses.Stop()
		done.Wait()
	}
	return j
}

func (j *journal) readServices(events watch.Interface) {
	last := map[string]*corev1.Service{}
	for e := range events.ResultChan() {
		now, ok := e.Object.(*corev1.Service)
		if !ok || e.Type == watch.Deleted {
			continue
		}
		if was := last[now.Name]; was != nil && was.UID == now.UID && weWrote(was, now) {
			j.mu.Lock()
			j.ours[now.Name]++
			j.mu.Unlock()
		}
		last[now.Name] = now
	}
}

// weWrote tells whether Fairlead wrote the newer of two versions that follow each
// other: one of its conditions is another, or an address that the rivals do not
// write has come.
func weWrote(was, now *corev1.Service) bool {
	ours := func(s *corev1.Service) []metav1.Condition {
		var all []metav1.Condition
		for _, c := range s.Status.Conditions {
			if strings.HasPrefix(c.Type, "fairlead.dev/") {
				all = append(all, c)
			}
		}
		return all
	}
	if !slices.Equal(ours(was), ours(now)) {
		return true
	}
	before := lab.Addresses(was)
	return slices.ContainsFunc(lab.Addresses(now), func(a netip.Addr) bool {
		return strings.HasPrefix(a.String(), "172.30.") && !slices.Contains(before, a)
	})
}

func (j *journal) readAddresses(events watch.Interface) {
	for e := range events.ResultChan() {
		if a, ok := e.Object.(*v1alpha1.Address); ok {
			j.mu.Lock()
			j.addresses[a.Name] = append(j.addresses[a.Name], a)
			j.mu.Unlock()
		}
	}
}

func (j *journal) writes(service string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ours[service]
}

// moved says how the ledger's entry was when it was not the Service's alone, or
// announced by another node; empty: never.
func (j *journal) moved(f *fight) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, a := range j.addresses[v1alpha1.AddressName(f.address)] {
		held := len(a.Spec.Holders) == 1 && a.Spec.Holders[0].Name == f.name && a.Spec.State == v1alpha1.AddressBound && a.DeletionTimestamp == nil
		if !held || a.Status.Layer2 == nil || a.Status.Layer2.Node != f.node {
			return fmt.Sprintf("%s, held by %s, status %+v", a.Spec.State, a.Spec.Summary, a.Status)
		}
	}
	return ""
}
