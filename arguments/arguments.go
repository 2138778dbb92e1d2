// Package arguments reads flags out of the command lines of programs, as the
// containers of a pod have them. It is pure.
package arguments

import "strings"

// Value is what a command line gives to a flag, in any of the forms that Go's
// programs take: -name=value, --name=value and --name value. A flag that stands alone
// is "true". Of several, the last counts, as for the program. ok tells whether the
// flag is there.
func Value(line []string, name string) (value string, ok bool) {
	for i, a := range line {
		flag, dashed := strings.CutPrefix(a, "-")
		flag = strings.TrimPrefix(flag, "-")
		left, right, given := strings.Cut(flag, "=")
		switch {
		case !dashed || left != name:
		case given:
			value, ok = right, true
		case i+1 < len(line) && !strings.HasPrefix(line[i+1], "-"):
			value, ok = line[i+1], true
		default:
			value, ok = "true", true
		}
	}
	return value, ok
}

// List is a value of several parts, separated by commas.
func List(value string) []string {
	var out []string
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
