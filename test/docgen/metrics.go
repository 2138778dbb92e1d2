package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	// Packages register their metrics when they are loaded.
	_ "github.com/fairlead/fairlead/controllers"
)

// metric is what a metric says of itself.
type metric struct{ name, kind, help, labels string }

// described is how a prometheus.Desc prints itself: it has no other way to tell.
var described = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "((?:[^"\\]|\\.)*)", (?:unit: "[^"]*", )?constLabels: \{.*\}, variableLabels: \{(.*)\}\}$`)

// ourMetrics are the metrics of ours that are registered, by name.
func ourMetrics() ([]metric, error) {
	collector, ok := metrics.Registry.(prometheus.Collector)
	if !ok {
		return nil, fmt.Errorf("the registry of metrics is a %T, which does not describe itself", metrics.Registry)
	}
	kinds, err := gatheredKinds()
	if err != nil {
		return nil, err
	}
	descs := make(chan *prometheus.Desc)
	go func() {
		collector.Describe(descs)
		close(descs)
	}()
	var out []metric
	var problem error
	for d := range descs {
		m := described.FindStringSubmatch(d.String())
		switch {
		case m == nil:
			problem = fmt.Errorf("cannot read the description of a metric: %s", d)
		case strings.HasPrefix(m[1], "fairlead_"):
			out = append(out, metric{name: m[1], kind: kindOf(m[1], kinds), help: strings.ReplaceAll(m[2], `\"`, `"`), labels: labelsOf(m[3])})
		}
	}
	slices.SortFunc(out, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return slices.Compact(out), problem
}

// gatheredKinds are the kinds of the metrics that have a value without having
// been used.
func gatheredKinds() (map[string]string, error) {
	families, err := metrics.Registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("gathering metrics: %w", err)
	}
	out := map[string]string{}
	for _, f := range families {
		if f.GetType() != dto.MetricType_UNTYPED {
			out[f.GetName()] = strings.ToLower(f.GetType().String())
		}
	}
	return out, nil
}

// kindOf goes by the naming conventions of Prometheus where nothing else is known.
func kindOf(name string, known map[string]string) string {
	switch {
	case known[name] != "":
		return known[name]
	case strings.HasSuffix(name, "_total"):
		return "counter"
	case strings.HasSuffix(name, "_seconds"):
		return "histogram"
	}
	return "gauge"
}

func labelsOf(list string) string {
	var out []string
	for _, l := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		out = append(out, "`"+l+"`")
	}
	return strings.Join(out, ", ")
}

// metricsPage is the page of metrics: what stands above the table in the page
// itself stays.
func metricsPage(before string) (string, error) {
	const begin, end = "<!-- metrics: written by `make generate` -->\n", "<!-- end of metrics -->\n"
	head, rest, ok := strings.Cut(before, begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", fmt.Errorf("docs/metrics.md lacks the lines %q and %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	all, err := ourMetrics()
	if err != nil {
		return "", err
	}
	speakers, err := sourceMetrics(filepath.Join("announcer", "agent"))
	if err != nil {
		return "", err
	}
	all = append(all, speakers...)
	slices.SortFunc(all, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	var table strings.Builder
	table.WriteString("\n| metric | kind | labels | what |\n| --- | --- | --- | --- |\n")
	for _, m := range all {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", m.name, m.kind, m.labels, strings.ReplaceAll(m.help, "|", `\|`))
	}
	table.WriteString("\n")
	return head + begin + table.String() + end + tail, nil
}
