package profile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/joinery/joinery/pkg/spelling"
)

// Profile is what is known of one vendor's service.
type Profile struct {
	// Name is what a target's profile: says.
	Name string `json:"name"`
	// Vendor is the name people use.
	Vendor string `json:"vendor"`
	// Aliases are other names for it.
	Aliases []string `json:"aliases,omitempty"`
	// BaseURL is the form of the endpoint, its variable parts in braces.
	BaseURL string `json:"base_url,omitempty"`
	// Auth is how callers prove who they are.
	Auth string `json:"auth,omitempty"`
	// Confidence is what kind of sources stand behind it.
	Confidence string `json:"confidence"`
	// Documentation are the sources.
	Documentation []string `json:"documentation"`
	// Sources of the knobs that the file sets, by name.
	Sources map[string]Source `json:"sources,omitempty"`
	// Facts are known and sourced, but nothing acts on them; by name.
	Facts []Fact `json:"facts,omitempty"`
	// Unknown is what was looked for in the sources and not found.
	Unknown []string `json:"unknown,omitempty"`
	// Warnings are what an operator should know before going live, above all
	// what cannot be undone.
	Warnings []string `json:"warnings,omitempty"`

	// Knobs are how the client must behave.
	Knobs Knobs `json:"-"`
}

// Source is where the value of a knob is from.
type Source struct {
	// Source is a URL or names a document.
	Source string `json:"source"`
	// Confidence says so where it differs from the profile's, as in "inferred".
	Confidence string `json:"confidence,omitempty"`
}

// Fact is something known of a vendor.
type Fact struct {
	Name   string `json:"name"`
	Value  any    `json:"value"`
	Source string `json:"source"`
}

// Parse reads a profile's file, strictly: a key or a knob that does not exist, a
// value of the wrong type and a knob without a source are errors, each with file
// and line, joined. The profile's name is the caller's.
func Parse(file string, data []byte) (Profile, error) {
	r := reader{file: file}
	document, err := parser.ParseBytes(data, 0)
	if err != nil {
		return Profile{}, fmt.Errorf("%s: read a profile: %w", file, err)
	}
	var p Profile
	if len(document.Docs) != 1 || document.Docs[0].Body == nil {
		return Profile{}, fmt.Errorf("%s:1: a profile is one table of keys and values", file)
	}
	r.table(document.Docs[0].Body, "", map[string]func(ast.Node){
		"vendor":        func(n ast.Node) { r.into(n, &p.Vendor) },
		"aliases":       func(n ast.Node) { r.into(n, &p.Aliases) },
		"base_url":      func(n ast.Node) { r.into(n, &p.BaseURL) },
		"auth":          func(n ast.Node) { r.into(n, &p.Auth) },
		"confidence":    func(n ast.Node) { r.into(n, &p.Confidence) },
		"documentation": func(n ast.Node) { r.into(n, &p.Documentation) },
		"unknown":       func(n ast.Node) { r.into(n, &p.Unknown) },
		"warnings":      func(n ast.Node) { r.into(n, &p.Warnings) },
		"knobs":         func(n ast.Node) { r.knobs(n, &p) },
		"facts":         func(n ast.Node) { r.facts(n, &p) },
	})
	if p.Vendor == "" || p.Confidence == "" || len(p.Documentation) == 0 {
		r.report(document.Docs[0].Body, "vendor, confidence and documentation are needed")
	}
	return p, errors.Join(r.problems...)
}

// reader reads one file and collects what is wrong with it.
type reader struct {
	file     string
	problems []error
}

func (r *reader) report(at ast.Node, format string, args ...any) {
	line := 1
	if token := at.GetToken(); token != nil && token.Position != nil {
		line = token.Position.Line
	}
	r.problems = append(r.problems, fmt.Errorf("%s:%d: %s", r.file, line, fmt.Sprintf(format, args...)))
}

// into reads a plain value.
func (r *reader) into(n ast.Node, to any) {
	if err := yaml.NodeToValue(n, to); err != nil {
		r.report(n, "a value of another kind is needed here")
	}
}

// table hands each key's value to its taker. Takers under "" take any key.
func (r *reader) table(n ast.Node, what string, takers map[string]func(ast.Node)) {
	r.each(n, func(key, value ast.Node, name string) {
		take, ok := takers[name]
		if !ok {
			known := make([]string, 0, len(takers))
			for k := range takers {
				known = append(known, k)
			}
			slices.Sort(known)
			r.report(key, "unknown key %q%s: the keys%s are %s", name, spelling.DidYouMean(name, known), what, strings.Join(known, ", "))
			return
		}
		take(value)
	})
}

// each visits the keys of a table.
func (r *reader) each(n ast.Node, visit func(key, value ast.Node, name string)) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		r.report(n, "a table of keys and values is needed here")
		return
	}
	for _, v := range m.Values {
		visit(v.Key, v.Value, v.Key.GetToken().Value)
	}
}

// knobs reads name: {value, source, confidence}.
func (r *reader) knobs(n ast.Node, p *Profile) {
	p.Sources = map[string]Source{}
	r.each(n, func(key, value ast.Node, name string) {
		f := r.sourced(value, name, key)
		if f.Source == "" {
			return
		}
		if err := p.Knobs.set(name, f.Value); err != nil {
			r.report(key, "%s: %s", name, err)
			return
		}
		p.Sources[name] = Source{Source: f.Source, Confidence: f.confidence}
	})
}

func (r *reader) facts(n ast.Node, p *Profile) {
	r.each(n, func(key, value ast.Node, name string) {
		if _, isKnob := field(name); isKnob {
			r.report(key, "%s is a knob: write it under knobs", name)
			return
		}
		if f := r.sourced(value, name, key); f.Source != "" {
			p.Facts = append(p.Facts, f.Fact)
		}
	})
}

// stated is a fact, and how sure it is.
type stated struct {
	Fact
	confidence string
}

// sourced reads {value, source, confidence}; without a source it reports that.
func (r *reader) sourced(n ast.Node, name string, key ast.Node) stated {
	f := stated{Fact: Fact{Name: name}}
	r.table(n, " of "+name, map[string]func(ast.Node){
		"value":      func(n ast.Node) { r.into(n, &f.Value) },
		"source":     func(n ast.Node) { r.into(n, &f.Source) },
		"confidence": func(n ast.Node) { r.into(n, &f.confidence) },
	})
	if f.Source == "" {
		r.report(key, "%s stands without a source", name)
	}
	return f
}
