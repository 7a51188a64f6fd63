package scim

import (
	"mime"
	"slices"
	"strings"
)

// What follows is what a service provider does with resources, whichever way it
// keeps them.

// Drop takes an attribute out, however it is spelled.
func (r Resource) Drop(name string) {
	for k := range r {
		if strings.EqualFold(k, name) {
			delete(r, k)
		}
	}
}

// Text is the text at a path, or "".
func (r Resource) Text(path string) string {
	v, _ := r.Get(path)
	text, _ := v.(string)
	return text
}

// Members are the objects in members; they are shared with the resource.
func (r Resource) Members() []map[string]any {
	_, v, _ := field(r, "members")
	elements, _ := v.([]any)
	out := make([]map[string]any, 0, len(elements))
	for _, e := range elements {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// SetMembers puts members in the place of those that are there; none takes the
// attribute away.
func (r Resource) SetMembers(members []any) {
	r.Drop("members")
	if len(members) > 0 {
		r["members"] = members
	}
}

// NameAttribute is the attribute that names a resource of the kind.
func (k Kind) NameAttribute() string {
	if k == Groups {
		return "displayName"
	}
	return "userName"
}

// ResourceType is the kind's name in meta (RFC 7643 section 3.1).
func (k Kind) ResourceType() string { return strings.TrimSuffix(string(k), "s") }

// Writable is a copy without what clients cannot write (RFC 7643 section 7:
// readOnly values are ignored), and with each member once.
func Writable(k Kind, r Resource) Resource {
	out := r.Clone()
	for _, name := range []string{"id", "meta"} {
		out.Drop(name)
	}
	if k == Users {
		out.Drop("groups")
		return out
	}
	var members []any
	known := map[string]bool{}
	for _, m := range out.Members() {
		id := Resource(m).Text("value")
		if id == "" || !known[id] {
			members = append(members, map[string]any{"value": id})
		}
		known[id] = true
	}
	out.SetMembers(members)
	return out
}

// Names tells whether a value of schemas names a schema.
func Names(schemas any, urn string) bool {
	all, _ := schemas.([]any)
	return slices.ContainsFunc(all, func(e any) bool {
		s, _ := e.(string)
		return strings.EqualFold(s, urn)
	})
}

// Declare names the extensions that the resource has among its schemas, where a
// PATCH has added them.
func (r Resource) Declare() {
	schemas, _ := r["schemas"].([]any)
	for _, name := range sortedNames(r) {
		if strings.HasPrefix(strings.ToLower(name), "urn:") && !Names(schemas, name) {
			schemas = append(schemas, name)
		}
	}
	r["schemas"] = schemas
}

// Primaries finds attributes with more than one primary value (RFC 7643 section
// 2.4).
func Primaries(r Resource) []Problem {
	var out []Problem
	for _, name := range sortedNames(r) {
		elements, _ := r[name].([]any)
		n := 0
		for _, e := range elements {
			m, _ := e.(map[string]any)
			if primary, _ := Resource(m).Get("primary"); primary == true {
				n++
			}
		}
		if n > 1 {
			out = append(out, Problem{Path: name, Reason: "has more than one primary value"})
		}
	}
	return out
}

// HasVersion tells whether the value of If-Match or If-None-Match names the
// resource's version; tags compare weakly, since all that are given are weak
// (RFC 7644 section 3.14).
func (r Resource) HasVersion(header string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(r.Version(), "W/") {
			return true
		}
	}
	return false
}

// IsMediaType tells whether a body of this type may be read; an absent type is
// taken for the right one (RFC 7644 section 3.1).
func IsMediaType(contentType string) bool {
	if contentType == "" {
		return true
	}
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/scim+json" || kind == "application/json")
}
