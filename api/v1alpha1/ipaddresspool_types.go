package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AddressRange is a set of consecutive addresses: a prefix ("10.0.0.0/24") or
// its first and last address ("10.0.0.10-10.0.0.20").
//
// A range whose end lies before its start cannot be told by the API server and
// is reported in the condition Ready of the pool.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=96
// +kubebuilder:validation:XValidation:rule="self.contains('-') || isCIDR(self)",message="not a prefix and not a range: write a prefix (192.0.2.0/24, 2001:db8::/64; 192.0.2.7/32 for one address) or the first and last address with '-' between them"
// +kubebuilder:validation:XValidation:rule="self.contains('-') || !isCIDR(self) || cidr(self) == cidr(self).masked()",message="host bits are set: write the first address of the prefix (192.0.2.0/24, not 192.0.2.7/24)"
// +kubebuilder:validation:XValidation:rule="!self.contains('-') || (self.split('-').size() == 2 && self.split('-').all(p, isIP(p.trim())))",message="not a range: write the first and the last address with one '-' between them, such as 192.0.2.10-192.0.2.20"
// +kubebuilder:validation:XValidation:rule="!self.contains('-') || self.split('-').size() != 2 || !self.split('-').all(p, isIP(p.trim())) || ip(self.split('-')[0].trim()).family() == ip(self.split('-')[1].trim()).family()",message="the two ends are of different families: write one range for IPv4 and one for IPv6"
type AddressRange string

// IPAddressPool is a set of addresses that Fairlead gives to Services of type
// LoadBalancer and to Gateways.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=pool,categories=fairlead
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:printcolumn:name="Addresses",type=string,JSONPath=`.spec.addresses`
// +kubebuilder:printcolumn:name="Assigned",type=string,JSONPath=`.status.assigned`
// +kubebuilder:printcolumn:name="Available",type=string,JSONPath=`.status.available`
// +kubebuilder:printcolumn:name="Auto",type=boolean,JSONPath=`.spec.autoAssign`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Draining",type=boolean,priority=1,JSONPath=`.spec.draining`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type IPAddressPool struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata. Advertisements may select pools by these labels.
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Which addresses there are, and who may have them.
	// +required
	Spec IPAddressPoolSpec `json:"spec"`
	// How much of the pool is used, and whether anything is wrong with it.
	// +optional
	Status IPAddressPoolStatus `json:"status,omitempty"`
}

// IPAddressPoolSpec says which addresses there are, and who may have them.
type IPAddressPoolSpec struct {
	// The addresses of the pool, of either family: prefixes ("192.0.2.0/24",
	// "2001:db8::/64") and ranges ("192.0.2.10-192.0.2.20"). An edit never
	// takes an address from a holder that has it.
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	Addresses []AddressRange `json:"addresses"`

	// Ranges inside the pool that are never handed out, such as a router's
	// own addresses. One that is assigned when it is excluded stays with its
	// holder until that gives it up.
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	Exclude []AddressRange `json:"exclude,omitempty"`

	// Whether a Service or Gateway that names neither an address nor a pool may
	// get an address from here. An address of a pool without it can still be
	// asked for by name of the pool or by address.
	// +optional
	// +kubebuilder:default=true
	AutoAssign *bool `json:"autoAssign,omitempty"`

	// Never hand out IPv4 addresses that end in .0 or .255, which some old
	// equipment mistakes for a network's own.
	// +optional
	AvoidBuggyIPs bool `json:"avoidBuggyIPs,omitempty"`

	// Which Services may have addresses of this pool, also when they ask for
	// one explicitly. Unset: all.
	// +optional
	ServiceAllocation *ServiceAllocation `json:"serviceAllocation,omitempty"`

	// Which Gateways may have addresses of this pool, also when they ask for
	// one explicitly. Unset: all.
	// +optional
	GatewayAllocation *GatewayAllocation `json:"gatewayAllocation,omitempty"`

	// How long a freed address waits before another holder gets it, so that
	// clients that remember it do not reach a stranger. Gives way when nothing
	// else is free. A duration such as 30s, 5m or 1h.
	// +optional
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must lie between 0s and 8760h (one year)"
	ReuseDelay *metav1.Duration `json:"reuseDelay,omitempty"`

	// How long the address of a deleted holder waits for a holder of the same
	// kind, namespace and name, which then gets it back. Gives way when nothing
	// else is free. A duration such as 30s, 10m or 24h.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must lie between 0s and 8760h (one year)"
	Retain *metav1.Duration `json:"retain,omitempty"`

	// The most addresses of each family that the holders of one namespace may
	// have from this pool. 0 or unset: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	PerNamespaceLimit int32 `json:"perNamespaceLimit,omitempty"`

	// Whether holders of different namespaces may share an address of this
	// pool when their sharing keys are equal. WithinNamespace (the default)
	// allows it only where both sides agree.
	// +optional
	// +kubebuilder:default=WithinNamespace
	// +kubebuilder:validation:Enum=WithinNamespace;AcrossNamespaces
	Sharing SharingScope `json:"sharing,omitempty"`

	// Give out nothing more, and move holders that did not ask for their
	// address explicitly to other pools, each once another pool can serve it.
	// +optional
	Draining bool `json:"draining,omitempty"`
}

