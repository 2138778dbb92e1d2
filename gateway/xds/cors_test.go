package xds_test

import (
	"net/http"
	"testing"

	"github.com/fairlead/fairlead/gateway"
)

func TestCORS(t *testing.T) {
	w := newWorld(t)
	b := w.echo("b")
	named := &gateway.CORS{
		Origins: []string{"https://www.foo.com", "https://*.bar.com"}, Credentials: true,
		Methods: []string{"GET", "OPTIONS"}, Headers: []string{"x-1", "x-2"}, Expose: []string{"x-3"}, MaxAge: 3600,
	}
	anything := &gateway.CORS{Origins: []string{"*"}, Credentials: true, Methods: []string{"*"}, Headers: []string{"*"}}
	byMethod := to("/method", b)
	byMethod.Match.Method = http.MethodPut
	byOther := to("/method", b)
	byOther.Match.Method = http.MethodPost
	rules := []*gateway.Rule{to("/named", b), to("/any", b), byMethod, byOther, to("/redirect"), to("/lost"), to("/strict")}
	for i, c := range []*gateway.CORS{named, anything, anything, named, anything, anything, named} {
		rules[i].CORS = c
	}
	rules[4].Redirect = &gateway.Redirect{Hostname: "b.example.com", Status: 302}
	rules[6].Redirect = rules[4].Redirect
	perDestination := to("/destination", b)
	perDestination.Backends[0].CORS = named
	w.table(80, host("*", append(rules, perDestination)...))
	w.start()
	c := w.client(80, http1, nil)
	for _, tt := range []struct {
		path, origin, method string // the method that a preflight asks for; empty: a GET
		allowed              bool
		methods, headers     string
		code                 int
	}{
		{"/named", "https://www.foo.com", "GET", true, "GET, OPTIONS", "x-1, x-2", 200},
		{"/named", "https://a.b.bar.com", "GET", true, "GET, OPTIONS", "x-1, x-2", 200},
		{"/named", "https://bar.com", "GET", false, "GET, OPTIONS", "x-1, x-2", 200},
		{"/named", "https://evil.com/.bar.com", "GET", false, "GET, OPTIONS", "x-1, x-2", 200},
		{"/named", "https://a.bar.com:8443", "GET", false, "GET, OPTIONS", "x-1, x-2", 200},
		{"/destination", "https://www.foo.com", "GET", true, "GET, OPTIONS", "x-1, x-2", 200},
		{"/any", "https://any.com:12345", "DELETE", true, "DELETE", "x-asked, x-more", 200},
		{"/method", "https://any.com", "PUT", true, "PUT", "x-asked, x-more", 200},
		{"/method", "https://www.foo.com", "POST", true, "GET, OPTIONS", "x-1, x-2", 200},
		{"/method", "https://any.com", "POST", false, "GET, OPTIONS", "x-1, x-2", 200},
		{"/method", "https://any.com", "DELETE", false, "", "", 404},
		{"/redirect", "https://any.com", "GET", true, "GET", "x-asked, x-more", 200},
		{"/lost", "https://any.com", "GET", true, "GET", "x-asked, x-more", 200},
		{"/named", "https://www.foo.com", "", true, "", "", 200},
		{"/named", "https://www.bar.org", "", false, "", "", 200},
		{"/destination", "https://www.foo.com", "", true, "", "", 200},
		{"/redirect", "https://any.com", "", true, "", "", 302},
		{"/strict", "https://a.bar.com", "", true, "", "", 302},
		{"/strict", "https://a.bar.com.evil.com", "", false, "", "", 302},
		{"/strict", "https://a.bar.com", "GET", true, "GET, OPTIONS", "x-1, x-2", 200},
	} {
		var a answer
		if tt.method == "" {
			a = get(t, c, "http://a.example.com"+tt.path, "Origin: "+tt.origin)
		} else {
			a = ask(t, c, http.MethodOptions, "http://a.example.com"+tt.path, "", "Origin: "+tt.origin,
				"Access-Control-Request-Method: "+tt.method, "Access-Control-Request-Headers: x-asked, x-more")
		}
		want := map[string]string{"Access-Control-Allow-Methods": tt.methods, "Access-Control-Allow-Headers": tt.headers}
		want["Access-Control-Allow-Origin"] = ""
		if tt.allowed {
			want["Access-Control-Allow-Origin"] = tt.origin
			want["Access-Control-Allow-Credentials"] = "true"
		}
		if a.StatusCode != tt.code {
			t.Errorf("%+v: %s", tt, a.Status)
		}
		for name, value := range want {
			if got := a.Header.Get(name); got != value {
				t.Errorf("%+v: %s is %q", tt, name, got)
			}
		}
	}
}
