// Package v1alpha1 is the API of Fairlead: pools of addresses, the ledger of
// addresses in use, and what the network is told about them.
//
// +kubebuilder:object:generate=true
// +groupName=fairlead.dev
package v1alpha1
