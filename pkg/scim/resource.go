// Package scim owns the SCIM 2.0 data model: resources, filters, PATCH, the
// difference between two resources, schemas and errors. One implementation
// serves the client, the simulated service provider and the inbound endpoint.
// It knows no HTTP.
package scim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Schema URNs (RFC 7643 section 8, RFC 7644 section 8.2).
const (
	UserSchema       = "urn:ietf:params:scim:schemas:core:2.0:User"
	EnterpriseSchema = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	GroupSchema      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	PatchSchema      = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	ListSchema       = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	SearchSchema     = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
	ErrorSchema      = "urn:ietf:params:scim:api:messages:2.0:Error"
	BulkSchema       = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
	BulkReplySchema  = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
)

// Kind is a resource type, named by its endpoint.
type Kind string

// The kinds every service provider may have.
const (
	Users  Kind = "Users"
	Groups Kind = "Groups"
)

// Schema is the URN of the kind's core schema.
func (k Kind) Schema() string {
	if k == Groups {
		return GroupSchema
	}
	return UserSchema
}

// Resource is a SCIM resource: a JSON object whose attribute names compare
// without case (RFC 7643 section 2.1). Values are nil, bool, string, numbers,
// []any and map[string]any. Unknown attributes are kept.
type Resource map[string]any

// Limits on what is read from outside.
const (
	maxDepth = 32
	maxNames = 10_000
)

// ErrMalformed: the text is not a SCIM resource.
var ErrMalformed = errors.New("malformed JSON")

// Parse reads a resource. It refuses what two readers could understand
// differently: names that are equal but for case, and trailing data; and what
// only wears down the reader: depth over 32, more than 10,000 names. Numbers
// keep their digits as json.Number.
func Parse(data []byte) (Resource, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	r := reader{d: d}
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: data after the end", ErrMalformed)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: not an object", ErrMalformed)
	}
	return m, nil
}

type reader struct {
	d     *json.Decoder
	names int
}

func (r *reader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: nested deeper than %d", ErrMalformed, maxDepth)
	}
	token, err := r.d.Token()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch token {
	case json.Delim('{'):
		return r.object(depth)
	case json.Delim('['):
		return r.array(depth)
	}
	return token, nil
}

func (r *reader) object(depth int) (any, error) {
	out, seen := map[string]any{}, map[string]bool{}
	for r.d.More() {
		token, err := r.d.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		name, _ := token.(string)
		folded := foldName(name)
		if seen[folded] {
			return nil, fmt.Errorf("%w: a name appears twice in one object", ErrMalformed)
		}
		seen[folded] = true
		if r.names++; r.names > maxNames {
			return nil, fmt.Errorf("%w: more than %d names", ErrMalformed, maxNames)
		}
		if out[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return out, r.end()
}

func (r *reader) array(depth int) (any, error) {
	out := []any{}
	for r.d.More() {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, r.end()
}

func (r *reader) end() error {
	if _, err := r.d.Token(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// field finds a name without regard to case, preferring the exact one.
func field(m map[string]any, name string) (key string, value any, ok bool) {
	if v, ok := m[name]; ok {
		return name, v, true
	}
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return k, v, true
		}
	}
	return name, nil, false
}

// put sets a name, keeping the spelling that is there.
func put(m map[string]any, name string, value any) {
	key, _, _ := field(m, name)
	m[key] = value
}

// Clone is a deep copy.
func (r Resource) Clone() Resource {
	if r == nil {
		return nil
	}
	return clone(map[string]any(r)).(map[string]any)
}

func clone(v any) any {
	switch v := v.(type) {
	case Resource:
		return clone(map[string]any(v))
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = clone(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = clone(e)
		}
		return out
	default:
		return v
	}
}

func (r Resource) text(name string) string {
	_, v, _ := field(r, name)
	s, _ := v.(string)
	return s
}

// ID is the service provider's id, or "".
func (r Resource) ID() string { return r.text("id") }

// ExternalID is the client's own id, or "".
func (r Resource) ExternalID() string { return r.text("externalId") }

// UserName is the user's name, or "".
func (r Resource) UserName() string { return r.text("userName") }

// Version is the ETag in meta.version, or "".
func (r Resource) Version() string {
	_, meta, _ := field(r, "meta")
	m, _ := meta.(map[string]any)
	return Resource(m).text("version")
}

// Active is the attribute active; said is false where it is absent. Some
// servers write booleans as text.
func (r Resource) Active() (active, said bool) {
	_, v, _ := field(r, "active")
	switch v := v.(type) {
	case bool:
		return v, true
	case string:
		return strings.EqualFold(v, "true"), strings.EqualFold(v, "true") || strings.EqualFold(v, "false")
	}
	return false, false
}

// Get reads a path: "name.givenName", `emails[type eq "work"].value`,
// "urn:...:User:department". A multi-valued attribute without a filter gives
// the list, or the list of its sub-attributes.
func (r Resource) Get(path string) (any, bool) {
	p, err := ParsePath(path)
	if err != nil {
		return nil, false
	}
	holder, ok := r.holder(p)
	if !ok {
		return nil, false
	}
	_, v, ok := field(holder, p.Attr)
	if !ok {
		return nil, false
	}
	if p.Filter != nil {
		matched := matching(v, p.Filter)
		if len(matched) == 0 {
			return nil, false
		}
		if p.Sub == "" {
			return matched[0], true
		}
		_, v, ok = field(matched[0], p.Sub)
		return v, ok
	}
	if p.Sub == "" {
		return v, true
	}
	return sub(v, p.Sub)
}

func sub(v any, name string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		_, s, ok := field(v, name)
		return s, ok
	case []any:
		var out []any
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				if _, s, ok := field(m, name); ok {
					out = append(out, s)
				}
			}
		}
		return out, len(out) > 0
	}
	return nil, false
}

