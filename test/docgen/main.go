// Command docgen writes the pages of docs/ that are made from code.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

func write() error {
	values, err := valuesPage(filepath.Join("charts", "fairlead", "values.yaml"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join("docs", "values.md"), []byte(values), 0o644); err != nil {
		return err
	}
	path := filepath.Join("docs", "metrics.md")
	before, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the page of metrics: %w", err)
	}
	after, err := metricsPage(string(before))
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(after), 0o644)
}
