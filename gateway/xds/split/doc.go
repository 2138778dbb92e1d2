// Package split is a trial, and nothing of it is shipped: one listener's route table
// in several, so that a change has Envoy build a part of it and not all.
//
// Envoy chooses among tables by scope (SRDS), and a scope's key is compared byte for
// byte with a header. A host cannot be that key: it comes in any case, with or without
// a port, and may match a wildcard. So every request is given a number below the
// number of groups, computed from its host, and every possible host has one. Exact
// hostnames are in the table of their number, wildcards in all tables.
//
// docs/architecture.md says what was found. To measure again, with an Envoy:
//
//	FAIRLEAD_ENVOY=... go test -run '^$' -bench . -benchtime 100x ./gateway/xds/split
package split
