package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Address is one IP address in use, reserved, or waiting for its last holder.
// Its name is the address, so that the API server itself refuses a second
// owner.
//
// A person may create one to reserve an address; everything else in it is
// written by the controller.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,path=addresses,singular=address,shortName=addr,categories=fairlead
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.address`
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.pool`
// +kubebuilder:printcolumn:name="Holders",type=string,JSONPath=`.spec.summary`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.spec.state`
// +kubebuilder:printcolumn:name="Announced",type=string,JSONPath=`.status.announced`
// +kubebuilder:printcolumn:name="BGP",type=string,JSONPath=`.status.bgp.summary`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Announced")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!isIP(self.spec.address) || ip(self.spec.address).family() == 6 || self.metadata.name == self.spec.address",message="the name of an IPv4 Address must be the address itself, such as 192.0.2.7"
// +kubebuilder:validation:XValidation:rule="!isIP(self.spec.address) || ip(self.spec.address).family() == 4 || (self.metadata.name.matches('^([0-9a-f]{4}-){7}[0-9a-f]{4}$') && isIP(self.metadata.name.replace('-', ':')) && ip(self.metadata.name.replace('-', ':')) == ip(self.spec.address))",message="the name of an IPv6 Address must be the address written out in full with '-' for ':', such as 2001-0db8-0000-0000-0000-0000-0000-0007 for 2001:db8::7"
type Address struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata. The name is the address: IPv4 as it is, IPv6
	// written out in full with '-' for ':'.
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Whose the address is.
	// +required
	Spec AddressSpec `json:"spec"`
	// Who announces the address.
	// +optional
	Status AddressStatus `json:"status,omitempty"`
}

// AddressState is where an address stands in its life.
type AddressState string

// The states of an Address.
const (
	// AddressPending: a holder has it, and waits for another address it needs too.
	AddressPending AddressState = "Pending"
	// AddressBound: a holder has it and uses it.
	AddressBound AddressState = "Bound"
	// AddressRetained: its holder is gone; it waits for it to return, or for
	// the time after which somebody else may get it.
	AddressRetained AddressState = "Retained"
	// AddressReserved: a person has set it aside.
	AddressReserved AddressState = "Reserved"
)

// AddressSpec says whose the address is.
//
// +kubebuilder:validation:XValidation:rule="!has(self.holders) || self.holders.size() == 0 || (has(self.state) && self.state in ['Pending', 'Bound'])",message="an address with holders is Pending or Bound"
type AddressSpec struct {
	// The address in its canonical form: 192.0.2.7, or 2001:db8::7 (lower
	// case, shortest). It cannot be changed.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="not an IP address, or an IPv4 address in IPv6 notation: write 192.0.2.7 or 2001:db8::7"
	// +kubebuilder:validation:XValidation:rule="!isIP(self) || ip.isCanonical(self)",message="not the canonical spelling of the address: write IPv6 in lower case and shortened, such as 2001:db8::7"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="an Address cannot become another one: create a second Address"
	Address string `json:"address"`

	// The pool that the address was given from. Empty for an address outside
	// every pool.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Pool string `json:"pool,omitempty"`

	// Where the address stands: Pending, Bound, Retained or Reserved. Written
	// by the controller; what a person creates is Reserved.
	// +optional
	// +kubebuilder:default=Reserved
	// +kubebuilder:validation:Enum=Pending;Bound;Retained;Reserved
	State AddressState `json:"state,omitempty"`

	// The holders in words, for kubectl get. Written by the controller.
	// +optional
	// +kubebuilder:validation:MaxLength=640
	Summary string `json:"summary,omitempty"`

	// Who has the address. More than one where they share it. Written by the
	// controller only.
	// +optional
	// +kubebuilder:validation:MaxItems=1024
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=namespace
	// +listMapKey=name
	Holders []AddressHolder `json:"holders,omitempty"`

	// Who alone may get the address: set by a person to set it aside.
	// +optional
	ReservedFor *HolderReference `json:"reservedFor,omitempty"`

	// Who had the address last, while nobody has it. Written by the controller.
	// +optional
	Released *AddressRelease `json:"released,omitempty"`
}

