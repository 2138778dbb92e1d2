package fleet

import (
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/fairlead/fairlead/gateway"
)

// FirstPort and LastPort bound the ports on which Envoys serve Gateways. All
// Gateways of a fleet are on the same Envoys, and Envoy has no right to ports
// below 1024, so a Gateway's port 80 is one of these there.
const (
	FirstPort = 10000
	LastPort  = 29999
)

// PortKey is a port of a Gateway.
type PortKey struct {
	Gateway   gateway.Name
	Number    uint16
	Transport gateway.Transport
}

func (k PortKey) String() string {
	return fmt.Sprintf("port %d (%s) of Gateway %s", k.Number, k.Transport, k.Gateway)
}

// ErrNoPort says that a fleet has no port left.
var ErrNoPort = errors.New("all ports of the fleet are taken: let some of its Gateways use another GatewayClass")

// Quarantine is how long a port that was given up is given to nobody: long enough
// for every Envoy to have heard of it and to have drained its listener. Traffic
// comes to those Envoys only that have acknowledged the listener of its new owner.
const Quarantine = time.Hour

// Ports are the books of a fleet's ports: who has which, and which were given up
// when. Ports are for one goroutine at a time.
type Ports struct {
	byKey   map[PortKey]uint16
	byPort  map[uint16]PortKey
	givenUp map[uint16]formerly
}

// formerly says whose a port was, and until when.
type formerly struct {
	key   PortKey
	until time.Time
}

// NewPorts are empty books.
func NewPorts() *Ports {
	return &Ports{byKey: map[PortKey]uint16{}, byPort: map[uint16]PortKey{}, givenUp: map[uint16]formerly{}}
}

// Keep enters what a Service says already (PortsOf). What is in the books stays:
// it is an error if another has the port, or key has another port. The caller then
// takes Give's answer.
func (p *Ports) Keep(key PortKey, port uint16) error {
	if port < FirstPort || port > LastPort {
		return fmt.Errorf("%s has port %d of Envoy, which is none of %d to %d", key, port, FirstPort, LastPort)
	}
	if other, ok := p.byPort[port]; ok && other != key {
		return fmt.Errorf("%s has port %d of Envoy, which is that of %s", key, port, other)
	}
	if other, ok := p.byKey[key]; ok && other != port {
		return fmt.Errorf("%s has port %d of Envoy already, not %d", key, other, port)
	}
	p.enter(key, port)
	return nil
}

func (p *Ports) enter(key PortKey, port uint16) {
	p.byKey[key], p.byPort[port] = port, key
	delete(p.givenUp, port)
}

// Give is the port of key: the one that it has, or one that nobody else had, or,
// where there is none, the one that was given up first, if that is longer ago than
// Quarantine. The search begins at a place of the key's own, so that a port that
// was given up before a restart is seldom the next to be given. ErrNoPort if there
// is none.
func (p *Ports) Give(key PortKey, now time.Time) (uint16, error) {
	if port, ok := p.byKey[key]; ok {
		return port, nil
	}
	const size = LastPort - FirstPort + 1
	start, oldest := place(key), uint16(0)
	for i := range uint64(size) {
		port := uint16(FirstPort + (start+i)%size)
		if _, taken := p.byPort[port]; taken {
			continue
		}
		was, used := p.givenUp[port]
		if !used || was.key == key {
			p.enter(key, port)
			return port, nil
		}
		if now.Sub(was.until) >= Quarantine && (oldest == 0 || was.until.Before(p.givenUp[oldest].until)) {
			oldest = port
		}
	}
	if oldest == 0 {
		return 0, ErrNoPort
	}
	p.enter(key, oldest)
	return oldest, nil
}

// Release gives up the port of key. Without one nothing happens.
func (p *Ports) Release(key PortKey, now time.Time) {
	port, ok := p.byKey[key]
	if !ok {
		return
	}
	delete(p.byKey, key)
	delete(p.byPort, port)
	p.givenUp[port] = formerly{key, now}
}

func place(key PortKey) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d/%s", key.Gateway, key.Number, key.Transport)
	return h.Sum64()
}
