// Package exit says with which code a command ends, for scripts.
//
// A command that has found something returns ErrWrong after it has said what; one
// that could not read everything returns ErrPartly after it has said which rights
// are missing (kube.Env.End does both). Any other error is shown by the root
// command.
package exit

import (
	"context"
	"errors"
)

// The exit codes.
const (
	// Fine: nothing is wrong, and nothing would change.
	Fine = 0
	// Wrong: something is wrong, or would change. The output says what.
	Wrong = 1
	// Failed: the command could not do its work, or not all of it: the cluster
	// does not answer, rights are missing, the command line is no good.
	Failed = 2
	// interrupted is what shells give for SIGINT.
	interrupted = 130
)

var (
	// ErrWrong ends a command that has said what is wrong or would change.
	ErrWrong = errors.New("something is wrong, or would change")
	// ErrPartly ends a command that has said what it could not read.
	ErrPartly = errors.New("not everything could be read")
)

// Code is the exit code for the end of a command.
func Code(err error) int {
	switch {
	case err == nil:
		return Fine
	case errors.Is(err, ErrWrong):
		return Wrong
	case errors.Is(err, context.Canceled):
		return interrupted
	default:
		return Failed
	}
}

// Said tells whether an error has been told to the user already.
func Said(err error) bool {
	return errors.Is(err, ErrWrong) || errors.Is(err, ErrPartly)
}
