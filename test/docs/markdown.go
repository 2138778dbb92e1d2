// Package docs holds the documentation to the code: examples that the API
// server takes, links that lead somewhere, and words that the code uses.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// Root is the folder of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Pages are the project's pages for people, as paths below Root.
func Pages() ([]string, error) {
	var out []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(Root(), pattern))
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", pattern, err)
		}
		for _, f := range found {
			rel, err := filepath.Rel(Root(), f)
			if err != nil {
				return nil, fmt.Errorf("naming %s: %w", f, err)
			}
			out = append(out, rel)
		}
	}
	return out, nil
}

func read(page string) (string, error) {
	content, err := os.ReadFile(filepath.Join(Root(), page))
	if err != nil {
		return "", fmt.Errorf("reading a page: %w", err)
	}
	return string(content), nil
}

// Block is a fenced block of a page.
type Block struct {
	Page string
	// Line is that of the opening fence, from 1.
	Line     int
	Language string
	Text     string
}

func (b Block) String() string { return fmt.Sprintf("%s:%d", b.Page, b.Line) }

const fence = "```"

// Blocks are the fenced blocks of a page's text. The error is about a fence that
// is never closed.
func Blocks(page, text string) ([]Block, error) {
	var out []Block
	var open *Block
	var body []string
	for i, line := range strings.Split(text, "\n") {
		rest, fenced := strings.CutPrefix(strings.TrimSpace(line), fence)
		switch {
		case !fenced && open != nil:
			body = append(body, line)
		case fenced && open == nil:
			open, body = &Block{Page: page, Line: i + 1, Language: strings.TrimSpace(rest)}, nil
		case fenced:
			open.Text = strings.Join(body, "\n") + "\n"
			out = append(out, *open)
			open = nil
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s: the fence is never closed", open)
	}
	return out, nil
}

// prose is a page's text without its fenced blocks, line by line.
func prose(text string) []string {
	lines := strings.Split(text, "\n")
	inside := false
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), fence) {
			inside, lines[i] = !inside, ""
		}
		if inside {
			lines[i] = ""
		}
	}
	return lines
}

// Link is a link of a page to something in the repository.
type Link struct {
	Page string
	Line int
	// File is empty for a link within the page. Anchor may be empty.
	File, Anchor string
}

var linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Links are the links of a page that stay in the repository.
func Links(page, text string) []Link {
	var out []Link
	for i, line := range prose(text) {
		for _, m := range linkTarget.FindAllStringSubmatch(line, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			out = append(out, Link{Page: page, Line: i + 1, File: file, Anchor: anchor})
		}
	}
	return out
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)

// Anchors are the names of a page's headings, as hosts of repositories make
// them.
func Anchors(text string) map[string]bool {
	out := map[string]bool{}
	for _, line := range prose(text) {
		title, is := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !is || !strings.HasPrefix(line, "#") {
			continue
		}
		name := strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
		unique := name
		for n := 1; out[unique]; n++ {
			unique = fmt.Sprintf("%s-%d", name, n)
		}
		out[unique] = true
	}
	return out
}
