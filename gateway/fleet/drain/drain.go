// Package drain ends an Envoy without losing a connection. It runs as the preStop
// hook of the Envoy's container, in the pod.
//
// Why a program: Envoy drops everything at SIGTERM. Its admin interface can drain,
// but asks for a POST, which Kubernetes' own hooks do not send, and a listener that
// turned a GET into one would let whoever reaches the pod drain it. Nor do these
// hooks end when the last client is gone. So a small program, put into the pod by
// an init container, talks to the admin interface over its socket.
package drain

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Options of a drain.
type Options struct {
	// Socket is the path of Envoy's admin socket.
	Socket string
	// Settle is how long Envoy goes on as before, while nodes and announcers
	// learn that it is about to end.
	Settle time.Duration
	// Timeout is how long to wait for clients to leave after that.
	Timeout time.Duration
	// Poll is how often to look whether they have; 0 is once a second.
	Poll time.Duration
	// Ignore are statistics prefixes of listeners whose connections do not count.
	Ignore []string
}

// Run waits for Settle, has Envoy tell its clients to leave, and returns when the
// last connection is gone or Timeout is over. It returns how many were left. An
// error says that Envoy could not be asked.
func Run(ctx context.Context, o Options) (left int, err error) {
	if err := sleep(ctx, o.Settle); err != nil {
		return 0, err
	}
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	a := admin{client: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", o.Socket)
		},
		DisableKeepAlives: true,
	}}, ignore: o.Ignore}
	// Each answer from now on may be the last on its connection (HTTP/1.1:
	// Connection: close, HTTP/2: GOAWAY), the more likely the longer it lasts.
	if _, err := a.ask(ctx, http.MethodPost, "/drain_listeners?graceful&skip_exit"); err != nil {
		return 0, fmt.Errorf("beginning to drain Envoy: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	for {
		n, err := a.connections(ctx)
		if ctx.Err() != nil { // cut short: what it said before is what there is
			return left, nil
		}
		if err != nil {
			return left, fmt.Errorf("counting Envoy's connections: %w", err)
		}
		if left = n; left == 0 {
			return 0, nil
		}
		if sleep(ctx, o.Poll) != nil {
			return left, nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

type admin struct {
	client http.Client
	ignore []string
}

func (a admin) ask(ctx context.Context, method, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, nil)
	if err != nil {
		return "", err
	}
	res, err := a.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", fmt.Errorf("reading the answer to %s: %w", path, err)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}

// connections are those of clients. UDP has none that could be told to end.
func (a admin) connections(ctx context.Context) (int, error) {
	query := url.Values{"filter": {`^listener\..*\.downstream_cx_active$`}}
	text, err := a.ask(ctx, http.MethodGet, "/stats?"+query.Encode())
	if err != nil {
		return 0, err
	}
	return count(text, a.ignore)
}

// count sums lines such as "listener.[__]_10080.downstream_cx_active: 3". Envoy
// also has them for each worker, and for its admin interface.
func count(stats string, ignore []string) (int, error) {
	sum := 0
	lines := bufio.NewScanner(strings.NewReader(stats))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ": ")
		if !ok || !counts(name, ignore) {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil {
			return 0, fmt.Errorf("reading %q: %w", lines.Text(), err)
		}
		sum += n
	}
	return sum, lines.Err()
}

func counts(name string, ignore []string) bool {
	rest, ok := strings.CutPrefix(name, "listener.")
	if !ok || !strings.HasSuffix(rest, ".downstream_cx_active") || strings.HasPrefix(rest, "admin.") || strings.Contains(rest, ".worker_") {
		return false
	}
	for _, prefix := range ignore {
		if strings.HasPrefix(rest, prefix+".") {
			return false
		}
	}
	return true
}
