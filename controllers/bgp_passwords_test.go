package controllers

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// debug is the verbosity of --log-level=debug, the most that can be had: from 8 on client-go logs what it sends.
const debug = 1

// diary keeps all that a controller logs.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) logger() logr.Logger {
	return funcr.New(func(prefix, line string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.lines = append(d.lines, prefix+" "+line)
	}, funcr.Options{Verbosity: debug})
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, "\n")
}

// inOwnNamespace has the controllers keep Secrets in the test's namespace.
func (w *world) inOwnNamespace(d *diary) func(*Options, *manager.Options) {
	return func(o *Options, m *manager.Options) {
		o.Namespace = w.ns
		m.Logger = d.logger()
	}
}

// keptIn gives a peer the password of a Secret.
func keptIn(secret string) func(*v1alpha1.BGPPeerSpec) {
	return func(s *v1alpha1.BGPPeerSpec) {
		s.PasswordSecret = &v1alpha1.PasswordSecretReference{Name: secret}
	}
}

func (w *world) newSecret(name string, kind corev1.SecretType, entries map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}, Type: kind, StringData: entries}
}

// passwordSecret makes a Secret as users are asked to, or changes its password.
func (w *world) passwordSecret(name, password string) *corev1.Secret {
	w.t.Helper()
	entries := map[string]string{corev1.BasicAuthPasswordKey: password}
	secret := w.newSecret(name, corev1.SecretTypeBasicAuth, entries)
	if w.c.Get(w.ctx(), client.ObjectKeyFromObject(secret), secret) == nil {
		secret.StringData = entries
		if err := w.c.Update(w.ctx(), secret); err != nil {
			w.t.Fatal(err)
		}
		return secret
	}
	w.create(secret)
	return secret
}

// gathers waits until the speakers' Secret has exactly these entries ("peer=password").
func (w *world) gathers(want ...string) *corev1.Secret {
	w.t.Helper()
	secret := w.newSecret(DefaultPasswordSecret, "", nil)
	w.eventually(fmt.Sprintf("the speakers are given %v", want), func() error {
		if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(secret), secret); err != nil {
			return err
		}
		var have []string
		for _, peer := range slices.Sorted(maps.Keys(secret.Data)) {
			have = append(have, peer+"="+string(secret.Data[peer]))
		}
		if !slices.Equal(have, want) {
			return fmt.Errorf("they are given %v", have)
		}
		return nil
	})
	return secret
}

// tellsNobody proves that a password stands in no log, status or Event.
func (w *world) tellsNobody(d *diary, passwords ...string) {
	w.t.Helper()
	said := map[string]string{"the log": d.String()}
	for what, list := range map[string]client.ObjectList{
		"BGPPeers": &v1alpha1.BGPPeerList{}, "Addresses": &v1alpha1.AddressList{}, "SpeakerStatuses": &v1alpha1.SpeakerStatusList{}, "Events": &eventsv1.EventList{},
	} {
		if err := w.c.List(w.ctx(), list); err != nil {
			w.t.Fatal(err)
		}
		text, err := json.Marshal(list)
		if err != nil {
			w.t.Fatal(err)
		}
		said[what] = string(text)
	}
	for where, text := range said {
		for _, p := range passwords {
			if strings.Contains(text, p) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(p))) {
				w.t.Errorf("password %q stands in %s", p, where)
			}
		}
	}
}

func TestPasswordsOfPeersAreGathered(t *testing.T) {
	w := newWorld(t)
	d := &diary{}
	shared := w.passwordSecret("shared", "pw-first")
	own := w.passwordSecret("own", "pw-own")
	left := w.newPeer("left", "198.51.100.1", keptIn("shared"))
	w.newPeer("right", "198.51.100.2", keptIn("shared"))
	w.newPeer("far", "198.51.100.3", keptIn("own"))
	w.newPeer("open", "198.51.100.4", func(s *v1alpha1.BGPPeerSpec) { s.Password = "inline" })
	w.newPeer("none", "198.51.100.5", func(s *v1alpha1.BGPPeerSpec) { s.PasswordSecret = &v1alpha1.PasswordSecretReference{} })
	r := w.start(w.inOwnNamespace(d))
	gathered := w.gathers("far=pw-own", "left=pw-first", "right=pw-first")
	if gathered.Type != corev1.SecretTypeOpaque {
		t.Errorf("the speakers' Secret is of type %s: it would be taken for one of a peer", gathered.Type)
	}

	w.passwordSecret("shared", "pw-second")
	w.gathers("far=pw-own", "left=pw-second", "right=pw-second")
	w.delete(left)
	w.gathers("far=pw-own", "right=pw-second")
	w.editPeer("far", keptIn("shared"))
	w.gathers("far=pw-second", "right=pw-second")
	w.editPeer("far", keptIn("own"))
	w.gathers("far=pw-own", "right=pw-second")
	w.delete(own)
	gathered = w.gathers("right=pw-second")

	// The speakers' Secret is taken away, so the session is lost.
	w.delete(gathered)
	w.node("node1", nil)
	w.saysOfSessions("node1", session("right", v1alpha1.SessionIdle, "the password is not there"))
	w.gathers("right=pw-second")

	w.delete(shared)
	w.gathers()
	w.settled(r)
	w.tellsNobody(d, "pw-first", "pw-second", "pw-own")
}

