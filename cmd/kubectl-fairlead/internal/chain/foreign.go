package chain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/migrate/forecast"
	"github.com/fairlead/fairlead/service"
)

// placeStatus is where the controller of a class writes its addresses.
const placeStatus = "status.loadBalancer.ingress"

// Foreign tells whether a Service is of another controller's class.
func Foreign(svc *corev1.Service) bool {
	c := svc.Spec.LoadBalancerClass
	return c != nil && *c != v1alpha1.LoadBalancerClass && *c != fleet.LoadBalancerClass
}

// follows tells whether Fairlead announces what the controller of a foreign class
// writes: the class is listed, or Fairlead has done it already.
func (s *Snapshot) follows(svc *corev1.Service, held []*v1alpha1.Address) bool {
	if s.Configured {
		return slices.Contains(s.StatusClasses, *svc.Spec.LoadBalancerClass)
	}
	return len(held) > 0
}

// askStatus adds what a Service asks for by its status.
func (r *Report) askStatus(svc *corev1.Service, asked []netip.Addr) {
	for _, a := range asked {
		r.Asked = append(r.Asked, Asked{Value: a.String(), Origin: placeStatus, Note: "written by the controller of its class"})
	}
	if len(asked) == 0 {
		r.Asked = append(r.Asked, Asked{Value: "nothing", Origin: placeStatus, Note: "which the controller of class " + *svc.Spec.LoadBalancerClass + " writes"})
	}
}

// checkForeign says what is wrong with a Service of another controller's class.
func (r *Report) checkForeign(s *Snapshot, svc *corev1.Service, held []*v1alpha1.Address) {
	class, shown := *svc.Spec.LoadBalancerClass, service.Shown(svc)
	switch {
	case !s.follows(svc, held):
		r.notFollowed(s, class, shown)
	case len(shown) == 0:
		r.wrong(fmt.Sprintf("The controller of class %s has written no IP address to the status, and Fairlead gives the Service none.", class),
			"Look at that controller. What it writes is announced where it lies in a pool.")
	case !s.Partly:
		for _, a := range shown {
			if !s.inPool(a) && !has(held, a.String()) {
				r.wrong(fmt.Sprintf("%s, which the controller of class %s has written to the status, lies in no pool of Fairlead's and is not announced.", a, class),
					"Add it to an IPAddressPool, or let that controller write an address of a pool.")
			}
		}
		r.refusedStatus(s, svc, held)
	}
}

// notFollowed explains a class that Fairlead leaves to its controller, or may.
func (r *Report) notFollowed(s *Snapshot, class string, shown []netip.Addr) {
	inside := slices.DeleteFunc(shown, func(a netip.Addr) bool { return !s.inPool(a) })
	another := fmt.Sprintf("Make a Service of class %s if Fairlead shall serve it: a class cannot be changed.", v1alpha1.LoadBalancerClass)
	what := fmt.Sprintf("The Service is of class %s, which is another controller's", class)
	switch {
	case len(inside) == 0:
		r.wrong(what+".", another)
	case s.Configured:
		r.wrong(fmt.Sprintf("%s and not in services.statusClasses: Fairlead does not announce %s, which its status shows and a pool has.", what, joined(inside)),
			"Does that controller announce nothing itself? Then add the class to the chart's value services.statusClasses. "+another)
	default:
		r.wrong(fmt.Sprintf("%s. Fairlead does not announce %s, which its status shows and a pool has.", what, joined(inside)),
			"Does that controller announce nothing itself? Then see whether the class is in the chart's value services.statusClasses: "+
				"the Deployment of Fairlead's controller could not be read. "+another)
	}
}

// refusedStatus says why addresses of the status, which lie in pools, are not the
// Service's: it decides as the controller does, which tells of it only in Events.
func (r *Report) refusedStatus(s *Snapshot, svc *corev1.Service, held []*v1alpha1.Address) {
	asks := svc.DeepCopy()
	asks.Status.LoadBalancer.Ingress = nil
	var missing []netip.Addr
	for _, a := range service.Shown(svc) {
		if !s.inPool(a) {
			continue
		}
		asks.Status.LoadBalancer.Ingress = append(asks.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a.String()})
		if !has(held, a.String()) {
			missing = append(missing, a)
		}
	}
	if len(missing) == 0 {
		return
	}
	what := "Of the status, " + joined(missing) + " is not announced."
	outcomes := forecast.Of(forecast.Cluster{
		Pools: s.Pools, Ledger: s.Addresses, Ranges: s.Ranges, Namespaces: map[string]map[string]string{svc.Namespace: s.NamespaceLabels},
		Services: []corev1.Service{*asks}, Config: service.Config{StatusClasses: []string{*svc.Spec.LoadBalancerClass}}, Now: s.Now,
	})
	told := false
	for _, o := range outcomes {
		for _, why := range o.Why {
			r.wrong(what+" "+why, "")
			told = true
		}
	}
	if !told {
		r.wrong(what+" Nothing is in its way, and the controller has not entered it in the ledger.", "Does the controller run, and does one lead? Look at its pods and log.")
	}
}

func has(held []*v1alpha1.Address, address string) bool {
	return slices.ContainsFunc(held, func(a *v1alpha1.Address) bool { return a.Spec.Address == address })
}

func joined(list []netip.Addr) string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = a.String()
	}
	return strings.Join(out, ", ")
}
