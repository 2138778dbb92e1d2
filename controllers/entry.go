package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/pools"
)

// maxSummary is the most bytes that the CRD admits in spec.summary.
const maxSummary = 640

// specOf writes an entry of the books as the spec of its Address.
func specOf(e allocator.Entry) v1alpha1.AddressSpec {
	s := v1alpha1.AddressSpec{Address: e.Address.String(), Pool: e.Pool}
	pending := len(e.Holders) > 0 // one that waits does not take the address from another
	for i := range e.Holders {
		h := holderOf(&e.Holders[i])
		if e.Holders[i].Bound {
			pending = false
		} else {
			h.State = v1alpha1.AddressPending
		}
		s.Holders = append(s.Holders, h)
	}
	if e.ReservedFor != nil && *e.ReservedFor != pools.Nobody {
		s.ReservedFor = referenceTo(*e.ReservedFor)
	}
	switch {
	case pending:
		s.State = v1alpha1.AddressPending
	case len(s.Holders) > 0:
		s.State = v1alpha1.AddressBound
	case e.ReservedFor != nil:
		s.State = v1alpha1.AddressReserved
	default:
		s.State = v1alpha1.AddressRetained
	}
	if e.Released != nil && len(s.Holders) == 0 {
		s.Released = &v1alpha1.AddressRelease{HolderReference: *referenceTo(e.Released.Key), At: seconds(e.Released.At)}
	}
	s.Summary = summaryOf(&s)
	return s
}

func referenceTo(k allocator.Key) *v1alpha1.HolderReference {
	return &v1alpha1.HolderReference{Kind: k.Kind, Namespace: k.Namespace, Name: k.Name}
}

// seconds is a time as the API server keeps it.
func seconds(t time.Time) metav1.Time { return metav1.NewTime(t.UTC().Truncate(time.Second)) }

func holderOf(h *allocator.Holding) v1alpha1.AddressHolder {
	out := v1alpha1.AddressHolder{
		HolderReference: *referenceTo(h.Key), UID: h.UID, Since: seconds(h.Since), State: v1alpha1.AddressBound,
		SharingKey: h.SharingKey, ShareWith: h.ShareWith, ExternalTrafficPolicy: "Cluster",
		Endpoints: h.Endpoints, Labels: h.Advertised,
	}
	if h.Local {
		out.ExternalTrafficPolicy = "Local"
	}
	for _, p := range h.Ports {
		out.Ports = append(out.Ports, v1alpha1.HolderPort{Protocol: p.Protocol, Port: int32(p.Port)})
	}
	if t := h.Takeover; t != nil {
		out.Takeover = &v1alpha1.HolderTakeover{
			From: *referenceTo(t.From), FromUID: t.FromUID, Phase: v1alpha1.TakeoverPhase(t.Phase), Since: seconds(t.Since),
		}
		for _, g := range t.Also {
			out.Takeover.Also = append(out.Takeover.Also, v1alpha1.TakeoverGiver{HolderReference: *referenceTo(g.Key), UID: g.UID})
		}
	}
	if len(h.Needs) > 1 {
		for _, n := range h.Needs {
			out.Needs = append(out.Needs, n.String())
		}
	}
	return out
}

// summaryOf tells in words who has the address, or for whom it waits.
func summaryOf(s *v1alpha1.AddressSpec) string {
	name := func(r *v1alpha1.HolderReference) string { return r.Kind + " " + r.Namespace + "/" + r.Name }
	var out string
	switch {
	case len(s.Holders) > 0:
		first := slices.MinFunc(s.Holders, func(a, b v1alpha1.AddressHolder) int {
			if c := a.Since.Compare(b.Since.Time); c != 0 {
				return c
			}
			return strings.Compare(name(&a.HolderReference), name(&b.HolderReference))
		})
		out = name(&first.HolderReference)
		if n := len(s.Holders) - 1; n > 0 {
			out += fmt.Sprintf(" (+%d)", n)
		}
	case s.ReservedFor != nil:
		out = "- (for " + name(s.ReservedFor) + ")"
	case s.Released != nil:
		out = "- (for " + name(&s.Released.HolderReference) + ")"
	default:
		out = "- (set aside)"
	}
	if len(out) > maxSummary {
		out = out[:maxSummary]
	}
	return out
}
