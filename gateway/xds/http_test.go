package xds_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/gateway"
)

// TestShares sends a third each to a live backend, to a reference that cannot be
// followed, and to one without endpoints.
func TestShares(t *testing.T) {
	w := newWorld(t)
	live, idle := w.echo("live"), w.backend("idle", gateway.ProtocolHTTP)
	rpc := to("/rpc", "")
	rpc.Match.GRPC = true
	rpc.Backends = append(rpc.Backends, gateway.Destination{Weight: 1})
	w.table(80, host("*", to("/thirds", live, "", idle), to("/none"), to("/lost", ""), rpc))
	w.start()
	c := w.client(80, http1, nil)
	about(t, shares(600, func() string { return get(t, c, "http://a.example.com/thirds").Status }),
		map[string]float64{"200 OK": 1. / 3, "500 Internal Server Error": 1. / 3, "503 Service Unavailable": 1. / 3})
	for path, want := range map[string]int{"/none": 500, "/lost": 500, "/unknown": 404} {
		if a := get(t, c, "http://a.example.com"+path); a.StatusCode != want {
			t.Errorf("%s: %s", path, a.Status)
		}
	}
	for path, want := range map[string]string{"/rpc": "14", "/unknown": "12"} {
		a := ask(t, w.client(80, h2c, nil), http.MethodPost, "http://a.example.com"+path, "", "Content-Type: application/grpc")
		if got := a.Header.Get("Grpc-Status"); got != want {
			t.Errorf("%s: gRPC status %q (%s %v)", path, got, a.Status, a.Header)
		}
	}
}

func TestHosts(t *testing.T) {
	w := newWorld(t)
	a, wild, all := w.echo("a"), w.echo("wild"), w.echo("all")
	w.table(80, host("a.example.com", to("/", a)), host("*.example.com", to("/", wild)), host("*", to("/", all)))
	w.start()
	c := w.client(80, http1, nil)
	for host, want := range map[string]string{
		"a.example.com": "a", "A.Example.com:8080": "a", "a.example.com.": "a", "b.example.com": "wild",
		"c.b.example.com": "wild", "example.com": "all", "example.org": "all",
	} {
		if got := get(t, c, "http://x/", "Host: "+host); got.Pod != want {
			t.Errorf("%s went to %q", host, got.Pod)
		}
	}
}

func TestMatches(t *testing.T) {
	w := newWorld(t)
	b := w.echo("b")
	header := to("/h", b)
	header.Match.Headers = []gateway.ValueMatch{{Name: "x-v", Value: "v[0-9]", Regex: true}, {Name: "host", Value: "h.example.com"}}
	query := to("/q", b)
	query.Match.Query = []gateway.ValueMatch{{Name: "q", Value: "1"}}
	exact := to("/e", b)
	exact.Match.Path = gateway.PathExact
	regex := to("/r/[a-z]+", b)
	regex.Match.Path = gateway.PathRegex
	method := to("/m", b)
	method.Match.Method = http.MethodPut
	w.table(80, host("*", header, query, exact, regex, method, to("/p/", b)))
	w.start()
	c := w.client(80, http1, nil)
	for _, tt := range []struct {
		method, path string
		headers      []string
		want         int
	}{
		{"GET", "/h", []string{"X-V: v1", "Host: h.example.com"}, 200},
		{"GET", "/h", []string{"X-V: v1"}, 404},
		{"GET", "/h", []string{"X-V: v10", "Host: h.example.com"}, 404},
		{"GET", "/q?q=1", nil, 200},
		{"GET", "/q?q=2", nil, 404},
		{"GET", "/e?q", nil, 200},
		{"GET", "/e/", nil, 404},
		{"GET", "/r/abc?1", nil, 200},
		{"GET", "/r/abc1", nil, 404},
		{"PUT", "/m", nil, 200},
		{"GET", "/m", nil, 404},
		{"GET", "/p", nil, 200},
		{"GET", "/p/x", nil, 200},
		{"GET", "/pq", nil, 404},
		{"GET", "/x/../p", nil, 200},
		{"GET", "//p", nil, 200},
	} {
		if a := ask(t, c, tt.method, "http://a.example.com"+tt.path, "", tt.headers...); a.StatusCode != tt.want {
			t.Errorf("%s %s %v: %s", tt.method, tt.path, tt.headers, a.Status)
		}
	}
}

