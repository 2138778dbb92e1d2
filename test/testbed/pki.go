package testbed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// identity is a certificate with its key, both in PEM.
type identity struct {
	cert, key []byte
}

// pki is what the API server needs to prove itself and to sign the tokens of service accounts.
type pki struct {
	ca, server identity
	saKey      []byte // PEM
}

func newPKI(now time.Time, ips []string) (pki, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pki{}, err
	}
	from, to := now.Add(-time.Hour), now.AddDate(1, 0, 0)
	caCert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "testbed-ca"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pki{}, err
	}
	serverCert := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
	}
	for _, ip := range ips {
		serverCert.IPAddresses = append(serverCert.IPAddresses, net.ParseIP(ip))
	}
	saKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pki{}, err
	}
	var p pki
	if p.ca, err = issue(caCert, caCert, caKey, caKey); err != nil {
		return pki{}, fmt.Errorf("make the certificate authority: %w", err)
	}
	if p.server, err = issue(serverCert, caCert, serverKey, caKey); err != nil {
		return pki{}, fmt.Errorf("make the API server's certificate: %w", err)
	}
	if p.saKey, err = keyPEM(saKey); err != nil {
		return pki{}, fmt.Errorf("encode the key of service accounts: %w", err)
	}
	return p, nil
}

func issue(cert, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (identity, error) {
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), parentKey)
	if err != nil {
		return identity{}, err
	}
	encoded, err := keyPEM(key)
	if err != nil {
		return identity{}, err
	}
	return identity{cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key: encoded}, nil
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// newToken is a bearer token of 128 random bits.
func newToken() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return hex.EncodeToString(b)
}
