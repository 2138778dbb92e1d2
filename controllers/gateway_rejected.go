package controllers

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
)

// rejected is what Envoys do not take of a Gateway. What several refuse is told once, in
// the words of the first of them.
func (g *gateways) rejected(s *serving) []gateway.Rejection {
	var out []gateway.Rejection
	for _, e := range g.feed.Progress(s.fleet.Name(), gatewayName(s.name)).Envoys {
		for _, r := range e.Rejections {
			resource := r.Type + " " + r.Resource
			if slices.ContainsFunc(out, func(have gateway.Rejection) bool { return have.Resource == resource }) {
				continue
			}
			out = append(out, gateway.Rejection{Resource: resource, Message: r.Message, Of: xds.PartOf(s.built.Model, r.Resource), Good: s.good})
		}
	}
	slices.SortFunc(out, func(a, b gateway.Rejection) int { return strings.Compare(a.Resource, b.Resource) })
	return out
}

// goodBefore is what Envoys have all of, as far as it is known before they are given
// something new: what was built last, if one of them has taken that and none refuses a
// part of it.
func (g *gateways) goodBefore(name types.NamespacedName) *gateway.Built {
	before := g.servingOf(name)
	if before == nil {
		return nil
	}
	if g.feed.Taken(before.fleet.Name(), gatewayName(name)) {
		return before.built
	}
	return before.good
}
