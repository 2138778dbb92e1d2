package controllers

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// bgpEvery is how long what changes is gathered before the statuses of the kinds
// of BGP are looked at: when speakers start, all their sessions change.
const bgpEvery = 500 * time.Millisecond

// addBGP keeps the statuses of the kinds of BGP. There are few of these objects
// and each bears on others, so all are looked at in one pass.
func (s *shell) addBGP(mgr manager.Manager) error {
	pass := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		if slice, ok := o.(*discoveryv1.EndpointSlice); ok && !s.ofSpeakers(slice) {
			return nil
		}
		s.world.forget()
		s.bgp.addAfter(requestFor("", "bgp"), bgpEvery)
		return nil
	})
	spec := builder.WithPredicates(generationChanged)
	b := builder.ControllerManagedBy(mgr).Named("bgp")
	if s.passwords.secrets != nil {
		b = b.WatchesRawSource(source.Kind[client.Object](s.passwords.secrets, &corev1.Secret{}, pass))
	}
	return b.WatchesRawSource(s.bgp.source()).
		Watches(&v1alpha1.BGPAdvertisement{}, pass, spec).
		Watches(&v1alpha1.BGPPeer{}, pass, spec).
		Watches(&v1alpha1.BFDProfile{}, pass, spec).
		Watches(&v1alpha1.Community{}, pass, spec).
		Watches(&v1alpha1.IPAddressPool{}, pass, builder.WithPredicates(poolChanged)).
		Watches(&v1alpha1.SpeakerStatus{}, pass, builder.WithPredicates(sessionsChanged)).
		Watches(&corev1.Node{}, pass, builder.WithPredicates(nodeChanged)).
		Watches(&discoveryv1.EndpointSlice{}, pass, builder.WithPredicates(endpointsAppeared)).
		WithOptions(working(1)).
		Complete(reconcile.Func(s.reconcileBGP))
}

// sessionsChanged passes a SpeakerStatus only when a session stands otherwise.
var sessionsChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	was, ok1 := e.ObjectOld.(*v1alpha1.SpeakerStatus)
	is, ok2 := e.ObjectNew.(*v1alpha1.SpeakerStatus)
	return ok1 && ok2 && !reflect.DeepEqual(announcer.FromSpeakerSessions(was), announcer.FromSpeakerSessions(is))
}}

// bgpObjects are all objects of the kinds of BGP.
type bgpObjects struct {
	announcer.BGPObjects
	// generations are those of all these objects.
	generations map[types.UID]int64
}

func (s *shell) listBGP(ctx context.Context) (bgpObjects, error) {
	o := bgpObjects{generations: map[types.UID]int64{}}
	for _, list := range []client.ObjectList{&o.Advertisements, &o.Peers, &o.Profiles, &o.Communities} {
		if err := s.client.List(ctx, list); err != nil {
			return bgpObjects{}, fmt.Errorf("listing what is announced by BGP: %w", err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			object, err := meta.Accessor(item)
			if err == nil {
				o.generations[object.GetUID()] = object.GetGeneration()
			}
			return err
		})
		if err != nil {
			return bgpObjects{}, fmt.Errorf("reading what is announced by BGP: %w", err)
		}
	}
	return o, nil
}

// sessionsOf are the sessions of nodes whose speakers live: what another one has
// said last is no longer true.
func sessionsOf(speakers []v1alpha1.SpeakerStatus, living map[string]bool) map[string]announcer.Sessions {
	out := map[string]announcer.Sessions{}
	for i := range speakers {
		if name := speakers[i].Name; living[name] {
			out[name] = announcer.FromSpeakerSessions(&speakers[i])
		}
	}
	return out
}

