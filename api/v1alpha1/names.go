package v1alpha1

import (
	"fmt"
	"net/netip"
	"strings"
)

// Names that users write into their objects.
const (
	// LoadBalancerClass is the class of Services that are always Fairlead's.
	LoadBalancerClass = "fairlead.dev/lb"

	// AnnotationAddresses asks for addresses, separated by commas.
	AnnotationAddresses = "fairlead.dev/addresses"
	// AnnotationPool asks for a pool by name (several, separated by commas:
	// the first with room).
	AnnotationPool = "fairlead.dev/pool"
	// AnnotationSharingKey lets holders with the same key share an address.
	AnnotationSharingKey = "fairlead.dev/sharing-key"
	// AnnotationTakeover names the holder whose addresses the object takes over:
	// service/NAME or gateway/NAME, or with a namespace: service/NAMESPACE/NAME.
	// Several that share their addresses are separated by commas.
	AnnotationTakeover = "fairlead.dev/takeover"
	// AnnotationHandover names, in the same way, the holder that the object hands
	// its addresses over to, or several that share them from then on.
	AnnotationHandover = "fairlead.dev/handover"
	// AnnotationHandoverPorts says what becomes of the ports of an object that the
	// one that takes its addresses over does not have: keep (they are served on,
	// and the takeover waits; the default) or drop.
	AnnotationHandoverPorts = "fairlead.dev/handover-ports"

	// LabelFleet is on everything of a fleet of Envoys, and on the EndpointSlices
	// of the Gateways that it serves, with the name of the fleet's own Service.
	LabelFleet = "fairlead.dev/fleet"

	// LabelAnnouncesBGP is on nodes that announce by BGP while a cluster is taken over
	// from another controller, which leaves them out. kubectl fairlead adopt sets it,
	// and takes it off in the end.
	LabelAnnouncesBGP = "fairlead.dev/announces-bgp"
	// LabelAnnouncesLayer2 is the same for layer 2.
	LabelAnnouncesLayer2 = "fairlead.dev/announces-layer2"
	// AnnotationAdopted is on what was made when a cluster was taken over from another
	// controller, whose name is its value, until that is over. A Service that ceases to
	// be Fairlead's keeps such an Address in its status: it is the other's again.
	AnnotationAdopted = "fairlead.dev/adopted"

	// FieldManager is the name under which the controller writes.
	FieldManager = "fairlead"
	// AddressFinalizer keeps an Address while somebody holds it.
	AddressFinalizer = "fairlead.dev/in-use"
)

// AddressName is the name of the Address object of an IP address: IPv4 as it
// is, IPv6 written out in full with '-' for ':'. An IPv4-mapped IPv6 address is
// the IPv4 address.
func AddressName(a netip.Addr) string {
	a = a.Unmap()
	if a.Is4() {
		return a.String()
	}
	return strings.ReplaceAll(a.StringExpanded(), ":", "-")
}

// ParseAddressName is the inverse of AddressName.
func ParseAddressName(name string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.ReplaceAll(name, "-", ":"))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("name %q of an Address is not an IP address: %w", name, err)
	}
	if AddressName(a) != name {
		return netip.Addr{}, fmt.Errorf("name %q of an Address is not the name of %s, which is %q", name, a, AddressName(a))
	}
	return a, nil
}
