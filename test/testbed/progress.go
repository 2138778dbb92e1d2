package testbed

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress tells a person what a long step is doing, a line at a time. The zero value is silent.
type Progress struct {
	lines *lineWriter
}

// NewProgress returns a Progress that writes its lines to w.
func NewProgress(w io.Writer) Progress { return Progress{lines: &lineWriter{w: w}} }

type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (p Progress) printf(format string, args ...any) {
	if p.lines == nil {
		return
	}
	p.lines.mu.Lock()
	defer p.lines.mu.Unlock()
	fmt.Fprintf(p.lines.w, format+"\n", args...)
}

// every calls f at the interval until the returned function is called, which waits for f to end.
func (p Progress) every(interval time.Duration, f func()) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				f()
			}
		}
	}()
	return func() { close(quit); <-done }
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
