package imports

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// fields are those of an object, or of a part of it. What is taken out of them is
// dealt with; rest tells what nobody has taken.
type fields struct {
	of    *object
	path  string
	left  map[string]any
	parts []*fields
}

func newFields(of *object, path string, m map[string]any) *fields {
	return &fields{of: of, path: path, left: maps.Clone(m)}
}

func (f *fields) at(name string) string {
	switch {
	case f.path == "":
		return name
	case name == "":
		return f.path
	}
	return f.path + "." + name
}

// take takes a field out. A field that is null says nothing.
func (f *fields) take(name string) (any, bool) {
	if f == nil {
		return nil, false
	}
	v, ok := f.left[name]
	delete(f.left, name)
	return v, ok && v != nil
}

// has tells whether a field is there and was not taken yet.
func (f *fields) has(name string) bool {
	return f != nil && f.left[name] != nil
}

func (f *fields) note(e Effect, name string, value any, why, instead string) {
	f.of.note(e, f.at(name), value, why, instead)
}

// wrong tells of a field whose value is not of its type.
func (f *fields) wrong(name string, v any, what string) {
	f.note(Lost, name, v, "It is not "+what+".", "Correct it, and import again.")
}

// valueOf takes a field of type T out. What is no T is told.
func valueOf[T any](f *fields, name, what string) (out T, ok bool) {
	v, ok := f.take(name)
	if !ok {
		return out, false
	}
	out, ok = v.(T)
	if !ok {
		f.wrong(name, v, what)
	}
	return out, ok
}

func (f *fields) text(name string) string {
	s, _ := valueOf[string](f, name, "a text")
	return s
}

func (f *fields) flag(name string) (value, set bool) { return valueOf[bool](f, name, "true or false") }

func (f *fields) number(name string) (int64, bool) {
	v, ok := f.take(name)
	if !ok {
		return 0, false
	}
	switch n := v.(type) {
	case int64:
		return n, true
	case float64:
		if i := int64(n); float64(i) == n {
			return i, true
		}
	}
	f.wrong(name, v, "a whole number")
	return 0, false
}

// between takes a number out that must lie between two others, both included.
func (f *fields) between(name string, low, high int64) (int64, bool) {
	n, ok := f.number(name)
	if ok && (n < low || n > high) {
		f.note(Lost, name, n, fmt.Sprintf("It must lie between %d and %d.", low, high), "The default is used: set it by hand.")
		return 0, false
	}
	return n, ok
}

func (f *fields) texts(name string) []string {
	list, ok := valueOf[[]any](f, name, "a list of texts")
	if !ok {
		return nil
	}
	var out []string
	for i, v := range list {
		s, ok := v.(string)
		if !ok {
			f.wrong(fmt.Sprintf("%s[%d]", name, i), v, "a text")
			continue
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// sub is a part, nil where there is none; all of its methods work on nil.
func (f *fields) sub(name string) *fields {
	m, ok := valueOf[map[string]any](f, name, "an object")
	if !ok {
		return nil
	}
	return f.part(name, m)
}

func (f *fields) part(name string, m map[string]any) *fields {
	p := newFields(f.of, f.at(name), m)
	f.parts = append(f.parts, p)
	return p
}

func (f *fields) subs(name string) []*fields {
	list, ok := valueOf[[]any](f, name, "a list of objects")
	if !ok {
		return nil
	}
	var out []*fields
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", name, i)
		m, ok := v.(map[string]any)
		if !ok {
			f.wrong(at, v, "an object")
			continue
		}
		out = append(out, f.part(at, m))
	}
	return out
}

// decoded reads a selector in the form of Kubernetes. One that cannot be read
// makes its object unusable: without it more would be selected than is meant.
func (f *fields) decoded(name string, v any) *metav1.LabelSelector {
	m, ok := v.(map[string]any)
	out := &metav1.LabelSelector{}
	if ok {
		ok = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(m, out, true) == nil
	}
	if ok {
		_, err := metav1.LabelSelectorAsSelector(out)
		ok = err == nil
	}
	if !ok {
		f.of.unusable(f.at(name), v, "It is not a selector of labels.", "Correct it, and import again.")
		return nil
	}
	return out
}

func (f *fields) selector(name string) *metav1.LabelSelector {
	v, ok := f.take(name)
	if !ok {
		return nil
	}
	return f.decoded(name, v)
}

func (f *fields) selectors(name string) []metav1.LabelSelector {
	v, ok := f.take(name)
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		f.of.unusable(f.at(name), v, "It is not a list of selectors.", "Correct it, and import again.")
		return nil
	}
	var out []metav1.LabelSelector
	for i, v := range list {
		if s := f.decoded(fmt.Sprintf("%s[%d]", name, i), v); s != nil {
			out = append(out, *s)
		}
	}
	return out
}

// wholeSeconds reads a duration such as "90s". What is below a second is dropped,
// as BGP has no room for it.
func (f *fields) wholeSeconds(name string, low, high time.Duration) *metav1.Duration {
	s := f.text(name)
	if s == "" {
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		f.wrong(name, s, "a duration such as 90s")
		return nil
	}
	return f.within(name, s, d, low, high)
}

func (f *fields) within(name string, v any, d, low, high time.Duration) *metav1.Duration {
	whole := d.Truncate(time.Second)
	if whole < low || whole > high {
		f.note(Lost, name, v, fmt.Sprintf("It must lie between %s and %s.", low, high), "The default is used: set it by hand.")
		return nil
	}
	if whole != d {
		f.note(Changed, name, v, "BGP has whole seconds only.", "It is "+whole.String()+" now.")
	}
	return &metav1.Duration{Duration: whole}
}

// seconds reads a number of seconds.
func (f *fields) seconds(name string, low, high time.Duration) *metav1.Duration {
	n, ok := f.between(name, int64(low/time.Second), int64(high/time.Second))
	if !ok {
		return nil
	}
	return &metav1.Duration{Duration: time.Duration(n) * time.Second}
}

// needless takes fields out that nobody misses.
func (f *fields) needless(why string, names ...string) {
	for _, name := range names {
		if v, ok := f.take(name); ok {
			f.note(Needless, name, v, why, "")
		}
	}
}

// lost takes a field out that has no equal.
func (f *fields) lost(name, why, instead string) {
	if v, ok := f.take(name); ok {
		f.note(Lost, name, v, why, instead)
	}
}

// rest tells of all that was not taken.
func (f *fields) rest() {
	if f == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(f.left)) {
		if v := f.left[name]; v != nil {
			f.note(Lost, name, v, "Fairlead has nothing like it, or this version does not know the field.", "See whether it is needed.")
		}
	}
	f.left = nil
	for _, p := range f.parts {
		p.rest()
	}
}

// shown is a value in a Note.
func shown(v any) string {
	const most = 120
	var s string
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		if s = v; s == "" {
			return `""`
		}
		if !plainText(s) {
			s = strconv.Quote(s)
		}
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprintf("a %T", v)
		}
		s = string(b)
	}
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}

func plainText(s string) bool {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}
