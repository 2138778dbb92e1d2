// Package gateway says what a Gateway asks for and what its status should say.
//
// It is pure: values in, values out. One pass over a Gateway, its ListenerSets,
// routes, policies and what they refer to gives the data plane's Model and the
// status of every object touched, so that the two cannot disagree. It knows the
// words of the Gateway API and no Envoy: package gateway/xds encodes the Model.
package gateway
