package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BGPAdvertisement lets nodes announce addresses to BGPPeers. Several
// advertisements of one address add up: their nodes, their peers, and for one
// prefix and peer their communities. Where two of them give one prefix
// different local preferences for one iBGP peer, that peer does not get it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=bgpadv,categories=fairlead
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:printcolumn:name="Pools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="Peers",type=string,JSONPath=`.spec.peers`
// +kubebuilder:printcolumn:name="Communities",type=string,priority=1,JSONPath=`.spec.communities`
// +kubebuilder:printcolumn:name="Local Pref",type=integer,priority=1,JSONPath=`.spec.localPref`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BGPAdvertisement struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata.
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Which addresses are announced, from which nodes, to which peers, and
	// with which attributes.
	// +optional
	Spec BGPAdvertisementSpec `json:"spec,omitempty"`
	// Whether the advertisement has an effect.
	// +optional
	Status BGPAdvertisementStatus `json:"status,omitempty"`
}

// BGPAdvertisementSpec says which addresses are announced, from which nodes, to
// which peers, and with which attributes. Everything unset: all addresses, one
// by one, from all nodes, to all peers.
//
// +kubebuilder:validation:XValidation:rule="!has(self.serviceSelectors) || self.serviceSelectors.size() == 0 || ((!has(self.aggregationLength) || self.aggregationLength == 32) && (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))",message="serviceSelectors choose single addresses, which a shorter prefix would announce with their neighbours: leave aggregationLength at 32 and aggregationLengthV6 at 128, or take serviceSelectors out"
type BGPAdvertisementSpec struct {
	// The length of the prefix that stands for an IPv4 address: 32 announces
	// each address by itself; 24 announces the /24 that it lies in, as long as
	// one of its addresses is announced. The prefix must lie within the pool.
	// +optional
	// +kubebuilder:default=32
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	AggregationLength *int32 `json:"aggregationLength,omitempty"`

	// The same for an IPv6 address.
	// +optional
	// +kubebuilder:default=128
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=128
	AggregationLengthV6 *int32 `json:"aggregationLengthV6,omitempty"`

	// The local preference of the routes; the higher wins. It goes to iBGP
	// peers only. 0 or unset: none is asked for, and peers take 100.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	LocalPref int64 `json:"localPref,omitempty"`

	// The communities of the routes: a number ("64512:100"), a large one
	// ("large:64512:1:2", RFC 8092), an alias from a Community object, or a
	// well-known name (no-export, no-advertise, no-export-subconfed, no-peer,
	// blackhole, graceful-shutdown, accept-own). With one that nobody defines,
	// nothing is announced by this advertisement.
	// +optional
	// +kubebuilder:validation:MaxItems=63
	// +listType=set
	Communities []CommunityReference `json:"communities,omitempty"`

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

	// The BGPPeers that the routes are announced to, by name. Unset: all that
	// the node has a session with.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	Peers []string `json:"peers,omitempty"`

	// Services (and Gateways) whose addresses are announced, by label; one
	// selector that matches is enough. Unset: all.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
}

// CommunityReference is a community by its number, or by a name.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="!self.contains(':') || self.matches('^[0-9]{1,5}:[0-9]{1,5}$') || self.matches('^large:[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}$')",message="not a community: write 64512:100, large:64512:1:2, or the alias of a Community object (which has no colon)"
// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9]{1,5}:[0-9]{1,5}$') || self.split(':').all(n, int(n) <= 65535)",message="the numbers of a community lie between 0 and 65535: write one with larger numbers as large:N:N:N"
// +kubebuilder:validation:XValidation:rule="!self.matches('^large:[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}$') || self.substring(6).split(':').all(n, int(n) <= 4294967295)",message="the numbers of a large community lie between 0 and 4294967295"
type CommunityReference string

// BGPAdvertisementStatus says whether the advertisement has an effect.
type BGPAdvertisementStatus struct {
	// Ready: the advertisement is in use (False: what it names does not exist,
	// or what it asks for cannot be).
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BGPAdvertisementList is a list of advertisements.
//
// +kubebuilder:object:root=true
type BGPAdvertisementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BGPAdvertisement `json:"items"`
}