func TestRewrites(t *testing.T) {
	w := newWorld(t)
	b := w.echo("b")
	var rules []*gateway.Rule
	add := func(prefix string, change gateway.PathChange) {
		r := to(prefix, b)
		r.Rewrite = &gateway.Rewrite{Path: &change, Hostname: "in.example.com"}
		rules = append(rules, r)
	}
	add("/root", gateway.PathChange{Prefix: text("/")})
	add("/empty/", gateway.PathChange{Prefix: text("")})
	add("/to", gateway.PathChange{Prefix: text("/new/")})
	add("/same", gateway.PathChange{Prefix: text("/same")})
	add("/full", gateway.PathChange{Full: text(`/a\1%41/b`)})
	add("/", gateway.PathChange{Prefix: text("/under")})
	w.table(80, host("*", rules...))
	w.start()
	c := w.client(80, http1, nil)
	for path, want := range map[string]string{
		"/root": "/", "/root/": "/", "/root/x?q=1": "/x?q=1", "/root//x": "/x",
		"/empty": "/", "/empty/x/": "/x/",
		"/to": "/new", "/to/": "/new/", "/to/x?q": "/new/x?q",
		"/same/x": "/same/x",
		"/full":   `/a\1%41/b`, "/full/x/y?q=/z": `/a\1%41/b?q=/z`,
		"/other/x": "/under/other/x", "/": "/under/",
	} {
		if a := get(t, c, "http://a.example.com"+path); a.Path != want || a.Host != "in.example.com" {
			t.Errorf("%s became %s %s (%s)", path, a.Host, a.Path, a.Status)
		}
	}
}

func TestRedirects(t *testing.T) {
	w := newWorld(t)
	var rules []*gateway.Rule
	add := func(prefix string, r gateway.Redirect) {
		rule := to(prefix)
		rule.Redirect = &r
		rules = append(rules, rule)
	}
	add("/https", gateway.Redirect{Scheme: "https", Status: 301})
	add("/port", gateway.Redirect{Port: 8080, Status: 302})
	add("/host", gateway.Redirect{Hostname: "b.example.com", Status: 303})
	add("/all", gateway.Redirect{Scheme: "https", Hostname: "b.example.com", Port: 8443, Status: 307, Path: &gateway.PathChange{Full: text("/there")}})
	add("/prefix", gateway.Redirect{Status: 308, Path: &gateway.PathChange{Prefix: text("/new")}})
	add("/root", gateway.Redirect{Status: 302, Path: &gateway.PathChange{Prefix: text("/")}})
	w.table(80, host("a.example.com", rules...), host("*", rules...))
	w.start()
	c := w.client(80, http1, nil)
	for _, tt := range []struct {
		host, path string
		code       int
		want       string
	}{
		{"a.example.com", "/https/x?q=1", 301, "https://a.example.com/https/x?q=1"},
		{"a.example.com:8080", "/https", 301, "https://a.example.com/https"},
		{"a.example.com:80", "/port", 302, "http://a.example.com:8080/port"},
		{"c.example.com:81", "/port", 302, "http://c.example.com:8080/port"},
		{"a.example.com:81", "/host", 303, "http://b.example.com/host"},
		{"a.example.com", "/all/x?q", 307, "https://b.example.com:8443/there?q"},
		{"a.example.com", "/prefix/x", 308, "http://a.example.com/new/x"},
		{"c.example.com", "/prefix", 308, "http://c.example.com/new"},
		{"a.example.com", "/root/x", 302, "http://a.example.com/x"},
		{"a.example.com", "/root", 302, "http://a.example.com/"},
	} {
		a := get(t, c, "http://x"+tt.path, "Host: "+tt.host)
		if a.StatusCode != tt.code || a.Header.Get("Location") != tt.want {
			t.Errorf("%s%s: %s to %s", tt.host, tt.path, a.Status, a.Header.Get("Location"))
		}
	}
}

