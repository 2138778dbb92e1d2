package output

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type things struct {
	Things []string `json:"things"`
}

func (x things) Write(w io.Writer, wide bool) error {
	t := NewTable("No things.", "NAME", "+LENGTH", "NOTE")
	for _, name := range x.Things {
		t.Add(name, strings.Repeat("I", len(name)), "")
	}
	return t.Write(w, wide)
}

func TestPrint(t *testing.T) {
	two := things{[]string{"a<b", "long name\nin two lines"}}
	for _, tt := range []struct {
		format Format
		result Result
		want   string
	}{
		{Plain, two, "NAME                     NOTE\na<b                      -\nlong name in two lines   -\n"},
		{Wide, things{[]string{"ab"}}, "NAME   LENGTH   NOTE\nab     II       -\n"},
		{Plain, things{}, "No things.\n"},
		{JSON, things{[]string{"a<b"}}, "{\n    \"things\": [\n        \"a<b\"\n    ]\n}\n"},
		{YAML, things{[]string{"a<b"}}, "things:\n- a<b\n"},
	} {
		var out bytes.Buffer
		if err := Print(&out, tt.format, tt.result); err != nil || out.String() != tt.want {
			t.Errorf("%s: %v\n%q\nwant\n%q", tt.format, err, out.String(), tt.want)
		}
	}
}

func TestFormat(t *testing.T) {
	f := Plain
	if err := f.Set("yaml"); err != nil || f != YAML || !f.ForPrograms() {
		t.Errorf("%v, %s", err, f)
	}
	if err := f.Set("xml"); err == nil || !strings.Contains(err.Error(), "table, wide, json, yaml") || f != YAML {
		t.Errorf("%v, %s", err, f)
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		since time.Duration
		want  string
	}{{3 * time.Second, "3s"}, {90 * time.Minute, "90m"}, {76 * time.Hour, "3d4h"}, {-time.Second, "0s"}} {
		if got := Age(metav1.NewTime(now.Add(-tt.since)), now); got != tt.want {
			t.Errorf("%s: %q", tt.since, got)
		}
	}
	if got := Age(metav1.Time{}, now); got != "" {
		t.Errorf("without a time: %q", got)
	}
}
