package lab

import (
	"errors"
	"net"
	"net/http"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// connecting begins a connection and gives what the kernel says of it in the end.
func connecting(t *testing.T, to *net.TCPAddr, meanwhile func()) error {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	at := &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}
	if err := unix.Connect(fd, at); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	meanwhile()
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, 10_000); err != nil {
		t.Fatal(err)
	}
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		t.Fatal(err)
	}
	return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.Errno(code)}
}

// A connection that is reset right after it was answered was made, though nobody has seen that; one that is refused was not.
func TestConnectionsThatWereMade(t *testing.T) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	reset := connecting(t, at, func() {
		c, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
			t.Fatal(err)
		}
	})
	if !made(reset) {
		t.Errorf("%v is taken for a connection that was not made", reset)
	}
	l.Close()
	refused := connecting(t, at, func() {})
	if made(refused) || !errors.Is(refused, syscall.ECONNREFUSED) {
		t.Errorf("%v is taken for a connection that was made", refused)
	}
	for _, err := range []error{nil, http.ErrHandlerTimeout} {
		if made(err) {
			t.Errorf("%v is taken for a connection that was made and reset", err)
		}
	}
}