// HolderReference names a holder: a Service or a Gateway.
type HolderReference struct {
	// Service or Gateway.
	// +required
	// +kubebuilder:validation:Enum=Service;Gateway
	Kind string `json:"kind"`
	// The namespace of the holder.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// The name of the holder.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// AddressHolder is one holder of an address and what others need to know of it.
type AddressHolder struct {
	HolderReference `json:",inline"`

	// The UID of the holder when it was last seen.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	UID string `json:"uid,omitempty"`
	// When the holder got the address.
	// +optional
	Since metav1.Time `json:"since,omitempty"`
	// Pending until every address in needs is the holder's own, then Bound.
	// +optional
	// +kubebuilder:validation:Enum=Pending;Bound
	State AddressState `json:"state,omitempty"`
	// All addresses of the holder, if it has more than this one.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=39
	// +listType=set
	Needs []string `json:"needs,omitempty"`
	// The ports that the holder serves on the address.
	// +optional
	// +kubebuilder:validation:MaxItems=1000
	// +listType=atomic
	Ports []HolderPort `json:"ports,omitempty"`
	// The key under which the holder shares the address. Empty: it does not.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	SharingKey string `json:"sharingKey,omitempty"`
	// Other namespaces that the holder agrees to share with; "*" is any.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	ShareWith []string `json:"shareWith,omitempty"`
	// Cluster: every node can serve the address while there is a ready
	// endpoint. Local: only nodes with a ready endpoint of their own can.
	// +optional
	// +kubebuilder:validation:Enum=Cluster;Local
	ExternalTrafficPolicy string `json:"externalTrafficPolicy,omitempty"`
	// The Service, in the holder's namespace, whose endpoints decide where the
	// address can be served.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Endpoints string `json:"endpoints,omitempty"`
	// Labels of the holder that serviceSelectors of advertisements ask for.
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	Labels map[string]string `json:"labels,omitempty"`
	// From whom the holder takes, or has taken, the address over.
	// +optional
	Takeover *HolderTakeover `json:"takeover,omitempty"`
}

// TakeoverPhase is how far a takeover has come.
//
// +kubebuilder:validation:Enum=Requested;Prepared;Shared;Switched;Returning;Done
type TakeoverPhase string

// The phases of a takeover.
const (
	// TakeoverRequested: the taking holder is a second holder, and does not serve
	// the address yet.
	TakeoverRequested TakeoverPhase = "Requested"
	// TakeoverPrepared: it could serve the address.
	TakeoverPrepared TakeoverPhase = "Prepared"
	// TakeoverShared: both serve the address.
	TakeoverShared TakeoverPhase = "Shared"
	// TakeoverSwitched: only the taking holder serves the address.
	TakeoverSwitched TakeoverPhase = "Switched"
	// TakeoverReturning: the takeover is being undone, and only the giving holder
	// serves the address.
	TakeoverReturning TakeoverPhase = "Returning"
	// TakeoverDone: the giving holder has the address no more.
	TakeoverDone TakeoverPhase = "Done"
)

// HolderTakeover says from whom a holder takes, or has taken, an address over.
type HolderTakeover struct {
	// Who has, or had, the address.
	// +required
	From HolderReference `json:"from"`
	// The UID of the one who has, or had, the address.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	FromUID string `json:"fromUID,omitempty"`
	// Others that share the address with that one, and give it together with it.
	// +optional
	// +kubebuilder:validation:MaxItems=63
	// +listType=atomic
	Also []TakeoverGiver `json:"also,omitempty"`
	// How far the takeover has come.
	// +required
	Phase TakeoverPhase `json:"phase"`
	// Since when the takeover is in this phase.
	// +optional
	Since metav1.Time `json:"since,omitempty"`
}

// TakeoverGiver is one of several who give an address together.
type TakeoverGiver struct {
	HolderReference `json:",inline"`
	// The UID of the one who has, or had, the address.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	UID string `json:"uid,omitempty"`
}

// Served tells whether the holder serves the address, as far as a takeover says:
// one that takes it over does not until both do.
func (h *AddressHolder) Served() bool {
	return h.Takeover == nil || h.Takeover.Phase != TakeoverRequested && h.Takeover.Phase != TakeoverPrepared
}

// HolderPort is a port that a holder serves.
type HolderPort struct {
	// TCP, UDP or SCTP.
	// +required
	// +kubebuilder:validation:Enum=TCP;UDP;SCTP
	Protocol string `json:"protocol"`
	// The port number.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
}

// AddressRelease remembers the last holder of an address that nobody has.
type AddressRelease struct {
	HolderReference `json:",inline"`
	// When the holder gave the address up.
	// +required
	At metav1.Time `json:"at"`
}

// AddressStatus says who announces the address.
type AddressStatus struct {
	// Who announces the address, in words, for kubectl get.
	// +optional
	// +kubebuilder:validation:MaxLength=320
	Announced string `json:"announced,omitempty"`
	// The node that answers for the address by ARP or NDP. Written by the
	// speaker of that node.
	// +optional
	Layer2 *Layer2Announcement `json:"layer2,omitempty"`
	// How widely the address is announced by BGP. Written by the controller.
	// +optional
	BGP *BGPAnnouncement `json:"bgp,omitempty"`
	// Announced: the network is told about the address (False: why not).
	// InPool: the address lies in its pool (False: it lies outside of every
	// pool, or its pool is gone).
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Conditions of an Address.
const (
	AddressAnnounced = "Announced"
	AddressInPool    = "InPool"
)

// Layer2Announcement says which node answers for an address on its segment.
type Layer2Announcement struct {
	// The node.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`
	// The interfaces on which it answers.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	Interfaces []string `json:"interfaces,omitempty"`
	// When this node took the address over.
	// +required
	Since metav1.Time `json:"since"`
	// The hardware address of another host that already answers for the
	// address. While it does, the node does not announce the address.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	TakenBy string `json:"takenBy,omitempty"`
}

// BGPAnnouncement says how widely an address is announced by BGP. Which node has
// a session with which peer stands in the SpeakerStatuses.
type BGPAnnouncement struct {
	// Nodes that announce the address in an established session.
	// +required
	Nodes int32 `json:"nodes"`
	// Peers that hear of it from one of these nodes.
	// +required
	Peers int32 `json:"peers"`
	// The same in words, for kubectl get: "3 nodes to 2 peers".
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Summary string `json:"summary,omitempty"`
	// The prefixes that stand for the address: itself, or shorter ones where
	// advertisements aggregate.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=43
	// +listType=set
	Prefixes []string `json:"prefixes,omitempty"`
	// Since when some node announces it.
	// +required
	Since metav1.Time `json:"since"`
}

// AddressList is a list of addresses.
//
// +kubebuilder:object:root=true
type AddressList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Address `json:"items"`
}