// editPeer changes a BGPPeer.
func (w *world) editPeer(name string, change func(*v1alpha1.BGPPeerSpec)) {
	w.t.Helper()
	w.eventually("editing BGPPeer "+name, func() error {
		p := &v1alpha1.BGPPeer{}
		if err := w.c.Get(w.ctx(), client.ObjectKey{Name: name}, p); err != nil {
			return err
		}
		change(&p.Spec)
		return w.c.Update(w.ctx(), p)
	})
}

func TestPasswordsCostNoWritesInSteadyState(t *testing.T) {
	w := newWorld(t)
	d := &diary{}
	secret := w.passwordSecret("shared", "pw-steady")
	peer := w.newPeer("tor", "198.51.100.1", keptIn("shared"))
	r := w.start(w.inOwnNamespace(d))
	version := w.gathers("tor=pw-steady").ResourceVersion
	w.isSaid(peer, v1alpha1.PeerReady, metav1.ConditionTrue, "InUse", "")

	// Neither a label of the Secret, nor another Secret, nor another peer without one is a reason to write.
	before := w.settled(r)["PATCH "+w.gatheredPath()]
	secret.Labels = map[string]string{"team": "network"}
	if err := w.c.Update(w.ctx(), secret); err != nil {
		t.Fatal(err)
	}
	w.passwordSecret("unused", "pw-unused")
	other := w.newPeer("other", "198.51.100.2")
	w.isSaid(other, v1alpha1.PeerReady, metav1.ConditionTrue, "InUse", "")
	if after := w.settled(r)["PATCH "+w.gatheredPath()]; after != before {
		t.Errorf("the speakers' Secret was patched %d times for nothing", after-before)
	}
	r.stop()
	again := w.start(w.inOwnNamespace(d))
	w.recovered(again)
	if writes := w.settled(again); len(writes) > 0 {
		t.Errorf("a restart writes %v", writes)
	}
	if now := w.gathers("tor=pw-steady").ResourceVersion; now != version {
		t.Error("the speakers' Secret was written")
	}
}

func (w *world) gatheredPath() string {
	return "/api/v1/namespaces/" + w.ns + "/secrets/" + DefaultPasswordSecret
}

// A Secret that cannot be used is said of at the peers that name it; the others have their passwords.
func TestPasswordsThatAreMissing(t *testing.T) {
	w := newWorld(t)
	d := &diary{}
	w.passwordSecret("good", "pw-good")
	w.newPeer("good", "198.51.100.1", keptIn("good"))
	long := strings.Repeat("pw-long ", 11)
	bad := []struct {
		name   string
		secret *corev1.Secret
		words  string
	}{
		{"absent", nil, "There is no Secret absent of type kubernetes.io/basic-auth"},
		{"opaque", w.newSecret("opaque", corev1.SecretTypeOpaque, map[string]string{"password": "pw-opaque"}), "There is no Secret opaque of type kubernetes.io/basic-auth"},
		{"keyless", w.newSecret("keyless", corev1.SecretTypeBasicAuth, map[string]string{"username": "pw-user"}), "has no entry password, or an empty one"},
		{"empty", w.newSecret("empty", corev1.SecretTypeBasicAuth, map[string]string{"password": ""}), "has no entry password, or an empty one"},
		{"long", w.newSecret("long", corev1.SecretTypeBasicAuth, map[string]string{"password": long}), "has 88 bytes, more than the 80 that TCP takes"},
	}
	var peers []*v1alpha1.BGPPeer
	for i, b := range bad {
		if b.secret != nil {
			w.create(b.secret)
		}
		peers = append(peers, w.newPeer(b.name, fmt.Sprintf("198.51.100.%d", i+10), keptIn(b.name)))
	}
	w.start(w.inOwnNamespace(d))
	w.gathers("good=pw-good")
	for i, b := range bad {
		w.isSaid(peers[i], v1alpha1.PeerReady, metav1.ConditionFalse, string(PasswordMissing), b.words)
	}

	want := []string{"good=pw-good"}
	for i, b := range bad {
		if b.secret != nil {
			w.delete(b.secret)
		}
		w.passwordSecret(b.name, "pw-now")
		w.isSaid(peers[i], v1alpha1.PeerReady, metav1.ConditionTrue, "InUse", "")
		want = append(want, b.name+"=pw-now")
		slices.Sort(want)
		w.gathers(want...)
	}
	w.tellsNobody(d, "pw-good", "pw-opaque", "pw-user", "pw-now", long)
}

