// Package envoytest runs the real Envoy in tests, on loopback only.
//
// The binary is named by the environment variable FAIRLEAD_ENVOY; without it,
// tests that need one are skipped.
package envoytest
