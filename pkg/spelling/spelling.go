// Package spelling owns the guess at what somebody meant who wrote a name that
// does not exist: "did you mean endpoint?". It knows nothing of what the names
// are for.
package spelling

import "strings"

// maxWord bounds the words compared, in bytes: no name that is looked for is
// nearly as long, and the comparison takes time proportional to the square.
const maxWord = 64

// Closest is the candidate nearest to word, whatever its case, and whether one
// is near enough to be worth a guess: at most a third of its letters differ. Of
// equally near candidates the first is taken.
func Closest(word string, candidates []string) (string, bool) {
	if word == "" || len(word) > maxWord {
		return "", false
	}
	best, least := "", maxWord
	for _, c := range candidates {
		if len(c) > maxWord {
			continue
		}
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best, best != "" && least < len(word) && least <= max(1, min(len(word), len(best))/3)
}

// DidYouMean is a hint to put behind a message: " (did you mean x?)", or
// nothing where no candidate is near.
func DidYouMean(word string, candidates []string) string {
	if best, ok := Closest(word, candidates); ok {
		return " (did you mean " + best + "?)"
	}
	return ""
}

// distance counts the letters to insert, delete, replace, or swap with their
// neighbour, to turn a into b (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+differ(x[i-1], y[j-1]))
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}

func differ(a, b rune) int {
	if a == b {
		return 0
	}
	return 1
}
