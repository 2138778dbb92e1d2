package members

import (
	"bytes"
	"log"

	"github.com/go-logr/logr"
)

// logWriter hands memberlist's lines to our log. They tell of every lost packet
// and every closed connection, so that they are for debugging only; what
// matters is said by Members itself.
type logWriter struct{ log logr.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.V(2).Info(string(bytes.TrimSpace(line)))
	return len(line), nil
}

func newLogger(l logr.Logger) *log.Logger { return log.New(logWriter{l}, "", 0) }