// TestSplit gives each destination what weighted clusters cannot: the share of
// each must still be its own.
func TestSplit(t *testing.T) {
	w := newWorld(t)
	b := w.echo("b")
	r := to("/s")
	r.RequestHeaders = &gateway.HeaderChange{Set: []gateway.Header{{Name: "x-by", Value: "rule"}}}
	r.Backends = []gateway.Destination{
		{Backend: b, Weight: 5, Rewrite: &gateway.Rewrite{Path: &gateway.PathChange{Full: text("/one")}}},
		{Weight: 2},
		{Weight: 1, Redirect: &gateway.Redirect{Hostname: "b.example.com", Status: 302}},
		{Backend: b, Weight: 2, RequestHeaders: &gateway.HeaderChange{Set: []gateway.Header{{Name: "X-By", Value: "destination"}}}},
	}
	w.table(80, host("*", r))
	w.start()
	c := w.client(80, http1, nil)
	about(t, shares(1000, func() string {
		a := get(t, c, "http://a.example.com/s")
		return fmt.Sprint(a.StatusCode, a.Path, a.Sent["X-By"], a.Header.Get("Location"))
	}), map[string]float64{
		"200/one[rule]": .5, "500[]": .2, "302[]http://b.example.com/s": .1, "200/s[destination]": .2,
	})
}

func TestHeaders(t *testing.T) {
	w := newWorld(t)
	b, v2 := w.echo("b"), w.echo("v2")
	change := func(by string) *gateway.HeaderChange {
		return &gateway.HeaderChange{
			Set:    []gateway.Header{{Name: "x-set", Value: by + " 100% %REQ(host)% %"}},
			Add:    []gateway.Header{{Name: "X-Add", Value: by}, {Name: "x-empty", Value: ""}},
			Remove: []string{"x-" + by, "X-Pod"},
		}
	}
	plain, weighted := to("/plain", b), to("/weighted", b, v2)
	for _, r := range []*gateway.Rule{plain, weighted} {
		r.RequestHeaders, r.ResponseHeaders = change("rule"), change("rule")
		r.Backends[0].RequestHeaders, r.Backends[0].ResponseHeaders = change("destination"), change("destination")
	}
	w.table(80, host("*", plain, weighted))
	w.start()
	c := w.client(80, http1, nil)
	sent := []string{"X-Set: mine", "X-Add: mine", "X-Rule: mine", "X-Destination: mine", "X-Pod: mine"}
	want := map[string]map[string][]string{
		"b": {
			"X-Set": {"destination 100% %REQ(host)% %"}, "X-Add": {"mine", "rule", "destination"}, "X-Empty": {"", ""},
			"X-Rule": nil, "X-Destination": nil, "X-Pod": nil,
		},
		"v2": {
			"X-Set": {"rule 100% %REQ(host)% %"}, "X-Add": {"mine", "rule"}, "X-Empty": {""},
			"X-Rule": nil, "X-Destination": {"mine"}, "X-Pod": nil,
		},
	}
	met := map[string]bool{}
	for i := range 40 {
		path := []string{"/plain", "/weighted"}[i%2]
		a := get(t, c, "http://a.example.com"+path, sent...)
		met[path+a.Pod] = true
		for name, values := range want[a.Pod] {
			if d := cmp.Diff(values, a.Sent[name]); d != "" {
				t.Errorf("%s of %s, in the request: %s", name, a.Pod, d)
			}
			if name == "X-Rule" || name == "X-Destination" {
				continue
			}
			if len(values) > 0 && values[0] == "mine" {
				values = values[1:] // the pod answers without it
			}
			if d := cmp.Diff(values, a.Header[name]); d != "" {
				t.Errorf("%s of %s, in the response: %s", name, a.Pod, d)
			}
		}
	}
	if len(met) != 3 {
		t.Errorf("not everything answered: %v", met)
	}
}

