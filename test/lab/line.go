package lab

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
)

// lines are the connections of one guest, the last of which it uses.
type lines struct {
	dial   func(context.Context) (net.Conn, error)
	framed bool // they speak HTTP/2

	mu  sync.Mutex
	all []*line
}

func (l *lines) open(ctx context.Context) (net.Conn, error) {
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	n := &line{Conn: conn, framed: l.framed}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, n)
	return n, nil
}

// last is nil where none was opened.
func (l *lines) last() *line {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return nil
	}
	return l.all[len(l.all)-1]
}

// line is a connection that notes how it ends.
type line struct {
	net.Conn
	framed bool

	mu     sync.Mutex
	frames frames
	told   bool // the server has asked the client to go elsewhere
	left   bool // the client has closed it
	cut    bool // it ended before the client closed it
}

// Read also looks for the frame that asks an HTTP/2 client to go elsewhere.
func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.framed && l.frames.goAway(p[:n]) {
		l.told = true
	}
	if err != nil && !l.left && !errors.Is(err, os.ErrDeadlineExceeded) {
		l.cut = true
	}
	return n, err
}

func (l *line) Close() error {
	l.mu.Lock()
	l.left = true
	l.mu.Unlock()
	return l.Conn.Close()
}

// tell notes that the client was asked to go elsewhere.
func (l *line) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = true
}

// fail notes that a question on it got no answer.
func (l *line) fail() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
}

func (l *line) wasTold() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told
}

// broke tells whether it ended without the client having been asked to leave.
func (l *line) broke() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut && !l.told
}

// frames follows the frames of HTTP/2 (RFC 9113, section 4.1) in what is read.
type frames struct {
	header [9]byte // length (3), type, flags, stream (4)
	have   int     // of the header
	rest   int     // of the payload that is still to come
}

const frameGoAway = 7

// goAway takes the next bytes, and tells whether the header of a GOAWAY ended in
// them.
func (f *frames) goAway(p []byte) bool {
	seen := false
	for len(p) > 0 {
		if n := min(f.rest, len(p)); n > 0 {
			f.rest, p = f.rest-n, p[n:]
			continue
		}
		n := copy(f.header[f.have:], p)
		f.have, p = f.have+n, p[n:]
		if f.have < len(f.header) {
			break
		}
		f.have = 0
		f.rest = int(f.header[0])<<16 | int(f.header[1])<<8 | int(f.header[2])
		seen = seen || f.header[3] == frameGoAway
	}
	return seen
}
