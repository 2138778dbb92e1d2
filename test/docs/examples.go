package docs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Example is one document of a block: an object of Kubernetes, or values of the
// chart.
type Example struct {
	Block  Block
	Object client.Object
	Values map[string]any
}

// Scheme has the kinds that examples may be of: Kubernetes' own and Fairlead's.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	return s, errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s), gatewayv1.Install(s))
}

// Examples reads the documents of a YAML block. A field that its kind does not
// have is an error.
func Examples(b Block, scheme *runtime.Scheme) ([]Example, error) {
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(b.Text)))
	var out []Example
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b, err)
		}
		var top map[string]any
		if err := k8syaml.UnmarshalStrict(document, &top); err != nil {
			return nil, fmt.Errorf("%s: %w", b, err)
		}
		switch {
		case len(top) == 0:
		case top["apiVersion"] == nil:
			out = append(out, Example{Block: b, Values: top})
		default:
			o, _, err := decoder.Decode(document, nil, nil)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b, err)
			}
			object, ok := o.(client.Object)
			if !ok {
				return nil, fmt.Errorf("%s: a %T is not an object that can be applied", b, o)
			}
			out = append(out, Example{Block: b, Object: object})
		}
	}
}

// AllExamples are the examples of all pages.
func AllExamples(scheme *runtime.Scheme) ([]Example, error) {
	pages, err := Pages()
	if err != nil {
		return nil, err
	}
	var out []Example
	for _, page := range pages {
		content, err := read(page)
		if err != nil {
			return nil, err
		}
		blocks, err := Blocks(page, content)
		if err != nil {
			return nil, err
		}
		for _, b := range blocks {
			if !strings.HasPrefix(b.Language, "yaml") {
				continue
			}
			examples, err := Examples(b, scheme)
			if err != nil {
				return nil, err
			}
			out = append(out, examples...)
		}
	}
	return out, nil
}
