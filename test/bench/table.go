package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// row is a line of the table: a figure, or the error instead of figures.
type row struct {
	what   string
	figure float64
	unit   string
	aim    aim
	// beside is what the figure is to be compared with where there is no aim.
	beside string
	runs   int
	err    error
}

// aim is the limit that a figure should keep; the zero value is none.
type aim struct {
	sign  byte // '<' at most, '>' at least, 0 none
	limit float64
}

func atMost(limit float64) aim  { return aim{'<', limit} }
func atLeast(limit float64) aim { return aim{'>', limit} }

func (a aim) met(figure float64) bool {
	switch a.sign {
	case '<':
		return figure <= a.limit
	case '>':
		return figure >= a.limit
	}
	return true
}

func (a aim) String() string {
	switch a.sign {
	case '<':
		return "at most " + number(a.limit)
	case '>':
		return "at least " + number(a.limit)
	}
	return ""
}

// number writes three significant digits, and whole numbers in full.
func number(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return "not measured"
	}
	if f == math.Trunc(f) || math.Abs(f) >= 1000 {
		return strconv.FormatFloat(math.Round(f), 'f', -1, 64)
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(f))))
	scale := math.Pow(10, float64(digits))
	return strconv.FormatFloat(math.Round(f*scale)/scale, 'f', -1, 64)
}

// comparison is the fourth column: the aim and whether it is met, or what the
// figure is to be seen beside.
func (r row) comparison() string {
	switch {
	case r.aim.sign == 0:
		return r.beside
	case r.aim.met(r.figure):
		return r.aim.String()
	}
	return r.aim.String() + ": **missed**"
}

func (r row) markdown(part string) string {
	if r.err != nil {
		text := strings.Join(strings.Fields(r.err.Error()), " ")
		if len(text) > 300 {
			text = text[:300] + " ..."
		}
		return fmt.Sprintf("| %s | %s | **failed** | | %s | |\n", part, cell(r.what), cell(text))
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %d |\n", part, cell(r.what), number(r.figure), cell(r.unit), cell(r.comparison()), r.runs)
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// report is the whole table.
type report struct {
	machine machine
	quick   bool
	took    time.Duration
	parts   []string
	rows    [][]row
}

func (r *report) add(part string, rows []row) {
	r.parts = append(r.parts, part)
	r.rows = append(r.rows, rows)
}

func (r *report) markdown() string {
	var t strings.Builder
	t.WriteString("# Figures\n\n<!-- Written by `make bench`. -->\n\n")
	if r.quick {
		t.WriteString("**A quick run: it shows that everything is measured, with too few runs to be quoted.**\n\n")
	}
	t.WriteString(r.machine.markdown())
	fmt.Fprintf(&t, "All of it was measured in one run of %s. `allocator` and `membership` are Go benchmarks; the others ran end to end on a\n"+
		"real cluster of %d nodes on the same machine (`test/testbed`), with the chart's defaults, as a client outside of it sees it.\n"+
		"`make bench` measures it again.\n\n", r.took.Round(time.Minute), clusterNodes)
	t.WriteString("| part | what | figure | unit | aim or comparison | runs |\n| --- | --- | ---: | --- | --- | ---: |\n")
	for i, part := range r.parts {
		for _, row := range r.rows[i] {
			t.WriteString(row.markdown(part))
		}
	}
	return t.String()
}

// failed names the parts that could not be measured.
func (r *report) failed() error {
	var errs []error
	for i, part := range r.parts {
		for _, row := range r.rows[i] {
			if row.err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", part, row.err))
			}
		}
	}
	return errors.Join(errs...)
}
