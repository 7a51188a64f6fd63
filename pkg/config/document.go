package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// The bounds of one file. The parser takes time that grows with the square of
// the nesting, so what nests without reason is refused before it is parsed.
const (
	// MaxFile is its size in bytes.
	MaxFile = 256 << 10
	// maxTokens is how many names, values and brackets it has: about 1,500
	// attribute rules.
	maxTokens = 20_000
	// maxDepth is how deep lists and tables nest.
	maxDepth = 32
	// maxNodes is how many values it has once aliases are followed.
	maxNodes = 50_000
)

// kind is what a YAML value is.
type kind int

const (
	absent  kind = iota // null, or nothing behind the colon
	scalar              // text, number, true or false
	list                //
	table               // keys and values
	unknown             // a tag, a merge, or whatever else is not spoken here
)

func (k kind) String() string {
	return [...]string{"nothing", "a single value", "a list", "a table of keys and values", "something else"}[k]
}

// node is a YAML value with its place in the file.
type node struct {
	kind         kind
	line, column int
	// value of a scalar: string, bool, int64, uint64 or float64.
	value any
	// text is a scalar as it is written, without quotes.
	text string
	// inner is where the text begins, behind a quote or in the line below a
	// "|"; faithful tells whether its lines are those of the file.
	innerLine, innerColumn int
	faithful               bool
	items                  []*node
	entries                []entry
}

// entry is a key with its value, in the order of the file.
type entry struct {
	key          string
	line, column int
	value        *node
}

