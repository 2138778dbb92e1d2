package apart

import (
	"encoding/gob"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/announcer/bfd"
)

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

// next reads what the other side says next; not more: it has closed its end.
func next(from *gob.Decoder, into any) (more bool, err error) {
	err = from.Decode(into)
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		return false, nil
	}
	return err == nil, err
}
