// Package audit says what a cluster has that gives addresses to Services and
// Gateways, what would become of each Service's address under Fairlead, and what to
// mend before. It is pure: a snapshot in, a report out.
package audit

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/forecast"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/plural"
	"github.com/fairlead/fairlead/pools"
	"github.com/fairlead/fairlead/service"
)

// Snapshot is what is known of a cluster.
type Snapshot struct {
	Workloads []Workload
	// CRDs are the names of CustomResourceDefinitions: "bgppeers.metallb.io".
	CRDs []string
	// Foreign are the objects that other controllers are configured by.
	Foreign []unstructured.Unstructured
	// CiliumConfig is the data of Cilium's ConfigMap; nil: it is not there, or could not
	// be read.
	CiliumConfig   map[string]string
	GatewayClasses []gatewayv1.GatewayClass
	Gateways       []gatewayv1.Gateway
	// Cluster has Fairlead's pools and ledger, and the Services.
	forecast.Cluster
}

// Workload is a Deployment, StatefulSet or DaemonSet.
type Workload struct {
	Kind, Namespace, Name string
	Labels                map[string]string
	Containers            []Container
	// Ready and Wanted count pods.
	Ready, Wanted int
}

// Container is one of a workload.
type Container struct {
	Image string
	Args  []string
	Env   map[string]string
}

// Report is what there is.
type Report struct {
	Controllers []Controller `json:"controllers"`
	Gateways    []Gateways   `json:"gateways,omitempty"`
	Findings    []Finding    `json:"findings,omitempty"`
	Services    []Service    `json:"services"`
	// Pools says whose pools the forecast is by: Fairlead's own, or those that an
	// import would make.
	Pools string `json:"pools"`
	// Changes is the number of Services that would change.
	Changes int `json:"changes"`
}

// Wrong tells whether anything would change, or is to be mended.
func (r *Report) Wrong() bool { return r.Changes > 0 || len(r.Findings) > 0 }

// Finding is something to mend before.
type Finding struct {
	What string `json:"what"`
	Fix  string `json:"fix"`
}

// Service is a Service of type LoadBalancer, now and under Fairlead.
type Service struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Addresses []string `json:"addresses,omitempty"`
	// WrittenBy is who gives them: Fairlead where its ledger has them, else who wrote
	// the status, a controller or a manager of fields.
	WrittenBy string `json:"writtenBy,omitempty"`
	// AskedBy are the places of what is asked for.
	AskedBy []string         `json:"askedBy,omitempty"`
	Verdict forecast.Verdict `json:"verdict"`
	Gets    []string         `json:"gets,omitempty"`
	Why     []string         `json:"why,omitempty"`
}

// Of reports on a cluster.
func Of(s Snapshot) *Report {
	a := &audit{Snapshot: s, report: &Report{}, holdings: holdings(s.Ledger)}
	a.report.Controllers = controllersIn(&s)
	a.report.Gateways = gatewaysIn(&s)
	a.choosePools()
	a.services()
	a.rivals()
	a.halves()
	a.overlaps()
	a.twice()
	return a.report
}

type audit struct {
	Snapshot
	report   *Report
	holdings map[holding]bool
}

func (a *audit) find(what, fix string) {
	a.report.Findings = append(a.report.Findings, Finding{what, fix})
}

// choosePools takes the pools of others, as an import would make them, where there
// are none of Fairlead's.
func (a *audit) choosePools() {
	if len(a.Pools) > 0 {
		a.report.Pools = "Fairlead's own pools"
		return
	}
	var from []string
	for _, source := range imports.Sources() {
		r, err := imports.Read(source, a.Foreign)
		if err != nil || len(r.Pools) == 0 {
			continue
		}
		a.Pools = append(a.Pools, r.Pools...)
		from = append(from, string(source))
	}
	a.report.Pools = "no pools: there are none"
	if len(from) > 0 {
		a.report.Pools = "pools as kubectl fairlead import makes them (" + strings.Join(from, ", ") + ")"
	}
}

