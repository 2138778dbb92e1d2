// Command fairlead-speaker runs on every node: it tells the network which node
// answers for an address, and answers.
package main

import (
	"fmt"
	"os"

	"github.com/fairlead/fairlead/announcer/bfd/apart"
	"github.com/fairlead/fairlead/cmd/internal/program"
	"github.com/fairlead/fairlead/telemetry"
)

const (
	name = "fairlead-speaker"
	// bfdName, as the name that this program is run by, with a log level behind it, has it be a speaker's process of BFD.
	bfdName = "fairlead-bfd"
)

func main() {
	if len(os.Args) == 2 && os.Args[0] == bfdName {
		if err := watch(os.Args[1]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", bfdName, err)
			os.Exit(1)
		}
		return
	}
	program.Main(name, parse, serve)
}

// watch is BFD in a process of its own, with the logs of the speaker that runs it.
func watch(logLevel string) error {
	log, err := telemetry.NewLogger(logLevel)
	if err != nil {
		return err
	}
	return apart.Child(log.WithName("bfd"))
}
