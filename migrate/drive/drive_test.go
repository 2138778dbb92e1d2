package drive

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/plan"
)

// patient are limits that no test comes to unless it means to.
var patient = Limits{Timeout: time.Minute, Undo: time.Minute, Grace: time.Minute}

// goneLater checks that nothing of the driver runs on after a test.
func goneLater(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
			goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
			goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*clientConnReadLoop).run"),
			goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*ClientConn).readLoop"),
			goleak.IgnoreAnyFunction("net/http/internal/http2.(*ClientConn).readLoop"))
	})
}

// step lets the controller go on when a phase was told.
func (c *controller) step(Line) { c.next <- struct{}{} }

func phases(r *Result) []string {
	var out []string
	for _, l := range r.Phases {
		out = append(out, l.Phase)
	}
	return out
}

func (w *world) wantNothingAsked() {
	w.t.Helper()
	for _, name := range w.givers() {
		if v, ok := w.service(name).Annotations[v1alpha1.AnnotationHandover]; ok {
			w.t.Errorf("Service %s still has %s=%s", name, v1alpha1.AnnotationHandover, v)
		}
	}
	if gw := w.gateway(); gw != nil {
		if v, ok := gw.Annotations[v1alpha1.AnnotationTakeover]; ok {
			w.t.Errorf("the Gateway still has %s=%s", v1alpha1.AnnotationTakeover, v)
		}
	}
}

func TestDone(t *testing.T) {
	w := newWorld(t)
	goneLater(t)
	c := w.controlled(plan.Phases...)
	p := w.plan()
	r, err := New(w.c, time.Now, patient, c.step).Run(t.Context(), p)
	w.must(err)
	if r.Outcome != Done || r.Why != "" || !slices.Equal(phases(r), plan.Phases) || r.Phases[1].Text != "words of Prepared" {
		t.Errorf("ended as %+v", r)
	}
	if gw := w.gateway(); gw == nil || len(gw.Spec.Listeners) != 1 || gw.Annotations[v1alpha1.AnnotationTakeover] != "service/legacy" {
		t.Errorf("the Gateway is %+v", gw)
	}
	again := w.plan()
	if !again.Underway {
		t.Fatalf("planned again: %+v", again)
	}
	r, err = New(w.c, time.Now, patient, func(Line) {}).Run(t.Context(), again)
	if w.must(err); r.Outcome != Done || !slices.Equal(phases(r), []string{plan.Done}) {
		t.Errorf("run again: %+v", r)
	}
}

// shared is a world in which three Services have the address.
func shared(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.sharers = []string{"api", "web"}
	w.serve("api", 81)
	w.serve("web", 82)
	return w
}

// All who share the address hand it over at once, to a Gateway with the ports of all.
func TestGroupDone(t *testing.T) {
	w := shared(t)
	goneLater(t)
	c := w.controlled(plan.Phases...)
	r, err := New(w.c, time.Now, patient, c.step).Run(t.Context(), w.plan())
	w.must(err)
	if r.Outcome != Done || !slices.Equal(phases(r), plan.Phases) {
		t.Errorf("ended as %+v", r)
	}
	if gw := w.gateway(); gw == nil || len(gw.Spec.Listeners) != 3 || gw.Annotations[v1alpha1.AnnotationTakeover] != "service/legacy,service/api,service/web" {
		t.Errorf("the Gateway is %+v", gw)
	}
	again := w.plan()
	if !again.Underway || len(again.Also) != 2 {
		t.Fatalf("planned again: %+v", again)
	}
}

// What was asked of the others is taken back with the rest, whether the controller
// refuses, one of them cannot be written, or the command died between them.
func TestGroupUndone(t *testing.T) {
	for _, name := range []string{"refused", "unwritable", "killed"} {
		t.Run(name, func(t *testing.T) {
			w := shared(t)
			goneLater(t)
			c := w.controlled(plan.Requested, plan.Prepared, "TakeoverRefused")
			limits := patient
			limits.Grace = time.Millisecond
			dead, used := errors.New("dead"), w.c
			if name == "unwritable" {
				used = interceptor.NewClient(w.c, interceptor.Funcs{
					Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
						if _, isGateway := o.(*gatewayv1.Gateway); isGateway {
							return dead
						}
						return c.Patch(ctx, o, patch, opts...)
					},
				})
			}
			if name == "killed" {
				half := New(w.c, time.Now, limits, func(Line) {})
				w.must(half.annotate(t.Context(), w.holder(plan.Service, "api"), map[string]any{v1alpha1.AnnotationHandover: "gateway/web"}))
			}
			r, err := New(used, time.Now, limits, c.step).Run(t.Context(), w.plan())
			switch {
			case name == "unwritable":
				if !errors.Is(err, dead) {
					t.Errorf("ended with %v", err)
				}
			case err != nil || r.Outcome != Undone:
				t.Errorf("ended as %+v, %v", r, err)
			}
			w.wantNothingAsked()
		})
	}
}

