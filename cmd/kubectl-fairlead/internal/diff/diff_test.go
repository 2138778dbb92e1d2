package diff

import "testing"

func TestUnified(t *testing.T) {
	for _, tt := range []struct{ name, before, after, want string }{
		{"equal", "a\n", "a\n", ""},
		{"a line changes", "a\nb\nc\n", "a\nx\nc\n", "--- f\n+++ f (new)\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c"},
		{"all is new", "", "a\nb\n", "--- f\n+++ f (new)\n@@ -0,0 +1,2 @@\n+a\n+b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Unified("f", tt.before, tt.after); got != tt.want {
				t.Errorf("it is\n%q, want\n%q", got, tt.want)
			}
		})
	}
}
