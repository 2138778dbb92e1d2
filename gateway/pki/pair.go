package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "EC PRIVATE KEY"
)

// parsePair reads PEM. The error never shows the key.
func parsePair(cert, key []byte) (*pair, error) {
	certs := parseBundle(cert)
	if len(certs) != 1 {
		return nil, fmt.Errorf("there are %d certificates instead of one", len(certs))
	}
	block, _ := pem.Decode(key)
	if block == nil || block.Type != keyBlock {
		return nil, errors.New("there is no EC private key")
	}
	k, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the EC private key cannot be read")
	}
	if pub, ok := certs[0].PublicKey.(*ecdsa.PublicKey); !ok || !k.PublicKey.Equal(pub) {
		return nil, errors.New("the key is not the certificate's")
	}
	return &pair{cert: certs[0], key: k}, nil
}

// parseBundle reads the certificates of a PEM text, and passes over what is none.
func parseBundle(text []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return out
		}
		if c, err := x509.ParseCertificate(block.Bytes); block.Type == certificateBlock && err == nil {
			out = append(out, c)
		}
	}
}

// makePair signs a template with an authority, or with itself if signer is nil.
func makePair(template *x509.Certificate, signer *pair, random io.Reader) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(random, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	template.SerialNumber.Add(template.SerialNumber, big.NewInt(1)) // RFC 5280, 4.1.2.2: positive
	parent, by := template, key
	if signer != nil {
		parent, by = signer.cert, signer.key
	}
	der, err := x509.CreateCertificate(random, template, parent, &key.PublicKey, by)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of %q: %w", template.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back the certificate of %q: %w", template.Subject.CommonName, err)
	}
	return &pair{cert: cert, key: key}, nil
}

func (p *pair) certPEM() []byte { return certPEM(p.cert) }

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw})
}

func (p *pair) keyPEM() ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(p.key)
	if err != nil {
		return nil, fmt.Errorf("encoding the key of %q: %w", p.cert.Subject.CommonName, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}
