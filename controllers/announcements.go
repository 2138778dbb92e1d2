package controllers

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/plural"
	"github.com/fairlead/fairlead/service"
)

const (
	// reasonNoSpeaker: a node could announce the address, and nobody does.
	reasonNoSpeaker = "NoSpeaker"
	// reasonOutsidePools: the address lies in no pool.
	reasonOutsidePools = "OutsidePools"
	// speakersSettle is how many times Options.Settle a speaker has to announce
	// what it could announce.
	speakersSettle = 10
	// settleEach is how much longer it has for each address of which no speaker
	// has spoken yet: it writes one status after the other, and few while many
	// addresses are being given.
	settleEach = 20 * time.Millisecond
	// busy is how long after an allocation another one is expected.
	busy = 300 * time.Millisecond
	// statusesPerSecond bounds how many statuses of Addresses are written, so
	// that a cluster in which nothing is announced allocates no slower.
	statusesPerSecond = 50
)

// indexOf is the announcer's index of nodes, pools and advertisements, made again
// when one of them changed.
type indexOf struct {
	mu    sync.Mutex
	index *worldIndex
}

type worldIndex struct {
	*announcer.Index
	// living are the nodes that are there and Ready, and whose speaker is.
	living map[string]bool
	bgp    bgpObjects
	// sessions are those of the living nodes, by what their speakers say.
	sessions map[string]announcer.Sessions
}

// lost tells whether the node that an Address names as its announcer is gone or
// not Ready, or its speaker is not. Speakers go by the same: one that lives, and
// hears of it, announces nothing on such a node, and one that announces is ready,
// so that it does not write against us.
func (x *worldIndex) lost(o *v1alpha1.Address) bool {
	return o.Status.Layer2 != nil && !x.living[o.Status.Layer2.Node]
}

func (s *shell) addAnnouncements(mgr manager.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &discoveryv1.EndpointSlice{}, sliceService, serviceOfSlice); err != nil {
		return fmt.Errorf("indexing EndpointSlices: %w", err)
	}
	s.statuses = rate.NewLimiter(statusesPerSecond, statusesPerSecond)
	all := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		s.world.forget()
		return s.announceable()
	})
	return builder.ControllerManagedBy(mgr).Named("announcements").
		WatchesRawSource(s.announcements.source()).
		Watches(&v1alpha1.L2Advertisement{}, all, builder.WithPredicates(generationChanged)).
		Watches(&v1alpha1.BGPAdvertisement{}, all, builder.WithPredicates(generationChanged)).
		Watches(&v1alpha1.BGPPeer{}, all, builder.WithPredicates(generationChanged)).
		Watches(&v1alpha1.Community{}, all, builder.WithPredicates(generationChanged)).
		Watches(&v1alpha1.IPAddressPool{}, all, builder.WithPredicates(poolChanged)).
		Watches(&v1alpha1.SpeakerStatus{}, all, builder.WithPredicates(predicate.Or(interfacesChanged, establishedChanged))).
		Watches(&corev1.Node{}, all, builder.WithPredicates(nodeChanged)).
		Watches(&discoveryv1.EndpointSlice{}, handler.EnqueueRequestsFromMapFunc(s.addressesOfSlice), builder.WithPredicates(endpointsAppeared)).
		WithOptions(working(1)).
		Complete(reconcile.Func(s.reconcileAnnouncement))
}

// sliceService is the index of EndpointSlices by the Service they belong to.
const sliceService = "service"

func serviceOfSlice(o client.Object) []string {
	if name := o.GetLabels()[discoveryv1.LabelServiceName]; name != "" {
		return []string{name}
	}
	return nil
}

var labelsOf = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	return !labels.Equals(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels())
}}

// poolChanged passes a pool when it is selected otherwise, or when its addresses,
// which bound what BGP aggregates, may be others.
var poolChanged = predicate.Or[client.Object](labelsOf, generationChanged)

// interfacesChanged passes a SpeakerStatus only when other interfaces suit: it is
// written for much else.
var interfacesChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	was, ok1 := e.ObjectOld.(*v1alpha1.SpeakerStatus)
	is, ok2 := e.ObjectNew.(*v1alpha1.SpeakerStatus)
	return ok1 && ok2 && !reflect.DeepEqual(announcer.FromSpeakerStatus(was), announcer.FromSpeakerStatus(is))
}}

