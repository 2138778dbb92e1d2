package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
)

// sourceMetrics are the metrics that a package makes with constant names. It is
// for metrics that belong to an object and not to a registry. What it cannot
// read is an error, so that no metric is left out of the page.
func sourceMetrics(dir string) ([]metric, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, fmt.Errorf("looking for Go files in %s: %w", dir, err)
	}
	s := source{files: token.NewFileSet(), constants: map[string]string{}, helpers: map[string]helper{}}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(s.files, name, nil, 0)
		if err != nil {
			return nil, fmt.Errorf("parsing %s: %w", name, err)
		}
		files = append(files, f)
		ast.Inspect(f, s.learn)
	}
	for _, f := range files { // again, as helpers may use constants of a later file
		ast.Inspect(f, s.learn)
	}
	for _, f := range files {
		ast.Inspect(f, s.find)
	}
	if s.err == nil && len(s.found) == 0 {
		s.err = fmt.Errorf("found no metrics in %s", dir)
	}
	return s.found, s.err
}

type source struct {
	files     *token.FileSet
	constants map[string]string
	helpers   map[string]helper
	found     []metric
	err       error
}

// helper is a local function that makes a metric of (name, help).
type helper struct{ kind, prefix string }

// learn takes note of string constants and of helpers.
func (s *source) learn(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ValueSpec:
		for i, name := range n.Names {
			if i < len(n.Values) {
				if v, ok := s.text(n.Values[i]); ok {
					s.constants[name.Name] = v
				}
			}
		}
	case *ast.AssignStmt:
		if f, ok := n.Rhs[0].(*ast.FuncLit); ok {
			if name, ok := n.Lhs[0].(*ast.Ident); ok {
				ast.Inspect(f, func(in ast.Node) bool {
					if kind := constructor(in); kind != "" {
						s.helpers[name.Name] = helper{kind: kind, prefix: s.prefix(in.(*ast.CallExpr))}
					}
					return true
				})
			}
		}
	}
	return true
}

// constructor is the kind of metric that a call of package prometheus makes, or
// nothing.
func constructor(n ast.Node) string {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return ""
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if pkg, ok := f.X.(*ast.Ident); !ok || pkg.Name != "prometheus" {
		return ""
	}
	kind := strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(f.Sel.Name, "New"), "Vec"))
	switch kind {
	case "counter", "gauge", "histogram", "desc":
		return kind
	}
	return ""
}

// find collects the metrics. It does not look into helpers.
func (s *source) find(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncLit:
		made := ""
		ast.Inspect(n, func(in ast.Node) bool {
			if kind := constructor(in); kind != "" {
				made = kind
			}
			return true
		})
		return made == ""
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.Ident); ok && s.helpers[f.Name].kind != "" {
			h := s.helpers[f.Name]
			s.add(n, h.kind, h.prefix, n.Args[0], n.Args[1], nil)
			return true
		}
		switch kind := constructor(n); kind {
		case "":
		case "desc":
			s.add(n, "", "", n.Args[0], n.Args[1], n.Args[2])
		default:
			s.addOptions(n, kind)
		}
	}
	return true
}

func (s *source) addOptions(call *ast.CallExpr, kind string) {
	name, help := options(call)
	var labels ast.Expr
	if len(call.Args) > 1 {
		labels = call.Args[1]
	}
	s.add(call, kind, "", name, help, labels)
}

// prefix is the constant that a helper puts before the name it is given.
func (s *source) prefix(call *ast.CallExpr) string {
	name, _ := options(call)
	if sum, ok := name.(*ast.BinaryExpr); ok {
		v, _ := s.text(sum.X)
		return v
	}
	return ""
}

// options are the expressions of the fields Name and Help of a metric's options.
func options(call *ast.CallExpr) (name, help ast.Expr) {
	if options, ok := call.Args[0].(*ast.CompositeLit); ok {
		for _, e := range options.Elts {
			field, ok := e.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			switch key, _ := field.Key.(*ast.Ident); key.Name {
			case "Name":
				name = field.Value
			case "Help":
				help = field.Value
			}
		}
	}
	return name, help
}

func (s *source) add(at ast.Node, kind, prefix string, name, help, labels ast.Expr) {
	n, ok1 := s.text(name)
	h, ok2 := s.text(help)
	l, ok3 := s.texts(labels)
	if !ok1 || !ok2 || !ok3 {
		s.err = fmt.Errorf("%s: cannot read this metric: its name, help and labels must be constants", s.files.Position(at.Pos()))
		return
	}
	if kind == "" {
		kind = kindOf(n, nil)
	}
	s.found = append(s.found, metric{name: prefix + n, kind: kind, help: h, labels: labelsOf(strings.Join(l, ","))})
}

// text is the value of a constant expression of strings.
func (s *source) text(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		v, err := strconv.Unquote(e.Value)
		return v, e.Kind == token.STRING && err == nil
	case *ast.Ident:
		v, ok := s.constants[e.Name]
		return v, ok
	case *ast.BinaryExpr:
		a, ok1 := s.text(e.X)
		b, ok2 := s.text(e.Y)
		return a + b, ok1 && ok2 && e.Op == token.ADD
	case *ast.ParenExpr:
		return s.text(e.X)
	}
	return "", false
}

// texts are the values of a list of strings; none is an empty list.
func (s *source) texts(e ast.Expr) (out []string, ok bool) {
	switch e := e.(type) {
	case nil:
		return nil, true
	case *ast.Ident:
		return nil, e.Name == "nil"
	case *ast.CompositeLit:
		for _, one := range e.Elts {
			v, ok := s.text(one)
			if !ok {
				return nil, false
			}
			out = append(out, v)
		}
		return out, true
	}
	return nil, false
}
