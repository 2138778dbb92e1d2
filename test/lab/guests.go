package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"sigs.k8s.io/gateway-api-conformance-images/echo-basic/grpcechoserver"
)

// Guests are clients of one kind that stay: each asks every so often on a
// connection that it keeps, until it is told to go elsewhere or the connection
// breaks; then it goes on on another.
type Guests struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex
	lines []*lines
	stay  Stay
}

// Stay is what guests have seen.
type Stay struct {
	// Connections that they opened. Told: those on which they were told to go
	// elsewhere. Broken: those that ended, or gave no answer, without that.
	Connections, Told, Broken int
	// Asked are questions, Failed those without an answer, and Why is what the
	// first of these got instead.
	Asked, Failed int
	Why           string
}

// Add counts what others have seen, too.
func (s *Stay) Add(o Stay) {
	s.Connections, s.Told, s.Broken = s.Connections+o.Connections, s.Told+o.Told, s.Broken+o.Broken
	s.Asked, s.Failed = s.Asked+o.Asked, s.Failed+o.Failed
	if s.Why == "" {
		s.Why = o.Why
	}
}

// note counts a question, which failed if there is an error.
func (s *Stay) note(err error) {
	s.Asked++
	if err == nil {
		return
	}
	if s.Failed++; s.Why == "" {
		s.Why = err.Error()
	}
}

// GuestKind is a protocol that guests speak.
type GuestKind struct {
	// Name of the protocol, and of what is asked.
	Name, Question string
	// Word by which a server tells a client to go elsewhere; empty: there is
	// none.
	Word   string
	framed bool
	enter  func(l *lines, host string) (guest, error)
}

// CallsGRPC tells whether guests of the kind need a server like EchoGRPC.
func (k GuestKind) CallsGRPC() bool { return k.Name == GRPC.Name || k.Name == GRPCStream.Name }

// The kinds of guests. The last two ask an echo server for gRPC, see EchoGRPC.
var (
	HTTP1      = GuestKind{"HTTP/1.1", "requests", "Connection: close", false, newWebGuest(false)}
	HTTP2      = GuestKind{"HTTP/2", "requests", "GOAWAY", true, newWebGuest(true)}
	WebSocket  = GuestKind{"WebSocket", "messages", "", false, newSocketGuest}
	GRPC       = GuestKind{"gRPC", "calls", "GOAWAY", true, newCallGuest}
	GRPCStream = GuestKind{"gRPC stream", "messages", "GOAWAY", true, newStreamGuest}
)

// StartGuests has so many guests come, who ask for a host. Dial opens a connection
// to the server; an answer may take as long as patience.
func StartGuests(ctx context.Context, kind GuestKind, n int, host string, every, patience time.Duration, dial func(context.Context) (net.Conn, error)) (*Guests, error) {
	ctx, cancel := context.WithCancel(ctx)
	all := &Guests{cancel: cancel}
	for i := range n {
		l := &lines{dial: dial, framed: kind.framed}
		g, err := kind.enter(l, host)
		if err != nil {
			all.Stop()
			return nil, fmt.Errorf("making a client of %s: %w", kind.Name, err)
		}
		all.lines = append(all.lines, l)
		// Not all at the same moment.
		first := every * time.Duration(i) / time.Duration(n)
		all.done.Go(func() { all.visit(ctx, g, l, first, every, patience) })
	}
	return all, nil
}

// visit has one guest ask until the context ends.
func (all *Guests) visit(ctx context.Context, g guest, l *lines, first, every, patience time.Duration) {
	defer g.leave()
	pause := time.NewTimer(first)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		// What was asked is waited for also when the visit ends, so that ending
		// it is not taken for a failure.
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		err := g.ask(asking)
		cancel()
		if last := l.last(); err != nil && last != nil {
			last.fail()
		}
		all.note(err)
		pause.Reset(every)
	}
}

func (all *Guests) note(err error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.stay.note(err)
}

// Stop has all leave, and says what they have seen.
func (all *Guests) Stop() Stay {
	all.cancel()
	all.done.Wait()
	all.mu.Lock()
	defer all.mu.Unlock()
	out := all.stay
	for _, l := range all.lines {
		for _, one := range l.all {
			out.Connections++
			if one.wasTold() {
				out.Told++
			}
			if one.broke() {
				out.Broken++
			}
		}
	}
	return out
}

// guest is one client.
type guest interface {
	// ask asks once, on the connection that there is, or on a new one.
	ask(ctx context.Context) error
	leave()
}

// webGuest asks as net/http's client does: what can be asked again safely on
// another connection is.
type webGuest struct {
	lines  *lines
	host   string
	client *http.Transport
}