// establishedChanged passes a SpeakerStatus only when other sessions are
// established. What it says of one that is not is told by its peer, and all
// addresses are looked at for what passes here.
var establishedChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	was, ok1 := e.ObjectOld.(*v1alpha1.SpeakerStatus)
	is, ok2 := e.ObjectNew.(*v1alpha1.SpeakerStatus)
	return ok1 && ok2 && !slices.Equal(announcer.FromSpeakerSessions(was).Established(), announcer.FromSpeakerSessions(is).Established())
}}

var nodeChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	was, ok1 := e.ObjectOld.(*corev1.Node)
	is, ok2 := e.ObjectNew.(*corev1.Node)
	return ok1 && ok2 && !reflect.DeepEqual(announcer.FromNode(was), announcer.FromNode(is))
}}

// endpointsAppeared passes the EndpointSlices whose change decides whether a
// Service can be served at all, or where.
var endpointsAppeared = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	was, ok1 := e.ObjectOld.(*discoveryv1.EndpointSlice)
	is, ok2 := e.ObjectNew.(*discoveryv1.EndpointSlice)
	return ok1 && ok2 && !equality.Semantic.DeepEqual(was.Endpoints, is.Endpoints)
}}

// addressesOfSlice are the addresses of the Service that a slice belongs to. For
// one of the speakers' they are those that a speaker has left.
func (s *shell) addressesOfSlice(ctx context.Context, o client.Object) []reconcile.Request {
	if s.ofSpeakers(o) {
		s.world.forget()
		return s.left(ctx)
	}
	var out []reconcile.Request
	for _, holder := range holdersOfSlice(o) {
		for _, a := range s.ledger.Held(holder) {
			out = append(out, requestFor("", v1alpha1.AddressName(a)))
		}
	}
	return out
}

// holdersOfSlice are who may hold addresses that a slice's endpoints serve: its Service, and the
// Gateway whose own Service that is.
func holdersOfSlice(o client.Object) (out []allocator.Key) {
	for _, name := range serviceOfSlice(o) {
		out = append(out, allocator.Key{Kind: service.KindService, Namespace: o.GetNamespace(), Name: name})
	}
	for _, owner := range o.GetOwnerReferences() {
		if owner.Kind == gateway.KindGateway {
			out = append(out, allocator.Key{Kind: gateway.KindGateway, Namespace: o.GetNamespace(), Name: owner.Name})
		}
	}
	return out
}

// componentLabel and speakerComponent mark the Service of the speakers in the
// chart, and thereby its EndpointSlices.
const componentLabel, speakerComponent = "app.kubernetes.io/component", "speaker"

func (s *shell) ofSpeakers(slice client.Object) bool {
	return slice.GetNamespace() == s.Namespace && slice.GetLabels()[componentLabel] == speakerComponent
}

// left are the Addresses that name a node which cannot take itself out, or count it.
func (s *shell) left(ctx context.Context) []reconcile.Request {
	if !s.isReady() {
		return nil // all Addresses are looked at once that is over
	}
	index, err := s.announcerIndex(ctx)
	if err != nil {
		return nil
	}
	var out []reconcile.Request
	for _, a := range s.ledger.Announceable() {
		if o := s.ledger.Object(a); o != nil && (index.lost(o) || o.Status.BGP != nil) {
			out = append(out, requestFor("", o.Name))
		}
	}
	return out
}

// readySpeakers are the nodes whose speaker is ready; nil: it is not known, as
// without the speakers' Service.
func (s *shell) readySpeakers(ctx context.Context) (map[string]bool, error) {
	var list discoveryv1.EndpointSliceList
	if s.Namespace == "" {
		return nil, nil
	}
	if err := s.client.List(ctx, &list, client.InNamespace(s.Namespace), client.MatchingLabels{componentLabel: speakerComponent}); err != nil {
		return nil, fmt.Errorf("listing the EndpointSlices of the speakers: %w", err)
	}
	if len(list.Items) == 0 {
		return nil, nil
	}
	ready := announcer.FromEndpointSlices(list.Items).ReadyOn
	if ready == nil {
		ready = map[string]bool{}
	}
	return ready, nil
}

// announceable are the Addresses that are, or could be, announced.
func (s *shell) announceable() []reconcile.Request {
	var out []reconcile.Request
	for _, a := range s.ledger.Announceable() {
		out = append(out, requestFor("", v1alpha1.AddressName(a)))
	}
	return out
}

func (x *indexOf) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.index = nil
}