// Writing the speakers' Secret fails, and is done as soon as it can be. The error is told, and no password with it.
func TestPasswordsThatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	d := &diary{}
	stuck := w.newSecret(DefaultPasswordSecret, corev1.SecretTypeOpaque, map[string]string{"tor": "pw-stale"})
	stuck.Immutable = ptr.To(true)
	w.create(stuck)
	w.passwordSecret("mine", "pw-mine")
	w.newPeer("tor", "198.51.100.1", keptIn("mine"))
	broken := w.newPeer("broken", "198.51.100.2", keptIn("absent"))
	w.start(w.inOwnNamespace(d))
	w.eventually("the failure is logged", func() error {
		if text := d.String(); !strings.Contains(text, "writing Secret "+w.ns+"/"+DefaultPasswordSecret) {
			return fmt.Errorf("the log says %s", text)
		}
		return nil
	})
	w.isSaid(broken, v1alpha1.PeerReady, metav1.ConditionFalse, string(PasswordMissing), "absent")
	w.delete(stuck)
	w.gathers("tor=pw-mine")
	w.tellsNobody(d, "pw-mine", "pw-stale")
}

// Keys of BFD are gathered for the profiles that peers name, and one that is missing is said of at those peers.
func TestKeysOfBFDAreGathered(t *testing.T) {
	w := newWorld(t)
	d := &diary{}
	profile := &v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: "signed"}}
	profile.Spec.Authentication = &v1alpha1.BFDAuthentication{Type: v1alpha1.BFDSimplePassword, PasswordSecret: v1alpha1.BFDKeyReference{Name: "keys"}}
	w.create(profile)
	watched := func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "signed" }
	tor := w.newPeer("tor", "198.51.100.1", watched, keptIn("absent"))
	spine := w.newPeer("spine", "198.51.100.2", watched)
	w.newPeer("open", "198.51.100.3")
	w.start(w.inOwnNamespace(d))
	const without = "so BFD, which BFDProfile signed has sign its packets, does not watch the peer"
	for _, p := range []*v1alpha1.BGPPeer{tor, spine} {
		w.isSaid(p, v1alpha1.PeerReady, metav1.ConditionFalse, string(PasswordMissing), "There is no Secret keys of type kubernetes.io/basic-auth, "+without)
	}
	w.isSaid(tor, v1alpha1.PeerReady, metav1.ConditionFalse, string(PasswordMissing), "There is no Secret absent of type kubernetes.io/basic-auth, so no session is tried")

	w.passwordSecret("keys", "key-of-20-bytes-long")
	w.isSaid(spine, v1alpha1.PeerReady, metav1.ConditionFalse, string(PasswordMissing), "has 20 bytes, more than the 16 that SimplePassword takes, "+without)
	w.eventually("signing by SHA-1", func() error {
		if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(profile), profile); err != nil {
			return err
		}
		profile.Spec.Authentication.Type = v1alpha1.BFDKeyedSHA1
		return w.c.Update(w.ctx(), profile)
	})
	w.isSaid(spine, v1alpha1.PeerReady, metav1.ConditionTrue, "InUse", "")
	w.gathers("bfd_signed=key-of-20-bytes-long")
	w.passwordSecret("keys", "key-new")
	w.gathers("bfd_signed=key-new")
	w.delete(spine)
	w.delete(tor)
	w.gathers()
	w.tellsNobody(d, "key-of-20-bytes-long", "key-new")
}
