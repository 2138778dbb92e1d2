// Package pki makes the certificates with which the controller and its Envoys know
// each other on the xDS connection, and decides when they are renewed.
//
// What it makes are the contents of Secrets: from what a Secret has, the time and
// a source of randomness to what it should have and when to look again. The caller
// reads and writes the Secrets.
//
// There is one authority and two kinds of leaves: the controller's, with DNS
// names, and one for each fleet, whose URI says which fleet it is. A new authority
// is trusted everywhere before it signs, and an old one until all it has signed is
// over, so that no rotation refuses a connection.
package pki
