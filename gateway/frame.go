package gateway

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// frame is what follows from a Gateway and its ListenerSets, whatever routes there
// are. It is not modified once it is read.
type frame struct {
	owners []*owner // the Gateway first
	places []portOf

	certificates map[string]certificate
	// trusted are the authorities for client certificates.
	trusted           []Authority
	clientCertificate string
	// unresolved is what the Gateway itself refers to in vain.
	unresolved *verdict

	findings
}

// portOf are the listeners on one port that are served.
type portOf struct {
	number    uint16
	transport Transport
	// plain and encrypted are those of HTTP, and of HTTPS and TLS; stream is the
	// one of another protocol.
	plain, encrypted []*listener
	stream           *listener
}

// readFrame reads the Gateway and its ListenerSets.
func (b *builder) readFrame() {
	b.frame = &frame{certificates: map[string]certificate{}}
	b.reading = &b.findings
	b.seen = b.objects.noting(func() {
		b.collect()
		b.findClientCertificate()
		for _, o := range b.owners {
			for _, l := range o.listeners {
				b.examine(l)
			}
		}
	})
	b.findConflicts()
	b.findOverlaps()
	b.findPlaces()
}

// findPlaces sorts the listeners that are served by port.
func (b *builder) findPlaces() {
	for _, o := range b.owners {
		for _, l := range o.listeners {
			if l.served() {
				b.portFor(l).add(l)
			}
		}
	}
	slices.SortFunc(b.places, func(x, y portOf) int {
		return cmp.Or(cmp.Compare(x.number, y.number), compareTransport(x.transport, y.transport))
	})
}

func (b *builder) portFor(l *listener) *portOf {
	for i := range b.places {
		if p := &b.places[i]; p.number == l.port() && p.transport == l.transport() {
			return p
		}
	}
	b.places = append(b.places, portOf{number: l.port(), transport: l.transport()})
	return &b.places[len(b.places)-1]
}

func (p *portOf) add(l *listener) {
	switch l.protocol() {
	case gatewayv1.HTTPProtocolType:
		p.plain = append(p.plain, l)
	case gatewayv1.HTTPSProtocolType, gatewayv1.TLSProtocolType:
		p.encrypted = append(p.encrypted, l)
	default:
		p.stream = l
	}
}

func (p *portOf) listeners() []*listener {
	all := slices.Concat(p.plain, p.encrypted)
	if p.stream != nil {
		all = append(all, p.stream)
	}
	return all
}

// same tells whether an object is the one that was read, as far as its spec goes.
func same(was, is *metav1.ObjectMeta) bool {
	return was.UID == is.UID && was.Generation == is.Generation && was.Namespace == is.Namespace && was.Name == is.Name
}
