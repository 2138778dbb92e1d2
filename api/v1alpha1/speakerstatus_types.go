package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SpeakerStatus is what the speaker of one node says of itself. It bears the
// name of the node, is written by its speaker when something changes, and goes
// with the node.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,path=speakerstatuses,singular=speakerstatus,categories=fairlead
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Addresses",type=integer,JSONPath=`.status.layer2.addresses`
// +kubebuilder:printcolumn:name="Sessions",type=string,JSONPath=`.status.bgp.summary`
// +kubebuilder:printcolumn:name="Members",type=string,JSONPath=`.status.members.summary`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Error",type=string,JSONPath=`.status.lastError.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SpeakerStatus struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata. The name is the node's.
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the speaker does, and its last errors.
	// +optional
	Status SpeakerStatusStatus `json:"status,omitempty"`
}

// SpeakerStatusStatus says what a speaker does, and its last errors.
type SpeakerStatusStatus struct {
	// The version of the speaker.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version,omitempty"`
	// When the speaker started.
	// +optional
	Started metav1.Time `json:"started,omitempty"`
	// The other speakers, as this one sees them.
	// +optional
	Members SpeakerMembers `json:"members,omitempty"`
	// What the speaker does on layer 2.
	// +optional
	Layer2 SpeakerLayer2 `json:"layer2,omitempty"`
	// What the speaker does by BGP. Unset: no BGPPeer is for its node.
	// +optional
	BGP *SpeakerBGP `json:"bgp,omitempty"`
	// The last error, until it is mended.
	// +optional
	LastError *SpeakerError `json:"lastError,omitempty"`
	// Ready: the speaker works and sees the other speakers (False: what is wrong).
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// SpeakerReady is the condition of a SpeakerStatus.
const SpeakerReady = "Ready"

// SpeakerMembers is how a speaker sees the others.
type SpeakerMembers struct {
	// Speakers alive and nodes that should have one, in words: "3 of 3".
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Summary string `json:"summary,omitempty"`
	// Nodes that should have a speaker and whose speaker is not seen.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	Missing []string `json:"missing,omitempty"`
}

// SpeakerLayer2 is what a speaker does on layer 2.
type SpeakerLayer2 struct {
	// How many addresses the node answers for.
	// +optional
	Addresses int64 `json:"addresses"`
	// The interfaces on which the speaker can answer.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	Interfaces []SpeakerInterface `json:"interfaces,omitempty"`
}

// SpeakerInterface is an interface of a node.
type SpeakerInterface struct {
	// The name of the interface.
	// +required
	// +kubebuilder:validation:MaxLength=15
	Name string `json:"name"`
	// Whether ARP is answered there.
	// +optional
	ARP bool `json:"arp"`
	// Whether NDP is answered there.
	// +optional
	NDP bool `json:"ndp"`
	// Why something does not work there.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Error string `json:"error,omitempty"`
}

// SpeakerBGP is what a speaker does by BGP.
type SpeakerBGP struct {
	// Sessions established and sessions that there should be, in words: "2 of
	// 2".
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Summary string `json:"summary,omitempty"`
	// How many prefixes the node announces.
	// +optional
	Prefixes int64 `json:"prefixes"`
	// The sessions of the node. With more than 64 of them, those that are not
	// established come first.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=peer
	Sessions []SpeakerSession `json:"sessions,omitempty"`
}

// SessionState is where a BGP session stands.
//
// +kubebuilder:validation:Enum=Idle;Active;Established
type SessionState string

// The states of a session.
const (
	// SessionIdle: the session is not being tried, for the reason in its error.
	SessionIdle SessionState = "Idle"
	// SessionActive: the session is being tried. It stands for the states
	// Connect, Active, OpenSent and OpenConfirm of RFC 4271, between which a
	// session that does not come up goes to and fro.
	SessionActive SessionState = "Active"
	// SessionEstablished: routes are exchanged.
	SessionEstablished SessionState = "Established"
)

// SpeakerSession is the BGP session of a node with one peer. It is written from
// when the peer is to be spoken with, and soon when its state changes; what counts
// up is in the metrics.
type SpeakerSession struct {
	// The name of the BGPPeer.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Peer string `json:"peer"`
	// The address of the peer, with the interface where it is unnumbered
	// (fe80::1%eth0). Empty while it is not known.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Address string `json:"address,omitempty"`
	// The number of the peer's autonomous system, as it says itself.
	// +optional
	ASN int64 `json:"asn,omitempty"`
	// Idle: not tried, see lastError. Active: being tried. Established: routes
	// are exchanged.
	// +required
	State SessionState `json:"state"`
	// Since when it is in that state.
	// +required
	Since metav1.Time `json:"since"`
	// Whether BFD sees the peer: Up, or Down. Empty: BFD does not watch it.
	// +optional
	// +kubebuilder:validation:Enum=Up;Down
	BFD string `json:"bfd,omitempty"`
	// What keeps packets of BFD from being sent or received, and what to do.
	// Empty: nothing.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	BFDError string `json:"bfdError,omitempty"`
	// How many prefixes are announced in the session.
	// +optional
	Announced int64 `json:"announced"`
	// Why the session ended last, does not come up, or is not tried. It stays
	// when the session is back. That the same happened again is written with
	// the next change only.
	// +optional
	LastError *SpeakerError `json:"lastError,omitempty"`
}

// SpeakerError is an error of a speaker.
type SpeakerError struct {
	// What happened.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
	// When it happened last.
	// +required
	At metav1.Time `json:"at"`
}

// SpeakerStatusList is a list of speakers' statuses.
//
// +kubebuilder:object:root=true
type SpeakerStatusList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SpeakerStatus `json:"items"`
}