// A controller that refuses is believed once the refusal stands, and what was asked
// for is taken back.
func TestRefused(t *testing.T) {
	for name, script := range map[string][]string{
		"at once":    {"TakeoverRefused"},
		"half way":   {plan.Requested, plan.Prepared, "TakeoverRefused"},
		"in the end": {plan.Requested, plan.Prepared, plan.Shared, plan.Switched, "TakeoverRefused"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			goneLater(t)
			c := w.controlled(script...)
			limits := patient
			limits.Grace = time.Millisecond
			r, err := New(w.c, time.Now, limits, c.step).Run(t.Context(), w.plan())
			w.must(err)
			if r.Outcome != Undone || !strings.Contains(r.Why, "TakeoverRefused: words of TakeoverRefused") || len(r.Phases) != len(script)-1 {
				t.Errorf("ended as %+v", r)
			}
			w.wantNothingAsked()
			if w.gateway() == nil {
				t.Error("the Gateway is gone, and nobody asked for that")
			}
		})
	}
}

// A refusal that does not stand is none.
func TestRefusalThatPasses(t *testing.T) {
	w := newWorld(t)
	goneLater(t)
	c := w.controlled("TakeoverRefused", plan.Requested, plan.Prepared, plan.Shared, plan.Switched, plan.Done)
	c.next <- struct{}{}
	r, err := New(w.c, time.Now, patient, c.step).Run(t.Context(), w.plan())
	if w.must(err); r.Outcome != Done {
		t.Errorf("ended as %+v", r)
	}
}

// Where nobody answers, the command gives up, and takes away what it has made if it
// is told to.
func TestSilence(t *testing.T) {
	w := newWorld(t)
	goneLater(t)
	limits := patient
	limits.Timeout = time.Millisecond
	p := w.plan()
	d := New(w.c, time.Now, limits, func(Line) {})
	r, err := d.Run(t.Context(), p)
	w.must(err)
	if r.Outcome != Undone || !strings.Contains(r.Why, "said nothing") {
		t.Errorf("ended as %+v", r)
	}
	w.wantNothingAsked()
	w.must(d.Remove(t.Context(), p))
	if w.gateway() != nil {
		t.Error("the Gateway is still there")
	}
}

// A controller that stops half way, and does not take back either, is told of as
// what it is: nobody knows.
func TestStuck(t *testing.T) {
	w := newWorld(t)
	goneLater(t)
	c := &controller{w: w, script: []string{plan.Requested, plan.Prepared}, deaf: true, next: make(chan struct{}, 100)}
	c.run()
	limits := Limits{Timeout: time.Minute, Undo: time.Millisecond, Grace: time.Minute}
	ctx, cancel := context.WithCancel(t.Context())
	d := New(w.c, time.Now, limits, func(l Line) {
		if c.step(l); l.Phase == plan.Prepared {
			cancel()
		}
	})
	if _, err := d.Run(ctx, w.plan()); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "Run it again") {
		t.Fatalf("interrupted: %v", err)
	}
	d.limits.Timeout = time.Millisecond
	r, err := d.Run(t.Context(), w.plan())
	if w.must(err); r.Outcome != Unknown {
		t.Errorf("ended as %+v", r)
	}
	w.wantNothingAsked()
}

// The command is killed in each phase; a second one goes on.
func TestKilled(t *testing.T) {
	for _, phase := range plan.Phases[:4] {
		t.Run(phase, func(t *testing.T) {
			w := newWorld(t)
			goneLater(t)
			c := w.controlled(plan.Phases...)
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			_, err := New(w.c, time.Now, patient, func(l Line) {
				if l.Phase == phase {
					kill()
					return
				}
				c.step(l)
			}).Run(ctx, w.plan())
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("killed: %v", err)
			}
			p := w.plan()
			if !p.Underway || len(p.Objects) > 0 {
				t.Fatalf("planned again: %+v", p)
			}
			r, err := New(w.c, time.Now, patient, c.step).Run(t.Context(), p)
			if w.must(err); r.Outcome != Done || r.Phases[0].Phase != phase {
				t.Errorf("run again: %+v", r)
			}
		})
	}
}

// The command is killed before it has asked for anything, or between the two
// annotations: a second one finds what is there and does the rest.
func TestKilledWhileWriting(t *testing.T) {
	for name, refuse := range map[string]func(o client.Object) bool{
		"between the objects":     func(o client.Object) bool { return false },
		"before the annotations":  func(o client.Object) bool { return o.GetName() == "legacy" },
		"between the annotations": func(o client.Object) bool { return o.GetName() == "web" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			goneLater(t)
			dead := errors.New("dead")
			broken := interceptor.NewClient(w.c, interceptor.Funcs{
				Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
					if refuse(o) {
						return dead
					}
					return c.Patch(ctx, o, patch, opts...)
				},
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					if name == "between the objects" {
						return dead
					}
					return c.Get(ctx, key, o, opts...)
				},
			})
			if _, err := New(broken, time.Now, patient, func(Line) {}).Run(t.Context(), w.plan()); !errors.Is(err, dead) {
				t.Fatalf("killed: %v", err)
			}
			w.wantNothingAsked()
			c := w.controlled(plan.Phases...)
			r, err := New(w.c, time.Now, patient, c.step).Run(t.Context(), w.plan())
			if w.must(err); r.Outcome != Done {
				t.Errorf("run again: %+v", r)
			}
		})
	}
}

