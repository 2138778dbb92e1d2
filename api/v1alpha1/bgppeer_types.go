package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BGPPeer is a router that nodes have BGP sessions with, and to which they
// announce addresses as BGPAdvertisements say. Routes are announced to it only:
// what it announces is never used.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=fairlead
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.peerAddress`
// +kubebuilder:printcolumn:name="Interface",type=string,priority=1,JSONPath=`.spec.interface`
// +kubebuilder:printcolumn:name="ASN",type=integer,JSONPath=`.spec.peerASN`
// +kubebuilder:printcolumn:name="My ASN",type=integer,JSONPath=`.spec.myASN`
// +kubebuilder:printcolumn:name="BFD",type=string,priority=1,JSONPath=`.spec.bfdProfile`
// +kubebuilder:printcolumn:name="Established",type=string,JSONPath=`.status.established`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BGPPeer struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata.
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Which router it is, and how sessions with it are held.
	// +required
	Spec BGPPeerSpec `json:"spec"`
	// Whether the sessions are established, and what is wrong.
	// +optional
	Status BGPPeerStatus `json:"status,omitempty"`
}

// ASN is a number of an autonomous system (RFC 6793: four octets).
//
// +kubebuilder:validation:Minimum=1
// +kubebuilder:validation:Maximum=4294967295
// +kubebuilder:validation:XValidation:rule="self != 23456",message="23456 (AS_TRANS) stands for numbers of four octets towards old routers and is nobody's own (RFC 6793): write the real number"
type ASN int64

// DynamicASN says which ASN a peer may have, where it is not written down.
//
// +kubebuilder:validation:Enum=internal;external
type DynamicASN string

// The dynamic ASNs.
const (
	// DynamicASNInternal accepts a peer that has our own ASN (iBGP).
	DynamicASNInternal DynamicASN = "internal"
	// DynamicASNExternal accepts a peer that has any other ASN (eBGP).
	DynamicASNExternal DynamicASN = "external"
)

// BGPPeerSpec says which router it is, and how sessions with it are held. A
// change that bears on a session restarts that session; an unnecessary one
// restarts none.
//
// +kubebuilder:validation:XValidation:rule="has(self.peerASN) != has(self.dynamicASN)",message="write one of peerASN (the number that the peer must have) and dynamicASN (internal or external)"
// +kubebuilder:validation:XValidation:rule="(has(self.peerAddress) && self.peerAddress.size() > 0) != (has(self.interface) && self.interface.size() > 0)",message="write one of peerAddress and interface (an unnumbered peer: the one router at the other end of that interface)"
// +kubebuilder:validation:XValidation:rule="!(has(self.password) && self.password.size() > 0 && has(self.passwordSecret) && has(self.passwordSecret.name) && self.passwordSecret.name.size() > 0)",message="write one of password and passwordSecret"
// +kubebuilder:validation:XValidation:rule="!has(self.ebgpMultiHop) || !self.ebgpMultiHop || ((!has(self.dynamicASN) || self.dynamicASN != 'internal') && (!has(self.peerASN) || self.peerASN != self.myASN))",message="ebgpMultiHop is for eBGP: an iBGP session may always pass routers. Take it out"
// +kubebuilder:validation:XValidation:rule="!has(self.ebgpMultiHop) || !self.ebgpMultiHop || !has(self.ttlSecurityHops)",message="ebgpMultiHop and ttlSecurityHops contradict each other: ttlSecurityHops also says how far away the peer may be"
// +kubebuilder:validation:XValidation:rule="!has(self.ebgpMultiHop) || !self.ebgpMultiHop || !has(self.interface) || self.interface.size() == 0",message="the router at the other end of an interface is one hop away: take ebgpMultiHop out"
// +kubebuilder:validation:XValidation:rule="!has(self.localASN) || ((!has(self.dynamicASN) || self.dynamicASN != 'internal') && (!has(self.peerASN) || (self.peerASN != self.myASN && self.peerASN != self.localASN)))",message="localASN is for eBGP, and is not the peer's own: for a session within one AS write that number as myASN and leave localASN out"
// +kubebuilder:validation:XValidation:rule="!has(self.keepaliveTime) || duration(self.keepaliveTime) <= (has(self.holdTime) ? duration(self.holdTime) : duration('21845s'))",message="keepaliveTime must not be longer than holdTime (without holdTime, than 21845s)"
// +kubebuilder:validation:XValidation:rule="!has(self.keepaliveTime) || duration(self.keepaliveTime) > duration('0s') || (has(self.holdTime) && duration(self.holdTime) == duration('0s'))",message="keepaliveTime may be 0 only if holdTime is 0: a session with a hold time needs keepalives"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceAddress) || self.sourceAddress.size() == 0 || !has(self.interface) || self.interface.size() == 0",message="the session over an interface comes from its link-local address: take sourceAddress out"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceAddress) || self.sourceAddress.size() == 0 || !has(self.peerAddress) || self.peerAddress.size() == 0 || !isIP(self.sourceAddress) || !isIP(self.peerAddress) || ip(self.sourceAddress).family() == ip(self.peerAddress).family()",message="sourceAddress and peerAddress must be of one family"
// +kubebuilder:validation:XValidation:rule="!has(self.disableMP) || !self.disableMP || !has(self.dualStackAddressFamily) || !self.dualStackAddressFamily",message="disableMP and dualStackAddressFamily contradict each other: take disableMP out, it is deprecated"
// +kubebuilder:validation:XValidation:rule="!has(self.gracefulRestart) || (has(self.enableGracefulRestart) && self.enableGracefulRestart)",message="gracefulRestart says how, enableGracefulRestart whether: set enableGracefulRestart to true, or take gracefulRestart out"
type BGPPeerSpec struct {
	// The number of our autonomous system in the session.
	// +required
	MyASN ASN `json:"myASN"`

	// The number of the peer's autonomous system. The same as myASN: iBGP;
	// another: eBGP. Either this or dynamicASN.
	// +optional
	PeerASN ASN `json:"peerASN,omitempty"`

	// Take the number that the peer says it has: internal (only myASN, iBGP)
	// or external (any other, eBGP). Either this or peerASN.
	// +optional
	DynamicASN DynamicASN `json:"dynamicASN,omitempty"`

	// The number that this peer sees instead of myASN, in the session and in
	// the AS path (as with "no-prepend replace-as" on routers), so that an AS
	// can be renumbered peer by peer. For eBGP only.
	// +optional
	LocalASN ASN `json:"localASN,omitempty"`

	// The address of the peer. Either this or interface.
	// +optional
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || isIP(self)",message="not an IP address: write 192.0.2.1 or 2001:db8::1, without a prefix length or a zone"
	// +kubebuilder:validation:XValidation:rule="!isIP(self) || ip(self).isGlobalUnicast() || ip(self).isLoopback() || (ip(self).family() == 4 && ip(self).isLinkLocalUnicast())",message="not the address of one router: for the link-local address of a neighbour write interface instead"
	PeerAddress string `json:"peerAddress,omitempty"`

	// The interface with the peer at its other end (an unnumbered peer). The
	// session runs between link-local addresses, which are found by router
	// advertisements, and carries both families. Either this or peerAddress.
	// +optional
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="!self.contains('/') && !self.contains(' ')",message="not the name of an interface"
	Interface string `json:"interface,omitempty"`

	// The address of the node that the session comes from. It must be on the
	// node, so this is for peers of one node or for addresses that are on
	// each. Unset: the kernel chooses.
	// +optional
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || isIP(self)",message="not an IP address: write 192.0.2.1 or 2001:db8::1"
	// +kubebuilder:validation:XValidation:rule="!isIP(self) || ip(self).isGlobalUnicast() || ip(self).isLoopback() || (ip(self).family() == 4 && ip(self).isLinkLocalUnicast())",message="not an address that a session can come from"
	SourceAddress string `json:"sourceAddress,omitempty"`

	// The TCP port of the peer.
	// +optional
	// +kubebuilder:default=179
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	PeerPort int32 `json:"peerPort,omitempty"`

	// How long the session stands without a sign of life from the peer (RFC
	// 4271, 4.2): 0 (for ever), or 3s to 65535s, in whole seconds. The smaller
	// of this and the peer's counts. Unset: three times keepaliveTime, and
	// without that 90s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || (duration(self) >= duration('3s') && duration(self) <= duration('65535s') && duration(self).getMilliseconds() % 1000 == 0)",message="must be 0s, or 3s to 65535s in whole seconds"
	HoldTime *metav1.Duration `json:"holdTime,omitempty"`

	// How often we give a sign of life, in whole seconds; not longer than
	// holdTime, and best a third of it. Unset: a third of holdTime.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('65535s') && duration(self).getMilliseconds() % 1000 == 0",message="must be 0s to 65535s in whole seconds"
	KeepaliveTime *metav1.Duration `json:"keepaliveTime,omitempty"`

	// How long to wait between attempts to connect (RFC 4271, 8: the
	// ConnectRetryTime): 1s to 65535s, in whole seconds. Unset: 10s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('65535s') && duration(self).getMilliseconds() % 1000 == 0",message="must be 1s to 65535s in whole seconds"
	ConnectTime *metav1.Duration `json:"connectTime,omitempty"`

	// The BGP identifier of our side, written as an IPv4 address. It must
	// differ between the nodes that one router sees, so this is for peers of
	// one node. Unset: the first internal IPv4 address of the node, and where
	// it has none a number made from the node's name.
	// +optional
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || (isIP(self) && ip(self).family() == 4 && !ip(self).isUnspecified())",message="must be written as an IPv4 address other than 0.0.0.0, such as 192.0.2.11 (RFC 6286)"
	RouterID string `json:"routerID,omitempty"`

	// Nodes that have a session with the peer, by label; one selector that
	// matches is enough. Unset: all nodes.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`

	// The password of the session (TCP MD5, RFC 2385), in the clear: anybody
	// who may read this object reads it. Better: passwordSecret.
	// +optional
	// +kubebuilder:validation:MaxLength=80
	Password string `json:"password,omitempty"`

	// The Secret with the password of the session, in Fairlead's namespace,
	// of type kubernetes.io/basic-auth; its entry password counts. A new
	// password restarts the session.
	// +optional
	PasswordSecret *PasswordSecretReference `json:"passwordSecret,omitempty"`

	// The BFDProfile by which BFD watches the peer, so that its loss is seen
	// in fractions of a second. The peer must be set up for BFD too. Unset:
	// only the hold time watches.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	BFDProfile string `json:"bfdProfile,omitempty"`

	// Ask the peer to keep our routes while a speaker restarts (RFC 4724), so
	// that packets go on flowing to the node. The peer must support it.
	// +optional
	EnableGracefulRestart bool `json:"enableGracefulRestart,omitempty"`

	// For how long the peer keeps our routes. Needs enableGracefulRestart.
	// +optional
	GracefulRestart *GracefulRestart `json:"gracefulRestart,omitempty"`

	// Whether the peer may be more than one hop away. For eBGP only, whose
	// packets otherwise go no further than the next router.
	// +optional
	EBGPMultiHop bool `json:"ebgpMultiHop,omitempty"`

	// Take packets of the session only from a peer that is at most this many
	// hops away, by their TTL (RFC 5082), so that nobody farther away can
	// disturb it. The peer must be set up alike. Unset: not checked.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=254
	TTLSecurityHops *int32 `json:"ttlSecurityHops,omitempty"`

	// The most prefixes that the peer may send in all. Beyond it the session
	// is closed, and tried again later. Nothing that it sends is used, but all
	// of it costs memory. Unset: 10000.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000000
	PrefixLimit *int32 `json:"prefixLimit,omitempty"`

	// The VRF on the node in which the peer is reached: the name of a VRF
	// interface. Unset: the main routing table.
	// +optional
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="!self.contains('/') && !self.contains(' ')",message="not the name of an interface"
	VRF string `json:"vrf,omitempty"`

	// Without effect, and out of use: a session carries only addresses of its
	// own family, unless dualStackAddressFamily says otherwise, which is what
	// this asks for. Here so that manifests that have it are taken.
	// +optional
	DisableMP bool `json:"disableMP,omitempty"`

	// Let the session carry addresses of both families (RFC 4760; IPv4 over an
	// IPv6 session with IPv6 next hops where the peer can, RFC 8950). Unset:
	// only addresses of the session's own family.
	// +optional
	DualStackAddressFamily bool `json:"dualStackAddressFamily,omitempty"`
}

