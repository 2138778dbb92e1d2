package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const day = 24 * time.Hour

var (
	start = time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC)
	rules = Rules{Authority: 300 * day, Leaf: 90 * day, Overlap: day, Skew: time.Minute}
)

func authority(t testing.TB, have map[string][]byte, now time.Time) (map[string][]byte, time.Time) {
	t.Helper()
	want, look, err := Authority(have, now, rand.Reader, rules)
	if err != nil {
		t.Fatal(err)
	}
	return want, look
}

func leaf(t testing.TB, have, ca map[string][]byte, s Subject, now time.Time) (map[string][]byte, time.Time) {
	t.Helper()
	want, look, err := Leaf(have, ca, s, now, rand.Reader, rules)
	if err != nil {
		t.Fatal(err)
	}
	return want, look
}

func same(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

// verify says whether a peer with ca's bundle takes a leaf.
func verify(bundle, leaf map[string][]byte, usage x509.ExtKeyUsage, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle[Bundle])
	p, err := parsePair(leaf[Certificate], leaf[Key])
	if err != nil {
		return err
	}
	_, err = p.cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

func TestWhatIsGoodStays(t *testing.T) {
	ca, look := authority(t, nil, start)
	if want := start.Add(-rules.Skew + 200*day); !look.Equal(want) {
		t.Errorf("the authority is looked at again at %v, want %v", look, want)
	}
	again, _ := authority(t, ca, look.Add(-time.Second))
	if !same(ca, again) {
		t.Error("the authority changed before its time")
	}
	for _, s := range []Subject{Controller("fairlead.example", "b.example"), Fleet("class/fairlead")} {
		l, look := leaf(t, nil, ca, s, start)
		if want := start.Add(-rules.Skew + 60*day); !look.Equal(want) {
			t.Errorf("%s is looked at again at %v, want %v", s, look, want)
		}
		if again, _ := leaf(t, l, ca, s, look.Add(-time.Second)); !same(l, again) {
			t.Errorf("%s changed before its time", s)
		}
		if renewed, _ := leaf(t, l, ca, s, look); bytes.Equal(l[Certificate], renewed[Certificate]) || bytes.Equal(l[Key], renewed[Key]) {
			t.Errorf("%s is not renewed in time", s)
		}
	}
}

func TestLeafIsMadeAnew(t *testing.T) {
	ca, _ := authority(t, nil, start)
	other, _ := authority(t, nil, start)
	fleet := Fleet("class/a")
	good, _ := leaf(t, nil, ca, fleet, start)
	with := func(entry string, value []byte) map[string][]byte {
		out := maps.Clone(good)
		out[entry] = value
		return out
	}
	another, _ := leaf(t, nil, ca, Fleet("class/b"), start)
	foreign, _ := leaf(t, nil, other, fleet, start)
	server, _ := leaf(t, nil, ca, Controller("a.example"), start)
	for _, c := range []struct {
		name string
		have map[string][]byte
	}{
		{"nothing", nil},
		{"no key", with(Key, nil)},
		{"another key", with(Key, another[Key])},
		{"a key that is none", with(Key, []byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"))},
		{"another fleet's", another},
		{"another authority's", foreign},
		{"the controller's", server},
		{"an authority", ca},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := leaf(t, c.have, ca, fleet, start)
			if bytes.Equal(got[Certificate], c.have[Certificate]) {
				t.Error("the certificate stayed")
			}
			if err := verify(ca, got, x509.ExtKeyUsageClientAuth, start); err != nil {
				t.Error(err)
			}
			if len(got) != 3 {
				t.Errorf("the Secret has %v", slices.Sorted(maps.Keys(got)))
			}
		})
	}
	if _, _, err := Leaf(nil, map[string][]byte{Bundle: ca[Bundle]}, fleet, start, rand.Reader, rules); err == nil {
		t.Error("a leaf was signed without an authority")
	}
}

func TestLeafEndsWithItsAuthority(t *testing.T) {
	ca, _ := authority(t, nil, start)
	now := start.Add(280 * day)
	l, _ := leaf(t, nil, ca, Fleet("class/a"), now)
	p, err := parsePair(l[Certificate], l[Key])
	if err != nil {
		t.Fatal(err)
	}
	if want := start.Add(-rules.Skew + rules.Authority); !p.cert.NotAfter.Equal(want) {
		t.Errorf("it ends at %v, the authority at %v", p.cert.NotAfter, want)
	}
}

// world is the Secrets as they lie in the cluster, and as they have got to one side
// of the connection, which is late.
type world struct {
	ca             map[string][]byte
	server, client map[string][]byte
	seen           [2]map[string][]byte // server, client
}

// Whatever the order of looks, as long as each Secret is looked at often enough and
// gets to its pod within the overlap, every connection succeeds at every moment, for
// years of rotations.
func TestRotationRefusesNobody(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { rotate(t, mathrand.New(mathrand.NewPCG(seed, seed))) })
	}
}