func TestMirror(t *testing.T) {
	w := newWorld(t)
	copies := make(chan string, 1000)
	mirror := w.backend("mirror", gateway.ProtocolHTTP, serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		copies <- r.Host + r.RequestURI
	})))
	mirror = w.ownRetries(mirror)
	b := w.echo("b")
	all, some, never := to("/all", b), to("/some", b), to("/never", b)
	all.Mirrors = []gateway.Mirror{{Backend: mirror, Numerator: 1, Denominator: 1}, {Backend: mirror, Numerator: 3, Denominator: 3}}
	some.Mirrors = []gateway.Mirror{{Backend: mirror, Numerator: 1, Denominator: 4}}
	never.Mirrors = []gateway.Mirror{{Backend: mirror, Denominator: 4}}
	w.table(80, host("*", all, some, never))
	w.start()
	c := w.client(80, http1, nil)
	get(t, c, "http://a.example.com/never")
	get(t, c, "http://a.example.com/all?q")
	for range 2 {
		if got := <-copies; got != "a.example.com/all?q" {
			t.Errorf("the copy is %s", got)
		}
	}
	const n = 400
	for range n {
		get(t, c, "http://a.example.com/some")
	}
	get(t, c, "http://a.example.com/all?last")
	seen := map[string]int{}
	for seen["a.example.com/all?last"] < 2 {
		seen[<-copies]++
	}
	// The last of them may still be under way; they are few.
	about(t, map[string]int{"copied": seen["a.example.com/some"], "not": n - seen["a.example.com/some"]},
		map[string]float64{"copied": .25, "not": .75})
}

func TestTimeouts(t *testing.T) {
	w := newWorld(t)
	held := make(chan struct{})
	var tries atomic.Int32
	b := w.backend("b", gateway.ProtocolHTTP, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries.Add(1)
		select {
		case <-held:
		case <-r.Context().Done():
		}
	})))
	t.Cleanup(func() { close(held) })
	own := w.ownRetries(b)
	whole, try1, both := to("/whole", b), to("/try", own), to("/both", own)
	whole.Timeout = duration(100 * time.Millisecond)
	try1.BackendTimeout = duration(100 * time.Millisecond)
	both.Timeout, both.BackendTimeout = duration(300*time.Millisecond), duration(50*time.Millisecond)
	both.Retry = &gateway.Retry{Attempts: 1000, Codes: []uint32{500}}
	w.table(80, host("*", whole, try1, both))
	w.start()
	c := w.client(80, http1, nil)
	for path, once := range map[string]bool{"/whole": true, "/try": true, "/both": false} {
		tries.Store(0)
		if a := get(t, c, "http://a.example.com"+path); a.StatusCode != http.StatusGatewayTimeout || once != (tries.Load() == 1) {
			t.Errorf("%s: %s after %d tries", path, a.Status, tries.Load())
		}
	}
}

