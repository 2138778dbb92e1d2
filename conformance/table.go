package conformance

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
)

// PrintReport writes a line for each profile: how many tests passed, of how many.
func (c Complete) PrintReport(to io.Writer, report *confv1.ConformanceReport) error {
	byName := map[string]confv1.ProfileReport{}
	for _, p := range report.ProfileReports {
		byName[p.Name] = p
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROFILE\tCORE\tEXTENDED\tFEATURES\tNOT SUPPORTED")
	for _, want := range c.Profiles {
		got := byName[want.Name]
		extended := got.Extended
		if extended == nil {
			extended = &confv1.ExtendedStatus{}
		}
		fmt.Fprintf(w, "%s\t%d of %d\t%d of %d\t%d\t%d\n", want.Name, got.Core.Passed, want.Core, extended.Passed, want.Extended,
			len(extended.SupportedFeatures), len(c.missingFeatures(extended.UnsupportedFeatures)))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	_, err := fmt.Fprintf(to, "provisional tests succeeded: %d of %d\n", len(report.SucceededProvisionalTests), len(c.Provisional))
	return err
}

// PrintGaps writes a table of what is missing, with the names of tests and
// features below each line, for some lists are long.
func PrintGaps(to io.Writer, gaps []Gap) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHERE\tMISSING")
	for _, g := range gaps {
		fmt.Fprintf(w, "%s\t%s\n", g.Where, g.What)
		for _, line := range wrap(g.Names, 100) {
			fmt.Fprintf(w, "\t  %s\n", line)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing what is missing: %w", err)
	}
	return nil
}

// wrap puts names on lines of at most this many characters, but at least one on
// each.
func wrap(names []string, width int) []string {
	var lines []string
	line := ""
	for i, name := range names {
		if i < len(names)-1 {
			name += ","
		}
		if line != "" && len(line)+1+len(name) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+name, " ")
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
