package takeover

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

// View is a takeover as it is told.
type View struct {
	Giver, Taker allocator.Key
	// GiverUID is that of the giver's object, as it is now.
	GiverUID  string
	Addresses []netip.Addr
	Phase     Phase
	// Wanted as in Facts. Refused or Waiting say why not, in sentences.
	Wanted           bool
	Refused, Waiting string
	// Obstacle says what a phase waits for, if it is not time alone.
	Obstacle string
	// Left are the giver's ports that the taker has not; Drop: they are given up.
	Left []allocator.Port
	Drop bool
}

// Said is a condition without what depends on the object that bears it.
type Said struct {
	True            bool
	Reason, Message string
}

// Say is what is said of a takeover on both its sides.
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
		return Said{True: true, Reason: string(Done), Message: fmt.Sprintf(
			"%s has %s, which %s handed over. Both annotations may be removed. To give it back, set %s=%s on %s and %s=%s on %s.",
			v.Taker, v.addresses(), v.Giver,
			v1alpha1.AnnotationTakeover, Word(v.Taker, v.Giver.Namespace), v.Giver,
			v1alpha1.AnnotationHandover, Word(v.Giver, v.Taker.Namespace), v.Taker)}
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
	if v.Wanted && len(v.Left) > 0 && v.Phase != Switched {
		words = append(words, v.left())
	}
	return Said{Reason: string(v.Phase), Message: strings.Join(words, " ")}
}

func (v *View) standing() string {
	switch v.Phase {
	case Requested, Prepared:
		return fmt.Sprintf("%s is a second holder of %s; %s serves it.", v.Taker, v.addresses(), v.Giver)
	case Shared:
		return fmt.Sprintf("%s and %s both serve %s: new connections may come to either.", v.Giver, v.Taker, v.addresses())
	case Switched:
		return fmt.Sprintf("%s serves %s; %s still holds it.", v.Taker, v.addresses(), v.Giver)
	}
	return fmt.Sprintf("%s serves %s again; %s still holds it.", v.Giver, v.addresses(), v.Taker)
}

// left tells of the ports that the taker has not.
func (v *View) left() string {
	ports := make([]string, len(v.Left))
	for i, p := range v.Left {
		ports[i] = p.String()
	}
	list := strings.Join(ports, ", ")
	if v.Drop {
		return fmt.Sprintf("%s has no port %s, which ends with the takeover, as %s=drop says.", v.Taker, list, v1alpha1.AnnotationHandoverPorts)
	}
	return fmt.Sprintf("%s has no port %s, so %s serves that on, and the takeover stays Shared. Give the one the port, take it from the other, or set %s=drop on %s.",
		v.Taker, list, v.Giver, v1alpha1.AnnotationHandoverPorts, v.Giver)
}

func (v *View) addresses() string {
	out := make([]string, len(v.Addresses))
	for i, a := range v.Addresses {
		out[i] = a.String()
	}
	return strings.Join(out, ", ")
}
