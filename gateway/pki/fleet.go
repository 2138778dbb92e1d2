package pki

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
)

const fleetPrefix = "fairlead://fleet/"

// FleetURI is how a certificate says that it belongs to a fleet.
func FleetURI(fleet string) *url.URL {
	return &url.URL{Scheme: "fairlead", Host: "fleet", Path: "/" + fleet, RawPath: "/" + url.PathEscape(fleet)}
}

// FleetOf reads from a verified certificate which fleet it belongs to. A
// certificate that belongs to none, or names several URIs, is an error.
func FleetOf(c *x509.Certificate) (string, error) {
	if len(c.URIs) != 1 {
		return "", fmt.Errorf("the certificate of %q has %d URIs: it must have one, %sNAME", c.Subject.CommonName, len(c.URIs), fleetPrefix)
	}
	return parseFleet(c.URIs[0].String())
}

func parseFleet(uri string) (string, error) {
	escaped, ok := strings.CutPrefix(uri, fleetPrefix)
	if !ok {
		return "", fmt.Errorf("the certificate's URI %q does not begin with %s", uri, fleetPrefix)
	}
	fleet, err := url.PathUnescape(escaped)
	if err != nil {
		return "", fmt.Errorf("reading the fleet in the certificate's URI %q: %w", uri, err)
	}
	// Only one spelling counts, so that no two URIs are one fleet.
	if fleet == "" || url.PathEscape(fleet) != escaped {
		return "", fmt.Errorf("the certificate's URI %q names no fleet: after %s stands its name, path-escaped", uri, fleetPrefix)
	}
	return fleet, nil
}
