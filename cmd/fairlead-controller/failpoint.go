package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/fairlead/fairlead/controllers"
)

// exitFailpoint is the exit code of a process killed by SIGKILL, for which a
// failpoint stands.
const exitFailpoint = 137

// parseFailpoint reads FAIRLEAD_FAILPOINT, as "address.create.after:2": the
// process ends at the second pass of that point. Without ".before" or ".after"
// both count. Only tests set it.
func parseFailpoint(s string) (controllers.Failpoint, error) {
	if s == "" {
		return nil, nil
	}
	point, count, ok := strings.Cut(s, ":")
	n := 1
	if ok {
		var err error
		if n, err = strconv.Atoi(count); err != nil || n < 1 {
			return nil, fmt.Errorf("FAIRLEAD_FAILPOINT is %q: %q is not a number of passes", s, count)
		}
	}
	if !slices.ContainsFunc(controllers.Points(), func(p string) bool { return p == point || p == point+".before" }) {
		return nil, fmt.Errorf("FAIRLEAD_FAILPOINT is %q: the points are %s", s, strings.Join(controllers.Points(), ", "))
	}
	var passes atomic.Int64
	return func(_ context.Context, at string) error {
		if (at == point || at == point+".before" || at == point+".after") && passes.Add(1) == int64(n) {
			os.Exit(exitFailpoint)
		}
		return nil
	}, nil
}
