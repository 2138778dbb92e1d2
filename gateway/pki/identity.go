package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
)

// Identity is one side of the xDS connection with the certificates of the day.
// Connections that are made after a Set use what it set; those that are there go
// on.
type Identity struct{ now atomic.Pointer[material] }

type material struct {
	cert  tls.Certificate
	roots *x509.CertPool
}

// Set takes the contents of a leaf's Secret. What cannot be used is an error, and
// what was set before stays.
func (i *Identity) Set(data map[string][]byte) error {
	p, err := parsePair(data[Certificate], data[Key])
	if err != nil {
		return fmt.Errorf("reading %s and %s: %w", Certificate, Key, err)
	}
	trusted := parseBundle(data[Bundle])
	if len(trusted) == 0 {
		return fmt.Errorf("reading %s: there is no certificate", Bundle)
	}
	roots := x509.NewCertPool()
	for _, c := range trusted {
		roots.AddCert(c)
	}
	i.now.Store(&material{
		cert:  tls.Certificate{Certificate: [][]byte{p.cert.Raw}, PrivateKey: p.key, Leaf: p.cert},
		roots: roots,
	})
	return nil
}

var errNoIdentity = errors.New("there is no certificate for the xDS connection yet")

// Server is a configuration that always serves with what was set last, and takes
// only clients that one of the trusted authorities has signed. Without anything
// set it refuses all.
func (i *Identity) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			m := i.now.Load()
			if m == nil {
				return nil, errNoIdentity
			}
			return &tls.Config{
				MinVersion:   tls.VersionTLS13,
				ClientAuth:   tls.RequireAndVerifyClientCert,
				NextProtos:   []string{"h2"},
				Certificates: []tls.Certificate{m.cert},
				ClientCAs:    m.roots,
				// A ticket would let a client in that is trusted no more.
				SessionTicketsDisabled: true,
			}, nil
		},
	}
}

// Client is a configuration for one connection to a server of a name, with what
// was set last. The error says that nothing was.
func (i *Identity) Client(server string) (*tls.Config, error) {
	m := i.now.Load()
	if m == nil {
		return nil, errNoIdentity
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		ServerName:   server,
		NextProtos:   []string{"h2"},
		Certificates: []tls.Certificate{m.cert},
		RootCAs:      m.roots,
	}, nil
}
