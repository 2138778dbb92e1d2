package members

import (
	"context"
	"net"
	"net/netip"
	"testing"
)

func TestReach(t *testing.T) {
	for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", host)
		if err != nil {
			t.Logf("no listener on %s: %v", host, err)
			continue
		}
		to := l.Addr().(*net.TCPAddr).AddrPort()
		if !reachTCP(context.Background(), to) {
			t.Errorf("%s, where somebody listens, does not answer", to)
		}
		_ = l.Close()
		if !reachTCP(context.Background(), to) {
			t.Errorf("%s, where nobody listens any more, does not refuse", to)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	// RFC 5737: nobody has these addresses.
	if reachTCP(ended, netip.MustParseAddrPort("192.0.2.1:7950")) {
		t.Error("an address that nobody has answers")
	}
	if reachTCP(context.Background(), netip.AddrPort{}) {
		t.Error("no address at all answers")
	}
}
