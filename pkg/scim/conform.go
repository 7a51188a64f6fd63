package scim

import (
	"slices"
	"strings"
)

// Conform is a copy of a resource with what identity providers are known to
// write beside the schema put right, so that it reads as one wrote it who keeps
// to RFC 7643. What it cannot put right it leaves for Validate to find.
//
//	written                                     meant
//	"False", "true" for a boolean               false, true
//	one value for a multi-valued attribute      the list of it
//	"x" for an element, or for a manager        {"value": "x"}
//	[{"value": x}], {"value": x} for a simple   x
//	null, "" for the manager, [] for a list     the attribute is absent
//	department and the like in the core         in the enterprise extension
//	no schemas, or none for an extension        those that it uses
//
// Read-only attributes, unknown ones and other extensions are left as they are.
func Conform(k Kind, r Resource) Resource {
	out := r.Clone()
	schemas := k.schemas()
	core := append(common(), schemas[0].Attributes...)
	for _, name := range sortedNames(out) {
		v := out[name]
		if ext, ok := extension(k, name); ok {
			conformExtension(out, name, ext.Attributes)
			continue
		}
		if strings.HasPrefix(strings.ToLower(name), "urn:") {
			continue
		}
		if a, ok := find(core, name); ok {
			setOrRemove(out, name, conformed(a, v))
			continue
		}
		for _, ext := range schemas[1:] {
			if a, ok := find(ext.Attributes, name); ok {
				delete(out, name)
				moveTo(out, ext.ID, a, v)
			}
		}
	}
	out.declareAll(k)
	return out
}

// moveTo puts what was written in the core where it belongs. Nothing that is held
// is written there, so that it is the newer statement.
func moveTo(r Resource, urn string, a Attribute, v any) {
	if v = conformed(a, v); v != nil {
		put(child(r, urn), a.Name, v)
	}
}

func conformExtension(r Resource, name string, pool []Attribute) {
	m, ok := r[name].(map[string]any)
	if !ok {
		if r[name] == nil {
			delete(r, name)
		}
		return
	}
	conformObject(m, pool)
	if len(m) == 0 {
		delete(r, name)
	}
}

func conformObject(m map[string]any, pool []Attribute) {
	for _, name := range sortedNames(m) {
		if a, ok := find(pool, name); ok {
			setOrRemove(m, name, conformed(a, m[name]))
		}
	}
}

// conformed is a value as its attribute has it; nil takes it away.
func conformed(a Attribute, v any) any {
	if a.Mutability == "readOnly" {
		return v
	}
	if a.Multi {
		return conformedList(a, v)
	}
	if elements, isList := v.([]any); isList && len(elements) <= 1 {
		if v = nil; len(elements) == 1 {
			v = elements[0]
		}
	}
	return conformedValue(a, v)
}

func conformedList(a Attribute, v any) any {
	out := []any{}
	for _, e := range list(v) {
		if e = conformedValue(a, e); e != nil {
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func conformedValue(a Attribute, v any) any {
	m, isObject := v.(map[string]any)
	text, isText := v.(string)
	switch {
	case a.Type == "complex" && isObject:
		conformObject(m, a.Sub)
		if len(m) == 0 {
			return nil
		}
	case a.Type == "complex" && isText && hasValue(a):
		if text == "" {
			return nil
		}
		return map[string]any{"value": text}
	case a.Type != "complex" && isObject:
		if _, inner, ok := field(m, "value"); ok {
			return conformedValue(a, inner)
		}
	case a.Type == "boolean" && isText:
		if b, said := (Resource{"active": v}).Active(); said {
			return b
		}
	}
	return v
}

func hasValue(a Attribute) bool {
	_, ok := find(a.Sub, "value")
	return ok
}

// declareAll names the schemas that the resource uses, the core one first, and
// none twice.
func (r Resource) declareAll(k Kind) {
	_, v, _ := field(r, "schemas")
	schemas := []any{k.Schema()}
	for _, e := range list(v) {
		if s, isText := e.(string); isText && s != "" && !Names(schemas, s) {
			schemas = append(schemas, s)
		}
	}
	r.Drop("schemas")
	r["schemas"] = slices.Clip(schemas)
	r.Declare()
}