func (s *shell) announcerIndex(ctx context.Context) (*worldIndex, error) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	if s.world.index != nil {
		return s.world.index, nil
	}
	var nodes corev1.NodeList
	var pools v1alpha1.IPAddressPoolList
	var ads v1alpha1.L2AdvertisementList
	var speakers v1alpha1.SpeakerStatusList
	for _, list := range []client.ObjectList{&nodes, &pools, &ads, &speakers} {
		if err := s.client.List(ctx, list); err != nil {
			return nil, fmt.Errorf("listing what decides on announcements: %w", err)
		}
	}
	bgp, err := s.listBGP(ctx)
	if err != nil {
		return nil, err
	}
	ready, err := s.readySpeakers(ctx)
	if err != nil {
		return nil, err
	}
	var w announcer.World
	// An object that is invalid says so itself.
	bgp.Describe(&w, func(string, string, error) {})
	living := map[string]bool{}
	for i := range nodes.Items {
		n := announcer.FromNode(&nodes.Items[i])
		w.Nodes = append(w.Nodes, n)
		living[n.Name] = n.Ready && !n.Deleting && (ready == nil || ready[n.Name])
	}
	for i := range pools.Items {
		w.Pools = append(w.Pools, announcer.FromPool(&pools.Items[i]))
	}
	for i := range ads.Items {
		// An advertisement that is invalid says so itself and has no effect.
		if a, err := announcer.FromL2Advertisement(&ads.Items[i]); err == nil {
			w.Advertisements = append(w.Advertisements, a)
		}
	}
	w.Options.IgnoreExcludeLabel = s.IgnoreExcludeLabel
	w.Members = announcer.AssumeSpeakers(w.Nodes, interfacesOf(speakers.Items))
	s.world.index = &worldIndex{Index: announcer.NewIndex(w), living: living, bgp: bgp, sessions: sessionsOf(speakers.Items, living)}
	return s.world.index, nil
}

// interfacesOf are the interfaces of nodes whose speakers have said which they
// have.
func interfacesOf(speakers []v1alpha1.SpeakerStatus) map[string][]announcer.Interface {
	out := map[string][]announcer.Interface{}
	for i := range speakers {
		if known := announcer.FromSpeakerStatus(&speakers[i]); len(known) > 0 {
			out[speakers[i].Name] = known
		}
	}
	return out
}

func (s *shell) endpointsOf(ctx context.Context) announcer.EndpointsOf {
	read := func(name types.NamespacedName) []discoveryv1.EndpointSlice {
		var list discoveryv1.EndpointSliceList
		if err := s.client.List(ctx, &list, client.InNamespace(name.Namespace), client.MatchingFields{sliceService: name.Name}, client.UnsafeDisableDeepCopy); err != nil {
			return nil
		}
		return list.Items
	}
	return func(name types.NamespacedName) announcer.Endpoints {
		e, _ := announcer.LookUp(name, s.Namespace, read)
		return e
	}
}

// reconcileAnnouncement says on an Address why nobody announces it, once that
// has stood for a while. The speaker that announces it says so itself.
func (s *shell) reconcileAnnouncement(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if err := s.await(ctx); err != nil {
		return reconcile.Result{}, nil
	}
	a, err := v1alpha1.ParseAddressName(req.Name)
	if err != nil {
		return reconcile.Result{}, reconcile.TerminalError(err)
	}
	object := s.ledger.Object(a)
	if object == nil {
		s.dark.forget(req.NamespacedName)
		return reconcile.Result{}, nil
	}
	want, err := s.standingOf(ctx, object)
	if err != nil {
		return reconcile.Result{}, err
	}
	if wait := s.settling(req.NamespacedName, object, want); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	return s.orLater(time.Time{}, s.writeAddressStatus(ctx, object, want))
}

// standing is what the controller has to say of how an Address is announced.
type standing struct {
	// announced is the condition Announced: False, or True where it is announced by
	// BGP only; nil: none of ours.
	announced *metav1.Condition
	// bgp is how widely it is announced by BGP; nil: it is not.
	bgp *v1alpha1.BGPAnnouncement
	// lost: the entry in status.layer2 names a node that is gone, or whose speaker
	// is, and that cannot take it out.
	lost bool
}