func newWebGuest(two bool) func(*lines, string) (guest, error) {
	return func(l *lines, host string) (guest, error) {
		protocols := &http.Protocols{}
		protocols.SetHTTP1(!two)
		protocols.SetUnencryptedHTTP2(two)
		return &webGuest{l, host, &http.Transport{
			Protocols:   protocols,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return l.open(ctx) },
		}}, nil
	}
}

func (g *webGuest) ask(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.host+"/", nil)
	if err != nil {
		return err
	}
	response, err := g.client.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.Close {
		g.lines.last().tell()
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer is %s", response.Status)
	}
	return nil
}

func (g *webGuest) leave() { g.client.CloseIdleConnections() }

// socketGuest sends messages to an echo server, and waits for each to come back.
type socketGuest struct {
	lines *lines
	host  string
	conn  *websocket.Conn // nil: there is none
}

func newSocketGuest(l *lines, host string) (guest, error) {
	return &socketGuest{lines: l, host: host}, nil
}

func (g *socketGuest) ask(ctx context.Context) (err error) {
	if g.conn == nil {
		if err := g.open(ctx); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil {
			g.leave()
		}
	}()
	deadline, _ := ctx.Deadline()
	if err := g.conn.SetDeadline(deadline); err != nil {
		return err
	}
	const said = "hello"
	if err := websocket.Message.Send(g.conn, said); err != nil {
		return err
	}
	var heard string
	if err := websocket.Message.Receive(g.conn, &heard); err != nil {
		return err
	}
	if heard != said {
		return fmt.Errorf("%q came back as %q", said, heard)
	}
	return nil
}

func (g *socketGuest) open(ctx context.Context) error {
	config, err := websocket.NewConfig("ws://"+g.host+"/ws", "http://"+g.host)
	if err != nil {
		return err
	}
	conn, err := g.lines.open(ctx)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if g.conn, err = websocket.NewClient(config, conn); err != nil {
		conn.Close()
	}
	return err
}

func (g *socketGuest) leave() {
	if g.conn != nil {
		g.conn.Close()
		g.conn = nil
	}
}

// callGuest makes calls as grpc-go's client does: a call that the server has not
// begun is made again on another connection.
type callGuest struct{ conn *grpc.ClientConn }

func newCallGuest(l *lines, host string) (guest, error) {
	conn, err := dialGRPC(l, host)
	return &callGuest{conn}, err
}

func dialGRPC(l *lines, host string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+host, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(host),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.open(ctx) }))
}

func (g *callGuest) ask(ctx context.Context) error {
	_, err := grpcechoserver.NewGrpcEchoClient(g.conn).Echo(ctx, &grpcechoserver.EchoRequest{})
	return err
}

func (g *callGuest) leave() { g.conn.Close() }

// streamGuest keeps one call, with answers to one question after the other, until
// it is told to go elsewhere. The stream is that of the reflection service, since
// echo servers have no other.
type streamGuest struct {
	lines  *lines
	conn   *grpc.ClientConn
	stream reflection.ServerReflection_ServerReflectionInfoClient // nil: there is none
	line   *line                                                  // that the stream is on
	end    context.CancelFunc
}

func newStreamGuest(l *lines, host string) (guest, error) {
	conn, err := dialGRPC(l, host)
	return &streamGuest{lines: l, conn: conn}, err
}

func (g *streamGuest) ask(ctx context.Context) error {
	if g.stream != nil && g.line.wasTold() {
		g.hangUp()
	}
	if g.stream == nil {
		if err := g.call(ctx); err != nil {
			return err
		}
	}
	// A stream has no deadline of its own for an answer.
	defer context.AfterFunc(ctx, g.end)()
	err := g.stream.Send(&reflection.ServerReflectionRequest{MessageRequest: &reflection.ServerReflectionRequest_ListServices{}})
	if err == nil || errors.Is(err, io.EOF) { // why it ended says Recv
		_, err = g.stream.Recv()
	}
	g.line = g.lines.last()
	if err != nil {
		g.hangUp()
	}
	return err
}

func (g *streamGuest) call(ctx context.Context) error {
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, end)()
	stream, err := reflection.NewServerReflectionClient(g.conn).ServerReflectionInfo(lasting)
	if err != nil {
		end()
		return err
	}
	g.stream, g.end, g.line = stream, end, g.lines.last()
	return nil
}

func (g *streamGuest) hangUp() {
	if g.stream != nil {
		g.end()
		g.stream = nil
	}
}

func (g *streamGuest) leave() {
	g.hangUp()
	g.conn.Close()
}
