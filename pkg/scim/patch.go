package scim

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Operation is one operation of a PATCH (RFC 7644 section 3.5.2).
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path,omitempty"`
	Value any    `json:"value,omitempty"`
}

// MarshalJSON keeps a value of false or an empty list, which mean something.
func (o Operation) MarshalJSON() ([]byte, error) {
	m := map[string]any{"op": o.Op}
	if o.Path != "" {
		m["path"] = o.Path
	}
	if o.Value != nil || !strings.EqualFold(o.Op, "remove") {
		m["value"] = o.Value
	}
	return json.Marshal(m)
}

// ParsePatch reads a PATCH request.
func ParsePatch(data []byte) ([]Operation, error) {
	doc, err := Parse(data)
	if err != nil {
		return nil, invalid(InvalidSyntax, "the request is not JSON that can be trusted")
	}
	_, v, _ := field(doc, "Operations")
	raw, ok := v.([]any)
	if !ok || len(raw) == 0 {
		return nil, invalid(InvalidSyntax, "Operations is missing or empty")
	}
	ops := make([]Operation, 0, len(raw))
	for _, e := range raw {
		m, ok := e.(map[string]any)
		if !ok {
			return nil, invalid(InvalidSyntax, "an operation is not an object")
		}
		_, value, _ := field(m, "value")
		ops = append(ops, Operation{Op: Resource(m).text("op"), Path: Resource(m).text("path"), Value: value})
	}
	return ops, nil
}

// Apply gives the resource after the operations, all of them or none. The
// receiver is not changed. Errors are *Error with the scimType of RFC 7644
// section 3.5.2.
func (r Resource) Apply(ops []Operation) (Resource, error) {
	out := r.Clone()
	for i, op := range ops {
		if err := out.apply(op); err != nil {
			var e *Error
			if errors.As(err, &e) {
				e.Detail = fmt.Sprintf("Operations[%d]: %s", i, e.Detail)
			}
			return nil, err
		}
	}
	return out, nil
}

func (r Resource) apply(op Operation) error {
	verb := strings.ToLower(op.Op)
	if verb != "add" && verb != "replace" && verb != "remove" {
		return invalid(InvalidSyntax, "op must be add, replace or remove")
	}
	if op.Path == "" {
		return r.applyPathless(verb, op.Value)
	}
	p, err := ParsePath(op.Path)
	if err != nil {
		return err
	}
	if a, ok := Lookup(p); ok && a.Mutability == "readOnly" {
		return &Error{Status: 400, ScimType: Mutability, Detail: p.Attr + " is read-only", Attributes: []string{p.Attr}}
	}
	if verb == "remove" {
		return r.remove(p, op.Value)
	}
	return r.write(verb, p, op.Value)
}

// applyPathless spreads an object over the resource. Names may be dotted, or
// full paths, as some identity providers write them.
func (r Resource) applyPathless(verb string, value any) error {
	if verb == "remove" {
		return invalid(NoTarget, "remove needs a path")
	}
	m, ok := value.(map[string]any)
	if !ok {
		return invalid(InvalidValue, "without a path the value must be an object")
	}
	for _, name := range sortedNames(m) {
		v := m[name]
		switch strings.ToLower(name) {
		case "schemas", "id", "meta":
			continue
		}
		if inner, isMap := v.(map[string]any); isMap && strings.HasPrefix(strings.ToLower(name), "urn:") {
			for _, sub := range sortedNames(inner) {
				if err := r.apply(Operation{Op: verb, Path: name + ":" + sub, Value: inner[sub]}); err != nil {
					return err
				}
			}
			continue
		}
		if err := r.apply(Operation{Op: verb, Path: name, Value: v}); err != nil {
			return err
		}
	}
	return nil
}

