package main

import (
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// valuesPage is the table of the chart's values, made of values.yaml and the
// comments above its keys.
func valuesPage(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the chart's values: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return "", fmt.Errorf("parsing %s: %w", path, err)
	}
	var b strings.Builder
	b.WriteString("# Values of the chart\n\n<!-- Written by `make generate` from charts/fairlead/values.yaml. -->\n\n| key | default | what |\n| --- | --- | --- |\n")
	if err := valueRows(&b, "", "", doc.Content[0]); err != nil {
		return "", err
	}
	return b.String(), nil
}

// valueRows writes a row for each key that holds a value; a key that holds keys
// lends them its comment.
func valueRows(b *strings.Builder, prefix, inherited string, mapping *yaml.Node) error {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		path := prefix + key.Value
		comment := comment(key.HeadComment)
		if comment == "" {
			comment = inherited
		}
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && !strings.HasSuffix(path, "resources") {
			if err := valueRows(b, path+".", comment, value); err != nil {
				return err
			}
			continue
		}
		if comment == "" {
			comment = conventional(key.Value)
		}
		text, err := inline(value)
		if err != nil {
			return fmt.Errorf("value %s: %w", path, err)
		}
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", path, text, comment)
	}
	return nil
}

// conventional is what keys mean that Helm charts have in common.
func conventional(key string) string {
	return map[string]string{
		"resources":         "Resources of the container.",
		"nodeSelector":      "Nodes to run on, by label.",
		"tolerations":       "Taints to run beside.",
		"affinity":          "Affinity of the pods.",
		"priorityClassName": "Priority class of the pods.",
		"podAnnotations":    "More annotations of the pods.",
		"podLabels":         "More labels of the pods.",
		"extraEnv":          "More environment variables.",
		"labels":            "More labels.",
	}[key]
}

// comment is the last paragraph of a comment, on one line.
func comment(head string) string {
	paragraphs := strings.Split(head, "\n\n")
	lines := strings.Split(paragraphs[len(paragraphs)-1], "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSpace(strings.TrimPrefix(l, "#"))
	}
	return strings.ReplaceAll(strings.Join(lines, " "), "|", "\\|")
}

func inline(n *yaml.Node) (string, error) {
	if n.Kind == yaml.ScalarNode {
		if n.Value == "" {
			return `""`, nil
		}
		return n.Value, nil
	}
	c := *n
	flow(&c)
	out, err := yaml.Marshal(&c)
	return strings.TrimSpace(strings.ReplaceAll(string(out), "\n", " ")), err
}

func flow(n *yaml.Node) {
	n.Style = yaml.FlowStyle
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	for _, c := range n.Content {
		if c.Kind != yaml.ScalarNode {
			flow(c)
		}
	}
}
