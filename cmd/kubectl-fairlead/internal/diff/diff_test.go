package diff

import "testing"

func TestUnified(t *testing.T) {
	for _, tt := range []struct{ name, before, after, want string }{
		{"equal", "a\n", "a\n", ""},
		{"a line changes", "a\nb\nc\n", "a\nx\nc\n", "--- f\n+++ f (new)\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"},
		{"the last line changes", "a\nb\n", "a\nx\n", "--- f\n+++ f (new)\n@@ -1,2 +1,2 @@\n a\n-b\n+x\n"},
		{"a line comes at the end", "a\nb\n", "a\nb\nc\n", "--- f\n+++ f (new)\n@@ -1,2 +1,3 @@\n a\n b\n+c\n"},
		{"an end of the last line is no change", "a\nb", "a\nb\nc", "--- f\n+++ f (new)\n@@ -1,2 +1,3 @@\n a\n b\n+c\n"},
		{"all is new", "", "a\nb\n", "--- f\n+++ f (new)\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Unified("f", tt.before, tt.after); got != tt.want {
				t.Errorf("it is\n%q, want\n%q", got, tt.want)
			}
		})
	}
}
