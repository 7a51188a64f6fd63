package scim

import (
	"strings"
	"unicode"
)

// foldName is the same for names that strings.EqualFold takes for equal, and only
// for those. Lower case is not: ſ and s are equal, and both lower case.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}
