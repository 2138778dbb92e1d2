package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Community gives names to BGP communities, for BGPAdvertisements to use.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,path=communities,singular=community,categories=fairlead
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:printcolumn:name="Aliases",type=string,JSONPath=`.spec.communities[*].name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Community struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata.
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// The names.
	// +optional
	Spec CommunitySpec `json:"spec,omitempty"`
	// Whether the names are in use.
	// +optional
	Status CommunityStatus `json:"status,omitempty"`
}

// CommunitySpec has the names of communities.
type CommunitySpec struct {
	// The names and what they stand for. A name that an older Community gives
	// already stands for what that one says; one that is well known (such as
	// no-export) stands for what is written here.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=name
	Communities []CommunityAlias `json:"communities,omitempty"`
}

// CommunityAlias is a name and the community that it stands for.
type CommunityAlias struct {
	// The name, without a colon.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!self.contains(':')",message="an alias has no colon, so that it is not taken for a community"
	Name string `json:"name"`
	// The community: "64512:100", or a large one as "large:64512:1:2".
	// +required
	Value CommunityValue `json:"value"`
}

// CommunityValue is a community by its number.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,5}:[0-9]{1,5}$') || self.matches('^large:[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}$')",message="not a community: write 64512:100 or large:64512:1:2"
// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9]{1,5}:[0-9]{1,5}$') || self.split(':').all(n, int(n) <= 65535)",message="the numbers of a community lie between 0 and 65535: write one with larger numbers as large:N:N:N"
// +kubebuilder:validation:XValidation:rule="!self.matches('^large:[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}$') || self.substring(6).split(':').all(n, int(n) <= 4294967295)",message="the numbers of a large community lie between 0 and 4294967295"
type CommunityValue string

// CommunityStatus says whether the names are in use.
type CommunityStatus struct {
	// Ready: every name stands for what is written here (False: an older
	// Community says otherwise). InUse: BGPAdvertisements use one of the names
	// (False: none does).
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Conditions of a Community.
const (
	CommunityReady = "Ready"
	CommunityInUse = "InUse"
)

// CommunityList is a list of communities' names.
//
// +kubebuilder:object:root=true
type CommunityList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Community `json:"items"`
}
