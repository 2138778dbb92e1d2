package drive

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/migrate/plan"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

var (
	third = plan.Holder{Kind: plan.Service, Name: gateway.Name{Namespace: "shop", Name: "api"}}
	giver = plan.Holder{Kind: plan.Service, Name: gateway.Name{Namespace: "shop", Name: "legacy"}}
	taker = plan.Holder{Kind: plan.Gateway, Name: gateway.Name{Namespace: "shop", Name: "web"}}
)

func says(h plan.Holder, reason string) sight {
	c := &metav1.Condition{Type: tell.Condition, Status: metav1.ConditionFalse, Reason: reason, Message: "words"}
	if reason == plan.Done {
		c.Status = metav1.ConditionTrue
	}
	return sight{holder: h, asked: true, condition: c}
}

// What is made of a row of sights, one a second.
func TestProgress(t *testing.T) {
	start := time.Unix(1000, 0)
	for name, tt := range map[string]struct {
		until  string
		sights []sight
		also   []plan.Holder
		lines  string
		done   bool
		why    string
	}{
		"forward": {plan.Done, []sight{says(taker, plan.Requested), says(giver, plan.Requested), says(taker, plan.Prepared), says(taker, plan.Shared), says(taker, plan.Switched), says(taker, plan.Done)}, nil, "Requested Prepared Shared Switched Done ", true, ""},
		"back and forward": {
			plan.Done,
			[]sight{says(taker, plan.Prepared), says(taker, plan.Returning), says(taker, plan.Requested), says(taker, plan.Prepared), says(taker, plan.Shared)},
			nil,
			"Prepared Shared ", false, "",
		},
		"until Shared":          {plan.Shared, []sight{says(taker, plan.Prepared), says(taker, plan.Shared)}, nil, "Prepared Shared ", true, ""},
		"waiting is no no":      {plan.Done, []sight{says(taker, plan.Waiting), {holder: giver, asked: true}, says(taker, plan.Waiting), says(taker, plan.Waiting), says(taker, plan.Waiting)}, nil, "", false, ""},
		"a refusal that stood":  {plan.Done, []sight{says(giver, "TakeoverRefused"), says(giver, "TakeoverRefused"), says(giver, "TakeoverRefused"), says(giver, "TakeoverRefused")}, nil, "", false, "Service shop/legacy: TakeoverRefused: words"},
		"a refusal that is new": {plan.Done, []sight{says(giver, "TakeoverRefused"), says(giver, "TakeoverRefused")}, nil, "", false, ""},
		"gone":                  {plan.Done, []sight{{holder: taker, gone: true}}, nil, "", false, "Gateway shop/web was deleted"},
		"one of several gone": {
			plan.Done,
			[]sight{says(giver, plan.Requested), says(third, "TakeoverRefused"), {holder: third, gone: true}, {holder: third, gone: true}, says(taker, plan.Prepared), says(taker, plan.Shared), says(taker, plan.Switched), says(taker, plan.Done)},
			[]plan.Holder{third},
			"Requested Prepared Shared Switched Done ", true, "",
		},
		"all of several gone": {
			plan.Done,
			[]sight{says(giver, plan.Requested), {holder: giver, gone: true}, {holder: third, gone: true}},
			[]plan.Holder{third},
			"Requested ", false, "Service shop/api was deleted",
		},
		"the new one gone": {plan.Done, []sight{says(giver, plan.Requested), {holder: taker, gone: true}}, []plan.Holder{third}, "Requested ", false, "Gateway shop/web was deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			p, now, lines := newProgress(&plan.Plan{From: giver, Also: tt.also, To: taker, Until: tt.until}, 2500*time.Millisecond, nil, start), start, ""
			for _, s := range tt.sights {
				now = now.Add(time.Second)
				if l := p.see(s, now); l != nil {
					lines += l.Phase + " "
				}
			}
			why, until := p.failed(now)
			if lines != tt.lines || p.done() != tt.done || why != tt.why {
				t.Errorf("lines %q, done %v, failed %q", lines, p.done(), why)
			}
			if fresh := name == "a refusal that is new"; until.IsZero() == fresh || fresh && !until.Equal(start.Add(3500*time.Millisecond)) {
				t.Errorf("looks again at %v", until)
			}
		})
	}
}

func TestUnder(t *testing.T) {
	for reason, want := range map[string]bool{plan.Requested: true, plan.Switched: true, plan.Returning: true, plan.Done: false, plan.Waiting: false, "TakeoverRefused": false} {
		if got := under(says(taker, reason).condition); got != want {
			t.Errorf("%s: %v", reason, got)
		}
	}
	if under(nil) {
		t.Error("no condition is one of a takeover")
	}
}
