package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/test/lab"
)

// result is what `go test -bench` said of one benchmark: every value by its
// unit, one for each repetition.
type result struct {
	name   string // without "Benchmark" and without the number of processors
	values map[string][]float64
}

func (r result) median(unit string) float64 { return median(r.values[unit]) }

func (r result) runs(unit string) int { return len(r.values[unit]) }

// goBench runs the benchmarks of a package and returns what they say, in the
// order in which they ran.
func goBench(ctx context.Context, folder, pattern string, args ...string) ([]result, error) {
	all := append([]string{"test", "-run", "^$", "-bench", pattern, "-timeout", "60m"}, args...)
	cmd := exec.CommandContext(ctx, "go", append(all, folder)...)
	cmd.Dir = lab.Root()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(cmd.Args[1:], " "), err, out)
	}
	results := readGoBench(out)
	if len(results) == 0 {
		return nil, fmt.Errorf("go %s: no benchmark of %s matches:\n%s", strings.Join(cmd.Args[1:], " "), folder, out)
	}
	return results, nil
}

// readGoBench reads the lines
//
//	BenchmarkName/sub-2   30   123 ns/op   4.5 other/unit
//
// (golang.org/design/14313-benchmark-format) and leaves all others alone.
func readGoBench(text []byte) []result {
	var all []result
	index := map[string]int{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		name, values, ok := readGoBenchLine(lines.Text())
		if !ok {
			continue
		}
		i, seen := index[name]
		if !seen {
			i = len(all)
			index[name] = i
			all = append(all, result{name: name, values: map[string][]float64{}})
		}
		for unit, v := range values {
			all[i].values[unit] = append(all[i].values[unit], v)
		}
	}
	return all
}

func readGoBenchLine(line string) (name string, values map[string]float64, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || len(fields)%2 != 0 {
		return "", nil, false
	}
	name, ok = strings.CutPrefix(fields[0], "Benchmark")
	if _, err := strconv.ParseUint(fields[1], 10, 64); err != nil || !ok || name == "" {
		return "", nil, false
	}
	if i := strings.LastIndexByte(name, '-'); i > 0 {
		if _, err := strconv.ParseUint(name[i+1:], 10, 16); err == nil {
			name = name[:i]
		}
	}
	values = map[string]float64{}
	for i := 2; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return "", nil, false
		}
		values[fields[i+1]] = v
	}
	return name, values, true
}
