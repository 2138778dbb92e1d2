package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// Strings are the string constants of a package folder whose names the filter
// accepts, by name. Its second argument is the type that stands beside the name,
// if any.
func Strings(dir string, accept func(name, kind string) bool) (map[string]string, error) {
	files, err := parse(dir)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, f := range files {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				collect(out, s.(*ast.ValueSpec), accept)
			}
		}
	}
	return out, nil
}

func collect(out map[string]string, s *ast.ValueSpec, accept func(name, kind string) bool) {
	kind := ""
	if t, ok := s.Type.(*ast.Ident); ok {
		kind = t.Name
	}
	for i, name := range s.Names {
		if i >= len(s.Values) || !accept(name.Name, kind) {
			continue
		}
		if v, ok := text(s.Values[i]); ok {
			out[name.Name] = v
		}
	}
}

// Literals are all string literals of a package folder that the filter accepts.
func Literals(dir string, accept func(string) bool) ([]string, error) {
	files, err := parse(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				if v, ok := text(e); ok && accept(v) {
					out = append(out, v)
				}
			}
			return true
		})
	}
	return out, nil
}

// ReasonFields are the string literals that a package gives to fields with the
// name Reason, to a local function "no" that makes a False condition, and to
// methods "event" and "Eventf" as the reason of an Event.
func ReasonFields(dir string) ([]string, error) {
	files, err := parse(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	add := func(e ast.Expr) {
		if v, ok := text(e); ok && v != "" {
			out = append(out, v)
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && k.Name == "Reason" {
					add(n.Value)
				}
			case *ast.AssignStmt:
				for i, to := range n.Lhs {
					if k, ok := to.(*ast.SelectorExpr); ok && k.Sel.Name == "Reason" && len(n.Rhs) == len(n.Lhs) {
						add(n.Rhs[i])
					}
				}
			case *ast.CallExpr:
				if k, ok := n.Fun.(*ast.Ident); ok && k.Name == "no" && len(n.Args) > 0 {
					add(n.Args[0])
				}
				if k, ok := n.Fun.(*ast.SelectorExpr); ok && k.Sel.Name == "event" && len(n.Args) > 2 {
					add(n.Args[2])
				}
				if k, ok := n.Fun.(*ast.SelectorExpr); ok && k.Sel.Name == "Eventf" && len(n.Args) > 3 {
					add(n.Args[3])
				}
			}
			return true
		})
	}
	return out, nil
}

func text(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	v, err := strconv.Unquote(l.Value)
	return v, err == nil
}

// parse reads the Go files of a folder, without its tests.
func parse(dir string) ([]*ast.File, error) {
	names, err := filepath.Glob(filepath.Join(Root(), dir, "*.go"))
	if err != nil {
		return nil, fmt.Errorf("looking for Go files in %s: %w", dir, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("looking for Go files in %s: %w", dir, fs.ErrNotExist)
	}
	var out []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return nil, fmt.Errorf("parsing %s: %w", name, err)
		}
		out = append(out, f)
	}
	return out, nil
}
