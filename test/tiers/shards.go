package main

import (
	"cmp"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// clusterVariable names the cluster that tests on a real one make for themselves.
const clusterVariable = "FAIRLEAD_TESTBED_NAME"

// e2eFolder is where the tests on a real cluster are.
const e2eFolder = "./test/e2e"

// runE2E runs the tests on real clusters, on so many at once: they wait for most of their time, and the machine with them.
func runE2E(ctx context.Context, run string, clusters int) result {
	if clusters < 1 {
		return result{tier: "e2e", broken: fmt.Errorf("--clusters is %d: set it to 1 or more", clusters)}
	}
	if clusters == 1 || run != "" {
		return runTier(ctx, e2eTier(run, testbedPackages, e2ePackages))
	}
	tests, err := testsIn(e2eFolder)
	if err != nil {
		return result{tier: "e2e", broken: err}
	}
	results := make([]result, clusters)
	var all sync.WaitGroup
	for i, share := range deal(tests, clusters) {
		all.Go(func() {
			results[i] = runTier(ctx, shareTier(share, i+1))
			if i == 0 {
				// Its tests make clusters of their own.
				results[i] = sum(results[i], runTier(ctx, e2eTier("", testbedPackages)))
			}
		})
	}
	all.Wait()
	return together(results)
}

// shareTier runs some of the tests on a cluster of their own.
func shareTier(tests []string, number int) tier {
	t := e2eTier("^("+strings.Join(tests, "|")+")$", e2ePackages)
	t.env = append(t.env, clusterVariable+"=e2e"+strconv.Itoa(number))
	return t
}

// deal gives each of so many players every so-manieth test, so that tests of one file, which take about as long as each
// other, go to all.
func deal(tests []string, players int) [][]string {
	shares := make([][]string, players)
	for i, t := range tests {
		shares[i%players] = append(shares[i%players], t)
	}
	return shares
}

// testsIn are the tests of a package, in the order in which they run.
func testsIn(folder string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("looking for tests in %s: %w", folder, cmp.Or(err, fs.ErrNotExist))
	}
	slices.Sort(files)
	var tests []string
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("looking for tests: %w", err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && isTest(f) {
				tests = append(tests, f.Name.Name)
			}
		}
	}
	return tests, nil
}

// isTest tells a test from a helper and from TestMain by what it takes, a *testing.T alone.
func isTest(f *ast.FuncDecl) bool {
	if !strings.HasPrefix(f.Name.Name, "Test") || f.Type.Params.NumFields() != 1 {
		return false
	}
	star, ok := f.Type.Params.List[0].Type.(*ast.StarExpr)
	if !ok {
		return false
	}
	of, ok := star.X.(*ast.SelectorExpr)
	return ok && of.Sel.Name == "T"
}

// together is what came of runs beside each other.
func together(results []result) result {
	all := results[0]
	for _, r := range results[1:] {
		took := max(all.took, r.took)
		all = sum(all, r)
		all.took = took
	}
	return all
}

// sum is what came of two runs, one after the other.
func sum(a, b result) result {
	a.passed, a.failed, a.skipped, a.took = a.passed+b.passed, a.failed+b.failed, a.skipped+b.skipped, a.took+b.took
	a.measured, a.failures = append(a.measured, b.measured...), append(a.failures, b.failures...)
	if a.skips == nil {
		a.skips = map[string][]string{}
	}
	for reason, tests := range b.skips {
		a.skips[reason] = append(a.skips[reason], tests...)
	}
	if a.broken == nil {
		a.broken = b.broken
	}
	return a
}
