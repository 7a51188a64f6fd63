package scim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Filter is a filter of RFC 7644 section 3.4.2.2.
type Filter interface {
	// Match tells whether a resource, or an element of a multi-valued
	// attribute, satisfies the filter.
	Match(m map[string]any) bool
	// String is the filter in its text form, which parses to the same filter.
	String() string
	// element is an object that satisfies the filter, where it is made of
	// equalities only.
	element() (map[string]any, bool)
}

type (
	comparison struct {
		path  Path
		op    string
		value any // nil, bool, string, json.Number; absent for pr
	}
	logical struct {
		op          string // and, or
		left, right Filter
	}
	negation  struct{ inner Filter }
	valuePath struct {
		path  Path
		inner Filter
	}
)

// Eq is the filter `attr eq "value"`, whatever the value holds.
func Eq(attr, value string) Filter {
	p, err := ParsePath(attr)
	if err != nil {
		p = Path{Attr: attr}
	}
	return comparison{path: p, op: "eq", value: value}
}

func (c comparison) String() string {
	if c.op == "pr" {
		return c.path.String() + " pr"
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(c.value) // nil, bool, string and json.Number always encode
	return c.path.String() + " " + c.op + " " + strings.TrimSuffix(b.String(), "\n")
}

func (l logical) String() string {
	return group(l.left, l.op, true) + " " + l.op + " " + group(l.right, l.op, false)
}

// group puts parentheses where precedence, or grouping to the left, needs them.
func group(f Filter, outer string, left bool) string {
	inner, ok := f.(logical)
	if ok && (inner.op != outer && outer == "and" || inner.op == outer && !left) {
		return "(" + f.String() + ")"
	}
	return f.String()
}

func (n negation) String() string  { return "not (" + n.inner.String() + ")" }
func (v valuePath) String() string { return v.path.String() + "[" + v.inner.String() + "]" }

func (l logical) Match(m map[string]any) bool {
	if l.op == "and" {
		return l.left.Match(m) && l.right.Match(m)
	}
	return l.left.Match(m) || l.right.Match(m)
}

func (n negation) Match(m map[string]any) bool { return !n.inner.Match(m) }

func (v valuePath) Match(m map[string]any) bool {
	value, _ := Resource(m).Get(v.path.String())
	return len(matching(value, v.inner)) > 0
}

func (c comparison) Match(m map[string]any) bool {
	value, ok := Resource(m).Get(c.path.String())
	if c.op == "pr" {
		return ok && present(value)
	}
	if !ok || value == nil {
		return (c.op == "eq" && c.value == nil) || (c.op == "ne" && c.value != nil)
	}
	exact := caseExact(c.path)
	if c.op == "ne" {
		for _, v := range scalars(value) {
			if compare(v, "eq", c.value, exact) {
				return false
			}
		}
		return true
	}
	for _, v := range scalars(value) {
		if compare(v, c.op, c.value, exact) {
			return true
		}
	}
	return false
}

// scalars are the values a comparison looks at: a complex value stands for its
// "value" sub-attribute.
func scalars(v any) []any {
	var out []any
	for _, e := range list(v) {
		if m, ok := e.(map[string]any); ok {
			_, e, _ = field(m, "value")
		}
		out = append(out, e)
	}
	return out
}

func present(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// compare applies an operator to two simple values. Values of different kinds
// never compare; times in text compare as times.
func compare(have any, op string, want any, exact bool) bool {
	switch w := want.(type) {
	case string:
		if h, isBool := have.(bool); isBool { // primary eq "True", as Entra ID writes it
			b, said := Resource{"active": w}.Active()
			return said && op == "eq" && h == b
		}
		h, ok := have.(string)
		return ok && compareText(h, op, w, exact)
	case bool:
		h, said := Resource{"active": have}.Active()
		return said && op == "eq" && h == w
	case nil:
		return op == "eq" && have == nil
	default:
		h, ok := number(have)
		n, isNumber := number(want)
		return ok && isNumber && ordered(compareFloat(h, n), op)
	}
}

func compareText(have, op, want string, exact bool) bool {
	if op == "gt" || op == "ge" || op == "lt" || op == "le" {
		h, errH := time.Parse(time.RFC3339, have)
		w, errW := time.Parse(time.RFC3339, want)
		if errH == nil && errW == nil {
			return ordered(h.Compare(w), op)
		}
	}
	if !exact {
		have, want = strings.ToLower(have), strings.ToLower(want)
	}
	switch op {
	case "co":
		return strings.Contains(have, want)
	case "sw":
		return strings.HasPrefix(have, want)
	case "ew":
		return strings.HasSuffix(have, want)
	default:
		return ordered(strings.Compare(have, want), op)
	}
}

func ordered(cmp int, op string) bool {
	switch op {
	case "eq":
		return cmp == 0
	case "gt":
		return cmp > 0
	case "ge":
		return cmp >= 0
	case "lt":
		return cmp < 0
	case "le":
		return cmp <= 0
	}
	return false
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case float64:
		return v, true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	}
	return 0, false
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (c comparison) element() (map[string]any, bool) {
	if c.op != "eq" || c.path.Filter != nil {
		return nil, false
	}
	m := Resource{}
	return m, m.Set(c.path.String(), c.value) == nil
}

func (l logical) element() (map[string]any, bool) {
	a, okA := l.left.element()
	b, okB := l.right.element()
	if l.op != "and" || !okA || !okB {
		return nil, false
	}
	for k, v := range b {
		a[k] = v
	}
	return a, true
}

func (n negation) element() (map[string]any, bool)  { return nil, false }
func (v valuePath) element() (map[string]any, bool) { return nil, false }

// Bounds on a filter from outside.
const (
	maxFilter      = 8192
	maxFilterDepth = 32
)

// ParseFilter reads a filter. Operators and attribute names compare without
// case; the error is an *Error with scimType invalidFilter.
func ParseFilter(s string) (Filter, error) {
	if len(s) > maxFilter {
		return nil, invalid(InvalidFilter, "the filter is too long")
	}
	if !utf8.ValidString(s) { // what is not text would be another value when it is written again
		return nil, invalid(InvalidFilter, "the filter is not UTF-8")
	}
	p := &parser{rest: s}
	f, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.rest != "" {
		return nil, p.fail("there is something after the filter")
	}
	return f, nil
}

type parser struct{ rest string }

func (p *parser) fail(why string) error {
	return invalid(InvalidFilter, fmt.Sprintf("%s, %d characters before the end", why, len(p.rest)))
}

func (p *parser) space() { p.rest = strings.TrimLeft(p.rest, " ") }

// word takes a keyword off the front where it stands there, followed by a space
// or a parenthesis.
func (p *parser) word(w string) bool {
	p.space()
	if len(p.rest) <= len(w) || !strings.EqualFold(p.rest[:len(w)], w) {
		return false
	}
	if c := p.rest[len(w)]; c != ' ' && c != '(' {
		return false
	}
	p.rest = p.rest[len(w):]
	return true
}

func (p *parser) or(depth int) (Filter, error) {
	return p.chain(depth, "or", p.and)
}

func (p *parser) and(depth int) (Filter, error) {
	return p.chain(depth, "and", p.factor)
}

func (p *parser) chain(depth int, op string, operand func(int) (Filter, error)) (Filter, error) {
	if depth > maxFilterDepth {
		return nil, p.fail("nested too deep")
	}
	left, err := operand(depth)
	for err == nil && p.word(op) {
		var right Filter
		if right, err = operand(depth); err == nil {
			left = logical{op, left, right}
		}
	}
	return left, err
}

func (p *parser) factor(depth int) (Filter, error) {
	if p.word("not") {
		p.space()
		if !strings.HasPrefix(p.rest, "(") {
			return nil, p.fail("not needs parentheses")
		}
		inner, err := p.parenthesis(depth)
		return negation{inner}, err
	}
	p.space()
	if strings.HasPrefix(p.rest, "(") {
		return p.parenthesis(depth)
	}
	return p.expression(depth)
}

func (p *parser) parenthesis(depth int) (Filter, error) {
	p.rest = p.rest[1:]
	f, err := p.or(depth + 1)
	if err != nil {
		return nil, err
	}
	if p.space(); !strings.HasPrefix(p.rest, ")") {
		return nil, p.fail("a parenthesis is not closed")
	}
	p.rest = p.rest[1:]
	return f, nil
}

var operators = []string{"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"}

func (p *parser) expression(depth int) (Filter, error) {
	path, err := p.path()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(p.rest, "[") {
		inner, err := p.brackets(depth)
		if err != nil || !strings.HasPrefix(p.rest, ".") {
			return valuePath{path, inner}, err
		}
		// emails[type eq "work"].value eq "x", as identity providers search.
		path.Filter = inner
		if path.Sub, p.rest = cutName(p.rest[1:]); path.Sub == "" {
			return nil, p.fail("a sub-attribute name is missing")
		}
	}
	return p.comparison(path)
}

// brackets takes "[filter]" off the front.
func (p *parser) brackets(depth int) (Filter, error) {
	p.rest = p.rest[1:]
	inner, err := p.or(depth + 1)
	if err != nil {
		return nil, err
	}
	if p.space(); !strings.HasPrefix(p.rest, "]") {
		return nil, p.fail("a bracket is not closed")
	}
	p.rest = p.rest[1:]
	return inner, nil
}

// comparison takes what is said of a path.
func (p *parser) comparison(path Path) (Filter, error) {
	p.space()
	if len(p.rest) >= 2 && strings.EqualFold(p.rest[:2], "pr") && (len(p.rest) == 2 || strings.ContainsRune(" )]", rune(p.rest[2]))) {
		p.rest = p.rest[2:]
		return comparison{path: path, op: "pr"}, nil
	}
	for _, op := range operators {
		if p.word(op) {
			value, err := p.value()
			return comparison{path, op, value}, err
		}
	}
	return nil, p.fail("an operator is missing")
}

// path takes an attribute path without a filter off the front.
func (p *parser) path() (Path, error) {
	end := strings.IndexAny(p.rest, " []()")
	if end < 0 {
		end = len(p.rest)
	}
	path, err := ParsePath(p.rest[:end])
	if err != nil {
		return path, p.fail("an attribute name is missing")
	}
	p.rest = p.rest[end:]
	return path, nil
}

// value takes a JSON scalar off the front.
func (p *parser) value() (any, error) {
	p.space()
	d := json.NewDecoder(strings.NewReader(p.rest))
	d.UseNumber()
	var v any
	if strings.HasPrefix(p.rest, "{") || strings.HasPrefix(p.rest, "[") {
		return nil, p.fail("a value is missing")
	}
	if err := d.Decode(&v); err != nil {
		return nil, p.fail("a value is missing")
	}
	p.rest = p.rest[d.InputOffset():]
	return v, nil
}

// Equality is `attr eq "value"`.
type Equality struct{ Attr, Value string }

// Equalities are those that everything a filter finds must satisfy: itself, or
// the parts of its conjunction. An index finds candidates by any one of them.
func Equalities(f Filter) []Equality {
	switch f := f.(type) {
	case logical:
		if f.op == "and" {
			return append(Equalities(f.left), Equalities(f.right)...)
		}
	case comparison:
		if text, isText := f.value.(string); isText && f.op == "eq" {
			return []Equality{{f.path.String(), text}}
		}
	}
	return nil
}
