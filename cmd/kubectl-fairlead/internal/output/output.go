// Package output shows what a command has found: as a table or text for people,
// with more in it when asked, or as JSON and YAML for programs.
//
// A command makes a Result of its own: a struct with JSON names that stay, and a
// method Write for people. For a list, Write makes a Table and writes that.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Format is how a result is shown.
type Format string

// The formats.
const (
	Plain Format = "table"
	Wide  Format = "wide"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Formats are all formats, the default first.
var Formats = []string{string(Plain), string(Wide), string(JSON), string(YAML)}

// String is the format as it is written in a flag.
func (f *Format) String() string { return string(*f) }

// Type names the values of the flag in help.
func (f *Format) Type() string { return strings.Join(Formats, "|") }

// Set reads the format from a flag.
func (f *Format) Set(s string) error {
	if !slices.Contains(Formats, s) {
		return fmt.Errorf("there is no format %q: write one of %s", s, strings.Join(Formats, ", "))
	}
	*f = Format(s)
	return nil
}

// ForPrograms tells whether the format is one that programs read.
func (f Format) ForPrograms() bool { return f == JSON || f == YAML }

// Result is what a command has found. JSON and YAML show it field by field.
type Result interface {
	// Write shows it to people; wide: with all there is.
	Write(w io.Writer, wide bool) error
}

// Print writes a result.
func Print(w io.Writer, f Format, r Result) error {
	switch f {
	case JSON:
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "    ")
		return e.Encode(r)
	case YAML:
		text, err := yaml.Marshal(r)
		if err != nil {
			return fmt.Errorf("writing YAML: %w", err)
		}
		_, err = w.Write(text)
		return err
	}
	return r.Write(w, f == Wide)
}
