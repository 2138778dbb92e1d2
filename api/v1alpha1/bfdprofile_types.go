package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BFDProfile says how BFD (RFC 5880) watches the BGPPeers that name it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=bfd,categories=fairlead
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:printcolumn:name="Receive",type=integer,JSONPath=`.spec.receiveInterval`
// +kubebuilder:printcolumn:name="Transmit",type=integer,JSONPath=`.spec.transmitInterval`
// +kubebuilder:printcolumn:name="Multiplier",type=integer,JSONPath=`.spec.detectMultiplier`
// +kubebuilder:printcolumn:name="Echo",type=boolean,priority=1,JSONPath=`.spec.echoMode`
// +kubebuilder:printcolumn:name="Passive",type=boolean,priority=1,JSONPath=`.spec.passiveMode`
// +kubebuilder:printcolumn:name="In Use",type=string,JSONPath=`.status.conditions[?(@.type=="InUse")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BFDProfile struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata.
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// How peers are watched.
	// +optional
	Spec BFDProfileSpec `json:"spec,omitempty"`
	// Who is watched so.
	// +optional
	Status BFDProfileStatus `json:"status,omitempty"`
}

// BFDProfileSpec says how peers are watched. A peer counts as lost when nothing
// came from it for detectMultiplier (the peer's) times the interval that both
// sides agree on.
type BFDProfileSpec struct {
	// How often the peer may send at most, in milliseconds: the peer sends no
	// faster than this.
	// +optional
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	ReceiveInterval *int32 `json:"receiveInterval,omitempty"`

	// How often we would like to send, in milliseconds: we send as slowly as
	// the peer asks.
	// +optional
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	TransmitInterval *int32 `json:"transmitInterval,omitempty"`

	// How many of our packets the peer must miss to think us lost.
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=255
	DetectMultiplier *int32 `json:"detectMultiplier,omitempty"`

	// With echoMode, how often packets are sent that the peer returns, in
	// milliseconds.
	// +optional
	// +kubebuilder:default=50
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	EchoInterval *int32 `json:"echoInterval,omitempty"`

	// Have the peer's forwarding plane return packets, so that it is watched
	// too (RFC 5880, 6.4). Only for peers one hop away, and not for peers of
	// an interface.
	// +optional
	EchoMode bool `json:"echoMode,omitempty"`

	// Wait for the peer to begin.
	// +optional
	PassiveMode bool `json:"passiveMode,omitempty"`

	// Hold sessions of BGP back until BFD sees the peer, also after it was
	// lost. Without this a session comes up whatever BFD says, and only the
	// loss of a peer that was seen takes it down. Not for peers of an interface.
	// +optional
	Strict bool `json:"strict,omitempty"`

	// For peers more than one hop away: the lowest TTL with which a packet of
	// theirs may arrive (RFC 5883).
	// +optional
	// +kubebuilder:default=254
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=254
	MinimumTTL *int32 `json:"minimumTtl,omitempty"`
}

// BFDProfileStatus says who is watched so.
type BFDProfileStatus struct {
	// InUse: BGPPeers name the profile (False: none does).
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ProfileInUse is the condition of a BFDProfile.
const ProfileInUse = "InUse"

// BFDProfileList is a list of profiles.
//
// +kubebuilder:object:root=true
type BFDProfileList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BFDProfile `json:"items"`
}
