package kube

import (
	"fmt"
	"io"
	"strings"
)

// Gap is a right that the caller lacks.
type Gap struct {
	// Verb is "get" or "list".
	Verb string `json:"verb"`
	// Resource as in a Role: "services", "addresses.fairlead.dev".
	Resource string `json:"resource"`
	// Namespace is empty for all of them, and for what has none.
	Namespace string `json:"namespace,omitempty"`
	// Name is the object, where one was asked for.
	Name string `json:"name,omitempty"`
}

// String is the right in words: "list services in all namespaces".
func (g Gap) String() string {
	s := g.Verb + " " + g.Resource
	if g.Name != "" {
		s += " " + g.Name
	}
	if g.Namespace != "" {
		s += " in namespace " + g.Namespace
	}
	return s
}

// check is the command by which the caller sees whether the right is there now.
func (g Gap) check() string {
	s := "kubectl auth can-i " + g.Verb + " " + g.Resource
	if g.Namespace != "" {
		return s + " -n " + g.Namespace
	}
	return s + " -A"
}

// writeGaps says which rights are missing, and what to do.
func writeGaps(w io.Writer, gaps []Gap) error {
	lines := []string{"Not everything could be read. These rights are missing, and what they would show is left out:"}
	for _, g := range gaps {
		lines = append(lines, "  "+g.String())
	}
	lines = append(lines, fmt.Sprintf("Ask an administrator for them; %q tells whether you have them.", gaps[0].check()))
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}
