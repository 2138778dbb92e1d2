// Package version is `kubectl fairlead version`: which versions are at work.
package version

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
	"github.com/fairlead/fairlead/plural"
	"github.com/fairlead/fairlead/version"
)

// Command is `kubectl fairlead version`.
func Command(env *kube.Env) *cobra.Command {
	var only bool
	c := &cobra.Command{
		Use: "version", Short: "Versions of the plugin, the controller and the speakers",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			if only {
				return env.Print(Versions{Plugin: version.Version})
			}
			return env.Show(func(ctx context.Context, r *kube.Reader) (output.Result, bool, error) {
				found, err := read(ctx, r)
				return found, false, err
			})(c, nil)
		},
	}
	c.Flags().BoolVar(&only, "client", false, "Only the plugin's own version; the cluster is not asked")
	return c
}

// Versions are what is at work.
type Versions struct {
	Plugin string `json:"plugin"`
	// Controllers and Speakers are the versions in the cluster, each with the number
	// of Deployments and nodes that have it.
	Controllers map[string]int `json:"controllers,omitempty"`
	Speakers    map[string]int `json:"speakers,omitempty"`
}

// labelVersion is a label of the chart.
const labelVersion = "app.kubernetes.io/version"

func read(ctx context.Context, r *kube.Reader) (Versions, error) {
	v := Versions{Plugin: version.Version, Controllers: map[string]int{}, Speakers: map[string]int{}}
	var speakers v1alpha1.SpeakerStatusList
	if err := r.List(ctx, &speakers); err != nil {
		return v, err
	}
	for i := range speakers.Items {
		v.Speakers[cmp.Or(speakers.Items[i].Status.Version, "unknown")]++
	}
	controllers, err := r.Controllers(ctx)
	if err != nil {
		return v, err
	}
	for i := range controllers {
		v.Controllers[cmp.Or(controllers[i].Labels[labelVersion], "unknown")]++
	}
	return v, nil
}

// Write is a line for each part.
func (v Versions) Write(w io.Writer, _ bool) error {
	lines := []string{"Plugin:      " + v.Plugin}
	if len(v.Controllers) > 0 {
		lines = append(lines, "Controller:  "+strings.Join(slices.Sorted(maps.Keys(v.Controllers)), ", "))
	}
	if len(v.Speakers) > 0 {
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v.Speakers)) {
			parts = append(parts, fmt.Sprintf("%s on %s", name, plural.Count(v.Speakers[name], "node")))
		}
		lines = append(lines, "Speakers:    "+strings.Join(parts, ", "))
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}
