package mapping

import (
	"strings"
	"time"
)

// layouts turns the letters of a date layout into Go's, longest first. They are
// the letters of Unicode's UTS 35, as in Java, .NET and Entra ID.
var layouts = []struct{ letters, layout string }{
	{"yyyy", "2006"},
	{"yy", "06"},
	{"MMMM", "January"},
	{"MMM", "Jan"},
	{"MM", "01"},
	{"M", "1"},
	{"dd", "02"},
	{"d", "2"},
	{"EEEE", "Monday"},
	{"EEE", "Mon"},
	{"HH", "15"},
	{"hh", "03"},
	{"h", "3"},
	{"mm", "04"},
	{"ss", "05"},
	{"a", "PM"},
	{"XXX", "Z07:00"},
	{"'T'", "T"},
	{"T", "T"},
}

// dateLayout is Go's layout for one like "dd.MM.yyyy"; not ok where it holds
// something else than the letters above and punctuation.
func dateLayout(text string) (layout string, ok bool) {
	var out strings.Builder
	for text != "" {
		n := 0
		for _, l := range layouts {
			if strings.HasPrefix(text, l.letters) {
				out.WriteString(l.layout)
				n = len(l.letters)
				break
			}
		}
		if n == 0 {
			if !strings.ContainsRune(" -./:,", rune(text[0])) {
				return "", false
			}
			out.WriteByte(text[0])
			n = 1
		}
		text = text[n:]
	}
	return out.String(), out.Len() > 0
}

// instant reads a date or a time as systems exchange them: RFC 3339, a date
// alone, or a time without zone, which is taken as UTC.
func instant(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly, "2006-01-02T15:04:05.999999999", time.DateTime} {
		if t, err := time.Parse(layout, strings.TrimSpace(text)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
