package fleet

import (
	"errors"
	"fmt"
	"hash/fnv"

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

// Ports are the books of a fleet's ports: who has which. A port that was given up
// is in quarantine until its owner is told that no Envoy listens on it any more.
// Ports are for one goroutine at a time.
type Ports struct {
	byKey      map[PortKey]uint16
	byPort     map[uint16]PortKey
	quarantine map[uint16]bool
}

// NewPorts are empty books.
func NewPorts() *Ports {
	return &Ports{byKey: map[PortKey]uint16{}, byPort: map[uint16]PortKey{}, quarantine: map[uint16]bool{}}
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
	delete(p.quarantine, port)
}

// Give is the port of key: the one that it has, or a free one. The search begins
// at a place of the key's own, so that a port that was given up before a restart
// is seldom the next to be given. ErrNoPort if none is free.
func (p *Ports) Give(key PortKey) (uint16, error) {
	if port, ok := p.byKey[key]; ok {
		return port, nil
	}
	const size = LastPort - FirstPort + 1
	start := place(key)
	for i := range uint64(size) {
		port := uint16(FirstPort + (start+i)%size)
		if _, taken := p.byPort[port]; taken || p.quarantine[port] {
			continue
		}
		p.enter(key, port)
		return port, nil
	}
	return 0, ErrNoPort
}

// Release puts the port of key into quarantine. Without one nothing happens.
func (p *Ports) Release(key PortKey) {
	port, ok := p.byKey[key]
	if !ok {
		return
	}
	delete(p.byKey, key)
	delete(p.byPort, port)
	p.quarantine[port] = true
}

// Free ends the quarantine of a port: no Envoy listens on it.
func (p *Ports) Free(port uint16) { delete(p.quarantine, port) }

func place(key PortKey) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d/%s", key.Gateway, key.Number, key.Transport)
	return h.Sum64()
}
