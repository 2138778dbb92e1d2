package testbed

import (
	"reflect"
	"testing"
)

func TestMountsBelow(t *testing.T) {
	text := `22 1 0:21 / /sys rw - sysfs sysfs rw
30 1 0:30 / /tmp/fairlead-testbed/a rw - tmpfs tmpfs rw
31 1 0:31 / /tmp/fairlead-testbed/a/node1/state/x rw shared:1 - overlay overlay rw
32 1 0:32 / /tmp/fairlead-testbed/a/with\040blank\134 rw - tmpfs tmpfs rw
33 1 0:33 / /tmp/fairlead-testbed/ab/node1 rw - tmpfs tmpfs rw
cut short
`
	want := []string{"/tmp/fairlead-testbed/a/node1/state/x", `/tmp/fairlead-testbed/a/with blank\`}
	if got := mountsBelow(text, "/tmp/fairlead-testbed/a"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzUnescapeMount(f *testing.F) {
	for _, s := range []string{`\040`, `\`, `\999`, `a\0`, `\134040`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := unescapeMount(s); len(got) > len(s) {
			t.Errorf("%q grew to %q", s, got)
		}
	})
}
