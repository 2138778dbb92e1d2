// Package plan says how an address moves from one holder to another: which
// objects do what the old holder did, what has no equal and what that means, and
// which steps follow.
//
// It is pure: values in, values out. Package migrate/drive carries a Plan out.
package plan