func rotate(t *testing.T, random *mathrand.Rand) {
	w, now := &world{}, start
	w.ca, _ = authority(t, nil, now)
	w.server, _ = leaf(t, nil, w.ca, Controller("a.example"), now)
	w.client, _ = leaf(t, nil, w.ca, Fleet("class/a"), now)
	w.seen = [2]map[string][]byte{w.server, w.client}
	authorities := map[string]bool{}
	for range 100 {
		now = now.Add(time.Duration(2+random.IntN(9)) * day)
		w.ca, _ = authority(t, w.ca, now)
		authorities[string(w.ca[Certificate])] = true
		w.server, _ = leaf(t, w.server, w.ca, Controller("a.example"), now)
		w.client, _ = leaf(t, w.client, w.ca, Fleet("class/a"), now)
		for _, hears := range random.Perm(2) {
			w.seen[hears] = [2]map[string][]byte{w.server, w.client}[hears]
			if err := errors.Join(verify(w.seen[0], w.seen[1], x509.ExtKeyUsageClientAuth, now), verify(w.seen[1], w.seen[0], x509.ExtKeyUsageServerAuth, now)); err != nil {
				t.Fatalf("at %v, with one side late: %v", now, err)
			}
		}
	}
	if len(authorities) < 2 {
		t.Fatal("the authority was never rotated")
	}
}

func TestNextAuthorityIsTrustedBeforeItSigns(t *testing.T) {
	ca, look := authority(t, nil, start)
	announced, sign := authority(t, ca, look)
	if !bytes.Equal(announced[Certificate], ca[Certificate]) || announced[NextKey] == nil {
		t.Fatal("no next authority is announced")
	}
	if want := look.Add(rules.Overlap); !sign.Equal(want) {
		t.Errorf("it signs at %v, want %v", sign, want)
	}
	if n := len(parseBundle(announced[Bundle])); n != 2 {
		t.Errorf("%d authorities are trusted, want 2", n)
	}
	if waiting, _ := authority(t, announced, sign.Add(-time.Second)); !same(waiting, announced) {
		t.Error("something changed before the next authority signs")
	}
	signing, _ := authority(t, announced, sign)
	if !bytes.Equal(signing[Certificate], announced[NextCertificate]) || !bytes.Equal(signing[Key], announced[NextKey]) || signing[NextKey] != nil {
		t.Error("the next authority does not sign")
	}
	if n := len(parseBundle(signing[Bundle])); n != 2 {
		t.Errorf("%d authorities are trusted, want the old one too", n)
	}
	if after, _ := authority(t, signing, start.Add(rules.Authority)); len(parseBundle(after[Bundle])) != 1 {
		t.Error("an authority that is over is still trusted")
	}
}

func TestDamagedAuthorityIsMadeAnew(t *testing.T) {
	ca, look := authority(t, nil, start)
	announced, _ := authority(t, ca, look)
	lost := maps.Clone(announced)
	delete(lost, Key)
	got, _ := authority(t, lost, look)
	if !bytes.Equal(got[Certificate], announced[NextCertificate]) {
		t.Error("the next authority does not take over from one without a key")
	}
	delete(lost, NextKey)
	got, _ = authority(t, lost, look)
	if got[Key] == nil || bytes.Equal(got[Certificate], announced[Certificate]) {
		t.Error("no authority was made")
	}
	if n := len(parseBundle(got[Bundle])); n != 3 {
		t.Errorf("%d authorities are trusted: those that signed before must stay", n)
	}
}

