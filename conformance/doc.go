// Package conformance says what a complete report of the Gateway API's
// conformance suite contains, and what a given one lacks. The suite itself runs
// in this package's test, TestConformance; the command run brings up a cluster
// for it.
package conformance
