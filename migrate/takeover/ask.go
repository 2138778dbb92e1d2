package takeover

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// The kinds of holders, as annotations write them, and as the books do.
var kinds = map[string]string{"service": "Service", "gateway": "Gateway"}

// What the annotation about ports says.
const (
	PortsKeep = "keep"
	PortsDrop = "drop"
)

// Side is what one object asks for.
type Side struct {
	Key allocator.Key
	// Takes and Gives are whom its annotations name; nil: they name nobody.
	Takes, Gives *allocator.Key
	// Problem says what cannot be read in them.
	Problem string
	// Drop: ports that the taker lacks are to be given up.
	Drop bool
}

// Asked tells whether the annotations of an object say anything of a takeover.
func Asked(annotations map[string]string) bool {
	for _, name := range []string{v1alpha1.AnnotationTakeover, v1alpha1.AnnotationHandover, v1alpha1.AnnotationHandoverPorts} {
		if annotations[name] != "" {
			return true
		}
	}
	return false
}

// Read reads the annotations of an object.
func Read(k allocator.Key, annotations map[string]string) Side {
	s := Side{Key: k}
	s.Takes = s.read(annotations, v1alpha1.AnnotationTakeover)
	s.Gives = s.read(annotations, v1alpha1.AnnotationHandover)
	if s.Takes != nil && s.Gives != nil {
		s.Problem = fmt.Sprintf("The annotations %s and %s are both set: an object takes over or hands over. Remove one.",
			v1alpha1.AnnotationTakeover, v1alpha1.AnnotationHandover)
	}
	switch v := annotations[v1alpha1.AnnotationHandoverPorts]; v {
	case "", PortsKeep:
	case PortsDrop:
		s.Drop = true
	default:
		s.Problem = fmt.Sprintf("The annotation %s says %.60q. Write %s or %s.", v1alpha1.AnnotationHandoverPorts, v, PortsKeep, PortsDrop)
	}
	return s
}

// read reads one annotation: kind/name or kind/namespace/name.
func (s *Side) read(annotations map[string]string, name string) *allocator.Key {
	v := strings.TrimSpace(annotations[name])
	if v == "" {
		return nil
	}
	parts := strings.Split(v, "/")
	kind := kinds[strings.ToLower(parts[0])]
	if len(parts) == 2 {
		parts = []string{parts[0], s.Key.Namespace, parts[1]}
	}
	if kind == "" || len(parts) != 3 || len(validation.IsDNS1123Label(parts[1])) > 0 || len(validation.IsDNS1123Subdomain(parts[2])) > 0 {
		s.Problem = fmt.Sprintf("The annotation %s says %.200q. Write service/NAME or gateway/NAME, or with a namespace service/NAMESPACE/NAME.", name, v)
		return nil
	}
	k := allocator.Key{Kind: kind, Namespace: parts[1], Name: parts[2]}
	if k == s.Key {
		s.Problem = fmt.Sprintf("The annotation %s names the object itself. Name the other one.", name)
		return nil
	}
	return &k
}

// Word writes a key as an annotation of an object in a namespace does.
func Word(k allocator.Key, namespace string) string {
	if k.Namespace == namespace {
		return strings.ToLower(k.Kind) + "/" + k.Name
	}
	return strings.ToLower(k.Kind) + "/" + k.Namespace + "/" + k.Name
}

// Lacking are the giver's ports that the taker has not.
func Lacking(giver, taker []allocator.Port) []allocator.Port {
	var out []allocator.Port
	for _, p := range giver {
		if !slices.Contains(taker, p) {
			out = append(out, p)
		}
	}
	return out
}
