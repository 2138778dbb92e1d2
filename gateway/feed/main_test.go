package feed

import (
	"crypto/rand"
	"crypto/tls"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/gateway/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const serverName = "controller.example"

// authority makes certificates for tests.
type authority struct {
	t  testing.TB
	ca map[string][]byte
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	ca, _, err := pki.Authority(nil, time.Now(), rand.Reader, pki.DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, ca}
}

func (a *authority) identity(s pki.Subject) *pki.Identity {
	a.t.Helper()
	data, _, err := pki.Leaf(nil, a.ca, s, time.Now(), rand.Reader, pki.DefaultRules())
	if err != nil {
		a.t.Fatal(err)
	}
	out := &pki.Identity{}
	if err := out.Set(data); err != nil {
		a.t.Fatal(err)
	}
	return out
}

func (a *authority) client(fleet string) *tls.Config {
	a.t.Helper()
	c, err := a.identity(pki.Fleet(fleet)).Client(serverName)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// eventually waits for a condition, and says what was there instead if it does not
// come.
func eventually(t fataler, what string, ok func() (bool, string)) {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for {
		good, instead := ok()
		if good {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not come: %s", what, instead)
		}
		time.Sleep(time.Millisecond)
	}
}

// fataler is what testing and rapid have in common.
type fataler interface {
	Helper()
	Errorf(string, ...any)
	Fatalf(string, ...any)
}