func TestFleetURI(t *testing.T) {
	ca, _ := authority(t, nil, start)
	for _, fleet := range []string{"class/fairlead", "gateway/shop/web", "a b%2F?#", "ü"} {
		l, _ := leaf(t, nil, ca, Fleet(fleet), start)
		got, err := FleetOf(parseBundle(l[Certificate])[0])
		if err != nil || got != fleet {
			t.Errorf("%q is read as %q, %v", fleet, got, err)
		}
	}
	server, _ := leaf(t, nil, ca, Controller("a.example"), start)
	if got, err := FleetOf(parseBundle(server[Certificate])[0]); err == nil {
		t.Errorf("the controller is taken for the fleet %q", got)
	}
	for _, uri := range []string{
		"", "fairlead://fleet/", "fairlead://fleet", "fairlead://fleet/class/a", "fairlead://fleet/class%2fa", "fairlead://fleet/a?b",
		"fairlead://other/a", "spiffe://fleet/a", "fairlead://fleet/%zz", "xfairlead://fleet/a",
	} {
		if got, err := parseFleet(uri); err == nil {
			t.Errorf("%q is taken for the fleet %q", uri, got)
		}
	}
}

// shake makes one connection and says which side refused it.
func shake(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	refused := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			refused <- err
			return
		}
		defer c.Close()
		refused <- tls.Server(c, server).Handshake()
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = tls.Client(c, client).Handshake()
	if err != nil {
		c.Close()
	}
	return errors.Join(err, <-refused)
}

func TestIdentityReloads(t *testing.T) {
	now := time.Now()
	ca, _ := authority(t, nil, now)
	other, _ := authority(t, nil, now)
	var server, client Identity
	config := server.Server()
	if _, err := client.Client("a.example"); err == nil {
		t.Error("a client has a configuration without a certificate")
	}
	set := func(i *Identity, ca map[string][]byte, s Subject) {
		t.Helper()
		l, _ := leaf(t, nil, ca, s, now)
		if err := i.Set(l); err != nil {
			t.Fatal(err)
		}
	}
	dial := func() error {
		t.Helper()
		c, err := client.Client("a.example")
		if err != nil {
			t.Fatal(err)
		}
		return shake(t, config, c)
	}
	set(&client, ca, Fleet("class/a"))
	if dial() == nil {
		t.Error("a server without a certificate serves")
	}
	set(&server, ca, Controller("a.example"))
	if err := dial(); err != nil {
		t.Error(err)
	}
	set(&server, other, Controller("a.example"))
	if dial() == nil {
		t.Error("a server of another authority is trusted")
	}
	set(&client, other, Fleet("class/a"))
	if err := dial(); err != nil {
		t.Error(err)
	}
	set(&client, other, Controller("a.example"))
	if dial() == nil {
		t.Error("a server's certificate is taken for a client's")
	}
	set(&client, other, Fleet("class/a"))
	c, err := client.Client("a.example")
	if err != nil {
		t.Fatal(err)
	}
	c.Certificates = nil
	if shake(t, config, c) == nil {
		t.Error("a client without a certificate is let in")
	}
	if err := server.Set(map[string][]byte{}); err == nil {
		t.Error("an empty Secret is taken")
	}
	if err := dial(); err != nil {
		t.Error("what was set before is lost:", err)
	}
}

func FuzzSecret(f *testing.F) {
	ca, _ := authority(f, nil, start)
	l, _ := leaf(f, nil, ca, Fleet("class/a"), start)
	f.Add(l[Bundle], l[Certificate], l[Key], ca[Certificate], ca[Key])
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte(""), []byte("x"), []byte(""), []byte(""))
	f.Fuzz(func(t *testing.T, bundle, cert, key, next, nextKey []byte) {
		have := map[string][]byte{Bundle: bundle, Certificate: cert, Key: key, NextCertificate: next, NextKey: nextKey}
		got, look := authority(t, have, start)
		if !look.After(start) {
			t.Errorf("looked at again at %v", look)
		}
		again, _ := authority(t, got, start)
		if diff := cmp.Diff(got, again); diff != "" {
			t.Error("what is wanted is not enough:", diff)
		}
		l, _ := leaf(t, have, got, Fleet("class/a"), start)
		if err := verify(got, l, x509.ExtKeyUsageClientAuth, start); err != nil {
			t.Error(err)
		}
		_ = new(Identity).Set(have)
	})
}

func FuzzFleet(f *testing.F) {
	f.Add("fairlead://fleet/class%2Fa")
	f.Add("fairlead://fleet/%")
	f.Fuzz(func(t *testing.T, uri string) {
		if fleet, err := parseFleet(uri); err == nil && FleetURI(fleet).String() != uri {
			t.Error(fmt.Errorf("%q and %q are one fleet", uri, FleetURI(fleet)))
		}
	})
}