// reconcileBGP writes what has changed in the statuses of the kinds of BGP.
func (s *shell) reconcileBGP(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	if err := s.await(ctx); err != nil {
		return reconcile.Result{}, nil
	}
	index, err := s.announcerIndex(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	// The statuses may be newer than those that the index was made of.
	o, err := s.listBGP(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	missing, err := s.keepPasswords(ctx, &o.BGPObjects)
	return reconcile.Result{}, errors.Join(err, s.sayOfAdvertisements(ctx, index, o), s.sayOfPeers(ctx, index, o, missing), s.sayOfNames(ctx, index, o))
}

func (s *shell) sayOfAdvertisements(ctx context.Context, index *worldIndex, o bgpObjects) error {
	var errs []error
	for i := range o.Advertisements.Items {
		ad := &o.Advertisements.Items[i]
		errs = append(errs, writeConditions(ctx, s, index, "BGPAdvertisement", ad, func(ad *v1alpha1.BGPAdvertisement) {
			s.setCondition(&ad.Status.Conditions, ad, bgpAdvertisementReady(index, ad))
		}))
	}
	return errors.Join(errs...)
}

func (s *shell) sayOfPeers(ctx context.Context, index *worldIndex, o bgpObjects, missing map[string][]announcer.Problem) error {
	var errs []error
	for i := range o.Peers.Items {
		errs = append(errs, writeConditions(ctx, s, index, "BGPPeer", &o.Peers.Items[i], func(p *v1alpha1.BGPPeer) {
			ready, established, summary := peerConditions(index, p, missing[p.Name]...)
			p.Status.Established = summary
			s.setCondition(&p.Status.Conditions, p, ready)
			s.setCondition(&p.Status.Conditions, p, established)
		}))
	}
	return errors.Join(errs...)
}

// sayOfNames is for what others refer to by name.
func (s *shell) sayOfNames(ctx context.Context, index *worldIndex, o bgpObjects) error {
	var errs []error
	for i := range o.Profiles.Items {
		errs = append(errs, writeConditions(ctx, s, index, "BFDProfile", &o.Profiles.Items[i], func(p *v1alpha1.BFDProfile) {
			s.setCondition(&p.Status.Conditions, p, inUse(v1alpha1.ProfileInUse, "BGPPeer", index.ProfileUsers(p.Name)))
		}))
	}
	for i := range o.Communities.Items {
		errs = append(errs, writeConditions(ctx, s, index, "Community", &o.Communities.Items[i], func(c *v1alpha1.Community) {
			aliases := announcer.FromCommunity(c)
			s.setCondition(&c.Status.Conditions, c, readyOf("Every name stands for what is written here.", index.CheckCommunity(aliases)))
			s.setCondition(&c.Status.Conditions, c, inUse(v1alpha1.CommunityInUse, "BGPAdvertisement", index.CommunityUsers(aliases)))
		}))
	}
	return errors.Join(errs...)
}

func (s *shell) setCondition(list *[]metav1.Condition, o client.Object, c metav1.Condition) {
	c.ObservedGeneration, c.LastTransitionTime = o.GetGeneration(), seconds(s.Clock.Now())
	c.Message = capped(c.Message)
	meta.SetStatusCondition(list, c)
}

// writeConditions writes the status of an object if change changes it. One that the
// index does not know as it is now has its turn when its event comes.
func writeConditions[O interface {
	client.Object
	DeepCopy() O
}](ctx context.Context, s *shell, index *worldIndex, kind string, before O, change func(O)) error {
	if index.bgp.generations[before.GetUID()] != before.GetGeneration() {
		return nil
	}
	after := before.DeepCopy()
	change(after)
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	err := s.patchStatus(ctx, before, after)
	statusWrites.WithLabelValues(kind, resultOf(err)).Inc()
	if err := quiet(err); err != nil {
		return fmt.Errorf("writing the status of %s %s: %w", kind, before.GetName(), err)
	}
	return nil
}

// bgpAdvertisementReady is the condition Ready of a BGPAdvertisement.
func bgpAdvertisementReady(index *worldIndex, ad *v1alpha1.BGPAdvertisement) metav1.Condition {
	if _, err := announcer.FromBGPAdvertisement(ad); err != nil {
		return invalidSelector("BGPAdvertisement", err)
	}
	return readyOf(advertisementFine, index.CheckBGPAdvertisement(ad.Name))
}

// peerConditions are the conditions of a BGPPeer, and on how many nodes it is
// established.
func peerConditions(index *worldIndex, p *v1alpha1.BGPPeer, more ...announcer.Problem) (ready, established metav1.Condition, summary string) {
	established = metav1.Condition{Type: v1alpha1.PeerEstablished, Status: metav1.ConditionFalse, Reason: "NoNode", Message: "No node is to have a session with the peer."}
	if _, err := announcer.FromBGPPeer(p); err != nil {
		ready = metav1.Condition{
			Type: v1alpha1.PeerReady, Status: metav1.ConditionFalse, Reason: "InvalidSpec",
			Message: fmt.Sprintf("There is no session with this BGPPeer: %v. Correct it.", err),
		}
		return ready, established, "0 of 0"
	}
	ready = readyOf("The peer is in use.", append(more, index.CheckPeer(p.Name)...))
	survey := index.SurveyPeer(p.Name, index.sessions)
	switch {
	case survey.Expected == 0:
	case survey.Established == survey.Expected:
		established.Status, established.Reason, established.Message = metav1.ConditionTrue, "Established", survey.String()
	default:
		established.Reason, established.Message = "NotEstablished", survey.String()
	}
	return ready, established, fmt.Sprintf("%d of %d", survey.Established, survey.Expected)
}

// conditionReady is the type of condition that says of each kind of announcing whether an object has effect.
const conditionReady = v1alpha1.AdvertisementReady

// readyOf is that condition by what is wrong. The reason is that of the worst, the
// message has all.
func readyOf(fine string, problems []announcer.Problem) metav1.Condition {
	if len(problems) == 0 {
		return metav1.Condition{Type: conditionReady, Status: metav1.ConditionTrue, Reason: "InUse", Message: fine}
	}
	words := make([]string, 0, len(problems))
	for _, p := range problems {
		words = append(words, p.Message)
	}
	return metav1.Condition{Type: conditionReady, Status: metav1.ConditionFalse, Reason: string(problems[0].Reason), Message: strings.Join(words, " ")}
}

// inUse is the condition of an object that others use by name.
func inUse(kind, of string, users []string) metav1.Condition {
	if len(users) == 0 {
		return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: "NotUsed", Message: "No " + of + " uses it."}
	}
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "Used", Message: "Used by " + of + " " + strings.Join(users, ", ") + "."}
}
