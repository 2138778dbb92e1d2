package endpoints

import "github.com/fairlead/fairlead/gateway"

// Assignment says whose endpoints stand behind one EDS name.
//
// One Part is a Service's port: its endpoints in one locality. Several Parts
// share the load by weight (Envoy's UDP proxy has no weighted clusters); their
// cluster must have locality-weighted load balancing set.
type Assignment struct{ Parts []Part }

// Part is a port of a Service with its share.
type Part struct {
	// Service is empty where a reference cannot be followed: the Part has no
	// endpoints then, and keeps its share.
	Service gateway.Name
	Port    uint16
	// PortName is the Service's name for the port, by which EndpointSlices know
	// it; empty if the port has none.
	PortName string
	// Weight is the share among several Parts; 0 gets nothing. That of a lone
	// Part does not matter.
	Weight uint32
}

// Families says to which addresses an Envoy can connect. With both, a pod that
// has two addresses is two endpoints.
type Families struct{ IPv4, IPv6 bool }
