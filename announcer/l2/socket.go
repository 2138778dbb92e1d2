package l2

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// socket is a packet socket on one interface.
type socket struct {
	conn *packet.Conn
	raw  syscall.RawConn
}

// openSocket opens a socket for one ethertype that receives nothing until it has a filter.
func openSocket(index int, etherType int) (*socket, error) {
	nothing, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{}})
	if err != nil {
		return nil, fmt.Errorf("assembling a filter: %w", err)
	}
	conn, err := packet.Listen(&net.Interface{Index: index}, packet.Raw, etherType, &packet.Config{Filter: nothing})
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket (CAP_NET_RAW is needed): %w", err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("opening a packet socket: %w", err)
	}
	return &socket{conn: conn, raw: raw}, nil
}

func (s *socket) close() { _ = s.conn.Close() }

// setFilter replaces the filter.
func (s *socket) setFilter(p []bpf.Instruction) error {
	prog, err := bpf.Assemble(p)
	if err != nil {
		return fmt.Errorf("assembling a filter: %w", err)
	}
	if err := s.conn.SetBPF(prog); err != nil {
		return fmt.Errorf("attaching a filter of %d instructions: %w", len(prog), err)
	}
	return nil
}

// send writes a whole frame without waiting for room.
func (s *socket) send(frame []byte) error {
	var err error
	if cerr := s.raw.Write(func(fd uintptr) bool {
		_, err = unix.Write(int(fd), frame)
		return true
	}); cerr != nil {
		return cerr
	}
	return err
}

// batch is how many frames are handled before the socket may be closed.
const batch = 64

// serve hands frames to handle and sends what it returns, until the socket is closed (nil) or broken. Neither reading nor
// answering allocates.
func (s *socket) serve(handle func(in, out []byte) []byte, count *counters) error {
	in, out := make([]byte, 2048), make([]byte, 128)
	var broken error
	read := func(fd uintptr) bool {
		for range batch {
			n, err := unix.Read(int(fd), in)
			switch {
			case err == nil:
			case errors.Is(err, unix.EAGAIN):
				return false
			case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN):
				continue // the interface going down is told by netlink
			default:
				broken = err
				return true
			}
			if reply := handle(in[:n], out); reply != nil {
				if _, err := unix.Write(int(fd), reply); err != nil {
					count.errors.Add(1)
				}
			}
		}
		return true
	}
	for broken == nil {
		if err := s.raw.Read(read); err != nil {
			return nil // closed
		}
	}
	return fmt.Errorf("reading from a packet socket: %w", broken)
}
