// Package endpoints turns EndpointSlices into what Envoy's EDS wants to hear.
//
// It is pure: no client, no clock, no goroutine. A Table keeps the slices by
// Service and knows which assignments each Service feeds, so that the event of
// one slice among ten thousand costs what that slice costs, and nothing is
// rebuilt.
package endpoints
