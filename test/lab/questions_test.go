package lab

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestQuestions counts questions, connections and failures, on connections that
// are kept and on new ones.
func TestQuestions(t *testing.T) {
	for _, kept := range []bool{true, false} {
		var asked atomic.Int32
		enough := make(chan struct{})
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			switch asked.Add(1) {
			case 3:
				w.WriteHeader(http.StatusServiceUnavailable)
			case 50:
				close(enough)
			}
		}))
		q := StartQuestions(t.Context(), "http://questions.example/", kept, time.Millisecond, 10*time.Second, func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", s.Listener.Addr().String())
		})
		<-enough
		got := q.Stop()
		s.Close()
		if got.Asked != int(asked.Load()) || got.Failed != 1 || !strings.Contains(got.Why, "503") {
			t.Errorf("kept %t: of %d questions: %+v", kept, asked.Load(), got)
		}
		if kept == (got.Connections >= got.Asked) {
			t.Errorf("kept %t: %+v", kept, got)
		}
	}
}
