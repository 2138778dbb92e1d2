package service

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// rank orders the places where a wish may be written. A lower rank overrides
// all higher ones, wholly: what stands there is not even looked at.
type rank int

const (
	rankOurs    rank = iota // our annotations
	rankForeign             // annotations of other controllers
	rankField               // spec.loadBalancerIP
	// rankExternal is spec.externalIPs, as Gateway implementations use it: an
	// address there is a wish if it lies in one of our pools. The others are
	// served by kube-proxy all the same and are no business of ours.
	rankExternal
	ranks
)

// Places that are not annotations.
const (
	placeLoadBalancerIP = "spec.loadBalancerIP"
	placeExternalIPs    = "spec.externalIPs"
	placeIPFamilies     = "spec.ipFamilies"
	placeIngress        = "status.loadBalancer.ingress"
	annotationPrefix    = "annotation "
)

// form says how a value is written.
type form int

const (
	formList   form = iota // separated by commas
	formSingle             // one
	formJSON               // a JSON list of strings
)

// key is one way to write a wish as an annotation: its names, the newest
// first. Where several names of one key are there, the newest that says
// anything counts, as it does for the controller that the key comes from.
type key struct {
	rank  rank
	names []string
	form  form
}

var addressKeys = []key{
	{rankOurs, []string{v1alpha1.AnnotationAddresses}, formList},
	{rankForeign, []string{"metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"}, formList},
	{rankForeign, []string{"kube-vip.io/loadbalancerIPs"}, formList},
	{rankForeign, []string{"lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips"}, formList},
	{rankForeign, []string{"purelb.io/addresses"}, formList},
	{rankForeign, []string{"projectcalico.org/loadBalancerIPs"}, formJSON},
	{rankForeign, []string{"loxilb.io/staticIP"}, formSingle},
}

var poolKeys = []key{
	{rankOurs, []string{v1alpha1.AnnotationPool}, formList},
	{rankForeign, []string{"metallb.io/address-pool", "metallb.universe.tf/address-pool"}, formList},
	{rankForeign, []string{"purelb.io/service-group"}, formList},
}

// MetalLBSharing is the annotation by which MetalLB lets Services share an address, by
// the newest of its names.
const MetalLBSharing = "metallb.io/allow-shared-ip"

var metallbSharing = key{rankForeign, []string{MetalLBSharing, "metallb.universe.tf/allow-shared-ip"}, formSingle}

var sharingKeys = []key{
	{rankOurs, []string{v1alpha1.AnnotationSharingKey}, formSingle},
	metallbSharing,
	{rankForeign, []string{"lbipam.cilium.io/sharing-key", "io.cilium/lb-ipam-sharing-key"}, formSingle},
	{rankForeign, []string{"purelb.io/allow-shared-ip"}, formSingle},
}

var shareWithKeys = []key{
	{rankForeign, []string{"lbipam.cilium.io/sharing-cross-namespace", "io.cilium/lb-ipam-sharing-cross-namespace"}, formList},
}

// ForeignAnnotations are the annotations of others that ours can stand for: those
// that ask for addresses, a pool or a sharing key.
func ForeignAnnotations() []string {
	var out []string
	for _, keys := range [][]key{addressKeys, poolKeys, sharingKeys} {
		for _, k := range keys {
			if k.rank == rankForeign {
				out = append(out, k.names...)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// MetalLBSharingKey is the key by which MetalLB, which knows no annotations but its own,
// lets a Service share an address; empty: it does not.
func MetalLBSharingKey(annotations map[string]string) string {
	if found := consult(annotations, []key{metallbSharing}); len(found) > 0 {
		return found[0].raw
	}
	return ""
}

// found is a place that says something.
type found struct {
	rank  rank
	place string
	raw   string
	form  form
	// older is an older name of the same key that says something else.
	older string
}

// consult gives what the annotations say under the given keys, in the order of
// the keys. An annotation without content says nothing.
func consult(annotations map[string]string, keys []key) []found {
	var out []found
	for _, k := range keys {
		var f *found
		for _, name := range k.names {
			switch raw := annotations[name]; {
			case blank(raw):
			case f == nil:
				f = &found{rank: k.rank, place: annotationPrefix + name, raw: raw, form: k.form}
			case raw != f.raw:
				f.older = annotationPrefix + name
			}
		}
		if f != nil {
			out = append(out, *f)
		}
	}
	return out
}

// blank tells whether a value says nothing: only spaces and commas.
func blank(raw string) bool {
	return strings.TrimFunc(raw, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) == ""
}

// items splits a value. The error is a phrase for a Problem.
func (f found) items() ([]string, error) {
	switch f.form {
	case formJSON:
		var list []string
		if err := json.Unmarshal([]byte(f.raw), &list); err != nil {
			return nil, fmt.Errorf("is not a JSON list of strings")
		}
		return tidy(list), nil
	case formSingle:
		return tidy([]string{f.raw}), nil
	}
	return tidy(strings.Split(f.raw, ",")), nil
}

// tidy trims, and drops what is empty or said before.
func tidy(list []string) []string {
	out := make([]string, 0, len(list))
	seen := map[string]bool{}
	for _, s := range list {
		s = strings.TrimSpace(s)
		if s == "" || seen[s] {
			continue
		}
		seen[s] = true
		out = append(out, s)
	}
	return out
}

// parseAddress reads one address. The error is a phrase for a Problem.
func parseAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return a, fmt.Errorf("is not an IP address")
	case a.Zone() != "":
		return a, fmt.Errorf("has a zone, which an address that is announced cannot have")
	}
	a = a.Unmap()
	if a.IsUnspecified() {
		return a, fmt.Errorf("asks for an address by DHCP, which Fairlead does not do")
	}
	return a, nil
}

// quoted shows a foreign value in a sentence.
func quoted(raw string) string {
	const most = 200
	if len(raw) <= most {
		return strconv.Quote(raw)
	}
	return strconv.Quote(strings.ToValidUTF8(raw[:most], "")) + "..."
}
