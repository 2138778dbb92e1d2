package annotations

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/service"
)

// Manifest rewrites the Services in a stream of YAML documents, with the comments
// and the order that stand there. It gives the new stream, and what became of each
// Service of type LoadBalancer. Documents that do not change stay as they are read.
func Manifest(stream []byte, around service.Surroundings, o Options) ([]byte, []*Rewritten, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(stream))
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	var all []*Rewritten
	for n := 1; ; n++ {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading document %d: %w", n, err)
		}
		found, err := rewriteDocument(&document, around, o)
		if err != nil {
			return nil, nil, fmt.Errorf("reading document %d: %w", n, err)
		}
		all = append(all, found...)
		if err := encoder.Encode(&document); err != nil {
			return nil, nil, fmt.Errorf("writing document %d: %w", n, err)
		}
	}
	if err := encoder.Close(); err != nil {
		return nil, nil, fmt.Errorf("writing the manifest: %w", err)
	}
	return out.Bytes(), all, nil
}

func rewriteDocument(document *yaml.Node, around service.Surroundings, o Options) ([]*Rewritten, error) {
	if document.Kind != yaml.DocumentNode || len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode {
		return nil, nil
	}
	return rewriteObject(document.Content[0], around, o)
}

func rewriteObject(root *yaml.Node, around service.Surroundings, o Options) ([]*Rewritten, error) {
	if items := member(root, "items"); scalar(root, "kind") == "List" && items != nil {
		var all []*Rewritten
		for _, item := range items.Content {
			found, err := rewriteObject(item, around, o)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		return all, nil
	}
	if scalar(root, "kind") != "Service" || scalar(root, "apiVersion") != "v1" {
		return nil, nil
	}
	text, err := yaml.Marshal(root)
	if err != nil {
		return nil, fmt.Errorf("reading a Service: %w", err)
	}
	var svc corev1.Service
	if err := k8syaml.Unmarshal(text, &svc); err != nil {
		return nil, fmt.Errorf("it is no Service: %w", err)
	}
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil, nil
	}
	w := Rewrite(&svc, around, o)
	w.edit(root)
	return []*Rewritten{w}, nil
}

// edit makes the changes in a document.
func (w *Rewritten) edit(root *yaml.Node) {
	for _, c := range w.Changes {
		if c.Place == "spec.loadBalancerIP" {
			drop(member(root, "spec"), "loadBalancerIP")
			continue
		}
		meta := member(root, "metadata")
		if meta == nil {
			continue
		}
		annotations := member(meta, "annotations")
		if annotations == nil || annotations.Kind != yaml.MappingNode {
			drop(meta, "annotations")
			annotations = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
			meta.Content = append(meta.Content, text("annotations"), annotations)
		}
		drop(annotations, c.Place)
		if c.Is != "" {
			annotations.Content = append(annotations.Content, text(c.Place), text(c.Is))
		}
	}
	if meta := member(root, "metadata"); meta != nil {
		if a := member(meta, "annotations"); a != nil && len(a.Content) == 0 {
			drop(meta, "annotations")
		}
	}
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

func member(m *yaml.Node, name string) *yaml.Node {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == name {
			return m.Content[i+1]
		}
	}
	return nil
}

func scalar(m *yaml.Node, name string) string {
	if n := member(m, name); n != nil {
		return n.Value
	}
	return ""
}

func drop(m *yaml.Node, name string) {
	if m == nil {
		return
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == name {
			m.Content = append(m.Content[:i:i], m.Content[i+2:]...)
			return
		}
	}
}
