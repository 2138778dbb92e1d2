package apart

import (
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr/funcr"
	"go.uber.org/goleak"
)

// childName, as its name, has this program be the child.
const childName = "child-of-a-test"

func TestMain(m *testing.M) {
	if os.Args[0] == childName {
		log := funcr.New(func(prefix, args string) { fmt.Fprintln(os.Stderr, "child:", prefix, args) }, funcr.Options{})
		if err := Child(log); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
