package gateway

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxProgram is how big a regular expression may be when it is compiled. Envoy
// counts otherwise, and is started with a limit that none of these comes near: it
// would reject a whole table for one that is bigger.
const maxProgram = 1000

// expression says what is wrong with a regular expression, in RE2's syntax.
func expression(where, text, problem string) string {
	if problem != "" {
		return problem
	}
	parsed, problem := parsed(where, text)
	if problem != "" {
		return problem
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxProgram {
		return fmt.Sprintf("the regular expression for the %s is too big", where)
	}
	return ""
}

// parsed reads a regular expression as Envoy does.
func parsed(where, text string) (*syntax.Regexp, string) {
	unreadable := func(why string) string {
		return fmt.Sprintf("the regular expression for the %s cannot be read: %s (RE2 syntax; no look-around, no back-references)", where, why)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, unreadable(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if why := unknown(text); why != "" {
		return nil, unreadable(why)
	}
	return parsed, ""
}

// escapes finds what is quoted or escaped. Groups: the name of a class, a
// hexadecimal and an octal number.
var escapes = regexp.MustCompile(`(?s)\\Q.*?(?:\\E|$)|\\[pP](?:\{\^?([^}]*)\}|(\pL))|\\x\{([0-9A-Fa-f]+)\}|\\([0-7]{2,3})|\\.`)

// unknown says what of an expression Go knows and Envoy's RE2 does not. Envoy
// compares bytes, so there is no character above 255.
func unknown(text string) string {
	for _, found := range escapes.FindAllStringSubmatch(text, -1) {
		all, class, hexadecimal, octal := found[0], found[1]+found[2], found[3], found[4]
		switch {
		case class != "" && !knownClass(class):
			return fmt.Sprintf("unknown class of characters: `%s`", all)
		case tooHigh(hexadecimal, 16) || tooHigh(octal, 8):
			return fmt.Sprintf("bytes are compared, and none is as high as `%s`", all)
		}
	}
	return ""
}

func tooHigh(digits string, base int) bool {
	if digits == "" {
		return false
	}
	n, err := strconv.ParseUint(digits, base, 32)
	return err != nil || n > 255
}

// newClasses are those that Go has and RE2 in Envoy 1.40, at Unicode 15, has not.
var newClasses = []string{
	"Cn", "LC",
	"Beria_Erfe", "Garay", "Gurung_Khema", "Kirat_Rai", "Ol_Onal", "Sidetic", "Sunuwar", "Tai_Yo", "Todhri", "Tolong_Siki", "Tulu_Tigalari",
}

// knownClass tells whether RE2 has a class of characters of this name: it knows no
// other spellings, where Go does.
func knownClass(name string) bool {
	if slices.Contains(newClasses, name) {
		return false
	}
	return name == "Any" || unicode.Categories[name] != nil || unicode.Scripts[name] != nil
}
