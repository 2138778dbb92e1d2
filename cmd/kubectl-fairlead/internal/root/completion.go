package root

import (
	"fmt"

	"github.com/spf13/cobra"
)

// bridge lets kubectl complete what stands after `kubectl fairlead`: it runs a
// program of this name for that.
const bridge = `#!/bin/sh
# Save as kubectl_complete-fairlead in a folder of PATH and make it executable.
exec kubectl-fairlead __complete "$@"
`

// addCompletion adds the completion of cobra, and kubectl's way to use it.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	c, _, err := root.Find([]string{"completion"})
	if err != nil || c == root {
		return // cobra adds none to a command without others
	}
	c.AddCommand(&cobra.Command{
		Use:   "kubectl",
		Short: "Generate the program by which kubectl completes `kubectl fairlead`",
		Long: `kubectl asks a program of the name kubectl_complete-fairlead what may come next. Write it into a
folder of PATH, beside the plugin itself:

  kubectl fairlead completion kubectl > /usr/local/bin/kubectl_complete-fairlead
  chmod +x /usr/local/bin/kubectl_complete-fairlead

kubectl's own completion must be set up, see: kubectl completion --help`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(c.OutOrStdout(), bridge)
			return err
		},
	})
}
