// Package xds encodes a gateway.Model for Envoy 1.40.
//
// It is pure: equal Models give equal resources, byte for byte. What changes
// often lives where Envoy takes a change without closing anything: routes, CORS,
// external authorization and session persistence in route tables (RDS),
// certificates and authorities in secrets (SDS), addresses of pods in endpoints
// (EDS). Listeners name those tables and secrets and have a list of filters that
// never changes, so adding a route, a certificate or an auth filter drains no
// connection. A new hostname in TLS is a new filter chain and drains only itself.
//
// Every name begins with NAMESPACE/GATEWAY, so that many Gateways fit one Envoy.
// Endpoints are the exception: they are the same whoever refers to them, so they
// are named by their Service and shared.
//
// Resources refer to each other over ADS. The Envoy that takes them needs a
// bootstrap with the runtime that Runtime gives.
package xds
