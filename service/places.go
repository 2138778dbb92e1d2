package service

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Subject is what is asked for at a Place.
type Subject string

// The subjects.
const (
	AsksAddresses  Subject = "addresses"
	AsksPool       Subject = "pool"
	AsksSharing    Subject = "sharing key"
	AsksShareWith  Subject = "namespaces to share with"
	AsksIPFamilies Subject = "families"
)

// Place is a place of a Service at which something is asked for, whether it counts
// or not.
type Place struct {
	// Where as in Problem.Key and in the Origins of a claim: "annotation
	// metallb.io/loadBalancerIPs" or "spec.loadBalancerIP".
	Where string
	// Value as it is written there.
	Value string
	Asks  Subject
	// Addresses that are asked for, where they can be read.
	Addresses []netip.Addr
}

// Places are all places of a Service at which something is asked for, in the order
// of their ranks.
func Places(svc *corev1.Service) []Place {
	var out []Place
	for _, w := range everything(svc) {
		p := Place{Where: w.Place, Value: w.Value, Asks: subject(w.Place)}
		if p.Asks == AsksAddresses {
			p.Addresses, _ = parseAddresses(found{place: w.Place, raw: strings.Trim(w.Value, " "), form: formOf(w.Place)})
		}
		out = append(out, p)
	}
	return out
}

// subject is what a place is for.
func subject(place string) Subject {
	name := strings.TrimPrefix(place, annotationPrefix)
	for _, k := range []struct {
		keys []key
		asks Subject
	}{{poolKeys, AsksPool}, {sharingKeys, AsksSharing}, {shareWithKeys, AsksShareWith}} {
		if slices.ContainsFunc(k.keys, func(k key) bool { return slices.Contains(k.names, name) }) {
			return k.asks
		}
	}
	if place == placeIPFamilies {
		return AsksIPFamilies
	}
	return AsksAddresses
}

// formOf is how the value of a place that asks for addresses is written.
func formOf(place string) form {
	name := strings.TrimPrefix(place, annotationPrefix)
	for _, k := range addressKeys {
		if slices.Contains(k.names, name) {
			return k.form
		}
	}
	return formList
}
