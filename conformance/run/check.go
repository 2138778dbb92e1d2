package main

import (
	"fmt"
	"io"

	"github.com/fairlead/fairlead/conformance"
)

// expected is what a report must say of the run; what is empty, it may choose.
type expected struct{ channel, mode, version string }

// check prints what the report has, and then what it lacks, which is an error.
func (e expected) check(out io.Writer, path string) error {
	report, err := conformance.ReadReport(path)
	if err != nil {
		return err
	}
	unless := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	unless(&e.channel, report.GatewayAPIChannel)
	unless(&e.mode, report.Mode)
	complete, err := conformance.NewComplete(e.channel, e.mode)
	if err != nil {
		return fmt.Errorf("checking the report %s: %w", path, err)
	}
	complete.Version = e.version
	fmt.Fprintf(out, "\nreport: %s\n", path)
	if err := complete.PrintReport(out, report); err != nil {
		return err
	}
	gaps := complete.Check(report)
	if len(gaps) == 0 {
		fmt.Fprintln(out, "nothing is missing")
		return nil
	}
	fmt.Fprintln(out)
	if err := conformance.PrintGaps(out, gaps); err != nil {
		return err
	}
	return fmt.Errorf("the report is not complete: %d gaps", len(gaps))
}
