package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of one event's JSON. encoding/json itself goes 10,000 deep and
// takes any number of members.
const (
	// MaxDepth is how deep objects and arrays nest, the event itself included.
	MaxDepth = 32
	// MaxNodes is how many members and elements an event has altogether: ten
	// times what the largest HR records have.
	MaxNodes = 10_000
	// MaxString is the length of a string in bytes: a small photograph fits.
	MaxString = 256 << 10
	// MaxName is the length of a member's name in bytes.
	MaxName = 256
	// maxInteger is the largest integer that every JSON reader carries exactly.
	maxInteger = 1 << 53
)

// reader reads one JSON document without leniency: what it accepts has one
// meaning, whoever reads it.
type reader struct {
	dec   *json.Decoder
	nodes int
	depth int
	path  []string
}

func newReader(data []byte) (*reader, error) {
	if !utf8.Valid(data) {
		return nil, refuse(Syntax, "", "The body is not valid UTF-8. Send JSON encoded as UTF-8.")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return &reader{dec: dec}, nil
}

// document reads a whole body that holds one value: an event, or what has the
// place root in one.
func document(data []byte, root ...string) (any, error) {
	r, err := newReader(data)
	if err != nil {
		return nil, err
	}
	r.path, r.depth = root, len(root)
	v, err := r.value()
	if err != nil {
		return nil, err
	}
	return v, r.end()
}

// end refuses everything after the document but white space.
func (r *reader) end() error {
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return refuse(Syntax, "", "There is something after the end of the JSON document. Send one document in a request.")
	}
	return nil
}

func (r *reader) value() (any, error) {
	tok, err := r.dec.Token()
	if err != nil {
		return nil, r.syntax(err)
	}
	switch v := tok.(type) {
	case json.Delim:
		return r.container(v)
	case string:
		if len(v) > MaxString {
			return nil, r.refuse(TooLong, "The string is longer than %d bytes.", MaxString)
		}
		return v, nil
	case json.Number:
		return r.number(string(v))
	default:
		return v, nil
	}
}

func (r *reader) container(open json.Delim) (v any, err error) {
	if r.depth++; r.depth > MaxDepth {
		return nil, r.refuse(TooDeep, "The event nests deeper than %d levels.", MaxDepth)
	}
	if open == '{' {
		v, err = r.object()
	} else {
		v, err = r.array()
	}
	if err != nil {
		return nil, err
	}
	r.depth--
	if _, err := r.dec.Token(); err != nil {
		return nil, r.syntax(err)
	}
	return v, nil
}

// object reads members up to the closing brace. Names that differ only in case
// are one name to SCIM and to many JSON readers: whoever of them takes the first
// and whoever takes the last would see two different events.
func (r *reader) object() (map[string]any, error) {
	out := map[string]any{}
	seen := map[string]bool{}
	for r.dec.More() {
		name, err := r.name()
		if err != nil {
			return nil, err
		}
		r.path = append(r.path, name)
		if seen[fold(name)] {
			return nil, r.refuse(DuplicateKey, "The member is there twice (upper and lower case count as the same). Send it once.")
		}
		seen[fold(name)] = true
		if out[name], err = r.node(); err != nil {
			return nil, err
		}
		r.path = r.path[:len(r.path)-1]
	}
	return out, nil
}

func (r *reader) name() (string, error) {
	tok, err := r.dec.Token()
	if err != nil {
		return "", r.syntax(err)
	}
	name, _ := tok.(string)
	if name == "" || len(name) > MaxName || !printable(name) {
		return "", r.refuse(Invalid, "The name of a member is empty, longer than %d bytes, or holds control characters.", MaxName)
	}
	return name, nil
}

func (r *reader) array() ([]any, error) {
	out := []any{}
	for r.dec.More() {
		r.path = append(r.path, index(len(out)))
		v, err := r.node()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		r.path = r.path[:len(r.path)-1]
	}
	return out, nil
}

func (r *reader) node() (any, error) {
	if r.nodes++; r.nodes > MaxNodes {
		return nil, r.refuse(TooMany, "The event has more than %d members and elements.", MaxNodes)
	}
	return r.value()
}

// number keeps only what a float64 carries unchanged as far as whole numbers go:
// employee number 9007199254740993 would arrive as another employee's.
func (r *reader) number(text string) (any, error) {
	f, err := strconv.ParseFloat(text, 64)
	whole := !strings.ContainsAny(text, ".eE")
	n, errInt := strconv.ParseInt(text, 10, 64)
	switch {
	case whole && errInt == nil && n >= -maxInteger && n <= maxInteger:
		return float64(n), nil
	case whole || err != nil || math.Abs(f) >= maxInteger:
		return nil, r.refuse(BadNumber, "The number is beyond 2^53 and would be changed on its way. Send it as a string.")
	default:
		return f, nil
	}
}

func (r *reader) syntax(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.refuse(Syntax, "The JSON document ends before it is complete.")
	}
	return r.refuse(Syntax, "The body is not valid JSON near byte %d.", r.dec.InputOffset())
}

func (r *reader) refuse(code Code, detail string, args ...any) *Problem {
	field := ""
	for _, step := range r.path {
		field = join(field, shown(step))
	}
	return refuse(code, field, detail, args...)
}

// shown is a step of a path as a field shows it; a name that is not a plain
// word is quoted, and cut where it is long.
func shown(step string) string {
	plain := !strings.ContainsFunc(step, func(c rune) bool {
		return c != '_' && c != '-' && c != '[' && c != ']' && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	})
	if plain && len(step) <= 64 {
		return step
	}
	if runes := []rune(step); len(runes) > 64 {
		step = string(runes[:64])
	}
	return fmt.Sprintf("[%q]", step)
}

// fold brings names that differ only in case together, by full Unicode rules:
// upper-casing first takes the long s and the Kelvin sign along.
func fold(name string) string { return strings.ToLower(strings.ToUpper(name)) }

// printable tells whether s has no control characters, and nothing that was
// lost on the way: U+FFFD stands where a decoder met what it could not read, so
// that two different texts would become one.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool {
		return unicode.IsControl(c) || c == utf8.RuneError || c == '\u2028' || c == '\u2029'
	})
}

func index(n int) string { return "[" + strconv.Itoa(n) + "]" }
