package imports

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Decode reads a stream of YAML or JSON documents. Lists are opened. A document
// that is no object of Kubernetes is an error that says which one it is.
func Decode(stream []byte) ([]unstructured.Unstructured, error) {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream)))
	var out []unstructured.Unstructured
	for n := 1; ; n++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading document %d: %w", n, err)
		}
		found, err := decodeOne(document)
		if err != nil {
			return nil, fmt.Errorf("reading document %d: %w", n, err)
		}
		out = append(out, found...)
	}
}

func decodeOne(document []byte) ([]unstructured.Unstructured, error) {
	asJSON, err := yaml.YAMLToJSON(document)
	if err != nil {
		return nil, fmt.Errorf("it is no YAML: %w", err)
	}
	if s := string(bytes.TrimSpace(asJSON)); s == "null" || s == "" {
		return nil, nil
	}
	o, _, err := unstructured.UnstructuredJSONScheme.Decode(asJSON, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("it is no object of Kubernetes (it needs apiVersion and kind): %w", err)
	}
	switch o := o.(type) {
	case *unstructured.Unstructured:
		return []unstructured.Unstructured{*o}, nil
	case *unstructured.UnstructuredList:
		return o.Items, nil
	}
	return nil, fmt.Errorf("it is no object of Kubernetes but a %T", o)
}