// holder is the object that holds the path's attribute: the resource, or the
// extension that the URN names.
func (r Resource) holder(p Path) (map[string]any, bool) {
	if p.URN == "" || isCore(p.URN) {
		return r, true
	}
	_, v, ok := field(r, p.URN)
	m, isMap := v.(map[string]any)
	return m, ok && isMap
}

func isCore(urn string) bool {
	return strings.EqualFold(urn, UserSchema) || strings.EqualFold(urn, GroupSchema)
}

func matching(v any, f Filter) []map[string]any {
	var out []map[string]any
	for _, e := range list(v) {
		if m, ok := e.(map[string]any); ok && f.Match(m) {
			out = append(out, m)
		}
	}
	return out
}

// list is v as a list: servers write a list of one as the one.
func list(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	default:
		return []any{v}
	}
}

// Set writes a value at a path, making parents, and for a filter of equalities
// the element that satisfies it.
func (r Resource) Set(path string, value any) error {
	p, err := ParsePath(path)
	if err != nil {
		return err
	}
	holder := map[string]any(r)
	if p.URN != "" && !isCore(p.URN) {
		holder = child(r, p.URN)
	}
	switch {
	case p.Filter != nil:
		return setElement(holder, p, value)
	case p.Sub != "":
		put(child(holder, p.Attr), p.Sub, value)
	default:
		put(holder, p.Attr, value)
	}
	return nil
}

func child(m map[string]any, name string) map[string]any {
	_, v, _ := field(m, name)
	c, ok := v.(map[string]any)
	if !ok {
		c = map[string]any{}
		put(m, name, c)
	}
	return c
}

func setElement(holder map[string]any, p Path, value any) error {
	_, v, _ := field(holder, p.Attr)
	elements := list(v)
	found := matching(v, p.Filter)
	if len(found) == 0 {
		fresh, ok := p.Filter.element()
		if !ok {
			return invalid(InvalidPath, "the filter must be made of equalities")
		}
		elements = append(slices.Clone(elements), fresh)
		found = []map[string]any{fresh}
	}
	for _, m := range found {
		if p.Sub != "" {
			put(m, p.Sub, value)
		} else if whole, ok := value.(map[string]any); ok {
			maps.Copy(m, whole)
		} else {
			return invalid(InvalidValue, "an element needs an object")
		}
	}
	put(holder, p.Attr, elements)
	return nil
}