// What the last takeover left says nothing about this one.
func TestOldCondition(t *testing.T) {
	w := newWorld(t)
	goneLater(t)
	w.must(New(w.c, time.Now, patient, func(Line) {}).apply(t.Context(), w.plan()))
	c := &controller{w: w}
	w.must(c.say(t.Context(), plan.Done))
	limits := patient
	limits.Timeout = time.Millisecond
	r, err := New(w.c, time.Now, limits, func(Line) {}).Run(t.Context(), w.plan())
	if w.must(err); r.Outcome != Undone || len(r.Phases) > 0 {
		t.Errorf("ended as %+v", r)
	}
}

// Somebody else takes an annotation away.
func TestTakenAway(t *testing.T) {
	w := newWorld(t)
	goneLater(t)
	c := w.controlled(plan.Phases...)
	other := New(w.c, time.Now, patient, func(Line) {})
	r, err := New(w.c, time.Now, patient, func(l Line) {
		if l.Phase == plan.Prepared {
			w.must(other.annotate(t.Context(), w.holder(plan.Gateway, "web"), map[string]any{v1alpha1.AnnotationTakeover: nil}))
			return
		}
		c.step(l)
	}).Run(t.Context(), w.plan())
	if w.must(err); r.Outcome != Undone || !strings.Contains(r.Why, "took the annotations of Gateway") {
		t.Errorf("ended as %+v", r)
	}
	w.wantNothingAsked()
}

// Rights are told before anything is written.
func TestMissingRights(t *testing.T) {
	w := newWorld(t)
	goneLater(t)
	user, err := apiServer.AddUser(envtest.User{Name: "tenant", Groups: []string{"tenants"}}, nil)
	w.must(err)
	w.must(rbacv1.AddToScheme(w.c.Scheme()))
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "tenant"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"get", "list", "watch", "patch"}},
		{APIGroups: []string{"gateway.networking.k8s.io"}, Resources: []string{"gateways"}, Verbs: []string{"get", "watch", "create"}},
	}}
	w.must(w.c.Create(t.Context(), role))
	w.must(w.c.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "tenant"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "tenant", APIGroup: rbacv1.GroupName},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: "tenant", APIGroup: rbacv1.GroupName}},
	}))
	missing, err := New(clientFor(t, user.Config()), time.Now, patient, func(Line) {}).Missing(t.Context(), w.plan(), true)
	w.must(err)
	var got []string
	for _, r := range missing {
		got = append(got, r.String())
	}
	in := " in namespace " + w.namespace
	want := []string{
		"patch gateways.gateway.networking.k8s.io web" + in, "delete gateways.gateway.networking.k8s.io web" + in,
		"patch httproutes.gateway.networking.k8s.io legacy" + in, "create httproutes.gateway.networking.k8s.io" + in, "delete httproutes.gateway.networking.k8s.io legacy" + in,
	}
	if !slices.Equal(got, want) {
		t.Errorf("missing\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if missing, err = New(w.c, time.Now, patient, func(Line) {}).Missing(t.Context(), w.plan(), true); err != nil || len(missing) > 0 {
		t.Errorf("an administrator misses %v, %v", missing, err)
	}
}

// What was added to a Gateway goes again, and what others have written stays.
func TestRemoveFromGateway(t *testing.T) {
	w := newWorld(t)
	goneLater(t)
	gw := object(map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": map[string]any{"name": "web", "namespace": w.namespace},
		"spec": map[string]any{"gatewayClassName": "fairlead", "listeners": []any{map[string]any{"name": "mine", "port": int64(81), "protocol": "HTTP"}}},
	})
	w.must(w.c.Create(t.Context(), gw))
	d := New(w.c, time.Now, patient, func(Line) {})
	p := w.plan()
	change, err := d.Preview(t.Context(), p.Objects[0])
	w.must(err)
	if n := len(change.Before["spec"].(map[string]any)["listeners"].([]any)); n != 1 {
		t.Errorf("before: %v", change.Before)
	}
	if n := len(change.After["spec"].(map[string]any)["listeners"].([]any)); n != 2 || change.After["status"] != nil {
		t.Errorf("after: %v", change.After)
	}
	w.must(d.apply(t.Context(), p))
	if n := len(w.gateway().Spec.Listeners); n != 2 {
		t.Fatalf("%d listeners", n)
	}
	w.must(d.Remove(t.Context(), p))
	if l := w.gateway().Spec.Listeners; len(l) != 1 || l[0].Name != "mine" {
		t.Errorf("listeners %v", l)
	}
	routes := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRouteList"}}
	if err := w.c.List(t.Context(), routes, client.InNamespace(w.namespace)); err != nil || len(routes.Items) != 0 {
		t.Errorf("routes %v, %v", routes.Items, err)
	}
}
