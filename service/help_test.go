package service

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// pools says that 172.30.0.0/24 and fd00:30::/64 are pools.
func pools(a netip.Addr) bool {
	return netip.MustParsePrefix("172.30.0.0/24").Contains(a) || netip.MustParsePrefix("fd00:30::/64").Contains(a)
}

func ptr[T any](v T) *T { return &v }

// newService makes a Service of type LoadBalancer, IPv4 only, with the changes given.
func newService(changes ...func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "legacy", UID: "uid-1", ResourceVersion: "10", Generation: 1},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.0.0.1", ClusterIPs: []string{"10.0.0.1"},
			IPFamilies:     []corev1.IPFamily{corev1.IPv4Protocol},
			IPFamilyPolicy: ptr(corev1.IPFamilyPolicySingleStack),
			Ports:          []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
	for _, c := range changes {
		c(svc)
	}
	return svc
}

func annotated(pairs ...string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		if svc.Annotations == nil {
			svc.Annotations = map[string]string{}
		}
		for i := 0; i < len(pairs); i += 2 {
			svc.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func dual(policy corev1.IPFamilyPolicy, families ...corev1.IPFamily) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Spec.IPFamilyPolicy, svc.Spec.IPFamilies = &policy, families }
}

func loadBalancerIP(s string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Spec.LoadBalancerIP = s }
}

func externalIPs(list ...string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Spec.ExternalIPs = list }
}

func showing(list ...corev1.LoadBalancerIngress) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Status.LoadBalancer.Ingress = list }
}

func assigned(pool, origin string, list ...string) allocator.Decision {
	d := allocator.Decision{Bound: true}
	for _, s := range list {
		d.Addresses = append(d.Addresses, allocator.Assigned{Address: ip(s), Pool: pool, Origin: origin, Since: start})
	}
	return d
}

// cluster is one Service at an API server, with our controller and a fake clock.
type cluster struct {
	t       testing.TB
	now     time.Time
	svc     *corev1.Service
	contest Contest
	held    []netip.Addr
	wake    time.Time
	writes  []write
	events  []Event
	moves   int
	cfg     Config
}

type write struct {
	at    time.Duration
	patch string
}

func newCluster(t testing.TB, svc *corev1.Service) *cluster {
	t.Helper()
	return &cluster{t: t, now: start, svc: svc, cfg: Config{Default: true}}
}

// books answers a claim: what is asked for, else what is held, else .100.
func (c *cluster) books(k allocator.Claim) allocator.Decision {
	var d allocator.Decision
	switch {
	case len(k.Addresses) > 0:
		for _, w := range k.Addresses {
			d.Addresses = append(d.Addresses, allocator.Assigned{Address: w.Value, Pool: "public", Origin: w.Origin, Since: start})
		}
	case len(c.held) > 0:
		for _, a := range c.held {
			d.Addresses = append(d.Addresses, allocator.Assigned{Address: a, Pool: "public", Since: start})
		}
	default:
		d = assigned("public", "", "172.30.0.100")
	}
	d.Bound = true
	for _, a := range c.held {
		if !containsAddr(addressesOf(d.Addresses), a) {
			d.Leaving = append(d.Leaving, a)
		}
	}
	if len(c.held) > 0 && !sameAddresses(c.held, addressesOf(d.Addresses)) {
		c.moves++
	}
	return d
}

func containsAddr(list []netip.Addr, a netip.Addr) bool {
	for _, b := range list {
		if a == b {
			return true
		}
	}
	return false
}

// reconcile is one round of our controller against what the API server has.
func (c *cluster) reconcile() Outcome {
	c.t.Helper()
	svc := c.svc.DeepCopy()
	reading := Read(svc, Surroundings{InPool: pools}, c.cfg)
	asking, contest := c.contest.Ask(svc, reading, c.held, c.now)
	var d allocator.Decision
	if asking.Decide {
		d = c.books(asking.Claim)
	}
	out := Status(Input{Service: svc, Asking: asking, Decision: d, InPool: pools, Contest: contest, Now: c.now})
	c.contest, c.wake = out.Contest, out.Wake
	c.held = addressesOf(d.Addresses)
	if out.Write != (out.Patch() != nil) {
		c.t.Fatalf("Write is %v, the patch is %s", out.Write, out.Patch())
	}
	if !out.Write {
		if len(out.Events) > 0 {
			c.t.Fatalf("Events without a write: %v", out.Events)
		}
		return out
	}
	c.apply(out.Patch())
	c.writes = append(c.writes, write{c.now.Sub(start), string(out.Patch())})
	c.events = append(c.events, out.Events...)
	c.contest = c.contest.Wrote(c.svc.DeepCopy(), c.now)
	return out
}

// apply does what the API server does with a strategic merge patch.
func (c *cluster) apply(patch []byte) {
	c.t.Helper()
	var bound struct{ Metadata metav1.ObjectMeta }
	if err := json.Unmarshal(patch, &bound); err != nil {
		c.t.Fatal(err)
	}
	if bound.Metadata.ResourceVersion != c.svc.ResourceVersion || bound.Metadata.UID != c.svc.UID {
		c.t.Fatalf("the patch is bound to %s/%s, the Service is %s/%s",
			bound.Metadata.UID, bound.Metadata.ResourceVersion, c.svc.UID, c.svc.ResourceVersion)
	}
	before, err := json.Marshal(c.svc)
	if err != nil {
		c.t.Fatal(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Service{})
	if err != nil {
		c.t.Fatalf("the API server refuses %s: %v", patch, err)
	}
	svc := &corev1.Service{}
	if err := json.Unmarshal(after, svc); err != nil {
		c.t.Fatal(err)
	}
	c.svc = svc
	c.wrote(v1alpha1.FieldManager, "status", `{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}`)
}

// wrote moves the resourceVersion and enters a manager, whose fields nobody
// else owns any more.
func (c *cluster) wrote(manager, subresource, fields string) {
	n, err := strconv.Atoi(c.svc.ResourceVersion)
	if err != nil {
		c.t.Fatal(err)
	}
	c.svc.ResourceVersion = strconv.Itoa(n + 1)
	var kept []metav1.ManagedFieldsEntry
	for _, e := range c.svc.ManagedFields {
		if e.FieldsV1.GetRawString() != fields {
			kept = append(kept, e)
		}
	}
	c.svc.ManagedFields = append(kept, metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: subresource,
		Time: ptr(metav1.NewTime(c.now)), FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	})
}

// rival changes the Service as somebody else.
func (c *cluster) rival(manager, subresource, fields string, change func(*corev1.Service)) {
	c.svc = c.svc.DeepCopy()
	change(c.svc)
	c.wrote(manager, subresource, fields)
}

func (c *cluster) eventReasons() []string {
	var out []string
	for _, e := range c.events {
		out = append(out, e.Reason)
	}
	return out
}

func (c *cluster) condition(kind string) *metav1.Condition {
	return condition(c.svc.Status.Conditions, kind)
}

func addresses(c allocator.Claim) string {
	var out []string
	for _, w := range c.Addresses {
		out = append(out, w.Value.String()+" "+w.Origin)
	}
	return fmt.Sprint(out)
}