func TestRetries(t *testing.T) {
	w := newWorld(t)
	var tries atomic.Int32
	count := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := tries.Add(1)
		code, _ := strconv.Atoi(r.Header.Get("X-Fail"))
		if times, _ := strconv.Atoi(r.Header.Get("X-Times")); int(n) <= times {
			w.WriteHeader(code)
		}
	})
	b := w.backend("b", gateway.ProtocolHTTP, serve(t, count))
	half := w.backend("half", gateway.ProtocolHTTP, refusing(t), serve(t, echoing("half")))
	own := w.ownRetries(half)
	codes, never, none := to("/codes", w.ownRetries(b)), to("/never", own), to("/none", b)
	codes.Retry = &gateway.Retry{Codes: []uint32{500}, Attempts: 3, Backoff: time.Millisecond}
	never.Retry = &gateway.Retry{}
	many := to("/many", own)
	many.Retry = &gateway.Retry{Attempts: 100}
	w.table(80, host("*", codes, never, none, many, to("/safe", half)))
	w.start()
	c := w.client(80, http1, nil)
	for _, tt := range []struct {
		path, fail, times string
		want, tries       int
	}{
		{"/codes", "500", "3", 200, 4},
		{"/codes", "500", "9", 500, 4},
		{"/codes", "503", "1", 503, 1},
		{"/none", "500", "1", 500, 1},
	} {
		tries.Store(0)
		a := ask(t, c, http.MethodPost, "http://a.example.com"+tt.path, "body", "X-Fail: "+tt.fail, "X-Times: "+tt.times)
		if a.StatusCode != tt.want || int(tries.Load()) != tt.tries {
			t.Errorf("%+v: %s after %d tries", tt, a.Status, tries.Load())
		}
	}
	for _, path := range []string{"/safe", "/many"} {
		for range 40 {
			if a := ask(t, c, http.MethodPost, "http://a.example.com"+path, "body"); a.StatusCode != http.StatusOK || a.Text != "body" {
				t.Fatalf("%s, with one of two pods gone: %s %s", path, a.Status, a.text)
			}
		}
	}
	seen := shares(40, func() string { return get(t, c, "http://a.example.com/never").Status })
	if seen["200 OK"] == 0 || seen["503 Service Unavailable"] == 0 {
		t.Errorf("without retries, with one of two pods gone: %v", seen)
	}
}

func TestSessions(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for i := range 2 {
		ids = append(ids, w.backend(fmt.Sprint("s", i), gateway.ProtocolHTTP,
			serve(t, echoing(fmt.Sprint("s", i, "a"))), serve(t, echoing(fmt.Sprint("s", i, "b"))), serve(t, echoing(fmt.Sprint("s", i, "c")))))
	}
	one, header := to("/one", ids[0]), to("/header", ids[0])
	one.Session = &gateway.Session{Cookie: "seat", Path: "/one"}
	header.Session = &gateway.Session{Header: "x-seat"}
	w.table(80, host("*", one, header))
	w.start()
	c := w.client(80, http1, nil)
	for _, tt := range []struct {
		path string
		pods int
	}{{"/one", 3}, {"/header", 3}} {
		met := map[string]bool{}
		for range 40 {
			first := get(t, w.client(80, http1, nil), "http://a.example.com"+tt.path)
			met[first.Pod] = true
			var carry []string
			for _, cookie := range first.Cookies() {
				carry = append(carry, "Cookie: "+cookie.Name+"="+cookie.Value)
			}
			if seat := first.Header.Get("X-Seat"); seat != "" {
				carry = append(carry, "X-Seat: "+seat)
			}
			if len(carry) == 0 {
				t.Fatalf("%s: no session in %v", tt.path, first.Header)
			}
			for range 5 {
				if again := get(t, c, "http://a.example.com"+tt.path, carry...); again.Pod != first.Pod {
					t.Fatalf("%s: from %s to %s with %v", tt.path, first.Pod, again.Pod, carry)
				}
			}
		}
		if len(met) != tt.pods {
			t.Errorf("%s: only %v of %d served", tt.path, met, tt.pods)
		}
	}
}

