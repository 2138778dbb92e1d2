package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/test/chart"
)

func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := Pages()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range names {
		if out[name], err = read(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, must := range []string{"README.md", "docs/services.md", "docs/troubleshooting.md"} {
		if out[must] == "" {
			t.Fatalf("%s is missing", must)
		}
	}
	return out
}

// Every YAML block is an object whose fields exist, or values that the chart
// takes.
func TestExamplesParse(t *testing.T) {
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	examples, err := AllExamples(scheme)
	if err != nil {
		t.Fatal(err)
	}
	objects, values := 0, 0
	for _, e := range examples {
		if e.Object != nil {
			objects++
			continue
		}
		values++
		if _, err := chart.Render(chart.Dir(), "fairlead", "fairlead-system", e.Values); err != nil {
			t.Errorf("%s: %v", e.Block, err)
		}
	}
	if objects == 0 || values == 0 {
		t.Errorf("found %d objects and %d values of the chart, want some of both", objects, values)
	}
}

// Every link within the repository leads to a file, and to a heading of it.
func TestLinks(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		for _, l := range Links(page, text) {
			target := page
			if l.File != "" {
				target = filepath.Join(filepath.Dir(page), l.File)
			}
			if _, err := os.Stat(filepath.Join(Root(), target)); err != nil {
				t.Errorf("%s:%d: %s does not exist", page, l.Line, l.File)
				continue
			}
			if l.Anchor != "" && !Anchors(all[target])[l.Anchor] {
				t.Errorf("%s:%d: %s has no heading #%s", page, l.Line, target, l.Anchor)
			}
		}
	}
}

// Every page of docs is named in the README.
func TestPagesAreLinked(t *testing.T) {
	all := pages(t)
	for page := range all {
		if strings.HasPrefix(page, "docs/") && !strings.Contains(all["README.md"], page) {
			t.Errorf("README.md does not name %s", page)
		}
	}
}

// Every reason of a condition and of an Event is explained under
// "Troubleshooting".
func TestReasonsAreExplained(t *testing.T) {
	text := pages(t)["docs/troubleshooting.md"]
	reasons := func(dir string, accept func(name, kind string) bool) {
		found, err := Strings(dir, accept)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			t.Errorf("found no reasons in %s: has the code moved?", dir)
		}
		for name, reason := range found {
			if !strings.Contains(text, "`"+reason+"`") {
				t.Errorf("docs/troubleshooting.md does not explain `%s` (%s of %s)", reason, name, dir)
			}
		}
	}
	isReason := func(_, kind string) bool { return kind == "Reason" || kind == "ProblemReason" }
	// Adopt's refusal goes to no condition.
	reasons("allocator", func(name, kind string) bool {
		return kind == "Reason" && name != "HasAnotherAddress"
	})
	reasons("announcer", isReason)
	reasons("service", func(name, _ string) bool {
		return strings.HasPrefix(name, "Reason") || strings.HasPrefix(name, "Event") || strings.HasPrefix(name, "Condition")
	})
	for _, shell := range shells {
		reasons(shell, func(name, _ string) bool { return strings.HasPrefix(name, "reason") })
	}
}

// shells are the packages around the pure ones.
var shells = []string{"controllers", filepath.Join("announcer", "agent")}

// The reasons that the shells write beside those of the pure packages.
func TestReasonsOfShellsAreExplained(t *testing.T) {
	text := pages(t)["docs/troubleshooting.md"]
	for _, shell := range shells {
		found, err := ReasonFields(shell)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			t.Errorf("found no reasons in %s: has the code moved?", shell)
		}
		for _, reason := range found {
			if !strings.Contains(text, "`"+reason+"`") {
				t.Errorf("docs/troubleshooting.md does not explain `%s` of %s", reason, shell)
			}
		}
	}
}

var annotation = regexp.MustCompile(`^[a-z0-9.-]+\.[a-z0-9.-]+/[A-Za-z-]+$`)

