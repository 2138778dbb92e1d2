package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/announcer"
)

func TestLeaving(t *testing.T) {
	l, web := leaving{}, types.NamespacedName{Namespace: "shop", Name: "web"}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	on := func(nodes ...string) map[string]bool {
		var out map[string]bool
		for _, n := range nodes {
			if out == nil {
				out = map[string]bool{}
			}
			out[n] = true
		}
		return out
	}
	for _, step := range []struct {
		what          string
		after         time.Duration
		ready, ending []string
		want          []string
		until         time.Duration
	}{
		{"c ended before we looked", 0, []string{"a", "b"}, []string{"c"}, nil, 0},
		{"a begins to end", time.Second, []string{"b"}, []string{"a", "c"}, []string{"a"}, time.Second + announcer.LeaveTime},
		{"b ends right after it", time.Second + 100*time.Millisecond, nil, []string{"a", "b"}, []string{"a", "b"}, time.Second + announcer.LeaveTime},
		{"the time of a is over", time.Second + announcer.LeaveTime, nil, []string{"a", "b"}, []string{"b"}, time.Second + 100*time.Millisecond + announcer.LeaveTime},
		{"b serves no more", time.Second + announcer.LeaveTime, nil, []string{"a"}, nil, 0},
		{"a has another one", 2 * time.Second, []string{"a"}, []string{"a"}, nil, 0},
		{"and this one ends", 3 * time.Second, nil, []string{"a"}, []string{"a"}, 3*time.Second + announcer.LeaveTime},
	} {
		e := announcer.Endpoints{ReadyOn: on(step.ready...), TerminatingOn: on(step.ending...)}
		until := l.look(web, &e, start.Add(step.after))
		if diff := cmp.Diff(on(append(step.ready, step.want...)...), e.ReadyOn); diff != "" {
			t.Errorf("%s: %s", step.what, diff)
		}
		want := time.Time{}
		if step.until != 0 {
			want = start.Add(step.until)
		}
		if !until.Equal(want) {
			t.Errorf("%s: until %s, want %s", step.what, until.Sub(start), step.until)
		}
	}
	l.forget(web)
	e := announcer.Endpoints{TerminatingOn: on("a")}
	if l.look(web, &e, start.Add(4*time.Second)); e.ReadyOn != nil {
		t.Errorf("nothing was known, and %v count", e.ReadyOn)
	}
}
