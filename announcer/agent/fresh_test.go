package agent

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/announcer"
)

func TestFreshness(t *testing.T) {
	f, web := newFreshness(), types.NamespacedName{Namespace: "shop", Name: "web"}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	look := func(after time.Duration, nodes ...string) (map[string]time.Time, time.Duration) {
		e := announcer.Endpoints{ReadyOn: map[string]bool{}}
		for _, n := range nodes {
			e.ReadyOn[n] = true
		}
		fresh, until := f.look(web, e, start.Add(after))
		if until.IsZero() {
			return fresh, 0
		}
		return fresh, until.Sub(start)
	}
	if fresh, until := look(0, "a"); len(fresh) != 0 || until != 0 {
		t.Errorf("what was there before is new: %v until %v", fresh, until)
	}
	if fresh, until := look(time.Second, "a", "b"); len(fresh) != 1 || fresh["b"].IsZero() || until != time.Second+announcer.ProxyTime {
		t.Errorf("b has come, and new are %v until %v", fresh, until)
	}
	if fresh, _ := look(2*time.Second, "a", "b", "c"); len(fresh) != 2 || fresh["b"].IsZero() || fresh["c"].IsZero() {
		t.Errorf("c has come too, and new are %v", fresh)
	}
	if fresh, until := look(2*time.Second+announcer.ProxyTime, "a", "b"); len(fresh) != 0 || until != 0 {
		t.Errorf("time has passed, and new are %v until %v", fresh, until)
	}
	if fresh, _ := look(10*time.Second, "a", "b", "c"); len(fresh) != 1 || fresh["c"].IsZero() {
		t.Errorf("c is back, and new are %v", fresh)
	}
	e, leave := announcer.Endpoints{ReadyOn: map[string]bool{"a": true}, TerminatingOn: map[string]bool{"b": true, "c": true}}, leaving{web: {"b": {}, "c": {}}}
	leave.look(web, &e, start.Add(11*time.Second))
	if fresh, _ := f.look(web, e, start.Add(11*time.Second)); len(fresh) != 1 || fresh["c"].IsZero() {
		t.Errorf("b and c leave, of which c is new, and new are %v", fresh)
	}
	f.forget(web)
	if fresh, _ := look(20*time.Second, "d"); len(fresh) != 0 {
		t.Errorf("nothing was known, and new are %v", fresh)
	}
}
