package takeover

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

// View is a takeover as it is told.
type View struct {
	// Givers are those who give, with the UIDs of their objects as they are now; of a
	// takeover that is under way, those who have not gone meanwhile. Several share the
	// addresses.
	Givers []allocator.Giver
	// Taker takes them over, together with those in Beside, who are to share them with it.
	Taker     allocator.Key
	Beside    []allocator.Key
	Addresses []netip.Addr
	Phase     Phase
	// Wanted as in Facts. Refused or Waiting say why not, in sentences.
	Wanted           bool
	Refused, Waiting string
	// Obstacle says what a phase waits for, if it is not time alone.
	Obstacle string
	// Left are ports of givers that nobody who takes over has.
	Left []Left
}

// Left are the ports of one giver that nobody who takes over has. Drop: they are given up.
type Left struct {
	Giver allocator.Key
	Ports []allocator.Port
	Drop  bool
}

// Keys are the keys of those who give.
func (v *View) Keys() []allocator.Key {
	out := make([]allocator.Key, len(v.Givers))
	for i, g := range v.Givers {
		out[i] = g.Key
	}
	return out
}

// Takers are all who take over, in their order by name.
func (v *View) Takers() []allocator.Key { return sorted(append(slices.Clone(v.Beside), v.Taker)) }

// Gives tells whether a holder is one of those who give.
func (v *View) Gives(k allocator.Key) bool { return slices.Contains(v.Keys(), k) }

// Keeps tells whether a giver has ports that the taker has not, and that are to be kept.
func (v *View) Keeps() bool {
	return slices.ContainsFunc(v.Left, func(l Left) bool { return !l.Drop })
}

// Begin is what the ledger is told of a takeover that begins.
func (v *View) Begin(now time.Time) *allocator.Takeover {
	return &allocator.Takeover{From: v.Givers[0].Key, FromUID: v.Givers[0].UID, Also: v.Givers[1:], Phase: string(Requested), Since: now}
}

// Said is a condition without what depends on the object that bears it.
type Said struct {
	True            bool
	Reason, Message string
}

// Say is what is said of a takeover on all its sides.
func (v *View) Say() Said {
	if !v.Phase.UnderWay() && v.Phase != Done {
		switch {
		case v.Refused != "":
			return Said{Reason: tell.ReasonRefused, Message: v.Refused}
		case v.Waiting == "":
			return Said{Reason: tell.ReasonWaiting, Message: "Both sides ask for it, and it begins."}
		}
		return Said{Reason: tell.ReasonWaiting, Message: v.Waiting}
	}
	if v.Phase == Done {
		return Said{True: true, Reason: string(Done), Message: v.done()}
	}
	words := []string{v.standing()}
	switch {
	case !v.Wanted && v.Refused+v.Waiting != "":
		words = append(words, "It is being undone: "+v.Refused+v.Waiting)
	case !v.Wanted:
		words = append(words, "It is being undone.")
	case v.Obstacle != "":
		words = append(words, v.Obstacle)
	}
	if v.Wanted && v.Phase != Switched {
		for i := range v.Left {
			words = append(words, v.left(&v.Left[i]))
		}
	}
	return Said{Reason: string(v.Phase), Message: strings.Join(words, " ")}
}

func (v *View) done() string {
	takers := v.Takers()
	back := fmt.Sprintf("To give it back, set %s=%s on %s and %s=%s on %s.",
		v1alpha1.AnnotationTakeover, Words(takers, v.Givers[0].Key.Namespace), v.names(),
		v1alpha1.AnnotationHandover, Words(v.Keys(), v.Taker.Namespace), Names(takers))
	both := "Both"
	if len(v.Givers)+len(takers) > 2 {
		both = "All"
	}
	return fmt.Sprintf("%s %s %s, which %s handed over. %s annotations may be removed. %s", Names(takers), verbs(len(takers)).has, v.addresses(), v.names(), both, back)
}

func (v *View) standing() string {
	takers := v.Takers()
	old, next := verbs(len(v.Givers)), verbs(len(takers))
	switch v.Phase {
	case Requested, Prepared:
		return fmt.Sprintf("%s %s of %s; %s %s it.", Names(takers), next.second, v.addresses(), v.names(), old.serve)
	case Shared:
		if len(v.Givers)+len(takers) > 2 {
			return fmt.Sprintf("%s all serve %s: new connections may come to the old or to the new.", Names(append(v.Keys(), takers...)), v.addresses())
		}
		return fmt.Sprintf("%s and %s both serve %s: new connections may come to either.", v.names(), v.Taker, v.addresses())
	case Switched:
		return fmt.Sprintf("%s %s; %s still %s it.", v.TakersServe(), v.addresses(), v.names(), old.hold)
	}
	return fmt.Sprintf("%s %s %s again; %s still %s it.", v.names(), old.serve, v.addresses(), Names(takers), next.hold)
}

// TakersServe says that all who take over serve what follows.
func (v *View) TakersServe() string {
	takers := v.Takers()
	return Names(takers) + " " + verbs(len(takers)).serve
}

// verb has the words of what so many do.
type verb struct{ serve, hold, has, second string }

func verbs(n int) verb {
	if n > 1 {
		return verb{"serve", "hold", "have", "are further holders"}
	}
	return verb{"serves", "holds", "has", "is a second holder"}
}

// left tells of the ports of a giver that the taker has not.
func (v *View) left(l *Left) string {
	ports := make([]string, len(l.Ports))
	for i, p := range l.Ports {
		ports[i] = p.String()
	}
	list, takers := strings.Join(ports, ", "), v.Takers()
	has := verbs(len(takers)).has
	if l.Drop {
		return fmt.Sprintf("%s %s no port %s, which ends with the takeover, as %s=drop says.", Names(takers), has, list, v1alpha1.AnnotationHandoverPorts)
	}
	return fmt.Sprintf("%s %s no port %s, so %s serves that on, and the takeover stays Shared. Give the one the port, take it from the other, or set %s=drop on %s.",
		Names(takers), has, list, l.Giver, v1alpha1.AnnotationHandoverPorts, l.Giver)
}

func (v *View) names() string { return Names(v.Keys()) }

func (v *View) addresses() string {
	out := make([]string, len(v.Addresses))
	for i, a := range v.Addresses {
		out[i] = a.String()
	}
	return strings.Join(out, ", ")
}