// get is the value of a key, or nil.
func (n *node) get(key string) *node {
	for _, e := range n.entries {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// inside is the place of a line and a column of the text, both from 1, in the
// file; the place of the value itself where the file spells the text differently.
func (n *node) inside(line, column int) (int, int) {
	switch {
	case line < 1 || !n.faithful:
		return n.line, n.column
	default:
		return n.innerLine + line - 1, n.innerColumn + column - 1
	}
}

// reader turns one file into nodes.
type reader struct {
	file     string
	source   []string // lines
	problems Problems
	anchors  map[string]*node
	nodes    int
}

// parse reads a YAML file. The node is nil where nothing could be read.
func parse(file string, data []byte) (*node, Problems) {
	r := &reader{file: file, source: strings.Split(string(data), "\n"), anchors: map[string]*node{}}
	document := r.document(data)
	if document == nil || document.Body == nil {
		return nil, r.problems
	}
	return r.read(document.Body, 0), r.problems
}

func (r *reader) report(line, column int, format string, args ...any) {
	r.problems = append(r.problems, Problem{File: r.file, Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

// document is the one document of the file.
func (r *reader) document(data []byte) *ast.DocumentNode {
	switch {
	case len(data) > MaxFile:
		r.report(0, 0, "the file is larger than %d KiB", MaxFile>>10)
		return nil
	case !utf8.Valid(data):
		r.report(0, 0, "the file is not UTF-8 text")
		return nil
	}
	file, err := syntax(data)
	if err != nil {
		r.broken(err)
		return nil
	}
	var found []*ast.DocumentNode
	for _, d := range file.Docs {
		if d.Body != nil {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return nil
	case 1:
		return found[0]
	default:
		at := found[1].Body.GetToken().Position
		r.report(at.Line, at.Column, "the file holds a second document: one file describes one thing")
		return found[0]
	}
}

var errTooMany = errors.New("the file has too many parts")

// syntax parses YAML. Duplicate keys are let through, to be reported all at
// once. A panic of the parser, which malformed files have caused, is a mistake in
// the file like any other.
func syntax(data []byte) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			file, err = nil, errors.New("the file is not YAML that can be read")
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if len(tokens) > maxTokens {
		return nil, errTooMany
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

func (r *reader) broken(err error) {
	var located yaml.Error
	if errors.As(err, &located) && located.GetToken() != nil && located.GetToken().Position != nil {
		at := located.GetToken().Position
		r.report(at.Line, max(at.Column, 1), "not valid YAML: %s", located.GetMessage())
		return
	}
	r.report(0, 0, "not valid YAML: %v", err)
}

// read turns a value of the parser's into a node.
func (r *reader) read(from ast.Node, depth int) *node {
	r.nodes++
	n := r.place(from)
	switch {
	case depth > maxDepth:
		r.report(n.line, n.column, "nested deeper than %d levels", maxDepth)
		n.kind = unknown
		return n
	case r.nodes > maxNodes:
		if r.nodes == maxNodes+1 {
			r.report(n.line, n.column, "the file has more than %d values", maxNodes)
		}
		n.kind = unknown
		return n
	}
	switch v := from.(type) {
	case *ast.MappingNode:
		r.table(n, v, depth)
	case *ast.SequenceNode:
		n.kind = list
		for _, item := range v.Values {
			n.items = append(n.items, r.read(item, depth+1))
		}
	case *ast.AnchorNode:
		return r.anchor(v, depth)
	case *ast.AliasNode:
		return r.alias(n, v)
	case *ast.NullNode:
		n.kind = absent
	case ast.ScalarNode:
		r.scalar(n, v)
	default:
		r.strange(n)
	}
	return n
}

func (r *reader) place(from ast.Node) *node {
	n := &node{line: 1, column: 1}
	token := from.GetToken()
	// A table begins with its first key, not with its first colon.
	if m, ok := from.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		token = m.Values[0].Key.GetToken()
	}
	if token != nil && token.Position != nil {
		n.line, n.column = token.Position.Line, max(token.Position.Column, 1)
	}
	return n
}

func (r *reader) strange(n *node) {
	n.kind = unknown
	r.report(n.line, n.column, "only plain YAML is read here: no tags and no merge keys")
}

func (r *reader) table(n *node, from *ast.MappingNode, depth int) {
	n.kind = table
	lines := map[string]int{}
	for _, v := range from.Values {
		key, ok := v.Key.(ast.ScalarNode)
		if _, complex := v.Key.(*ast.MappingKeyNode); !ok || complex || v.Key.IsMergeKey() {
			r.strange(r.place(v.Key))
			continue
		}
		at := r.place(v.Key)
		name := key.GetToken().Value
		if line, twice := lines[name]; twice {
			r.report(at.line, at.column, "%s is written twice: first in line %d", name, line)
			continue
		}
		lines[name] = at.line
		n.entries = append(n.entries, entry{name, at.line, at.column, r.read(v.Value, depth+1)})
	}
}

func (r *reader) anchor(from *ast.AnchorNode, depth int) *node {
	n := r.read(from.Value, depth)
	r.anchors[from.Name.GetToken().Value] = n
	return n
}

func (r *reader) alias(n *node, from *ast.AliasNode) *node {
	name := from.Value.GetToken().Value
	target, ok := r.anchors[name]
	if !ok {
		n.kind = unknown
		r.report(n.line, n.column, "no value above is marked &%s", name)
		return n
	}
	return target
}

func (r *reader) scalar(n *node, from ast.ScalarNode) {
	n.kind = scalar
	n.innerLine, n.innerColumn, n.faithful = n.line, n.column, true
	switch v := from.(type) {
	case *ast.StringNode:
		n.value, n.text = v.Value, v.Value
		r.quoted(n)
	case *ast.LiteralNode:
		n.value, n.text = v.Value.Value, v.Value.Value
		r.block(n)
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		n.value, n.text = v.GetValue(), from.GetToken().Value
	default:
		r.strange(n)
	}
}

// quoted notes where the text of a scalar in one line begins.
func (r *reader) quoted(n *node) {
	rest := r.rest(n)
	if strings.HasPrefix(rest, `"`) || strings.HasPrefix(rest, "'") {
		n.innerColumn++
		rest = rest[1:]
	}
	n.faithful = strings.HasPrefix(rest, n.text)
}

// block notes where the text below a "|" begins. The text below a ">" is folded,
// so that its lines are not those of the file.
func (r *reader) block(n *node) {
	n.faithful = strings.HasPrefix(r.rest(n), "|") && n.line < len(r.source)
	if !n.faithful {
		return
	}
	below := r.source[n.line]
	n.innerLine = n.line + 1
	n.innerColumn = 1 + len(below) - len(strings.TrimLeft(below, " "))
}

// rest is the line of the file from where the node begins.
func (r *reader) rest(n *node) string {
	if n.line > len(r.source) {
		return ""
	}
	line := []rune(r.source[n.line-1])
	if n.column > len(line) {
		return ""
	}
	return string(line[n.column-1:])
}
