package xds_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/fairlead/fairlead/gateway"
)

// doorkeeper lets in who says so, and tells what it was asked.
func doorkeeper(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Asked-Path", r.URL.Path)
		w.Header().Set("X-Asked-Host", r.Host)
		w.Header().Set("X-Asked-Cookie", r.Header.Get("Cookie"))
		w.Header().Set("X-Asked-Other", r.Header.Get("X-Other"))
		w.Header().Set("X-"+name, "asked")
		w.Header().Set("X-Tier", r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "text/doorkeeper")
		if strings.Contains(r.Header.Get("Authorization"), "deny-"+name) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
}

// doorkeeper adds a Service with such a pod, which is asked.
func (w *world) doorkeeper(name string) string {
	return w.ownRetries(w.backend(name, gateway.ProtocolHTTP, serve(w.t, doorkeeper(name))))
}

func TestAuth(t *testing.T) {
	w := newWorld(t)
	b, b2 := w.echo("b"), w.echo("b2")
	one := w.doorkeeper("one")
	two := w.doorkeeper("two")
	gone := w.ownRetries(w.backend("gone", gateway.ProtocolHTTP))
	cookie, other, gate, locked, unreachable, both := to("/cookie", b), to("/other", b), to("/gate", b, b2), to("/locked", b), to("/gone", b), to("/both", b)
	cookie.Auth = &gateway.ExternalAuth{Backend: one, Path: "/check/", RequestHeaders: []string{"cookie"}, ResponseHeaders: []string{"x-asked-path", "x-asked-cookie", "x-asked-other"}}
	other.Auth = &gateway.ExternalAuth{Backend: two, RequestHeaders: []string{"x-other"}}
	locked.Auth = &gateway.ExternalAuth{}
	unreachable.Auth = &gateway.ExternalAuth{Backend: gone}
	gate.Backends[1].Auth = &gateway.ExternalAuth{Backend: two}
	both.Auth = &gateway.ExternalAuth{Backend: one}
	both.Backends[0].Auth = &gateway.ExternalAuth{Backend: two}
	redirect := to("/redirect")
	redirect.Auth, redirect.Redirect = &gateway.ExternalAuth{Backend: one}, &gateway.Redirect{Hostname: "b.example.com", Status: 302}
	body := to("/body", b)
	body.Auth = &gateway.ExternalAuth{Backend: one, Body: 10}
	w.table(80, host("*", cookie, other, gate, locked, unreachable, both, redirect, body, to("/open", b)))
	w.start()
	c := w.client(80, http1, nil)
	for _, tt := range []struct {
		method, path, authorization string
		want                        int
	}{
		{"GET", "/open", "deny-one deny-two", 200},
		{"GET", "/cookie", "", 200},
		{"GET", "/cookie", "deny-one", 401},
		{"GET", "/cookie", "deny-two", 200},
		{"GET", "/other", "deny-two", 401},
		{"GET", "/locked", "", 500},
		{"GET", "/gone", "", 403},
		{"GET", "/both", "", 200},
		{"GET", "/both", "deny-one", 401},
		{"GET", "/both", "deny-two", 401},
		{"GET", "/redirect", "", 302},
		{"GET", "/redirect", "deny-one", 401},
		{"POST", "/body", "", 200},
		{"POST", "/body", "far-too-long", 413},
		{"POST", "/other", "", 200},
	} {
		text := tt.authorization
		if tt.method == http.MethodGet {
			text = ""
		}
		a := ask(t, c, tt.method, "http://a.example.com"+tt.path, text, "Authorization: "+tt.authorization, "Content-Type: text/mine")
		if a.StatusCode != tt.want {
			t.Errorf("%+v: %s", tt, a.Status)
		}
		if a.StatusCode == http.StatusOK && (a.Text != text || a.Sent.Get("Content-Type") != "text/mine") {
			t.Errorf("%+v: the backend got %q of %s", tt, a.Text, a.Sent.Get("Content-Type"))
		}
	}
	a := get(t, c, "http://a.example.com/cookie/x?q", "Cookie: c=1", "X-Other: o")
	for name, want := range map[string]string{"X-Asked-Path": "/check/cookie/x", "X-Asked-Cookie": "c=1", "X-Asked-Other": "", "X-Asked-Host": "", "X-One": ""} {
		if got := a.Sent.Get(name); got != want {
			t.Errorf("with listed headers, the backend got %s: %q", name, got)
		}
	}
	a = get(t, c, "http://a.example.com/other/x", "Cookie: c=1", "X-Other: o")
	for name, want := range map[string]string{"X-Asked-Path": "/other/x", "X-Asked-Cookie": "", "X-Asked-Other": "o", "X-Asked-Host": "a.example.com", "X-Two": "asked"} {
		if got := a.Sent.Get(name); got != want {
			t.Errorf("with all headers, the backend got %s: %q", name, got)
		}
	}
	seen := shares(60, func() string {
		a := get(t, c, "http://a.example.com/gate", "Authorization: deny-two")
		return a.Pod + a.Status
	})
	about(t, seen, map[string]float64{"b200 OK": .5, "401 Unauthorized": .5})
}