// Every annotation that a wish is read from has its place under "Services".
func TestAnnotationsAreExplained(t *testing.T) {
	text := pages(t)["docs/services.md"]
	found, err := Literals("service", annotation.MatchString)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := Strings(filepath.Join("api", "v1alpha1"), func(name, _ string) bool { return strings.HasPrefix(name, "Annotation") })
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range ours {
		found = append(found, a)
	}
	if len(found) < 20 {
		t.Errorf("found only %q: has the code moved?", found)
	}
	for _, a := range found {
		if !strings.Contains(text, a) {
			t.Errorf("docs/services.md does not explain %s", a)
		}
	}
}

var (
	inlineCode = regexp.MustCompile("`([^`\n]+)`")
	valueKey   = regexp.MustCompile(`^(image|services|controller|speaker|metrics|tracing|admission|crds)(\.[A-Za-z]+)+$`)
	makeTarget = regexp.MustCompile(`^make ([a-z][a-z0-9-]*)`)
)

// Keys of the chart's values that pages name exist.
func TestValuesExist(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(chart.Dir(), "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(content, &values); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for page, text := range pages(t) {
		for _, code := range codeOf(text) {
			key, _, _ := strings.Cut(code, "=")
			if !valueKey.MatchString(key) {
				continue
			}
			seen++
			if !has(values, strings.Split(key, ".")) {
				t.Errorf("%s names %s, which values.yaml does not have", page, key)
			}
		}
	}
	if seen == 0 {
		t.Error("no page names a value")
	}
}

func has(values map[string]any, path []string) bool {
	v, ok := values[path[0]]
	if !ok || len(path) == 1 {
		return ok
	}
	inner, ok := v.(map[string]any)
	return ok && has(inner, path[1:])
}

// Targets of make that pages name exist.
func TestMakeTargetsExist(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(Root(), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(content), "\n")
	seen := 0
	for page, text := range pages(t) {
		for _, code := range codeOf(text) {
			target := makeTarget.FindStringSubmatch(code)
			if target == nil {
				continue
			}
			seen++
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, target[1]+":") }) {
				t.Errorf("%s names `make %s`, which the Makefile does not have", page, target[1])
			}
		}
	}
	if seen == 0 {
		t.Error("no page names a target")
	}
}

// codeOf is the code in a page's prose: within a line, and indented lines.
func codeOf(text string) []string {
	var out []string
	for _, line := range prose(text) {
		if indented, is := strings.CutPrefix(line, "    "); is {
			out = append(out, strings.TrimSpace(indented))
			continue
		}
		for _, m := range inlineCode.FindAllStringSubmatch(line, -1) {
			out = append(out, m[1])
		}
	}
	return out
}

func TestBlocks(t *testing.T) {
	blocks, err := Blocks("p", "a\n```yaml\nx: 1\n```\nb\n  ```sh\nls\n  ```\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Block{{"p", 2, "yaml", "x: 1\n"}, {"p", 6, "sh", "ls\n"}}
	if !slices.Equal(blocks, want) {
		t.Errorf("got %+v, want %+v", blocks, want)
	}
	if _, err := Blocks("p", "```\n"); err == nil {
		t.Error("a fence that is never closed is no error")
	}
}

func TestExamplesAreStrict(t *testing.T) {
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	bad := Block{Page: "p", Text: "apiVersion: fairlead.dev/v1alpha1\nkind: IPAddressPool\nmetadata: {name: a}\nspec: {adresses: []}\n"}
	if _, err := Examples(bad, scheme); err == nil {
		t.Error("a misspelt field is no error")
	}
	two := Block{Page: "p", Text: "image: {tag: a}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"}
	got, err := Examples(two, scheme)
	if err != nil || len(got) != 2 || got[0].Values == nil || got[1].Object == nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAnchors(t *testing.T) {
	got := Anchors("# A page\n## Who answers, and why?\n```\n# no heading\n```\n## Who answers, and why?\n")
	for _, want := range []string{"a-page", "who-answers-and-why", "who-answers-and-why-1"} {
		if !got[want] {
			t.Errorf("%v lacks %s", got, want)
		}
	}
	if len(got) != 3 {
		t.Errorf("got %v", got)
	}
}
