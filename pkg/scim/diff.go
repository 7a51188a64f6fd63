package scim

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Diff is the smallest PATCH that brings a resource to what is desired: one
// attribute an operation, each with an explicit path.
//
// desired holds only the attributes that are managed. What was sent before and
// is not desired any more is removed; what is in neither is not ours, and left
// alone. observed is the resource as the target shows it; nil means that it was
// not read, and then what was sent stands for it.
//
// Elements of multi-valued attributes are compared one by one, by their type or
// value (see elementKey); elements that we never sent are left alone.
func Diff(sent, observed, desired Resource) []Operation {
	have := observed
	if have == nil {
		have = sent
	}
	d := differ{}
	d.attributes("", sent, have, desired)
	return d.ops
}

// Equal names the paths of managed attributes in which a resource differs from
// what is desired.
func Equal(observed, desired Resource) []string {
	var paths []string
	for _, op := range Diff(nil, observed, desired) {
		paths = append(paths, op.Path)
	}
	return paths
}

type differ struct{ ops []Operation }

func (d *differ) op(op, path string, value any) {
	d.ops = append(d.ops, Operation{Op: op, Path: path, Value: value})
}

// attributes compares the attributes of a resource or an extension.
func (d *differ) attributes(prefix string, sent, have, desired map[string]any) {
	for _, name := range union(sent, desired) {
		if prefix == "" && unmanaged(name) {
			continue
		}
		_, want, _ := field(desired, name)
		_, got, _ := field(have, name)
		_, was, _ := field(sent, name)
		if prefix == "" && strings.HasPrefix(strings.ToLower(name), "urn:") {
			d.attributes(name+":", object(was), object(got), object(want))
			continue
		}
		d.attribute(prefix+name, was, got, want)
	}
}

// unmanaged attributes are the service provider's, or never shown.
func unmanaged(name string) bool {
	switch strings.ToLower(name) {
	case "schemas", "id", "meta", "groups", "password":
		return true
	}
	return false
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func union(a, b map[string]any) []string {
	names := sortedNames(b)
	for _, name := range sortedNames(a) {
		if _, _, ok := field(b, name); !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (d *differ) attribute(path string, was, got, want any) {
	switch {
	case isList(was) || isList(want):
		d.elements(path, list(was), list(got), list(want))
	case isObject(was) || isObject(want):
		d.complex(path, object(was), object(got), object(want))
	case !present(want):
		if present(got) && was != nil {
			d.op("remove", path, nil)
		}
	case !equalValue(got, want):
		d.op("replace", path, want)
	}
}

func isList(v any) bool   { _, ok := v.([]any); return ok }
func isObject(v any) bool { _, ok := v.(map[string]any); return ok }

// complex compares sub-attribute by sub-attribute. The manager's id may come
// back with company ($ref, displayName), which is not ours.
func (d *differ) complex(path string, was, got, want map[string]any) {
	for _, name := range union(was, want) {
		_, w, _ := field(want, name)
		_, g, _ := field(got, name)
		_, s, _ := field(was, name)
		switch {
		case !present(w):
			if present(g) && s != nil {
				d.op("remove", path+"."+name, nil)
			}
		case !equalValue(g, w):
			d.op("replace", path+"."+name, w)
		}
	}
}

// elements compares a multi-valued attribute.
func (d *differ) elements(path string, was, got, want []any) {
	for _, w := range want {
		m, ok := w.(map[string]any)
		if !ok {
			d.simple(path, was, got, want)
			return
		}
		key, value := elementKey(m)
		found := elementWith(got, key, value)
		if found == nil {
			d.op("add", path, []any{w})
			continue
		}
		d.element(path+"["+Eq(key, value).String()+"]", key, elementWith(was, key, value), found, m)
	}
	for _, s := range was {
		m, ok := s.(map[string]any)
		if !ok {
			d.simple(path, was, got, want)
			return
		}
		key, value := elementKey(m)
		if elementWith(want, key, value) == nil && elementWith(got, key, value) != nil {
			d.op("remove", path+"["+Eq(key, value).String()+"]", nil)
		}
	}
}

// element compares one element, sub-attribute by sub-attribute.
func (d *differ) element(path, key string, was, got, want map[string]any) {
	for _, name := range union(was, want) {
		if strings.EqualFold(name, key) {
			continue
		}
		_, w, _ := field(want, name)
		_, g, _ := field(got, name)
		_, s, _ := field(was, name)
		switch {
		case !present(w):
			if present(g) && s != nil {
				d.op("remove", path+"."+name, nil)
			}
		case !equalValue(g, w):
			d.op("replace", path+"."+name, w)
		}
	}
}

// simple compares lists of simple values as a whole.
func (d *differ) simple(path string, was, got, want []any) {
	if len(want) == 0 {
		if len(got) > 0 && len(was) > 0 {
			d.op("remove", path, nil)
		}
		return
	}
	if !slices.EqualFunc(got, want, equalValue) {
		d.op("replace", path, want)
	}
}

// elementKey is what tells the elements of a multi-valued attribute apart: the
// type where it has one (one work e-mail), else the value (one member).
func elementKey(m map[string]any) (key, value string) {
	for _, name := range []string{"type", "value"} {
		if k, v, ok := field(m, name); ok {
			if s, isText := v.(string); isText && s != "" {
				return k, s
			}
		}
	}
	return "value", fmt.Sprint(m["value"])
}

func elementWith(elements []any, key, value string) map[string]any {
	for _, e := range elements {
		m, ok := e.(map[string]any)
		if !ok {
			continue
		}
		if _, v, has := field(m, key); has {
			if s, isText := v.(string); isText && strings.EqualFold(s, value) {
				return m
			}
		}
	}
	return nil
}

// equalValue compares what a server shows with what we want: numbers as
// numbers, booleans also as text, and text exactly, because a change of case is
// a change.
func equalValue(got, want any) bool {
	switch w := want.(type) {
	case bool:
		g, said := Resource{"active": got}.Active()
		return said && g == w
	case string:
		g, ok := got.(string)
		return ok && g == w
	}
	if w, ok := number(want); ok {
		g, isNumber := number(got)
		return isNumber && g == w
	}
	return reflect.DeepEqual(got, want)
}
