// Package controllers is the imperative shell of the controller: it watches,
// queues, reads and writes. It holds no rules: those of addresses live in
// package allocator, those of Services in package service, those of
// announcements in package announcer.
//
// What it does guarantee is order. An address stands in the ledger (as an
// Address object) before any status shows it, and a status has let go of it
// before anybody else can have it. Every write can be the last one before a
// crash; recovery finishes or undoes what was begun.
package controllers
