package xds_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/gateway"
)

// ca signs certificates in a test.
type ca struct {
	t      testing.TB
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	bundle []byte
}

func authority(t testing.TB, name string) *ca {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := ecKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &ca{t: t, cert: cert, key: key, bundle: block("CERTIFICATE", der)}
}

// issue makes a certificate for DNS names and URIs.
func (c *ca) issue(names ...string) (chain, key []byte) {
	c.t.Helper()
	private := ecKey(c.t)
	return c.issueFor(private, names...)
}

func (c *ca) issueFor(private crypto.Signer, names ...string) (chain, key []byte) {
	c.t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(c.t), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	for _, name := range names {
		if !strings.Contains(name, "://") {
			template.DNSNames = append(template.DNSNames, name)
			continue
		}
		uri, err := url.Parse(name)
		if err != nil {
			c.t.Fatal(err)
		}
		template.URIs = append(template.URIs, uri)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, private.Public(), c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		c.t.Fatal(err)
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", pkcs8)
}

// pair is a certificate for a Go server or client.
func (c *ca) pair(names ...string) tls.Certificate {
	c.t.Helper()
	pair, err := tls.X509KeyPair(c.issue(names...))
	if err != nil {
		c.t.Fatal(err)
	}
	return pair
}

func (c *ca) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// withPEM gives certificates and authorities contents, which do not go through
// YAML.
func withPEM(t testing.TB, m *gateway.Model) *gateway.Model {
	t.Helper()
	filled := *m
	filled.Certificates, filled.Authorities = nil, nil
	signer := authority(t, "test")
	for _, c := range m.Certificates {
		if strings.HasSuffix(c.ID, "-rsa") {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			c.Chain, c.Key = signer.issueFor(key, "a.example.com")
		} else {
			c.Chain, c.Key = signer.issue("a.example.com")
		}
		filled.Certificates = append(filled.Certificates, c)
	}
	for _, a := range m.Authorities {
		a.Bundle = authority(t, a.ID).bundle
		filled.Authorities = append(filled.Authorities, a)
	}
	return &filled
}
