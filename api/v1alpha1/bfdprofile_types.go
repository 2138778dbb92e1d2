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
// +kubebuilder:printcolumn:name="Authentication",type=string,priority=1,JSONPath=`.spec.authentication.type`
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

	// How the packets of both sides are signed (RFC 5880, 6.7). A packet that is
	// not signed so is dropped, so the peer must have the same. Unset: packets
	// are not signed, and signed ones are dropped.
	// +optional
	Authentication *BFDAuthentication `json:"authentication,omitempty"`
}

// BFDAuthentication says how packets of BFD are signed.
type BFDAuthentication struct {
	// SimplePassword shows the key to whoever listens. KeyedSHA1 hides it, and
	// MeticulousKeyedSHA1 numbers each packet besides, so that none can be sent
	// again by somebody else.
	Type BFDAuthenticationType `json:"type"`

	// The number that both sides give the key.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=255
	KeyID *int32 `json:"keyID,omitempty"`

	// The Secret with the key, in Fairlead's namespace, of type
	// kubernetes.io/basic-auth; its entry password counts: up to 16 bytes for
	// SimplePassword, 20 for the others. While it is not there, BFD does not
	// watch the peers. A new key counts at once: change the peer's too.
	PasswordSecret BFDKeyReference `json:"passwordSecret"`
}

// BFDAuthenticationType is a way to sign packets of BFD (RFC 5880, 4.2 to 4.4).
//
// +kubebuilder:validation:Enum=SimplePassword;KeyedSHA1;MeticulousKeyedSHA1
type BFDAuthenticationType string

// The ways to sign.
const (
	BFDSimplePassword      BFDAuthenticationType = "SimplePassword"
	BFDKeyedSHA1           BFDAuthenticationType = "KeyedSHA1"
	BFDMeticulousKeyedSHA1 BFDAuthenticationType = "MeticulousKeyedSHA1"
)

// BFDKeyReference names the Secret with a key.
type BFDKeyReference struct {
	// The name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
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
