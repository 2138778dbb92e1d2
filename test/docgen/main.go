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
	return os.WriteFile(filepath.Join("docs", "values.md"), []byte(values), 0o644)
}
