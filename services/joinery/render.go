package joinery

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// print writes v as JSON, or as tables through the given function.
func (t *terminal) print(v any, tables func(w io.Writer)) error {
	if t.json {
		enc := json.NewEncoder(t.out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	tables(w)
	return w.Flush()
}

// row writes one tab-separated row.
func row(w io.Writer, cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = cell(c)
	}
	fmt.Fprintln(w, strings.Join(text, "\t"))
}

// cell renders a value for people, and keeps control characters that came from
// outside away from the terminal.
func cell(v any) string {
	var s string
	switch v := v.(type) {
	case time.Time:
		if v.IsZero() {
			return "-"
		}
		s = v.Local().Format("2006-01-02 15:04:05")
	case []string:
		s = strings.Join(v, ", ")
	default:
		s = fmt.Sprint(v)
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return '?'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s
}

// interactive tells whether w is a terminal that can be drawn on.
func interactive(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == ""
}