// services says of each Service what would become of it, were Fairlead the one
// that serves those without a class.
func (a *audit) services() {
	byName := map[string]*corev1.Service{}
	for i := range a.Services {
		svc := &a.Services[i]
		byName[svc.Namespace+"/"+svc.Name] = svc
	}
	for _, o := range forecast.Of(a.Cluster) {
		svc := byName[o.Service.String()]
		out := Service{Namespace: o.Service.Namespace, Name: o.Service.Name, Verdict: o.Verdict, Why: o.Why, WrittenBy: a.writer(svc)}
		for _, x := range o.Has {
			out.Addresses = append(out.Addresses, x.String())
		}
		for _, in := range svc.Status.LoadBalancer.Ingress {
			if in.Hostname != "" {
				out.Addresses = append(out.Addresses, in.Hostname)
			}
		}
		for _, x := range o.Gets {
			out.Gets = append(out.Gets, x.Address.String())
		}
		for _, w := range o.Asks {
			if place := strings.TrimPrefix(w.Origin, "annotation "); !slices.Contains(out.AskedBy, place) {
				out.AskedBy = append(out.AskedBy, place)
			}
		}
		if class := svc.Spec.LoadBalancerClass; class != nil {
			out.AskedBy = append(out.AskedBy, "class "+*class)
		}
		if !o.Verdict.Quiet() {
			a.report.Changes++
		}
		a.report.Services = append(a.report.Services, out)
	}
}

// writer names who gives a Service its addresses: Fairlead where its ledger has them
// for it, also where the status still is as the one before has written it, and else
// who wrote the status.
func (a *audit) writer(svc *corev1.Service) string {
	if len(svc.Status.LoadBalancer.Ingress) == 0 {
		return ""
	}
	if a.inLedger(svc) {
		return "Fairlead"
	}
	manager := service.StatusWriter(svc)
	for _, c := range a.report.Controllers {
		if slices.Contains(c.managers, manager) {
			return c.Name
		}
	}
	return manager
}

// holding is a Service and an Address that the ledger has for it.
type holding struct{ namespace, name, address string }

func holdings(ledger []v1alpha1.Address) map[holding]bool {
	out := map[holding]bool{}
	for i := range ledger {
		for _, h := range ledger[i].Spec.Holders {
			if h.Kind == service.KindService {
				out[holding{h.Namespace, h.Name, ledger[i].Name}] = true
			}
		}
	}
	return out
}

// inLedger tells whether the ledger has for a Service all that it shows.
func (a *audit) inLedger(svc *corev1.Service) bool {
	shown := service.Shown(svc)
	return len(shown) > 0 && !slices.ContainsFunc(shown, func(x netip.Addr) bool {
		return !a.holdings[holding{svc.Namespace, svc.Name, v1alpha1.AddressName(x)}]
	})
}

// rivals tells of controllers that all take Services without a class. One that gives
// what another announces is no rival of it.
func (a *audit) rivals() {
	var takers []string
	var ways []string
	for _, c := range a.report.Controllers {
		if c.TakesClassless && c.gives {
			name := c.Name
			if c.Classless != "" {
				name += " (" + c.Classless + ")"
			}
			if !a.takes(c.partner) {
				takers = append(takers, name)
			}
			ways = append(ways, c.Name+": "+c.classWay+".")
		}
	}
	if len(takers) < 2 {
		return
	}
	a.find(fmt.Sprintf("%s each take Services without a class. They overwrite each other's addresses.", words(takers)),
		"Let only one of them do it. "+strings.Join(ways, " "))
}

// takes tells whether a controller, known by its name, takes Services without a class.
func (a *audit) takes(name string) bool {
	return slices.ContainsFunc(a.report.Controllers, func(c Controller) bool { return c.Name == name && c.TakesClassless && c.gives })
}

func words(list []string) string {
	last := len(list) - 1
	if last == 0 {
		return list[0]
	}
	return strings.Join(list[:last], ", ") + " and " + list[last]
}

// halves tells of controllers that are there in part only.
func (a *audit) halves() {
	for _, c := range a.report.Controllers {
		if (c.source == imports.Cilium || c.source == imports.Calico) && !c.TakesClassless {
			continue // it is the network, and gives no addresses
		}
		switch {
		case !c.Running && len(c.Parts) > 0:
			a.find(fmt.Sprintf("%s is there, and none of its %s is ready.", c.Name, words(c.missing)),
				"Nobody gives or keeps its addresses now. Start it again, or remove it wholly.")
		case c.Running && len(c.missing) > 0 && a.adopting(c.source):
			a.find(fmt.Sprintf("Of %s, %s is missing, since Fairlead takes the cluster over from it.", c.Name, words(c.missing)),
				fmt.Sprintf("Go on, or back: kubectl fairlead adopt %s.", c.source))
		case c.Running && len(c.missing) > 0:
			a.find(fmt.Sprintf("Of %s, %s is missing.", c.Name, words(c.missing)),
				"What is left announces or gives addresses without the other half. Start it again, or remove it wholly.")
		case len(c.Parts) == 0 && c.CRDs > 0 && c.leftover:
			a.find(fmt.Sprintf("The cluster has %s of %s and nothing that serves them.", plural.Count(c.CRDs, "kind"), c.Name),
				"They are left over. Import what is still wanted (kubectl fairlead import), then delete the CustomResourceDefinitions.")
		}
	}
}