func sortedNames(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (r Resource) write(verb string, p Path, value any) error {
	if p.Filter != nil {
		return r.writeElements(verb, p, value)
	}
	if p.Sub != "" {
		holder := r.ensureHolder(p)
		_, v, _ := field(holder, p.Attr)
		if elements, many := v.([]any); many {
			for _, e := range elements {
				if m, ok := e.(map[string]any); ok {
					put(m, p.Sub, clone(value))
				}
			}
			return nil
		}
		setOrRemove(child(holder, p.Attr), p.Sub, value)
		return nil
	}
	holder := r.ensureHolder(p)
	_, old, _ := field(holder, p.Attr)
	setOrRemove(holder, p.Attr, merged(verb, p, old, clone(value)))
	onePrimary(holder, p.Attr, value)
	return nil
}

// ensureHolder is the object that holds the path's attribute, made where it is
// missing.
func (r Resource) ensureHolder(p Path) map[string]any {
	if p.URN == "" || isCore(p.URN) {
		return r
	}
	return child(r, p.URN)
}

// setOrRemove writes a value; null takes the attribute away (RFC 7643 section 2.5).
func setOrRemove(m map[string]any, name string, value any) {
	key, _, _ := field(m, name)
	if value == nil {
		delete(m, key)
		return
	}
	m[key] = value
}

// merged is the attribute's new value: add and replace differ for lists, and
// both merge complex values.
func merged(verb string, p Path, old, value any) any {
	a, known := Lookup(p)
	_, wasList := old.([]any)
	if wasList || known && a.Multi {
		if verb == "replace" {
			return list(value)
		}
		return appendNew(list(old), list(value))
	}
	oldMap, isOld := old.(map[string]any)
	newMap, isNew := value.(map[string]any)
	if isOld && isNew {
		for name, v := range newMap {
			setOrRemove(oldMap, name, v)
		}
		return oldMap
	}
	return value
}

// appendNew adds the elements that are not there yet. Groups have thousands of
// members: those that are only a value are looked up, not compared with each.
func appendNew(old, extra []any) []any {
	out := slices.Clone(old)
	there := make(map[string]bool, len(old))
	for _, o := range old {
		if value, ok := valueText(o); ok {
			there[value] = true
		}
	}
	for _, e := range extra {
		value, named := valueText(e)
		if m, _ := e.(map[string]any); named && len(m) == 1 {
			if there[value] {
				continue
			}
		} else if slices.ContainsFunc(out, func(o any) bool { return sameElement(o, e) }) {
			continue
		}
		if out = append(out, e); named {
			there[value] = true
		}
	}
	return out
}

// withoutElements leaves out the elements that others name, by their values alone
// where they have one.
func withoutElements(old, named []any) []any {
	values := make(map[string]bool, len(named))
	var others []any
	for _, e := range named {
		if value, ok := valueText(e); ok {
			values[value] = true
		} else {
			others = append(others, valueOnly(e))
		}
	}
	return slices.DeleteFunc(slices.Clone(old), func(o any) bool {
		value, ok := valueText(o)
		return ok && values[value] || slices.ContainsFunc(others, func(e any) bool { return sameElement(o, e) })
	})
}

// valueText is the text that an element has as its value.
func valueText(e any) (string, bool) {
	m, ok := e.(map[string]any)
	if !ok {
		return "", false
	}
	_, v, _ := field(m, "value")
	text, ok := v.(string)
	return text, ok
}

// sameElement tells whether two elements stand for the same: equal, or members
// with one value.
func sameElement(a, b any) bool {
	ma, okA := a.(map[string]any)
	mb, okB := b.(map[string]any)
	if okA && okB && len(mb) == 1 {
		_, va, hasA := field(ma, "value")
		_, vb, hasB := field(mb, "value")
		if hasA && hasB {
			return reflect.DeepEqual(va, vb)
		}
	}
	return reflect.DeepEqual(a, b)
}

// valueOnly is an element that names another by its value, without the display
// name and the like that some identity providers send along.
func valueOnly(e any) any {
	m, ok := e.(map[string]any)
	if !ok {
		return e
	}
	if _, v, has := field(m, "value"); has {
		return map[string]any{"value": v}
	}
	return e
}

func (r Resource) writeElements(verb string, p Path, value any) error {
	holder := r.ensureHolder(p)
	key, v, _ := field(holder, p.Attr)
	found := matching(v, p.Filter)
	if len(found) == 0 {
		fresh, ok := p.Filter.element()
		if verb == "replace" || !ok {
			return invalid(NoTarget, "no element of "+p.Attr+" matches the filter")
		}
		holder[key] = append(list(v), fresh)
		found = []map[string]any{fresh}
	}
	for _, m := range found {
		if p.Sub != "" {
			setOrRemove(m, p.Sub, clone(value))
			continue
		}
		whole, ok := value.(map[string]any)
		if !ok {
			return invalid(InvalidValue, "an element of "+p.Attr+" must be an object")
		}
		for name, e := range whole {
			setOrRemove(m, name, clone(e))
		}
		if primary, _ := m["primary"].(bool); primary {
			onlyPrimary(holder, p.Attr, m)
		}
	}
	return nil
}

// onePrimary keeps a single primary element: the one just written.
func onePrimary(holder map[string]any, name string, written any) {
	for _, e := range list(written) {
		m, ok := e.(map[string]any)
		if primary, _ := m["primary"].(bool); ok && primary {
			onlyPrimary(holder, name, m)
		}
	}
}

func onlyPrimary(holder map[string]any, name string, keep map[string]any) {
	_, v, _ := field(holder, name)
	for _, e := range list(v) {
		m, ok := e.(map[string]any)
		if _, has := m["primary"]; ok && has && !reflect.DeepEqual(m, keep) {
			m["primary"] = false
		}
	}
}

// remove takes away an attribute, a sub-attribute or elements. A value list on
// a multi-valued attribute names the elements to take, as older identity
// providers write it.
func (r Resource) remove(p Path, value any) error {
	holder, ok := r.holder(p)
	if !ok {
		return nil
	}
	key, v, ok := field(holder, p.Attr)
	if !ok {
		return nil
	}
	switch {
	case p.Filter != nil:
		return removeElements(holder, key, v, p)
	case p.Sub != "":
		for _, e := range list(v) {
			if m, isMap := e.(map[string]any); isMap {
				name, _, _ := field(m, p.Sub)
				delete(m, name)
			}
		}
	case value != nil:
		setList(holder, key, withoutElements(list(v), list(value)))
	default:
		if a, known := Lookup(p); known && a.Required {
			return &Error{Status: 400, ScimType: Mutability, Detail: p.Attr + " is required", Attributes: []string{p.Attr}}
		}
		delete(holder, key)
	}
	return nil
}

func removeElements(holder map[string]any, key string, v any, p Path) error {
	found := matching(v, p.Filter)
	if p.Sub != "" {
		for _, m := range found {
			name, _, _ := field(m, p.Sub)
			delete(m, name)
		}
		return nil
	}
	setList(holder, key, slices.DeleteFunc(slices.Clone(list(v)), func(e any) bool {
		m, ok := e.(map[string]any)
		return ok && p.Filter.Match(m)
	}))
	return nil
}

func setList(holder map[string]any, key string, elements []any) {
	if len(elements) == 0 {
		delete(holder, key)
		return
	}
	holder[key] = elements
}
