package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"
)

// Subject is whom a leaf is for.
type Subject struct {
	name  string
	dns   []string
	uri   *url.URL
	usage x509.ExtKeyUsage
}

// Controller is the subject that serves xDS under DNS names.
func Controller(dns ...string) Subject {
	return Subject{name: "fairlead controller", dns: dns, usage: x509.ExtKeyUsageServerAuth}
}

// Fleet is the subject that the Envoys of a fleet are.
func Fleet(fleet string) Subject {
	return Subject{name: "fairlead fleet", uri: FleetURI(fleet), usage: x509.ExtKeyUsageClientAuth}
}

// Leaf says what the Secret of a subject should have, from what it has and what
// the authority's Secret has (as it was written), and when to ask again. A leaf
// that is good stays as it is; the bundle follows the authority's.
func Leaf(have, authority map[string][]byte, s Subject, now time.Time, random io.Reader, r Rules) (map[string][]byte, time.Time, error) {
	signer := usable(authority[Certificate], authority[Key], now)
	if signer == nil {
		return nil, time.Time{}, errors.New("the authority's Secret has no valid certificate with its key: ask Authority first and write what it says")
	}
	trusted := parseBundle(authority[Bundle])
	leaf, err := parsePair(have[Certificate], have[Key])
	if err != nil || s.differs(leaf.cert) || !signedByAny(leaf.cert, trusted, now) || !now.Before(renewAt(leaf.cert.NotBefore, leaf.cert.NotAfter)) {
		if leaf, err = makeLeaf(s, signer, now, random, r); err != nil {
			return nil, time.Time{}, err
		}
	}
	want := map[string][]byte{Bundle: authority[Bundle], Certificate: leaf.certPEM()}
	if want[Key], err = leaf.keyPEM(); err != nil {
		return nil, time.Time{}, err
	}
	return want, renewAt(leaf.cert.NotBefore, leaf.cert.NotAfter), nil
}

// differs says whether a certificate is another subject's.
func (s Subject) differs(c *x509.Certificate) bool {
	var uris []string
	for _, u := range c.URIs {
		uris = append(uris, u.String())
	}
	var want []string
	if s.uri != nil {
		want = []string{s.uri.String()}
	}
	return c.IsCA || !slices.Equal(uris, want) || !slices.Equal(c.DNSNames, s.dns) || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{s.usage})
}

func signedByAny(c *x509.Certificate, trusted []*x509.Certificate, now time.Time) bool {
	return valid(c, now) && slices.ContainsFunc(trusted, func(ca *x509.Certificate) bool {
		return valid(ca, now) && c.CheckSignatureFrom(ca) == nil
	})
}

func makeLeaf(s Subject, signer *pair, now time.Time, random io.Reader, r Rules) (*pair, error) {
	from := now.Add(-r.Skew).UTC().Truncate(time.Second)
	to := from.Add(r.Leaf)
	if to.After(signer.cert.NotAfter) {
		to = signer.cert.NotAfter
	}
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: s.name},
		NotBefore: from, NotAfter: to,
		DNSNames: s.dns, ExtKeyUsage: []x509.ExtKeyUsage{s.usage},
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if s.uri != nil {
		t.URIs = []*url.URL{s.uri}
	}
	p, err := makePair(t, signer, random)
	if err != nil {
		return nil, fmt.Errorf("for %s: %w", s, err)
	}
	return p, nil
}

func (s Subject) String() string {
	if s.uri != nil {
		return s.name + " " + s.uri.String()
	}
	return s.name
}
