package imports

// Kind is a kind of objects that a source is configured by.
type Kind struct {
	Group, Kind string
	// Versions that are read, the newest first.
	Versions []string
	// Name is the one object of the kind that is read; empty: all.
	Name string
	// Namespace is the one that is read; empty: all.
	Namespace string
}

// Kinds are what a source is configured by, and what Read looks at.
func Kinds(source Source) []Kind {
	all := func(group string, versions []string, kinds ...string) []Kind {
		var out []Kind
		for _, k := range kinds {
			out = append(out, Kind{Group: group, Kind: k, Versions: versions})
		}
		return out
	}
	configMap := func(name string) Kind {
		return Kind{Kind: "ConfigMap", Versions: []string{"v1"}, Name: name}
	}
	switch source {
	case MetalLB:
		return append(all(metallbGroup, []string{"v1beta2", "v1beta1"}, "IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer", "BFDProfile", "Community"),
			Kind{Group: "frrk8s.metallb.io", Kind: "FRRConfiguration", Versions: []string{"v1beta1"}}, configMap("bgpextras"))
	case KubeVip:
		return []Kind{configMap("kubevip"), {Group: "apps", Kind: "DaemonSet", Versions: []string{"v1"}}, {Kind: "Pod", Versions: []string{"v1"}, Namespace: "kube-system"}}
	case Cilium:
		return all(ciliumGroup, []string{"v2", "v2alpha1"}, "CiliumLoadBalancerIPPool", "CiliumL2AnnouncementPolicy", "CiliumBGPClusterConfig", "CiliumBGPPeerConfig",
			"CiliumBGPAdvertisement", "CiliumBGPPeeringPolicy", "CiliumBGPNodeConfigOverride")
	case PureLB:
		return all(pureGroup, []string{"v2", "v1"}, "ServiceGroup", "LBNodeAgent")
	case Calico:
		return append(all("projectcalico.org", []string{"v3"}, "IPPool", "BGPPeer", "BGPConfiguration"),
			all("crd.projectcalico.org", []string{"v1"}, "IPPool", "BGPPeer", "BGPConfiguration")...)
	case OpenELB:
		return all(openelbGroup, []string{"v1alpha2"}, "Eip", "BgpConf", "BgpPeer")
	}
	return nil
}
