package drain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sums are those of what the program was made of, by its version.
var sums = map[string]string{
	"1": "7f1eb8213be1b8ecc16c65a5cebc491717c545de1a3be57c53b7cbacc656fc83",
}

func TestAProgramThatChangesHasANewVersion(t *testing.T) {
	own, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	for _, file := range append(own, "../../../cmd/fairlead-drain/main.go") {
		if file != "version.go" && !strings.HasSuffix(file, "_test.go") {
			h.Write(withoutComments(t, file))
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); sums[Version] != got {
		t.Errorf("fairlead-drain is not what version %s was. Raise Version, and the tag in the chart, and note the new sum: %s", Version, got)
	}
}

// withoutComments is the code of a file alone: words about it change no program.
func withoutComments(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, content, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var code bytes.Buffer
	if err := format.Node(&code, token.NewFileSet(), parsed); err != nil {
		t.Fatal(err)
	}
	return code.Bytes()
}
