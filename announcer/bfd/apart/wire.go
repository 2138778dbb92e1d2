package apart

import "github.com/fairlead/fairlead/announcer/bfd"

// order is what the parent tells the child (gob).
type order struct {
	// Want are all sessions that shall be kept.
	Want []bfd.Session
	// End: the peers are to be told that all sessions end, and then the child ends.
	End bool
}

// report is what the child tells the parent (gob): what has happened, and how all sessions stand after it.
type report struct {
	Events   []bfd.Event
	Sessions []bfd.Status
}
