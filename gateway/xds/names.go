package xds

import (
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/gateway"
)

// Nowhere is the name of a cluster that is never defined: every other has a "/"
// in its name. What is sent to it fails at once, which is what becomes of the
// share of a reference that cannot be followed.
const Nowhere = "nowhere"

// name is what follows, below the Gateway.
func (e *encoder) name(parts ...string) string {
	return e.model.Gateway.String() + "/" + strings.Join(parts, "/")
}

func (e *encoder) listenerName(p *gateway.Port) string {
	return e.name(number(p.Number), strings.ToLower(string(p.Transport)))
}

// statPrefix bounds statistics to one set per port of a Gateway.
func (e *encoder) statPrefix(p *gateway.Port) string { return statName(e.listenerName(p)) }

// statName is a name in the names of statistics, where a dot would start a new part.
// No two objects differ by this alone: their names have no underscores.
func statName(name string) string { return strings.ReplaceAll(name, ".", "_") }

// streamName is of the cluster of a UDP port that leads to several backends.
func (e *encoder) streamName(p *gateway.Port) string { return e.name("stream", number(p.Number)) }

func (e *encoder) tableName(t *gateway.Table) string { return e.name("table", t.Name) }

func (e *encoder) clusterName(backend string) string { return e.name("backend", backend) }

func (e *encoder) certificateName(id string) string { return e.name("certificate", id) }

// authoritiesName is of a set: a TLS context takes one.
func (e *encoder) authoritiesName(ids []string) string {
	return e.name("authorities", strings.Join(ids, "+"))
}

// endpointsName is the same for all Gateways. A Service may have one number for
// TCP and for UDP.
func endpointsName(b *gateway.Backend) string {
	name := b.Service.String() + "/" + number(b.Port)
	if b.Protocol == gateway.ProtocolUDP {
		name += "/udp"
	}
	return name
}

func number(n uint16) string { return strconv.FormatUint(uint64(n), 10) }
