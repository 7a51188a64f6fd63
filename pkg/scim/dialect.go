package scim

import (
	"errors"
	"reflect"
	"slices"
	"strings"
)

// Dialect is how a service provider wants its PATCH requests, where it differs
// from RFC 7644 section 3.5.2. The zero value is the RFC's, one attribute an
// operation; "active" travels alone in every dialect, because several vendors
// refuse or misread it in company.
type Dialect struct {
	// Pathless puts what changes into the value of one operation without path.
	Pathless bool
	// MaxOps is the most operations in a request; 0 is no limit.
	MaxOps int
	// TitleCase writes Replace for replace.
	TitleCase bool
	// Ops are the operations that exist. Empty: add, replace, remove.
	Ops []string
	// NoValuePaths: a path with a filter is refused; the whole attribute is
	// replaced instead.
	NoValuePaths bool
	// BoolStrings writes booleans as the texts True and False.
	BoolStrings bool
	// Alone are attributes that travel in a request of their own, besides active.
	Alone []string
}

// ErrUnread: the dialect replaces whole attributes, and the resource that holds
// them was not read.
var ErrUnread = errors.New("the change needs the resource as the target shows it")

// Shape gives the requests that make a change, each a list of operations, to be
// sent in this order. Applied to the observed resource they do what the
// operations do. observed may be nil where no attribute has to be replaced as a
// whole; else ErrUnread.
func (d Dialect) Shape(ops []Operation, observed Resource) ([][]Operation, error) {
	var bodies [][]Operation
	for _, group := range d.company(ops) {
		said, err := d.say(group, observed)
		if err != nil {
			return nil, err
		}
		size := len(said)
		if d.MaxOps > 0 {
			size = d.MaxOps
		}
		for body := range slices.Chunk(said, max(size, 1)) {
			bodies = append(bodies, body)
		}
	}
	return bodies, nil
}

// company divides operations into those that may travel together, and, behind
// them, those of each attribute that travels alone; active is the last.
func (d Dialect) company(ops []Operation) [][]Operation {
	alone := append(slices.Clone(d.Alone), "active")
	groups := make([][]Operation, 1+len(alone))
	for _, op := range ops {
		i := slices.IndexFunc(alone, func(name string) bool { return strings.EqualFold(attributeOf(op.Path), attributeOf(name)) })
		groups[i+1] = append(groups[i+1], op)
	}
	return groups
}

// attributeOf is the attribute that a path is about: without filter,
// sub-attribute and core URN, but behind the URN of its extension.
func attributeOf(path string) string {
	p, err := ParsePath(path)
	if err != nil {
		return path
	}
	p.Filter, p.Sub = nil, ""
	if isCore(p.URN) {
		p.URN = ""
	}
	return p.String()
}

// say puts operations that travel together into the dialect's words.
func (d Dialect) say(ops []Operation, observed Resource) ([]Operation, error) {
	said, err := d.allowed(ops, observed)
	if err != nil {
		return nil, err
	}
	if d.Pathless {
		said = pathless(said, observed)
	}
	for i := range said {
		if d.BoolStrings {
			said[i].Value = boolTexts(said[i].Value)
		}
		if d.TitleCase {
			said[i].Op = strings.ToUpper(said[i].Op[:1]) + said[i].Op[1:]
		}
	}
	return said, nil
}

// allowed rewrites what the dialect has no words for.
func (d Dialect) allowed(ops []Operation, observed Resource) ([]Operation, error) {
	var out []Operation
	var whole []string
	for _, op := range ops {
		attr := attributeOf(op.Path)
		if slices.ContainsFunc(ops, func(o Operation) bool {
			return strings.EqualFold(attributeOf(o.Path), attr) && d.wantsWhole(o, observed)
		}) {
			if !slices.ContainsFunc(whole, func(w string) bool { return strings.EqualFold(w, attr) }) {
				whole = append(whole, attr)
			}
			continue
		}
		out = append(out, d.single(op))
	}
	for _, attr := range whole {
		replaced, err := d.whole(attr, ops, observed)
		if err != nil {
			return nil, err
		}
		out = append(out, replaced...)
	}
	return out, nil
}

func (d Dialect) has(verb string) bool {
	return len(d.Ops) == 0 || slices.ContainsFunc(d.Ops, func(o string) bool { return strings.EqualFold(o, verb) })
}

// wantsWhole tells an operation that the dialect can only express by the whole
// attribute.
func (d Dialect) wantsWhole(op Operation, observed Resource) bool {
	p, err := ParsePath(op.Path)
	if err != nil {
		return false
	}
	if p.Filter != nil && (d.NoValuePaths || d.Pathless) {
		return true
	}
	return !d.has(strings.ToLower(op.Op)) && (p.Filter != nil || multiple(op, p, observed))
}

func multiple(op Operation, p Path, observed Resource) bool {
	p.Sub = ""
	a, known := Lookup(p)
	v, _ := observed.Get(p.String())
	return known && a.Multi || isList(op.Value) || isList(v)
}

