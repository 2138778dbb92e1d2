package service

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/allocator"
)

// Reading is what a Service asks for.
type Reading struct {
	// Claim is the wish. While there are Problems it must not be decided as it
	// stands: Contest.Ask gives the claim to decide.
	Claim allocator.Claim
	// Problems are wishes that cannot be understood or that contradict each
	// other. While there is one, the Service keeps what it has and gets
	// nothing new.
	Problems []Problem
	// Hints are worth telling although the wish is understood.
	Hints []Hint
	// wrote are the values of all places that were consulted, in order, for
	// naming what a contest is about.
	wrote []written
}

// Asks tells whether there is anything to decide: a Service of a status class
// without an address in our pools asks for nothing.
func (r Reading) Asks() bool { return len(r.Claim.Families) > 0 }

// Problem is a wish that cannot be followed as it is written.
type Problem struct {
	// Reason is ReasonWishInvalid or ReasonWishClash.
	Reason string
	// Key is where it is written: "annotation metallb.io/loadBalancerIPs" or a
	// field path. Several, when they contradict each other.
	Key string
	// Value is what is written there, shortened.
	Value string
	// Why and Instead are phrases without a full stop: what is wrong, and what
	// to write instead.
	Why, Instead string
}

// String is two plain sentences: what is and why, and what to do.
func (p Problem) String() string {
	var s strings.Builder
	s.WriteString(p.Key)
	if p.Value != "" {
		fmt.Fprintf(&s, " %s", p.Value)
	}
	fmt.Fprintf(&s, " %s. %s.", p.Why, p.Instead)
	return s.String()
}

// Hint is worth telling once.
type Hint struct {
	// Reason names the Event that tells it; empty: the condition alone does.
	Reason string
	// Message is one or two plain sentences.
	Message string
}

// written is a place that was consulted and what stands there.
type written struct{ Place, Value string }

// Read says what a Service asks for. It never fails: what it cannot understand
// becomes a Problem. It is for Services that are Ours or Announced.
func Read(svc *corev1.Service, around Surroundings, cfg Config) Reading {
	if Announced(svc, cfg) {
		return readStatus(svc, around)
	}
	return readSpec(svc, around)
}
