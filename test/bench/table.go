package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
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
	sign  byte // '<' at most, '>' at least, '=' not further from 0, 0 none
	limit float64
}

func atMost(limit float64) aim  { return aim{'<', limit} }
func atLeast(limit float64) aim { return aim{'>', limit} }

// within is for differences: neither more nor less than so much.
func within(limit float64) aim { return aim{'=', limit} }

func (a aim) met(figure float64) bool {
	switch a.sign {
	case '<':
		return figure <= a.limit
	case '>':
		return figure >= a.limit
	case '=':
		return math.Abs(figure) <= a.limit
	}
	return true
}

func (a aim) String() string {
	switch a.sign {
	case '<':
		return "at most " + number(a.limit)
	case '>':
		return "at least " + number(a.limit)
	case '=':
		return "within ±" + number(a.limit)
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

func (r row) markdown() string {
	if r.err != nil {
		text := strings.Join(strings.Fields(r.err.Error()), " ")
		if len(text) > 300 {
			text = text[:300] + " ..."
		}
		return fmt.Sprintf("| %s | **failed** | | %s | |\n", cell(r.what), cell(text))
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %d |\n", cell(r.what), number(r.figure), cell(r.unit), cell(r.comparison()), r.runs)
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// report is the whole table: what each part has measured.
type report struct {
	machine machine
	quick   bool
	parts   []measured
}

// measured is what came of a part.
type measured struct {
	part
	rows []row
	took time.Duration
}

// sectionMark begins the section of a part.
const sectionMark = "## "

// markdown writes a section for each of all parts: that of this run, or the one
// that an earlier table has.
func (r *report) markdown(all []part, earlier string) string {
	var t strings.Builder
	fmt.Fprintf(&t, "# Figures\n\n<!-- Written by `make bench`. -->\n\n"+
		"`allocator`, `membership`, `bfd`, `bfdgarbage`, `bfdcost` and `bgpmemory` are Go benchmarks; the others ran end to end on a real cluster of %d nodes on the machine named\n"+
		"(`test/testbed`), with the chart's defaults, as a client outside of it sees it. `make bench BENCH='--out docs/figures.md'` measures\n"+
		"all of it again, and with `--only` some parts of it: the others stay as they are.\n\n", clusterNodes)
	was := sections(earlier)
	for _, p := range all {
		i := slices.IndexFunc(r.parts, func(m measured) bool { return m.name == p.name })
		switch {
		case i >= 0:
			t.WriteString(r.section(r.parts[i]))
		case was[p.name] != "":
			t.WriteString(was[p.name])
		}
	}
	return strings.TrimRight(t.String(), "\n") + "\n"
}

func (r *report) section(m measured) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%s%s\n\nMeasured: %s. %s Took %s.\n\n", sectionMark, m.name, m.about, r.machine.markdown(), m.took.Round(time.Second))
	if r.quick {
		t.WriteString("**A quick run: it shows that everything is measured, with too few runs to be quoted.**\n\n")
	}
	t.WriteString("| what | figure | unit | aim or comparison | runs |\n| --- | ---: | --- | --- | ---: |\n")
	for _, row := range m.rows {
		t.WriteString(row.markdown())
	}
	t.WriteString("\n")
	return t.String()
}

// sections are those of a table that was written before, by part.
func sections(text string) map[string]string {
	out := map[string]string{}
	name := ""
	for line := range strings.Lines(text) {
		if begins, ok := strings.CutPrefix(line, sectionMark); ok {
			name = strings.TrimSpace(begins)
		}
		if name != "" {
			out[name] += line
		}
	}
	for name, text := range out {
		out[name] = strings.TrimRight(text, "\n") + "\n\n"
	}
	return out
}

// failed names the parts that could not be measured.
func (r *report) failed() error {
	var errs []error
	for _, m := range r.parts {
		for _, row := range m.rows {
			if row.err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", m.name, row.err))
			}
		}
	}
	return errors.Join(errs...)
}