// settling is how long to wait before a standing is written, so that a normal start
// writes none.
//
// What a node that is gone has left is taken out only after the longest wait, in
// which another speaker writes its own over it, or the node comes back.
func (s *shell) settling(name types.NamespacedName, o *v1alpha1.Address, want standing) time.Duration {
	settle := s.settlesIn(o, want)
	if settle == 0 {
		s.dark.forget(name)
		return 0
	}
	now := s.Clock.Now()
	since := s.dark.get(name)
	if since.IsZero() {
		since = now
		s.dark.put(name, now)
	}
	if settle > s.Settle {
		settle += time.Duration(s.dark.len()) * settleEach
	}
	if wait := since.Add(settle).Sub(now); wait > 0 {
		return wait
	}
	// While addresses are being given, their writes go first, for a while.
	if lately := now.UnixNano() - s.gave.Load(); lately < int64(busy) && now.Before(since.Add(2*speakersSettle*s.Settle)) {
		return busy
	}
	return 0
}

// settlesIn is how long a standing must last before it is written. A reason that
// stands already is replaced at once, and so is none by an announcement. How widely
// an address is announced by BGP changes with every session, for all addresses, and
// is written when that is over.
func (s *shell) settlesIn(o *v1alpha1.Address, want standing) time.Duration {
	dark := want.announced != nil && want.announced.Status == metav1.ConditionFalse
	switch {
	case want.lost:
		return speakersSettle * s.Settle
	case dark && meta.IsStatusConditionFalse(o.Status.Conditions, v1alpha1.AddressAnnounced):
		return 0
	case dark && (want.announced.Reason == reasonNoSpeaker || want.announced.Reason == string(announcer.NoSession)):
		return speakersSettle * s.Settle
	case dark:
		return s.Settle
	case o.Spec.State == v1alpha1.AddressBound && o.Status.BGP != nil && !equality.Semantic.DeepEqual(o.Status.BGP, want.bgp):
		return speakersSettle * s.Settle
	default:
		return 0
	}
}

// standingOf is what we have to say of an Address. Whether it is announced on layer
// 2 says the speaker that announces it, as long as it can.
func (s *shell) standingOf(ctx context.Context, o *v1alpha1.Address) (standing, error) {
	if o.Spec.State != v1alpha1.AddressBound && o.Status.Layer2 == nil {
		return standing{}, nil // and what was announced by BGP is no longer
	}
	index, err := s.announcerIndex(ctx)
	if err != nil {
		return standing{}, err
	}
	a, err := announcer.FromAddress(o)
	if err != nil {
		return standing{}, reconcile.TerminalError(err)
	}
	endpoints := s.endpointsOf(ctx)
	survey := index.SurveyBGP(a, endpoints, index.established)
	want := standing{lost: index.lost(o), bgp: s.announcedByBGP(o, survey)}
	switch {
	case spokenFor(o) && !want.lost:
	case want.bgp != nil:
		want.announced = &metav1.Condition{
			Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionTrue, Reason: announcer.ByBGP, Message: announcer.AnnouncedByBGP(want.bgp.Summary),
		}
	default:
		want.announced = conditionOf(a, index.Decide(a, endpoints), survey)
	}
	return want, nil
}

// spokenFor says whether a speaker speaks for an Address.
func spokenFor(o *v1alpha1.Address) bool {
	c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.AddressAnnounced)
	return o.Status.Layer2 != nil || c != nil && c.Status == metav1.ConditionTrue && c.Reason != announcer.ByBGP
}

// established says whether a living speaker says that a session is established.
func (x *worldIndex) established(node, peer string) bool { return x.sessions[node][peer].Established }

// announcedByBGP is what the status of an Address says of BGP.
func (s *shell) announcedByBGP(o *v1alpha1.Address, survey announcer.BGPSurvey) *v1alpha1.BGPAnnouncement {
	if len(survey.Nodes) == 0 {
		return nil
	}
	out := &v1alpha1.BGPAnnouncement{Nodes: int32(len(survey.Nodes)), Peers: int32(len(survey.Peers)), Since: seconds(s.Clock.Now())}
	if o.Status.BGP != nil {
		out.Since = o.Status.BGP.Since
	}
	out.Summary = plural.Count(len(survey.Nodes), "node") + " to " + plural.Count(len(survey.Peers), "peer")
	for _, p := range survey.Prefixes[:min(len(survey.Prefixes), maxPrefixes)] {
		out.Prefixes = append(out.Prefixes, p.String())
	}
	return out
}

// maxPrefixes is how many prefixes of an Address its status names.
const maxPrefixes = 16

