package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Questions are GETs at a fixed pace, whether or not earlier ones were answered.
type Questions struct {
	url    string
	client *http.Transport
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	seen Stay
}

// StartQuestions asks for a URL every so often, each time on a connection of its
// own or, if they are kept, on any that is free. An answer may take as long as
// patience.
func StartQuestions(ctx context.Context, url string, kept bool, every, patience time.Duration, dial func(context.Context) (net.Conn, error)) *Questions {
	ctx, cancel := context.WithCancel(ctx)
	q := &Questions{url: url, cancel: cancel, done: make(chan struct{})}
	q.client = &http.Transport{DisableKeepAlives: !kept, MaxIdleConnsPerHost: 256, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := dial(ctx)
		if err == nil {
			q.mu.Lock()
			q.seen.Connections++
			q.mu.Unlock()
		}
		return conn, err
	}}
	go func() {
		defer close(q.done)
		atPace(ctx, every, patience, func(ctx context.Context) { q.note(q.ask(ctx)) })
	}()
	return q
}

func (q *Questions) ask(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url, nil)
	if err != nil {
		return err
	}
	response, err := q.client.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer is %s: %.100q", response.Status, body)
	}
	return nil
}

func (q *Questions) note(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seen.note(err)
}

// Stop asks nothing more, waits for the last answer, and says what came of all.
func (q *Questions) Stop() Stay {
	q.cancel()
	<-q.done
	q.client.CloseIdleConnections()
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.seen
}
