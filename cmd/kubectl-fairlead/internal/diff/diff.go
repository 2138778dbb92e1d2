// Package diff shows what a write would change, line by line.
package diff

import (
	"fmt"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
)

// context is how many lines around a change are shown.
const context = 3

// Unified is the difference between two texts, as diff -u writes it: lines that each
// have their end; empty where there is none. Both have the same name.
func Unified(name, before, after string) string {
	if before == after {
		return ""
	}
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: lines(before), B: lines(after), FromFile: name, ToFile: name + " (new)", Context: context,
	})
	if err != nil { // it writes to memory
		return fmt.Sprintf("%s differs\n", name)
	}
	return text
}

// lines keeps the end of each line, so that each is written as one. A last line without
// one gets it.
func lines(s string) []string {
	if s == "" {
		return nil
	}
	if !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	all := strings.SplitAfter(s, "\n")
	return all[:len(all)-1] // what is behind the last end is nothing
}
