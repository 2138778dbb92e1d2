package controllers

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAskProxy(t *testing.T) {
	for body, want := range map[string]nodeAnswer{
		`{"service":{"namespace":"a","name":"b"},"localEndpoints":2,"serviceProxyHealthy":true}`: nodeServes,
		`{"service":{"namespace":"a","name":"b"},"localEndpoints":0}`:                            nodeWithout,
		`{"service":{"namespace":"a","name":"other"},"localEndpoints":2}`:                        nodeSilent,
		`hello`: nodeSilent,
		"":      nodeSilent,
		`{"service":{"namespace":"a","name":"b"},"x":"` + strings.Repeat("x", 1<<17) + `","localEndpoints":2}`: nodeSilent,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/healthz" {
				w.WriteHeader(http.StatusNotFound)
			}
			_, _ = w.Write([]byte(body))
		}))
		if got := askProxy(t.Context(), server.Listener.Addr().String(), "a", "b"); got != want {
			t.Errorf("%.60s: %d, want %d", body, got, want)
		}
		server.Close()
		if got := askProxy(t.Context(), server.Listener.Addr().String(), "a", "b"); got != nodeSilent {
			t.Errorf("nobody there: %d", got)
		}
	}
}
