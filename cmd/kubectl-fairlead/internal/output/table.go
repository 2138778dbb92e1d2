package output

import (
	"fmt"
	"io"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/printers"
)

// Column is one column of a Table.
type Column struct {
	// Name is its heading, in capitals.
	Name string
	// Wide columns are shown with -o wide only.
	Wide bool
}

// Table looks like those of kubectl get.
type Table struct {
	Columns []Column
	// Rows have a cell for each column. An empty cell is shown as "-".
	Rows [][]string
	// Empty is said instead of a table without rows.
	Empty string
}

// Columns are named columns, for NewTable; a name that begins with "+" is wide.
func columns(names []string) []Column {
	out := make([]Column, 0, len(names))
	for _, n := range names {
		bare, wide := strings.CutPrefix(n, "+")
		out = append(out, Column{Name: bare, Wide: wide})
	}
	return out
}

// NewTable is a table without rows. A column whose name begins with "+" is shown
// with -o wide only.
func NewTable(empty string, names ...string) *Table {
	return &Table{Columns: columns(names), Empty: empty}
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write writes the table.
func (t *Table) Write(w io.Writer, wide bool) error {
	if len(t.Rows) == 0 && t.Empty != "" {
		_, err := fmt.Fprintln(w, t.Empty)
		return err
	}
	out := printers.GetNewTabWriter(w)
	line := func(cell func(i int) string) error {
		var cells []string
		for i, c := range t.Columns {
			if wide || !c.Wide {
				cells = append(cells, cell(i))
			}
		}
		_, err := fmt.Fprintln(out, strings.Join(cells, "\t"))
		return err
	}
	if err := line(func(i int) string { return t.Columns[i].Name }); err != nil {
		return err
	}
	for _, row := range t.Rows {
		if err := line(func(i int) string { return cellOf(row, i) }); err != nil {
			return err
		}
	}
	return out.Flush()
}

// cellOf is a cell on one line.
func cellOf(row []string, i int) string {
	if i >= len(row) || row[i] == "" {
		return "-"
	}
	return strings.Join(strings.Fields(row[i]), " ")
}

// Age is how long ago something was, as kubectl writes it. Empty: not known.
func Age(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return duration.HumanDuration(max(0, now.Sub(t.Time)))
}
