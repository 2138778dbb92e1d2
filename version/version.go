// Package version holds the version of the build.
package version

// Version is the version of this build. The linker sets it (-ldflags -X).
var Version = "dev"
