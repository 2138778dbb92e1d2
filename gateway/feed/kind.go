package feed

import (
	"strings"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// kind is a type of resource, in the order in which responses go out.
type kind uint8

const (
	clusters kind = iota
	assignments
	secrets
	listeners
	routes
	kinds
)

var typeURLs = [kinds]string{
	clusters: resource.ClusterType, assignments: resource.EndpointType, secrets: resource.SecretType,
	listeners: resource.ListenerType, routes: resource.RouteType,
}

func kindOf(typeURL string) (kind, bool) {
	for k, u := range typeURLs {
		if u == typeURL {
			return kind(k), true
		}
	}
	return 0, false
}

// String is the type's name as its users know it: Cluster, Listener.
func (k kind) String() string { return typeURLs[k][strings.LastIndexByte(typeURLs[k], '.')+1:] }

// Types are the names of all types.
func Types() []string {
	out := make([]string, kinds)
	for k := range out {
		out[k] = kind(k).String()
	}
	return out
}

// byName says that an Envoy asks for resources of this type by name, and drops
// them by no longer asking. Of the other types it gets all there are.
func (k kind) byName() bool { return k != clusters && k != listeners }

// straight says that resources of this type are sent as soon as they change, in no
// wave.
func (k kind) straight() bool { return k == assignments || k == secrets }

// ref names a resource.
type ref struct {
	kind kind
	name string
}
