// Package plural counts things in words, and names them where they are few, the same
// in all that Fairlead says. It is pure.
package plural

import (
	"strconv"
	"strings"
)

// Count is a number with what it counts: "1 address", "3 addresses", "2 policies".
func Count[N ~int | ~int32 | ~int64](n N, one string) string {
	return strconv.FormatInt(int64(n), 10) + " " + Of(n, one)
}

// Of is a word for a number of what it names.
func Of[N ~int | ~int32 | ~int64](n N, one string) string {
	if n == 1 {
		return one
	}
	for _, sound := range []string{"s", "x", "z", "ch", "sh"} {
		if strings.HasSuffix(one, sound) {
			return one + "es"
		}
	}
	if stem, ok := strings.CutSuffix(one, "y"); ok && stem != "" && !strings.ContainsAny(stem[len(stem)-1:], "aeiou") {
		return stem + "ies"
	}
	return one + "s"
}

// most is how many names a sentence has room for.
const most = 5

// Some are names for a sentence: of many the first few, and how many more there are.
// More than one more, since its name takes no more room than to count it.
func Some(names []string) string {
	if n := len(names); n > most+1 {
		return strings.Join(names[:most], ", ") + " and " + strconv.Itoa(n-most) + " more"
	}
	return strings.Join(names, ", ")
}
