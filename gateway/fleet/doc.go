// Package fleet says which objects run the Envoys of a GatewayClass or of a
// Gateway, and which stand for a Gateway in its own namespace.
//
// It is pure: configuration in, objects out, equal bytes for equal input. It
// writes nothing and owns nothing; owner references of what is in the
// controller's namespace are the caller's. How an Envoy is ended without losing
// a connection is in its folder drain.
package fleet