// single rewrites an operation on an attribute of one value: adding and
// replacing it are the same, and null takes it away (RFC 7643 section 2.5).
func (d Dialect) single(op Operation) Operation {
	verb := strings.ToLower(op.Op)
	switch {
	case d.has(verb):
	case verb == "remove" && d.has("replace"):
		op.Op, op.Value = "replace", nil
	case verb == "remove":
		op.Op, op.Value = "add", nil
	case verb == "add":
		op.Op = "replace"
	default:
		op.Op = "add"
	}
	return op
}

// whole replaces an attribute by what it is after the operations.
func (d Dialect) whole(attr string, ops []Operation, observed Resource) ([]Operation, error) {
	if observed == nil {
		return nil, ErrUnread
	}
	mine := slices.DeleteFunc(slices.Clone(ops), func(o Operation) bool { return !strings.EqualFold(attributeOf(o.Path), attr) })
	after, err := observed.Apply(mine)
	if err != nil {
		return nil, err
	}
	before, _ := observed.Get(attr)
	value, has := after.Get(attr)
	switch {
	case reflect.DeepEqual(before, value):
		return nil, nil
	case !has && d.has("remove") && !d.Pathless:
		return []Operation{{Op: "remove", Path: attr}}, nil
	case !has:
		value = []any{}
	}
	if d.has("replace") {
		return []Operation{{Op: "replace", Path: attr, Value: value}}, nil
	}
	return []Operation{{Op: "remove", Path: attr}, {Op: "add", Path: attr, Value: value}}, nil
}

// pathless gathers operations into objects: one of what is added to lists, one
// of all the rest.
func pathless(ops []Operation, observed Resource) []Operation {
	objects := map[string]Resource{}
	var out []Operation
	for _, op := range ops {
		p, err := ParsePath(op.Path)
		if err != nil {
			out = append(out, op)
			continue
		}
		verb := strings.ToLower(op.Op)
		if verb == "remove" {
			verb, op.Value = "replace", nil
			if p.Sub == "" && multiple(op, p, observed) {
				op.Value = []any{}
			}
		}
		if objects[verb] == nil {
			objects[verb] = Resource{}
		}
		gather(objects[verb], p, op.Value, observed)
	}
	for _, verb := range []string{"replace", "add"} {
		if objects[verb] != nil {
			out = append(out, Operation{Op: verb, Value: map[string]any(objects[verb])})
		}
	}
	return out
}

// gather puts a value at its path into an object. The other sub-attributes of a
// complex value go with it: some providers replace it as a whole.
func gather(object Resource, p Path, value any, observed Resource) {
	holder := object.ensureHolder(p)
	if p.Sub == "" {
		if old, both := holder[p.Attr].([]any); both && isList(value) {
			value = append(slices.Clone(old), list(value)...)
		}
		put(holder, p.Attr, value)
		return
	}
	if _, _, begun := field(holder, p.Attr); !begun {
		put(holder, p.Attr, siblings(p, observed))
	}
	put(child(holder, p.Attr), p.Sub, value)
}

func siblings(p Path, observed Resource) map[string]any {
	out := map[string]any{}
	sub := p
	p.Sub = ""
	v, _ := observed.Get(p.String())
	for name, e := range object(v) {
		sub.Sub = name
		if a, known := Lookup(sub); known && a.Mutability != "readOnly" && name != "$ref" {
			out[name] = clone(e)
		}
	}
	return out
}

func boolTexts(v any) any {
	switch v := v.(type) {
	case bool:
		if v {
			return "True"
		}
		return "False"
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			out[name] = boolTexts(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = boolTexts(e)
		}
		return out
	}
	return v
}

// About tells whether a path of a PATCH is about the named attribute or a part
// of it: emails[type eq "work"].value is about emails, and name.givenName about
// name and about name.givenName.
func About(name, path string) bool {
	n, err := ParsePath(name)
	p, err2 := ParsePath(path)
	if err != nil || err2 != nil {
		return strings.EqualFold(name, path)
	}
	if !strings.EqualFold(attributeOf(name), attributeOf(path)) {
		return false
	}
	return n.Sub == "" || p.Sub == "" || strings.EqualFold(n.Sub, p.Sub)
}

// Without is the resource without the named attributes, or parts of attributes.
// The receiver is not changed.
func (r Resource) Without(names []string) Resource {
	out := r.Clone()
	for _, name := range names {
		p, err := ParsePath(name)
		if err != nil {
			continue
		}
		holder, ok := out.holder(p)
		if !ok {
			continue
		}
		if p.Filter == nil && p.Sub == "" {
			key, _, _ := field(holder, p.Attr)
			delete(holder, key)
		} else {
			_ = out.remove(p, nil) // a part is never required
		}
		if len(holder) == 0 && p.URN != "" {
			key, _, _ := field(out, p.URN)
			delete(out, key)
		}
	}
	return out
}

// Single is the resource with one element in each of the named multi-valued
// attributes: the primary one, else the first. The receiver is not changed.
func (r Resource) Single(names []string) Resource {
	out := r.Clone()
	for _, name := range names {
		v, _ := out.Get(name)
		elements, many := v.([]any)
		if !many || len(elements) < 2 {
			continue
		}
		i := slices.IndexFunc(elements, func(e any) bool {
			_, primary, _ := field(object(e), "primary")
			return primary == true
		})
		_ = out.Set(name, []any{elements[max(i, 0)]}) // the path was read above
	}
	return out
}
