package adopt

import (
	"fmt"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/imports"
)

// decided tells whether Fairlead is the one that gives addresses now, or is about to
// be: then what several share is not set aside any more.
func (a *adoption) decided() bool {
	if a.Source != imports.MetalLB {
		return a.isDefault() || a.network() || !a.goOn()
	}
	return a.isDefault() || a.deciding()
}

// deciding tells whether the step was begun.
func (a *adoption) deciding() bool { return a.stoppedByUs() || len(a.leaveOut(false)) > 0 }

func (a *adoption) stoppedByUs() bool {
	for _, d := range a.theirs.deciders {
		if d.Annotations[replicas] != "" {
			return true
		}
	}
	return false
}

// decide is the step after which Fairlead gives addresses, and the other does not.
func (a *adoption) decide() Step {
	s := Step{Name: Decide, What: "Fairlead gives addresses instead of " + a.name + ", which goes on announcing"}
	s.begun = !a.ended && (a.deciding() || (a.isDefault() || a.keeps()) && a.underway())
	s.Forth = a.decideForth()
	s.Back = a.decideBack()
	return s
}

// keeps tells whether Fairlead still has addresses of a controller that nothing else
// shows the way back of: its pools must not go before Fairlead has let go.
func (a *adoption) keeps() bool { return a.Source != imports.MetalLB && a.holding() != "" }

func (a *adoption) decideForth() Move {
	var m Move
	switch {
	case a.ended:
		m.Done = true
		return m
	case a.fairlead == nil:
		m.Stop = append(m.Stop, "Fairlead's controller is not installed. Install the chart with services.defaultClass=false: helm install fairlead CHART -n fairlead-system --create-namespace --set services.defaultClass=false.")
		return m
	case !a.isDefault() && a.fairlead.Status.ReadyReplicas == 0 && !a.deciding():
		// Where the other gives no addresses any more, the way is forth: it is waited for below.
		m.Stop = append(m.Stop, fmt.Sprintf("Fairlead's controller does not run: kubectl get deployment -n %s %s.", a.fairlead.Namespace, a.fairlead.Name))
		return m
	}
	if m.Stop = append(a.rivals(), a.unseen()...); a.limited() != "" {
		m.Stop = append(m.Stop, a.limited())
	}
	if len(m.Stop) > 0 {
		return m
	}
	m.Writes = a.decideWrites()
	if len(m.Writes) > 0 {
		return m.peerByPeer()
	}
	switch strayed := a.strayed(); {
	case a.theyDecide() && a.Source == imports.MetalLB:
		m.Waits = []string{"its controller's pods to end"}
	case a.theyDecide():
		m.Waits = []string{fmt.Sprintf("%s to leave Services without a class alone, by %s, or to be removed", a.name, a.classWay())}
	case !a.isDefault():
		m.Waits = []string{"you to make Fairlead the default: " + a.helm(true)}
	case !runs(a.fairlead):
		m.Waits = []string{"Fairlead's controller to run with services.defaultClass=true"}
	case len(strayed) > 0:
		m.Stop = strayed
	case len(a.unheld()) > 0:
		m.Waits = a.unheld()
	default:
		m.Writes = append(a.mark(), a.confirm(string(a.Source))...)
		m.Done = len(m.Writes) == 0
	}
	return m
}

// unseen says what a cluster does not show of controllers that are its network too.
func (a *adoption) unseen() []string {
	if !a.network() {
		return nil
	}
	return []string{fmt.Sprintf("The cluster does not show whether %s leaves Services without a class alone, so the rest is yours. Make it do so (%s), then %s. %s Then let nodes announce: kubectl label nodes --all %s=true %s=true.",
		a.name, a.classWay(), a.helm(true), a.instructions(), v1alpha1.LabelAnnouncesLayer2, v1alpha1.LabelAnnouncesBGP)}
}

func (a *adoption) classWay() string {
	if c := a.audit.Of(a.Source); c != nil {
		return c.ClassWay()
	}
	return "by its class"
}