// adopting tells whether the cluster is being taken over from a controller.
func (a *audit) adopting(source imports.Source) bool {
	return source != "" && slices.ContainsFunc(a.Ledger, func(o v1alpha1.Address) bool {
		return strings.HasPrefix(o.Annotations[v1alpha1.AnnotationAdopted], string(source))
	})
}

// overlaps tells where Fairlead's pools have addresses in common with each other
// and with those of a controller that gives them too.
func (a *audit) overlaps() {
	var list []allocator.Pool
	for _, o := range pools.ByAge(a.Pools) {
		p, faults := pools.Read(&o)
		for _, f := range faults {
			a.find("IPAddressPool "+o.Name+": "+f, "Correct the pool.")
		}
		list = append(list, p)
	}
	books := allocator.New()
	books.SetClusterRanges(a.Ranges)
	for _, p := range books.SetPools(list) {
		a.find(p.String(), "Until then its older pool counts.")
	}
	if !strings.HasPrefix(a.report.Pools, "Fairlead") || !a.gives() {
		return
	}
	ours := pools.Addresses(list)
	for _, source := range imports.Sources() {
		r, err := imports.Read(source, a.Foreign)
		if err != nil || !a.givesBy(source) {
			continue
		}
		for i := range r.Pools {
			p, _ := pools.Read(&r.Pools[i])
			for _, x := range p.Ranges {
				if ours.OverlapsRange(rangeOf(x)) {
					a.find(fmt.Sprintf("Pool %s of %s (%s) has addresses that a pool of Fairlead has too, and both controllers give addresses.", p.Name, source, x),
						"Each may give such an address to another Service. Take the range out of one of the two until the other controller has ended.")
				}
			}
		}
	}
}

// gives tells whether Fairlead gives addresses now, beside the others.
func (a *audit) gives() bool {
	for _, c := range a.report.Controllers {
		if c.Name != "Fairlead" || !c.gives {
			continue
		}
		if c.TakesClassless {
			return true
		}
		return slices.ContainsFunc(a.Services, func(svc corev1.Service) bool { return service.Ours(&svc, service.Config{}) })
	}
	return false
}

// givesBy tells whether the controller that a source configures gives addresses now.
func (a *audit) givesBy(source imports.Source) bool {
	if source == imports.KubeVip {
		return slices.ContainsFunc(a.report.Controllers, func(c Controller) bool { return c.Name == kubeVipGiver && c.gives })
	}
	return slices.ContainsFunc(a.report.Controllers, func(c Controller) bool { return c.source == source && c.gives })
}

// twice tells of addresses that stand in several statuses without being shared.
func (a *audit) twice() {
	holders := map[netip.Addr][]*corev1.Service{}
	for i := range a.Services {
		svc := &a.Services[i]
		if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		for _, x := range service.Shown(svc) {
			holders[x] = append(holders[x], svc)
		}
	}
	var all []netip.Addr
	for x, list := range holders {
		if len(list) > 1 && portsClash(list) {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	for _, x := range all {
		var names []string
		for _, svc := range holders[x] {
			names = append(names, svc.Namespace+"/"+svc.Name)
		}
		slices.Sort(names)
		a.find(fmt.Sprintf("%s stands in the statuses of %s, with a port in common.", x, words(names)),
			"Only one of them gets the packets. Give the others an address of their own.")
	}
}

func portsClash(list []*corev1.Service) bool {
	seen := map[string]bool{}
	for _, svc := range list {
		for _, p := range svc.Spec.Ports {
			key := fmt.Sprint(cmp.Or(p.Protocol, corev1.ProtocolTCP), p.Port)
			if seen[key] {
				return true
			}
			seen[key] = true
		}
	}
	return false
}
