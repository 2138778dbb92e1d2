package pki

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"slices"
	"time"
)

const authorityName = "fairlead xDS authority"

// Authority says what the authority's Secret should have, from what it has, and
// when to ask again. What is unusable is made anew; certificates in the bundle
// that are still valid stay in it, so that what they have signed goes on.
//
// The Secret must be written before anything is signed with what it says, and
// nothing may be signed with a version of it that was not written.
func Authority(have map[string][]byte, now time.Time, random io.Reader, r Rules) (map[string][]byte, time.Time, error) {
	current := usable(have[Certificate], have[Key], now)
	next := usable(have[NextCertificate], have[NextKey], now)
	// The next one signs once it was trusted for long enough, or when there is
	// no other.
	if next != nil && (current == nil || !now.Before(next.signsAt(r))) {
		current, next = next, nil
	}
	var err error
	if current == nil {
		if current, err = makeAuthority(now, random, r); err != nil {
			return nil, time.Time{}, err
		}
	}
	if next == nil && !now.Before(renewAt(current.cert.NotBefore, current.cert.NotAfter)) {
		if next, err = makeAuthority(now, random, r); err != nil {
			return nil, time.Time{}, err
		}
	}
	want := map[string][]byte{Certificate: current.certPEM()}
	if want[Key], err = current.keyPEM(); err != nil {
		return nil, time.Time{}, err
	}
	look := renewAt(current.cert.NotBefore, current.cert.NotAfter)
	if next != nil {
		want[NextCertificate] = next.certPEM()
		if want[NextKey], err = next.keyPEM(); err != nil {
			return nil, time.Time{}, err
		}
		look = next.signsAt(r)
	}
	trusted := trust(now, current, next, parseBundle(have[Bundle]))
	for _, c := range trusted {
		want[Bundle] = append(want[Bundle], certPEM(c)...)
		if c.NotAfter.Before(look) {
			look = c.NotAfter
		}
	}
	return want, look, nil
}

// signsAt is when an authority was trusted for long enough to sign.
func (p *pair) signsAt(r Rules) time.Time { return p.cert.NotBefore.Add(r.Skew + r.Overlap) }

// trust is the bundle: the signing authority, the next one, and all others that
// are still valid, the youngest first.
func trust(now time.Time, current, next *pair, before []*x509.Certificate) []*x509.Certificate {
	out := []*x509.Certificate{current.cert}
	if next != nil {
		out = append(out, next.cert)
	}
	slices.SortStableFunc(before, func(a, b *x509.Certificate) int {
		return cmp.Or(b.NotAfter.Compare(a.NotAfter), bytes.Compare(a.Raw, b.Raw))
	})
	for _, c := range before {
		if valid(c, now) && c.IsCA && !slices.ContainsFunc(out, c.Equal) {
			out = append(out, c)
		}
	}
	return out
}

// usable is an authority that may sign now, or nil.
func usable(cert, key []byte, now time.Time) *pair {
	p, err := parsePair(cert, key)
	if err != nil || !p.cert.IsCA || !valid(p.cert, now) {
		return nil
	}
	return p
}

func valid(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && now.Before(c.NotAfter)
}

func makeAuthority(now time.Time, random io.Reader, r Rules) (*pair, error) {
	from := now.Add(-r.Skew).UTC().Truncate(time.Second)
	return makePair(&x509.Certificate{
		Subject:   pkix.Name{CommonName: authorityName},
		NotBefore: from, NotAfter: from.Add(r.Authority),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, nil, random)
}
