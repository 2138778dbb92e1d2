package drain

// Version of the program, which is the tag of its image. Every pod of an Envoy names
// that image, and a change of its name replaces all Envoys, so it is not the version
// of a release: it is raised when the program changes.
const Version = "1"
