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
	// Takes are those whose addresses it asks for, in their order by name; they share
	// these if they are several. Gives are those whom it hands its own over to; they
	// are to share these if they are several.
	Takes, Gives []allocator.Key
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
	s.Takes = s.readAll(v1alpha1.AnnotationTakeover, annotations[v1alpha1.AnnotationTakeover])
	s.Gives = s.readAll(v1alpha1.AnnotationHandover, annotations[v1alpha1.AnnotationHandover])
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

// maxNamed is how many can give an address together, or take it.
const maxNamed = 64

// readAll reads who is named by an annotation: one, or several with commas between.
func (s *Side) readAll(name, list string) []allocator.Key {
	if strings.TrimSpace(list) == "" {
		return nil
	}
	var all []allocator.Key
	for v := range strings.SplitSeq(list, ",") {
		k := s.read(name, strings.TrimSpace(v))
		if k == nil {
			return nil
		}
		all = append(all, *k)
	}
	if all = sorted(all); len(all) > maxNamed {
		s.Problem = fmt.Sprintf("The annotation %s names %d others. Name %d at most.", name, len(all), maxNamed)
		return nil
	}
	return all
}

// sorted are keys in their order by name, each once.
func sorted(keys []allocator.Key) []allocator.Key {
	slices.SortFunc(keys, func(a, b allocator.Key) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(keys)
}

// read reads one name of an annotation: kind/name or kind/namespace/name.
func (s *Side) read(name, v string) *allocator.Key {
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

// Words writes keys as an annotation of an object in a namespace does.
func Words(keys []allocator.Key, namespace string) string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = Word(k, namespace)
	}
	return strings.Join(out, ",")
}

// Names writes keys in a sentence.
func Names(keys []allocator.Key) string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.String()
	}
	if n := len(out); n > 1 {
		return strings.Join(out[:n-1], ", ") + " and " + out[n-1]
	}
	return strings.Join(out, "")
}

// Lacking are the giver's ports that those who take over have not.
func Lacking(giver, taker []allocator.Port) []allocator.Port {
	var out []allocator.Port
	for _, p := range giver {
		if !slices.Contains(taker, p) {
			out = append(out, p)
		}
	}
	return out
}
