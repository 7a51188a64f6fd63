package mapping

import (
	"strings"
	"unicode"
	"unicode/utf8"

	xlanguage "golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// undecomposed holds the letters that Unicode does not decompose into a plain
// letter and a mark, as passports and directories write them.
var undecomposed = strings.NewReplacer(
	"ß", "ss", "ẞ", "SS", "æ", "ae", "Æ", "AE", "œ", "oe", "Œ", "OE",
	"ø", "o", "Ø", "O", "ł", "l", "Ł", "L", "đ", "d", "Đ", "D", "ð", "d", "Ð", "D",
	"þ", "th", "Þ", "Th", "ħ", "h", "Ħ", "H", "ı", "i", "ŧ", "t", "Ŧ", "T",
	"ŋ", "n", "Ŋ", "N", "ĸ", "k", "’", "'", "‘", "'", "ʼ", "'",
)

// normalize is text without diacritics: "Søren Müller" becomes "Soren Muller".
// Other scripts keep their letters.
func normalize(text string) string {
	var out strings.Builder
	for _, r := range norm.NFKD.String(text) {
		if !unicode.Is(unicode.Mn, r) {
			out.WriteRune(r)
		}
	}
	return undecomposed.Replace(out.String())
}

// proper is text with each word begun by a capital. A word also begins after a
// hyphen, and after an apostrophe that follows one letter, so that O'Neil is
// right and Ann's is too.
func proper(text string) string {
	var out strings.Builder
	letters := 0 // in the part of the word so far
	for _, r := range text {
		switch {
		case (r == '\'' || r == '’') && letters > 1:
			out.WriteRune(r)
		case !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r):
			letters = 0
			out.WriteRune(r)
		case letters == 0:
			letters++
			out.WriteRune(unicode.ToTitle(r))
		default:
			letters++
			out.WriteRune(unicode.ToLower(r))
		}
	}
	return out.String()
}

// slug is text as the part of a user name: lower-case ASCII letters and digits,
// with one hyphen for whatever stands between.
func slug(text string) string {
	var out strings.Builder
	between := false
	for _, r := range strings.ToLower(normalize(text)) {
		if r >= utf8.RuneSelf || !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			between = true
			continue
		}
		if between && out.Len() > 0 {
			out.WriteByte('-')
		}
		between = false
		out.WriteRune(r)
	}
	return out.String()
}

// digits is what remains of text without everything but 0 to 9.
func digits(text string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)
}

// left is the first n characters of text, or fewer where there are fewer.
func left(text string, n int64) string {
	runes := []rune(text)
	return string(runes[:clamp(n, len(runes))])
}

// right is the last n characters of text, or fewer where there are fewer.
func right(text string, n int64) string {
	runes := []rune(text)
	return string(runes[len(runes)-clamp(n, len(runes)):])
}

// mid is n characters of text from a place, 1 being the first; fewer where there
// are fewer.
func mid(text string, from, n int64) string {
	runes := []rune(text)
	start := clamp(max(from, 1)-1, len(runes))
	return string(runes[start : start+clamp(n, len(runes)-start)])
}

// maxPad is the greatest width that is filled up.
const maxPad = 256

// pad is text filled up from the left to n characters.
func pad(text string, n int64, with string) (string, bool) {
	if utf8.RuneCountInString(with) != 1 || n > maxPad {
		return "", false
	}
	return strings.Repeat(with, int(max(0, n-int64(utf8.RuneCountInString(text))))) + text, true
}

// truth is what systems write for yes and no.
func truth(text string) (yes, ok bool) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "yes", "y", "1", "on":
		return true, true
	case "false", "no", "n", "0", "off":
		return false, true
	default:
		return false, false
	}
}

// maxLocale bounds what is read as a language tag, in bytes (RFC 5646, 4.4.1
// asks for 35).
const maxLocale = 64

// locale is a language tag in the form of RFC 5646: "de_ch" becomes "de-CH".
func locale(text string) (string, bool) {
	if len(text) > maxLocale {
		return "", false
	}
	tag, err := xlanguage.Parse(strings.TrimSpace(text))
	if err != nil || tag == xlanguage.Und {
		return "", false
	}
	return tag.String(), true
}

func clamp(n int64, most int) int {
	return int(max(0, min(n, int64(most))))
}

// before is text up to the first separator, or all of it where there is none.
func before(text, separator string) string {
	found, _, _ := strings.Cut(text, separator)
	return found
}

// after is text behind the first separator.
func after(text, separator string) (string, bool) {
	_, found, ok := strings.Cut(text, separator)
	return found, ok
}

// word is the nth of the words that white space separates: 1 is the first, -1
// the last.
func word(text string, n int64) (string, bool) {
	words := strings.Fields(text)
	if n < 0 {
		n += int64(len(words)) + 1
	}
	if n < 1 || n > int64(len(words)) {
		return "", false
	}
	return words[n-1], true
}
