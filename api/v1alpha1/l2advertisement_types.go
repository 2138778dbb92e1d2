package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// L2Advertisement lets nodes answer for addresses by ARP (IPv4) and NDP (IPv6).
// Several advertisements of one address add up: their nodes, their interfaces
// and their preferences.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=l2adv,categories=fairlead
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:printcolumn:name="Pools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="Interfaces",type=string,JSONPath=`.spec.interfaces`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type L2Advertisement struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata.
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Which addresses are announced, from which nodes, on which interfaces.
	// +optional
	Spec L2AdvertisementSpec `json:"spec,omitempty"`
	// Whether the advertisement has an effect.
	// +optional
	Status L2AdvertisementStatus `json:"status,omitempty"`
}

// L2AdvertisementSpec says which addresses are announced, from which nodes, on
// which interfaces. Everything unset: all addresses, all nodes, all interfaces.
type L2AdvertisementSpec struct {
	// Pools whose addresses are announced, by name. With neither this nor
	// ipAddressPoolSelectors, the addresses of all pools are.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	IPAddressPools []string `json:"ipAddressPools,omitempty"`
	// Pools whose addresses are announced, by label, in addition to
	// ipAddressPools.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	IPAddressPoolSelectors []metav1.LabelSelector `json:"ipAddressPoolSelectors,omitempty"`
	// Nodes that may announce, by label; one selector that matches is enough.
	// Unset: all nodes.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`
	// Interfaces on which to answer. A node without any of them that is up
	// does not announce. Unset: all suitable interfaces of the node.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=15
	// +listType=set
	Interfaces []string `json:"interfaces,omitempty"`
	// Services (and Gateways) whose addresses are announced, by label; one
	// selector that matches is enough. Unset: all.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
	// Nodes to prefer among those that can announce. The weights of all
	// selectors that match a node add up; the node with the highest sum
	// announces.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	PreferredNodeSelectors []PreferredNodeSelector `json:"preferredNodeSelectors,omitempty"`
}

// PreferredNodeSelector gives a weight to nodes.
type PreferredNodeSelector struct {
	// The weight of the preference.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Weight int32 `json:"weight"`
	// The nodes that are preferred, by label.
	// +required
	Preference metav1.LabelSelector `json:"preference"`
}

// L2AdvertisementStatus says whether the advertisement has an effect.
type L2AdvertisementStatus struct {
	// Ready: the advertisement is in use (False: what it names does not exist).
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// AdvertisementReady is the condition of an L2Advertisement and of a
// BGPAdvertisement.
const AdvertisementReady = "Ready"

// L2AdvertisementList is a list of advertisements.
//
// +kubebuilder:object:root=true
type L2AdvertisementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []L2Advertisement `json:"items"`
}
