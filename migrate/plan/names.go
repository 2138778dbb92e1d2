package plan

import (
	"fmt"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/migrate/takeover"
)

// What becomes of ports that the new holder has not.
const (
	// PortsKeep: the old holder serves them on, and so stays beside the new one.
	PortsKeep = takeover.PortsKeep
	// PortsDrop: they end.
	PortsDrop = takeover.PortsDrop
)

// FieldManager is the name under which the plugin writes, the objects of a Plan among others.
const FieldManager = "kubectl-fairlead"

// Kind is the kind of a holder.
type Kind string

// The kinds of holders.
const (
	Service Kind = "Service"
	Gateway Kind = "Gateway"
)

// Holder names who has an address.
type Holder struct {
	Kind Kind `json:"kind"`
	gateway.Name
}

func (h Holder) String() string { return fmt.Sprintf("%s %s", h.Kind, h.Name) }

// Seen is how an annotation on an object of a namespace names the holder.
func (h Holder) Seen(namespace string) string {
	return takeover.Word(h.key(), namespace)
}

func holderOf(k allocator.Key) Holder {
	return Holder{Kind: Kind(k.Kind), Name: gateway.Name{Namespace: k.Namespace, Name: k.Name}}
}

func keysOf(holders []Holder) []allocator.Key {
	out := make([]allocator.Key, len(holders))
	for i, h := range holders {
		out[i] = h.key()
	}
	return out
}

func (h Holder) key() allocator.Key {
	return allocator.Key{Kind: string(h.Kind), Namespace: h.Namespace, Name: h.Name.Name}
}
