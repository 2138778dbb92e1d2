package controllers

import (
	"context"
	"errors"
)

// Failpoint is called with the name of a write before it is made and after it
// was made, as "address.create.before" and "address.create.after". An error
// stands for a crash at that point: the write (before) or what follows it
// (after) does not happen. Tests and the binary's FAIRLEAD_FAILPOINT use it.
type Failpoint func(ctx context.Context, point string) error

// ErrFailpoint is what a failpoint may return to stop a write.
var ErrFailpoint = errors.New("stopped at a failpoint")

// The writes that have failpoints.
const (
	PointAddressCreate = "address.create"
	PointAddressUpdate = "address.update"
	PointAddressDelete = "address.delete"
	PointAddressStatus = "address.status"
	PointServiceStatus = "service.status"
	// PointFrontStatus is the status of a Gateway's Service.
	PointFrontStatus = "front.status"
	PointPoolStatus  = "pool.status"
	PointGossipKey   = "gossip.create"
)

// Points lists the failpoints of a Service's way through.
func Points() []string {
	var out []string
	for _, p := range []string{PointAddressCreate, PointAddressUpdate, PointAddressDelete, PointServiceStatus} {
		out = append(out, p+".before", p+".after")
	}
	return out
}

// around makes one write between its two failpoints.
func (f Failpoint) around(ctx context.Context, point string, write func() error) error {
	if f == nil {
		return write()
	}
	if err := f(ctx, point+".before"); err != nil {
		return err
	}
	if err := write(); err != nil {
		return err
	}
	return f(ctx, point+".after")
}
