package drain

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Install copies the program at from to the path to, executable, all or nothing.
func Install(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("reading the program: %w", err)
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".install-")
	if err != nil {
		return fmt.Errorf("installing %s: %w", to, err)
	}
	defer os.Remove(out.Name()) // nothing once it is renamed
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("installing %s: %w", to, err)
	}
	if err := out.Chmod(0o755); err != nil {
		return fmt.Errorf("installing %s: %w", to, err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("installing %s: %w", to, err)
	}
	if err := os.Rename(out.Name(), to); err != nil {
		return fmt.Errorf("installing %s: %w", to, err)
	}
	return nil
}