// SharingScope says between whom an address may be shared.
type SharingScope string

// The sharing scopes.
const (
	SharingWithinNamespace  SharingScope = "WithinNamespace"
	SharingAcrossNamespaces SharingScope = "AcrossNamespaces"
)

// ServiceAllocation selects Services. What is set must match: one of
// namespaces or namespaceSelectors, and one of serviceSelectors. A selector
// that matches nothing yet admits nobody.
type ServiceAllocation struct {
	// Order among the pools that select a Service: the lower number first; 0
	// or unset comes last.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Priority int32 `json:"priority,omitempty"`
	// Namespaces whose Services may have addresses.
	// +optional
	// +kubebuilder:validation:MaxItems=1024
	// +listType=set
	Namespaces []string `json:"namespaces,omitempty"`
	// Selectors of namespaces, by label; one that matches is enough.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	NamespaceSelectors []metav1.LabelSelector `json:"namespaceSelectors,omitempty"`
	// Selectors of Services, by label; one that matches is enough.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
}

// GatewayAllocation selects Gateways. What is set must match: one of
// gatewayClasses, one of gatewaySelectors, and one of namespaces or
// namespaceSelectors.
type GatewayAllocation struct {
	// Order among the pools that select a Gateway: the lower number first; 0
	// or unset comes last.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Priority int32 `json:"priority,omitempty"`
	// GatewayClasses whose Gateways may have addresses.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	GatewayClasses []string `json:"gatewayClasses,omitempty"`
	// Selectors of Gateways, by label; one that matches is enough.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	GatewaySelectors []metav1.LabelSelector `json:"gatewaySelectors,omitempty"`
	// Namespaces whose Gateways may have addresses.
	// +optional
	// +kubebuilder:validation:MaxItems=1024
	// +listType=set
	Namespaces []string `json:"namespaces,omitempty"`
	// Selectors of namespaces, by label; one that matches is enough.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	NamespaceSelectors []metav1.LabelSelector `json:"namespaceSelectors,omitempty"`
}

// IPAddressPoolStatus says how much of the pool is used, and whether anything
// is wrong with it.
type IPAddressPoolStatus struct {
	// Addresses of the pool that have a holder, of each family the pool has,
	// for people: "3", or "3 IPv4, 1 IPv6".
	// +optional
	Assigned string `json:"assigned,omitempty"`
	// Addresses of the pool that can be given, for people: "148", or
	// "148 IPv4, 18446744073709551615 IPv6".
	// +optional
	Available string `json:"available,omitempty"`

	// IPv4 addresses that have a holder.
	// +optional
	AssignedIPv4 int64 `json:"assignedIPv4"`
	// IPv6 addresses that have a holder.
	// +optional
	AssignedIPv6 int64 `json:"assignedIPv6"`
	// IPv4 addresses that can be given.
	// +optional
	AvailableIPv4 int64 `json:"availableIPv4"`
	// IPv6 addresses that can be given; 9223372036854775807 stands for that
	// many or more.
	// +optional
	AvailableIPv6 int64 `json:"availableIPv6"`

	// The generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Ready: the pool is in use (False: what is wrong with it). Overlapping:
	// another pool or the cluster itself has some of its addresses. Exhausted:
	// it has no address left for someone.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Conditions of an IPAddressPool.
const (
	PoolReady       = "Ready"
	PoolOverlapping = "Overlapping"
	PoolExhausted   = "Exhausted"
)

// IPAddressPoolList is a list of pools.
//
// +kubebuilder:object:root=true
type IPAddressPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IPAddressPool `json:"items"`
}
