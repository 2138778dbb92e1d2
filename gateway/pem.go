package gateway

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// pemBlocks reads all blocks of a text. The decoder passes over one that is torn
// or has a wrong character, and takes one with headers, where Envoy refuses the
// text as a whole.
func pemBlocks(text []byte) ([]*pem.Block, error) {
	var out []*pem.Block
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if len(block.Headers) > 0 {
			return nil, fmt.Errorf("PEM block %d has headers, which are not supported", len(out)+1)
		}
		out = append(out, block)
	}
	if begun := bytes.Count(text, []byte("-----BEGIN ")); begun != len(out) {
		return nil, fmt.Errorf("%d of %d PEM blocks cannot be decoded", begun-len(out), begun)
	}
	return out, nil
}

// certificatesIn reads the certificates among some blocks.
func certificatesIn(blocks []*pem.Block) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %s", len(out)+1, strings.TrimPrefix(err.Error(), "x509: "))
		}
		out = append(out, c)
	}
	return out, nil
}

// minRSA is how many bits an RSA key of a listener must have for Envoy.
const minRSA = 2048

// mustStaple is the extension of certificates that are worth nothing without the
// answer of an OCSP responder (RFC 7633).
var mustStaple = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

// servable says why Envoy refuses a certificate that is one.
func servable(c *x509.Certificate) error {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSA {
			return fmt.Errorf("its RSA key has %d bits, and must have %d", n, minRSA)
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return errors.New("its key is of the curve P-224, which is not supported; use P-256")
		}
	}
	for _, e := range c.Extensions {
		if slices.Equal(e.Id, mustStaple) {
			return errors.New("it asks for stapled OCSP responses (must-staple), which are not supported")
		}
	}
	return nil
}
