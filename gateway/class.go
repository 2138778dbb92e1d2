package gateway

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/consts"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// ClassTypes are the types of a GatewayClass's conditions that are ours.
var ClassTypes = []string{"Accepted", "SupportedVersion"}

// Features are all that a class can claim, sorted, with what is installed.
func Features(with Installed) []gatewayv1.SupportedFeature {
	var names []string
	for f := range features.AllFeatures {
		mesh := features.MeshCoreFeatures.Has(f) || features.MeshExtendedFeatures.Has(f)
		switch {
		case mesh,
			f.Channel == features.FeatureChannelExperimental && !with.Experimental,
			f.Name == features.SupportClusterTrustBundle && !with.TrustBundles:
			continue
		}
		names = append(names, string(f.Name))
	}
	slices.Sort(names)
	out := make([]gatewayv1.SupportedFeature, 0, len(names))
	for _, n := range names {
		out = append(out, gatewayv1.SupportedFeature{Name: gatewayv1.FeatureName(n)})
	}
	return out
}

// CRD is what an installed CRD of the Gateway API says of itself.
type CRD struct {
	Name    string
	Version string // annotation gateway.networking.k8s.io/bundle-version
	Channel string // annotation gateway.networking.k8s.io/channel
}

// Installed says what the CRDs of the Gateway API are, taken together, and what
// else they build on.
type Installed struct {
	// Experimental is set when all are of that channel.
	Experimental bool
	// TrustBundles is set when the API server has ClusterTrustBundles.
	TrustBundles bool
	// Problem says why they are not what this version is made for; empty: they
	// are.
	Problem string
}

// Judge sums up the installed CRDs.
func Judge(crds []CRD) Installed {
	var versions, channels []string
	for _, c := range crds {
		versions = appendNew(versions, c.Version)
		channels = appendNew(channels, c.Channel)
	}
	slices.Sort(versions)
	slices.Sort(channels)
	out := Installed{Experimental: len(channels) == 1 && channels[0] == "experimental"}
	switch {
	case len(crds) == 0:
		out.Problem = "The CRDs of the Gateway API are not installed."
	case len(versions) > 1:
		out.Problem = fmt.Sprintf("The CRDs of the Gateway API are of several versions (%s). Install those of %s.", strings.Join(named(versions), ", "), consts.BundleVersion)
	case versions[0] != consts.BundleVersion:
		out.Problem = fmt.Sprintf("The CRDs of the Gateway API are of version %s. Fairlead is made for %s: install those.", named(versions)[0], consts.BundleVersion)
	case len(channels) > 1:
		out.Problem = fmt.Sprintf("The CRDs of the Gateway API are of several channels (%s). Install all from one.", strings.Join(named(channels), ", "))
	}
	return out
}

func named(list []string) []string {
	out := slices.Clone(list)
	for i, s := range out {
		if s == "" {
			out[i] = "unknown"
		}
	}
	return out
}

// ClassStatus says what the status of a class of ours should be. Refused says
// why its parameters do not hold; nil: they do.
func ClassStatus(c *gatewayv1.GatewayClass, crds Installed, refused *Problem) gatewayv1.GatewayClassStatus {
	accepted := condition(gatewayv1.GatewayClassConditionStatusAccepted, c.Generation, nil, string(gatewayv1.GatewayClassReasonAccepted), "Gateways of this class are served by Fairlead.")
	if refused != nil {
		accepted.Status, accepted.Reason, accepted.Message = metav1.ConditionFalse, refused.Reason, refused.Message
	}
	version := condition(gatewayv1.GatewayClassConditionStatusSupportedVersion, c.Generation, nil, string(gatewayv1.GatewayClassReasonSupportedVersion), "The CRDs of the Gateway API are those that Fairlead is made for.")
	if crds.Problem != "" {
		version.Status, version.Reason, version.Message = metav1.ConditionFalse, string(gatewayv1.GatewayClassReasonUnsupportedVersion), crds.Problem
	}
	return gatewayv1.GatewayClassStatus{
		Conditions:        []metav1.Condition{accepted, version},
		SupportedFeatures: Features(crds),
	}
}
