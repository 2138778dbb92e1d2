//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// heard is what an echo pod heard of a request.
type heard struct {
	Pod, Path, Host string
	Headers         map[string][]string
}

func readHeard(r *http.Response) (heard, error) {
	var out heard
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(body, &out)
	}
	if err != nil {
		return out, fmt.Errorf("it answered %s with %.200q: %w", r.Status, body, err)
	}
	return out, nil
}

// asks has the client host ask an address for a path of a host.
func (w *world) asks(ctx context.Context, a netip.Addr, host, path string) (heard, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return w.Cluster.Dial(ctx, testbed.Client, network, netip.AddrPortFrom(a, 80).String())
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		return heard{}, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return heard{}, err
	}
	defer response.Body.Close()
	return readHeard(response)
}

// serves waits until a backend hears of a path of a host.
func (w *world) serves(a netip.Addr, host, path string) {
	w.Helper()
	w.await(fmt.Sprintf("%s to serve %s%s", a, host, path), func(ctx context.Context) error {
		got, err := w.asks(ctx, a, host, path)
		if err == nil && !strings.HasPrefix(got.Pod, "echo-") {
			err = fmt.Errorf("it is answered by %+v", got)
		}
		return err
	})
}

// The bounds of the API: rules of a route, matches of all its rules, ListenerSets of a Gateway (as many as one likes) and
// listeners of a ListenerSet.
const (
	rulesOfRoute   = 16
	matchesOfRoute = 128
	listenersOfSet = 64
)

// ruled is a route of Gateway web for a host, whose rules have so many matches each, for paths of their own.
func (w *world) ruled(name, host string, rules, matches int) *gatewayv1.HTTPRoute {
	r := w.httpRoute(name, "web", "echo")
	r.Spec.Hostnames = []gatewayv1.Hostname{gatewayv1.Hostname(host)}
	like := r.Spec.Rules[0]
	r.Spec.Rules = nil
	for i := range rules {
		rule := *like.DeepCopy()
		for j := range matches {
			rule.Matches = append(rule.Matches, gatewayv1.HTTPRouteMatch{Path: &gatewayv1.HTTPPathMatch{
				Type: new(gatewayv1.PathMatchExact), Value: new(fmt.Sprintf("/%s/%d/%d", name, i, j)),
			}})
		}
		r.Spec.Rules = append(r.Spec.Rules, rule)
	}
	return r
}

// manyRules wants a route at all its bounds to be served, and a thousand rules on one host.
func (w *world) manyRules(a netip.Addr) {
	w.Helper()
	const host = "rules.example.com"
	matches := matchesOfRoute / rulesOfRoute
	w.isRefused(w.ruled("more-rules", host, rulesOfRoute+1, 1), "spec.rules")
	w.isRefused(w.ruled("more-matches", host, rulesOfRoute, matches+1), "matches")
	w.apply(w.ruled("most", host, rulesOfRoute, matches))
	w.serves(a, host, fmt.Sprintf("/most/%d/%d", rulesOfRoute-1, matches-1))

	const routes = 1000/rulesOfRoute + 1
	for i := range routes {
		w.apply(w.ruled(fmt.Sprintf("rules-%d", i), host, rulesOfRoute, 1))
	}
	for _, i := range []int{0, routes / 2, routes - 1} {
		w.serves(a, host, fmt.Sprintf("/rules-%d/%d/0", i, rulesOfRoute-1))
	}
}

// listenersOfGateway is how many a Gateway serves with its ListenerSets.
const listenersOfGateway = 1000

// manySets wants the ListenerSets of a Gateway to be served as far as its bound, and those beyond to say so.
func (w *world) manySets(class gatewayv1.ObjectName) {
	w.Helper()
	gw := lab.Gateway(w.namespace, "sets", string(class))
	gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromSame)}}
	gw.Spec.Listeners[0].Hostname = new(gatewayv1.Hostname("own.example.com"))
	w.apply(gw, w.httpRoute("sets", "sets", "echo"))
	host := func(set, i int) string { return fmt.Sprintf("l%d.s%d.example.com", i, set) }
	made := func(set, n int) *gatewayv1.ListenerSet {
		s := &gatewayv1.ListenerSet{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: fmt.Sprintf("set-%02d", set)}}
		s.Spec.ParentRef.Name = "sets"
		for i := range n {
			s.Spec.Listeners = append(s.Spec.Listeners, gatewayv1.ListenerEntry{
				Name: gatewayv1.SectionName(fmt.Sprintf("l%d", i)), Port: 80, Protocol: gatewayv1.HTTPProtocolType, Hostname: new(gatewayv1.Hostname(host(set, i))),
			})
		}
		return s
	}
	w.isRefused(made(99, listenersOfSet+1), "spec.listeners")
	const sets = listenersOfGateway/listenersOfSet + 1
	for set := range sets {
		w.apply(made(set, listenersOfSet))
	}
	// The route is the Gateway's and the last set's: what that one has is served as far as it is admitted.
	last := w.httpRoute("last-set", "sets", "echo")
	last.Spec.ParentRefs[0] = gatewayv1.ParentReference{
		Group: new(gatewayv1.Group(gatewayv1.GroupName)), Kind: new(gatewayv1.Kind("ListenerSet")), Name: gatewayv1.ObjectName(made(sets-1, 0).Name),
	}
	w.apply(last)
	a := w.programmed("sets")[0]
	const left = 1 + sets*listenersOfSet - listenersOfGateway
	w.await("the last ListenerSet to say what is not served of it", func(ctx context.Context) error {
		s := made(sets-1, 0)
		if err := w.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		n := 0
		for _, l := range s.Status.Listeners {
			c := meta.FindStatusCondition(l.Conditions, string(gatewayv1.ListenerEntryConditionAccepted))
			if c != nil && c.Status == metav1.ConditionFalse && c.Reason == string(gatewayv1.ListenerEntryReasonTooManyListeners) && strings.Contains(c.Message, "Use another Gateway") {
				n++
			}
		}
		if n != left {
			return fmt.Errorf("%d of its %d listeners are too many, want %d: %+v", n, len(s.Status.Listeners), left, s.Status.Conditions)
		}
		return nil
	})
	w.serves(a, "own.example.com", "/")
	w.serves(a, host(sets-1, listenersOfSet-left-1), "/")
	if got, err := w.asks(w.ctx, a, host(sets-1, listenersOfSet-left), "/"); err == nil {
		w.Errorf("a listener beyond the bound is answered by %+v", got)
	}
}