// confirm notes on the other's controller that the check of the step held, so that the
// step does not end unseen; by nobody: it takes that back.
func (a *adoption) confirm(by string) []Write {
	var out []Write
	for _, d := range a.theirs.deciders {
		before := generic(d, "apps/v1", "Deployment")
		out = change(out, before, annotated(before, v1alpha1.AnnotationAdopted, by))
	}
	return out
}

// decideWrites are done at once: their objects leave labelled nodes out while their
// webhook still runs, what was set aside becomes free for those who share it, and
// then their controller stops.
func (a *adoption) decideWrites() []Write {
	out := a.leaveOut(true)
	if a.Source != imports.MetalLB && a.goOn() {
		return out // nobody knows when it lets go
	}
	for i := range a.wanted {
		if o := a.entry(a.wanted[i].address); o != nil && setAside(o) && len(a.wanted[i].services) > 1 {
			out = append(out, remove(ours(o, "Address")))
		}
	}
	return append(out, a.stop()...)
}

// found is behind the other's name on an Address that an adoption has not made: what a
// person reserved stays so.
const found = ", found"

// mark annotates Addresses that Fairlead has entered itself, so that they can be given
// back.
func (a *adoption) mark() []Write {
	var out []Write
	for i := range a.wanted {
		if o := a.entry(a.wanted[i].address); o != nil && o.Annotations[v1alpha1.AnnotationAdopted] == "" {
			u := ours(o, "Address")
			out = change(out, u, annotated(u, v1alpha1.AnnotationAdopted, string(a.Source)+found))
		}
	}
	return out
}

func (a *adoption) decideBack() Move {
	var m Move
	again, starts, aside := a.startAgain(), a.starts(), a.setAsideAgain()
	switch {
	case a.isDefault() && len(a.theirs.deciders) == 0 && a.Source == imports.MetalLB:
		m.Stop = []string{"MetalLB's controller is gone, so nobody would give addresses once Fairlead does not. Install it again, with 0 replicas until Fairlead has let go."}
	case a.isDefault() && len(a.unkept()) > 0:
		m.Stop = a.unkept()
	case a.isDefault() && len(a.mark()) > 0:
		m.Writes = a.mark()
	case a.isDefault():
		m.Waits = []string{"you to let Fairlead serve only its own Services: " + a.helm(false)}
	case a.fairlead != nil && !runs(a.fairlead):
		m.Waits = []string{"Fairlead's controller to run with services.defaultClass=false"}
	case a.holding() != "":
		m.Waits = []string{a.holding()}
	case len(aside) > 0:
		m.Writes = aside
	case len(again) > 0:
		m.Writes = again
	case len(starts) > 0:
		m.Waits = starts
	default:
		m.Writes = append(a.leaveOut(false), a.confirm("")...)
		m.Done = len(m.Writes) == 0
	}
	return m.peerByPeer()
}

// peerByPeer changes one of several BGPPeers of MetalLB before all else: with the BGP
// that MetalLB speaks itself, a peer that changes loses its sessions on all nodes, and
// traffic is to have the routers of the others meanwhile.
func (m Move) peerByPeer() Move {
	var peers []Write
	for _, w := range m.Writes {
		if o := w.Object(); o.GroupVersionKind().Group == metallbGroup && o.GetKind() == "BGPPeer" {
			peers = append(peers, w)
		}
	}
	if len(peers) > 1 {
		m.Writes, m.Settle = peers[:1], true
	}
	return m
}

// setAsideAgain sets addresses that several share aside, as before the step.
func (a *adoption) setAsideAgain() []Write {
	var out []Write
	for i := range a.wanted {
		if len(a.wanted[i].services) > 1 {
			w, _ := a.reserve(&a.wanted[i])
			out = append(out, w...)
		}
	}
	return out
}

// holding says which address Fairlead still holds for a Service that it is to give
// back.
func (a *adoption) holding() string {
	for i := range a.wanted {
		r := &a.wanted[i]
		if o := a.entry(r.address); o != nil && len(o.Spec.Holders) > 0 {
			return fmt.Sprintf("Fairlead to let %s of %s go", r.address, r.words())
		}
	}
	return ""
}
