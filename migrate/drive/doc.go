// Package drive carries out a Plan of package migrate/plan: it writes the objects
// and the annotations, follows what the controller says of the takeover, and undoes
// what it asked for when that fails. The takeover itself is the controller's: when
// this process ends in the middle, it goes on, and a second one follows it.
package drive