// conditionOf says why nobody announces an address.
func conditionOf(a announcer.Address, d announcer.Decision, survey announcer.BGPSurvey) *metav1.Condition {
	c := &metav1.Condition{Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionFalse}
	if d.Node != "" {
		c.Reason = reasonNoSpeaker
		c.Message = fmt.Sprintf("Node %s could announce %s, and no speaker does. Look at the speaker's pod on that node, and at the SpeakerStatus %s.", d.Node, a.IP, d.Node)
		return c
	}
	reason, message := announcer.Unannounced(a, d, survey)
	c.Reason, c.Message = string(reason), capped(message)
	return c
}

// writeAddressStatus writes our part of the status of an Address: why it is not
// announced, that it lies outside of every pool, and the end of what a node has
// left. It is bound to the resourceVersion, so that a speaker that writes at the
// same time is not overruled.
func (s *shell) writeAddressStatus(ctx context.Context, o *v1alpha1.Address, want standing) error {
	a, err := netip.ParseAddr(o.Spec.Address)
	if err != nil {
		return reconcile.TerminalError(fmt.Errorf("address of Address %s: %w", o.Name, err))
	}
	next := o.DeepCopy()
	now := seconds(s.Clock.Now())
	set := func(kind string, c *metav1.Condition) {
		switch {
		case c != nil:
			c.LastTransitionTime, c.ObservedGeneration = now, 0
			meta.SetStatusCondition(&next.Status.Conditions, *c)
		case isOurs(meta.FindStatusCondition(next.Status.Conditions, kind)):
			meta.RemoveStatusCondition(&next.Status.Conditions, kind)
		}
	}
	next.Status.BGP = want.bgp
	if want.lost {
		next.Status.Layer2, next.Status.Announced = nil, ""
	}
	if want.announced != nil || !unusedSays(o) {
		set(v1alpha1.AddressAnnounced, want.announced)
	}
	set(v1alpha1.AddressInPool, s.outside(a))
	if equality.Semantic.DeepEqual(o.Status, next.Status) {
		return nil
	}
	if err := s.statuses.Wait(ctx); err != nil {
		return nil
	}
	err = s.Failpoint.around(ctx, PointAddressStatus, func() error { return s.patchStatus(ctx, o, next) })
	statusWrites.WithLabelValues("Address", resultOf(err)).Inc()
	if err != nil {
		return fmt.Errorf("writing the status of Address %s: %w", o.Name, err)
	}
	return nil
}

// unusedSays tells whether an Address that nobody uses says just that, which its
// speaker wrote when its holder went. It is true, and to take it out would cost
// one more write for every holder that goes.
func unusedSays(o *v1alpha1.Address) bool {
	c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.AddressAnnounced)
	return o.Spec.State != v1alpha1.AddressBound && c != nil && c.Reason == string(announcer.NotBound)
}

// isOurs tells our conditions from a speaker's (such as a conflict).
func isOurs(c *metav1.Condition) bool {
	switch {
	case c == nil:
		return false
	case c.Status == metav1.ConditionTrue:
		return c.Reason == announcer.ByBGP
	}
	switch announcer.Reason(c.Reason) {
	case announcer.NotBound, announcer.NoAdvertisement, announcer.NoReadyEndpoint, announcer.NoInterface, announcer.NoEligibleNode,
		announcer.NoPeer, announcer.NoSession, announcer.ConflictingAdvertisements, announcer.UnknownCommunity, announcer.AggregationTooWide,
		reasonNoSpeaker, reasonOutsidePools:
		return true
	}
	return false
}

func (s *shell) outside(a netip.Addr) *metav1.Condition {
	if s.surroundings.inPool(a) {
		return nil
	}
	return &metav1.Condition{
		Type: v1alpha1.AddressInPool, Status: metav1.ConditionFalse, Reason: reasonOutsidePools,
		Message: fmt.Sprintf("%s lies in no pool. Only the holder it is reserved for, or that has it, may use it. Add it to an IPAddressPool to let others have it.", a),
	}
}

// noteAddress lets the announcement of an Address be looked at.
func (s *shell) noteAddress(a netip.Addr) {
	s.announcements.add(requestFor("", v1alpha1.AddressName(a)))
}

// unannounced says what keeps the addresses of a Service from being announced, as
// their Address objects say it.
func (s *shell) unannounced(given []allocator.Assigned) *service.Announcement {
	for _, g := range given {
		o := s.ledger.Object(g.Address)
		if o == nil {
			continue
		}
		if c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.AddressAnnounced); c != nil && c.Status == metav1.ConditionFalse {
			return &service.Announcement{Reason: c.Reason, Message: fmt.Sprintf("%s is not announced. %s", g.Address, c.Message)}
		}
	}
	return nil
}