// TestListenerAuth asks before a request is routed: for every host and path of
// the listener, and for no other's; what the service adds counts for the route.
func TestListenerAuth(t *testing.T) {
	w := newWorld(t)
	b, gold := w.echo("b"), w.echo("gold")
	one := w.doorkeeper("one")
	two := w.doorkeeper("two")
	three := w.doorkeeper("three")
	four := w.doorkeeper("four")
	tier := to("/t", gold)
	tier.Match.Headers = []gateway.ValueMatch{{Name: "x-tier", Value: "gold.*", Regex: true}}
	tier.Auth = &gateway.ExternalAuth{Backend: three}
	tier.Backends[0].Auth = &gateway.ExternalAuth{Backend: four}
	tier.CORS, tier.Session = &gateway.CORS{Origins: []string{"http://shop.example.com"}}, &gateway.Session{Cookie: "gold"}
	filters := []gateway.ExternalAuth{{Backend: one}, {Backend: two}}
	w.table(
		80,
		&gateway.Host{Hostname: "a.example.com", Auth: filters, Rules: []*gateway.Rule{tier, to("/t", b)}},
		&gateway.Host{Hostname: "*.example.com", Auth: filters},
		&gateway.Host{Hostname: "open.example.com", Rules: []*gateway.Rule{to("/", b)}},
		&gateway.Host{Hostname: "other.example.com", Auth: []gateway.ExternalAuth{{Backend: two}}, Rules: []*gateway.Rule{to("/", b)}},
		&gateway.Host{Hostname: "m.example.com", Misdirected: true},
	)
	w.table(81, &gateway.Host{Hostname: "a.example.com", Auth: []gateway.ExternalAuth{{Backend: one}, {}}, Rules: []*gateway.Rule{to("/", b)}})
	w.start()
	c := w.client(80, http1, nil)
	for _, tt := range []struct {
		host, path, authorization, pod string
		want                           int
	}{
		{"a.example.com", "/t", "silver", "b", 200},
		{"a.example.com", "/t", "gold", "gold", 200},
		{"a.example.com", "/t", "gold deny-three", "", 401},
		{"a.example.com", "/t", "gold deny-four", "", 401},
		{"a.example.com", "/t", "silver deny-three deny-four", "b", 200},
		{"a.example.com", "/t", "deny-one", "", 401},
		{"a.example.com", "/t", "deny-two", "", 401},
		{"a.example.com", "/unknown", "", "", 404},
		{"a.example.com", "/unknown", "deny-two", "", 401},
		{"unknown.example.com", "/", "deny-one", "", 401},
		{"unknown.example.com", "/", "", "", 404},
		{"open.example.com", "/", "deny-one deny-two", "b", 200},
		{"other.example.com", "/", "deny-one", "b", 200},
		{"other.example.com", "/", "deny-two", "", 401},
		{"example.org", "/", "deny-one", "", 404},
		{"m.example.com", "/", "deny-one", "", 421},
	} {
		a := get(t, c, "http://"+tt.host+tt.path, "Authorization: "+tt.authorization)
		if a.StatusCode != tt.want || a.Pod != tt.pod {
			t.Errorf("%+v: %s by %q", tt, a.Status, a.Pod)
		}
	}
	for authorization, want := range map[string]bool{"silver": false, "gold": true} {
		a := get(t, c, "http://a.example.com/t", "Authorization: "+authorization, "Origin: http://shop.example.com")
		if a.Header.Get("Access-Control-Allow-Origin") != "" != want || a.Header.Get("Set-Cookie") != "" != want {
			t.Errorf("%s: CORS and a session should be there: %v; got %v", authorization, want, a.Header)
		}
	}
	if a := get(t, w.client(81, http1, nil), "http://a.example.com/"); a.StatusCode != http.StatusInternalServerError {
		t.Errorf("where nobody can be asked: %s", a.Status)
	}
}

// checker is an authorization service that speaks Envoy's protocol.
type checker struct {
	authv3.UnimplementedAuthorizationServer
}

func (checker) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	request := r.GetAttributes().GetRequest().GetHttp()
	if request.GetHeaders()["authorization"] == "deny" {
		return &authv3.CheckResponse{
			Status: &status.Status{Code: int32(codes.PermissionDenied)},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status: &typev3.HttpStatus{Code: typev3.StatusCode_Unauthorized},
			}},
		}, nil
	}
	heard := []string{string(request.GetRawBody())}
	for _, name := range []string{"x-one", "x-other"} {
		heard = append(heard, request.GetHeaders()[name])
	}
	return &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
		Headers: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "x-heard", Value: strings.Join(heard, "|")}}},
	}}}, nil
}

func TestAuthGRPC(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	authv3.RegisterAuthorizationServer(g, checker{})
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	check := w.ownRetries(w.backend("check", gateway.ProtocolH2C, netip.MustParseAddrPort(l.Addr().String())))
	b := w.echo("b")
	all, some := to("/all", b), to("/some", b)
	all.Auth = &gateway.ExternalAuth{Backend: check, GRPC: true, Body: 100}
	some.Auth = &gateway.ExternalAuth{Backend: check, GRPC: true, RequestHeaders: []string{"x-one", "authorization"}}
	w.table(80, host("*", all, some))
	w.start()
	c := w.client(80, http1, nil)
	for path, want := range map[string]string{"/all": "body|1|2", "/some": "|1|"} {
		a := ask(t, c, http.MethodPost, "http://a.example.com"+path, "body", "X-One: 1", "X-Other: 2")
		if got := a.Sent.Get("X-Heard"); a.StatusCode != http.StatusOK || got != want || a.Text != "body" {
			t.Errorf("%s: %s, the service heard %q", path, a.Status, got)
		}
		if a := get(t, c, "http://a.example.com"+path, "Authorization: deny"); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s, denied: %s", path, a.Status)
		}
	}
}
