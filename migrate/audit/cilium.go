package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What Cilium's operator is configured by: flags, or keys of its ConfigMap.
const (
	ciliumLBIPAM       = "enable-lb-ipam"          // on unless it is false
	ciliumNodeIPAM     = "enable-node-ipam"        // off unless it is true
	ciliumDefault      = "default-lb-service-ipam" // from 1.17; who serves Services without a class
	ciliumRequireClass = "lbipam-require-lb-class" // 1.16's way to say none
)

// The values of ciliumDefault.
const (
	ciliumDefaultLB   = "lbipam"
	ciliumDefaultNode = "nodeipam"
)

// ciliumPools is the kind of its pools.
const ciliumPools = "CiliumLoadBalancerIPPool"

// Cilium is its name in a Report.
const Cilium = "Cilium LB-IPAM"

// CiliumConfigMap is the name of the ConfigMap that Cilium is configured by, in the
// namespace of its operator.
const CiliumConfigMap = "cilium-config"

// ciliumSettings is what decides which Services Cilium takes.
type ciliumSettings struct {
	lbIPAM, nodeIPAM, pool bool
	// selective: every pool has a serviceSelector.
	selective bool
	// by is who serves Services without a class.
	by string
}

func ciliumOf(s *Snapshot, found []*Container) ciliumSettings {
	value := func(key string) string { return cmp.Or(argOf(found, key), s.CiliumConfig[key]) }
	is := func(key string, otherwise bool) bool {
		if v, err := strconv.ParseBool(value(key)); err == nil {
			return v
		}
		return otherwise
	}
	out := ciliumSettings{
		lbIPAM: is(ciliumLBIPAM, true), nodeIPAM: is(ciliumNodeIPAM, false), by: cmp.Or(value(ciliumDefault), ciliumDefaultLB),
		pool: withPool("cilium.io", ciliumPools, "")(s, found), selective: !slices.ContainsFunc(s.Foreign, unselective),
	}
	if is(ciliumRequireClass, false) {
		out.by = "none"
	}
	return out
}

// unselective tells whether an object is a pool for all Services.
func unselective(o unstructured.Unstructured) bool {
	selector, _, _ := unstructured.NestedMap(o.Object, "spec", "serviceSelector")
	return o.GetKind() == ciliumPools && len(selector) == 0
}

// ciliumTakes tells whether Cilium serves Services without a class: from its pools,
// without which its LB-IPAM sleeps, or with addresses of nodes. That no pool selects
// a Service changes nothing: Cilium then takes from its status what others gave.
func ciliumTakes(s *Snapshot, found []*Container) bool {
	c := ciliumOf(s, found)
	return c.by == ciliumDefaultLB && c.lbIPAM && c.pool || c.by == ciliumDefaultNode && c.nodeIPAM
}

// ciliumRemark says what of Services without a class is not plain. Whether there is
// a pool decides nothing where Cilium does not give from pools.
func ciliumRemark(s *Snapshot, found []*Container) string {
	c := ciliumOf(s, found)
	switch {
	case c.by == ciliumDefaultNode && c.nodeIPAM:
		return "with addresses of nodes (defaultLBServiceIPAM=nodeipam)"
	case c.by != ciliumDefaultLB:
		return fmt.Sprintf("leaves Services without a class alone (defaultLBServiceIPAM=%s), once its operator has started with that", c.by)
	case !c.lbIPAM:
		return "gives no addresses (enableLBIPAM=false)"
	case c.pool && s.CiliumConfig == nil:
		return fmt.Sprintf("if it is set up as by default: its ConfigMap %s could not be read", CiliumConfigMap)
	case c.pool && c.selective:
		return "also those that no serviceSelector of its pools selects: it removes their addresses from the status"
	}
	return ""
}