// TestSessionsAmongSeveralDestinations: weights decide which destination serves a
// request, and the session which pod of it (GEP-1619).
func TestSessionsAmongSeveralDestinations(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for i := range 2 {
		ids = append(ids, w.backend(fmt.Sprint("s", i), gateway.ProtocolHTTP,
			serve(t, echoing(fmt.Sprint("s", i, "a"))), serve(t, echoing(fmt.Sprint("s", i, "b"))), serve(t, echoing(fmt.Sprint("s", i, "c")))))
	}
	weighted, split, header := to("/weighted", ids...), to("/split", ids...), to("/header", ids...)
	split.Backends[0].Rewrite = &gateway.Rewrite{Path: &gateway.PathChange{Full: text("/one")}}
	weighted.Session = &gateway.Session{Cookie: "seat", Lifetime: time.Hour}
	split.Session = &gateway.Session{Cookie: "seat2"}
	header.Session = &gateway.Session{Header: "x-seat"}
	for _, r := range []*gateway.Rule{weighted, split, header} {
		r.Backends[0].Weight, r.Backends[1].Weight = 7, 3
	}
	w.table(80, host("*", weighted, split, header))
	w.start()
	c := w.client(80, http1, nil)
	for _, path := range []string{"/weighted", "/split"} {
		jar, kept := map[string]string{}, map[string]string{}
		about(t, shares(500, func() string {
			var carry []string
			for name, value := range jar {
				carry = append(carry, "Cookie: "+name+"="+value)
			}
			a := get(t, c, "http://a.example.com"+path, carry...)
			for _, cookie := range a.Cookies() {
				jar[cookie.Name] = cookie.Value
			}
			destination := a.Pod[:2]
			if was := kept[destination]; was != "" && was != a.Pod {
				t.Fatalf("%s: from %s to %s with %v", path, was, a.Pod, carry)
			}
			kept[destination] = a.Pod
			return destination
		}), map[string]float64{"s0": .7, "s1": .3})
		if len(jar) != 2 {
			t.Errorf("%s: cookies %v, want one for each destination", path, jar)
		}
	}
	seat := ""
	about(t, shares(500, func() string {
		a := get(t, c, "http://a.example.com/header", "X-Seat: "+seat)
		if s := a.Header.Get("X-Seat"); s != "" {
			seat = s
		}
		return a.Pod[:2]
	}), map[string]float64{"s0": .7, "s1": .3})
}

// TestExpressionsCompareBytes shows what docs/gateways.md says of characters beyond
// ASCII.
func TestExpressionsCompareBytes(t *testing.T) {
	w := newWorld(t)
	b := w.echo("b")
	cases := []struct {
		expression, value string
		want              bool
	}{
		{"ä", "ä", true},
		{"aä", "aä", true},
		{"(?:ä|ö)", "ö", true},
		{"(?:ä)+", "ää", true},
		{".+", "ä", true},
		{"..", "ä", true},
		{".", "ä", false},
		{"[äö]", "ä", false},
		{"[^/]", "ä", false},
		{`\pL`, "ä", false},
		{"ä+", "ää", false},
		{"(?i)ä", "Ä", false},
	}
	var rules []*gateway.Rule
	for i, tt := range cases {
		r := to(fmt.Sprint("/header/", i), b)
		r.Match.Headers = []gateway.ValueMatch{{Name: "v", Value: tt.expression, Regex: true}}
		rules = append(rules, r)
	}
	query := func(path, expression string) *gateway.Rule {
		r := to(path, b)
		r.Match.Query = []gateway.ValueMatch{{Name: "v", Value: expression, Regex: true}}
		return r
	}
	raw, sent := to("/ä", b), to("/%C3%B6", b)
	raw.Match.Path, sent.Match.Path = gateway.PathRegex, gateway.PathRegex
	w.table(80, host("*", append(rules, raw, sent, query("/query/raw", "ä"), query("/query/sent", "%C3%A4"))...))
	w.start()
	c := w.client(80, http1, nil)
	status := func(want bool) int {
		if want {
			return http.StatusOK
		}
		return http.StatusNotFound
	}
	for i, tt := range cases {
		if a := get(t, c, fmt.Sprint("http://a.example.com/header/", i), "v: "+tt.value); a.StatusCode != status(tt.want) {
			t.Errorf("%q for a header %q: %s", tt.expression, tt.value, a.Status)
		}
	}
	for path, want := range map[string]bool{"/%C3%A4": false, "/%C3%B6": true, "/query/raw?v=%C3%A4": false, "/query/sent?v=%C3%A4": true} {
		if a := get(t, c, "http://a.example.com"+path); a.StatusCode != status(want) {
			t.Errorf("%s: %s", path, a.Status)
		}
	}
}