// PasswordSecretReference names the Secret with a password.
type PasswordSecretReference struct {
	// The name of the Secret.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// Without effect: the Secret is read in Fairlead's own namespace. Here so
	// that manifests that have it are taken.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// GracefulRestart says for how long a peer keeps our routes while a speaker is
// away.
type GracefulRestart struct {
	// For how long the peer keeps the routes as good as they are (RFC 4724):
	// 1s to 4095s, in whole seconds. Unset: 120s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('4095s') && duration(self).getMilliseconds() % 1000 == 0",message="must be 1s to 4095s in whole seconds"
	RestartTime *metav1.Duration `json:"restartTime,omitempty"`

	// For how much longer it keeps them as a last resort (long-lived graceful
	// restart, RFC 9494): 1s to 16777215s (194 days), in whole seconds. Unset:
	// not at all.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('16777215s') && duration(self).getMilliseconds() % 1000 == 0",message="must be 1s to 16777215s in whole seconds"
	LongLivedStaleTime *metav1.Duration `json:"longLivedStaleTime,omitempty"`
}

// BGPPeerStatus says whether the sessions are established, and what is wrong.
type BGPPeerStatus struct {
	// On how many of the nodes that should have a session it is established,
	// for kubectl get: "3 of 3". The sessions themselves are in the
	// SpeakerStatuses of the nodes.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Established string `json:"established,omitempty"`
	// Ready: the peer is in use as it is written (False: what is wrong with
	// it). Established: every node that should have a session has it (False:
	// which has not, and why).
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Conditions of a BGPPeer.
const (
	PeerReady       = "Ready"
	PeerEstablished = "Established"
)

// BGPPeerList is a list of peers.
//
// +kubebuilder:object:root=true
type BGPPeerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BGPPeer `json:"items"`
}
