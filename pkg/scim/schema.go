package scim

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Attribute is one attribute of a schema (RFC 7643 section 7).
type Attribute struct {
	Name        string      `json:"name"`
	Type        string      `json:"type"`
	Multi       bool        `json:"multiValued"`
	Description string      `json:"description,omitempty"`
	Required    bool        `json:"required"`
	CaseExact   bool        `json:"caseExact"`
	Mutability  string      `json:"mutability"`
	Returned    string      `json:"returned"`
	Uniqueness  string      `json:"uniqueness"`
	Sub         []Attribute `json:"subAttributes,omitempty"`
}

// Schema is a resource schema.
type Schema struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Attributes  []Attribute `json:"attributes"`
}

func attr(name, kind string, change ...func(*Attribute)) Attribute {
	a := Attribute{Name: name, Type: kind, Mutability: "readWrite", Returned: "default", Uniqueness: "none"}
	for _, f := range change {
		f(&a)
	}
	return a
}

func required(a *Attribute) { a.Required = true }
func exact(a *Attribute)    { a.CaseExact = true }
func readOnly(a *Attribute) { a.Mutability = "readOnly" }
func unique(a *Attribute)   { a.Uniqueness = "server" }
func secret(a *Attribute)   { a.Mutability, a.Returned = "writeOnly", "never" }
func multi(a *Attribute)    { a.Multi = true }

func with(sub ...Attribute) func(*Attribute) {
	return func(a *Attribute) { a.Sub = sub }
}

// plural is the common shape of multi-valued attributes (RFC 7643 section 2.4).
func plural(name, kind string) Attribute {
	return attr(name, "complex", multi, with(
		attr("value", kind), attr("display", "string"), attr("type", "string"), attr("primary", "boolean"),
	))
}

// common are the attributes every resource has (RFC 7643 section 3.1).
func common() []Attribute {
	return []Attribute{
		attr("schemas", "reference", multi, required),
		attr("id", "string", readOnly, exact),
		attr("externalId", "string", exact),
		attr("meta", "complex", readOnly, with(
			attr("resourceType", "string", readOnly, exact), attr("created", "dateTime", readOnly),
			attr("lastModified", "dateTime", readOnly), attr("location", "reference", readOnly, exact),
			attr("version", "string", readOnly, exact),
		)),
	}
}

// UserAttributes is the core user (RFC 7643 section 4.1).
func UserAttributes() Schema {
	return Schema{ID: UserSchema, Name: "User", Description: "User Account", Attributes: []Attribute{
		attr("userName", "string", required, unique),
		attr("name", "complex", with(
			attr("formatted", "string"), attr("familyName", "string"), attr("givenName", "string"),
			attr("middleName", "string"), attr("honorificPrefix", "string"), attr("honorificSuffix", "string"),
		)),
		attr("displayName", "string"), attr("nickName", "string"), attr("profileUrl", "reference"),
		attr("title", "string"), attr("userType", "string"), attr("preferredLanguage", "string"),
		attr("locale", "string"), attr("timezone", "string"), attr("active", "boolean"),
		attr("password", "string", secret, exact),
		plural("emails", "string"), plural("phoneNumbers", "string"), plural("ims", "string"), plural("photos", "reference"),
		attr("addresses", "complex", multi, with(
			attr("formatted", "string"), attr("streetAddress", "string"), attr("locality", "string"),
			attr("region", "string"), attr("postalCode", "string"), attr("country", "string"),
			attr("type", "string"), attr("primary", "boolean"),
		)),
		attr("groups", "complex", multi, readOnly, with(
			attr("value", "string", readOnly, exact), attr("$ref", "reference", readOnly),
			attr("display", "string", readOnly), attr("type", "string", readOnly),
		)),
		plural("entitlements", "string"), plural("roles", "string"), plural("x509Certificates", "binary"),
	}}
}

// EnterpriseAttributes is the enterprise extension (RFC 7643 section 4.3).
func EnterpriseAttributes() Schema {
	return Schema{ID: EnterpriseSchema, Name: "EnterpriseUser", Description: "Enterprise User", Attributes: []Attribute{
		attr("employeeNumber", "string"), attr("costCenter", "string"), attr("organization", "string"),
		attr("division", "string"), attr("department", "string"),
		attr("manager", "complex", with(
			attr("value", "string", exact), attr("$ref", "reference"), attr("displayName", "string", readOnly),
		)),
	}}
}

// GroupAttributes is the core group (RFC 7643 section 4.2).
func GroupAttributes() Schema {
	return Schema{ID: GroupSchema, Name: "Group", Description: "Group", Attributes: []Attribute{
		attr("displayName", "string", required),
		attr("members", "complex", multi, with(
			attr("value", "string", exact), attr("$ref", "reference"), attr("display", "string"), attr("type", "string"),
		)),
	}}
}

// library is what is known of attributes. It is made once, and only read: a
// lookup stands behind every path of every operation.
type library struct {
	users, groups []Schema
	// common are the attributes of every resource; ofUsers and ofGroups hold them
	// and those of the core schema.
	common, ofUsers, ofGroups []Attribute
	// pools are searched in order; exact is what they hold by exact name.
	pools [][]Attribute
	exact map[[2]string]Attribute
}

var attributes = sync.OnceValue(func() library {
	user, enterprise, group := UserAttributes(), EnterpriseAttributes(), GroupAttributes()
	l := library{
		users: []Schema{user, enterprise}, groups: []Schema{group}, common: common(),
		ofUsers: append(common(), user.Attributes...), ofGroups: append(common(), group.Attributes...),
		exact: map[[2]string]Attribute{},
	}
	l.pools = [][]Attribute{l.common, user.Attributes, enterprise.Attributes, group.Attributes}
	for _, pool := range slices.Backward(l.pools) { // the first pool wins
		for _, a := range pool {
			l.exact[[2]string{a.Name, ""}] = a
			for _, sub := range a.Sub {
				l.exact[[2]string{a.Name, sub.Name}] = sub
			}
		}
	}
	return l
})

// schemas are the schemas of a kind, the core one first.
func (k Kind) schemas() []Schema {
	if k == Groups {
		return attributes().groups
	}
	return attributes().users
}

// core are the attributes of a kind without its extensions.
func (k Kind) core() []Attribute {
	if k == Groups {
		return attributes().ofGroups
	}
	return attributes().ofUsers
}

// IsAttribute tells whether a path names an attribute of the core or enterprise
// schemas, and nothing else.
func IsAttribute(path string) bool {
	p, err := ParsePath(path)
	if err != nil || p.Filter != nil {
		return false
	}
	_, ok := Lookup(p)
	return ok
}

// Lookup finds the schema of what a path names, in any schema known. Its
// sub-attributes are shared: they must not be changed.
func Lookup(p Path) (Attribute, bool) {
	l := attributes()
	if a, ok := l.exact[[2]string{p.Attr, p.Sub}]; ok {
		return a, true
	}
	for _, pool := range l.pools {
		a, ok := find(pool, p.Attr)
		if !ok {
			continue
		}
		if p.Sub == "" {
			return a, true
		}
		return find(a.Sub, p.Sub)
	}
	return Attribute{}, false
}

func find(pool []Attribute, name string) (Attribute, bool) {
	i := slices.IndexFunc(pool, func(a Attribute) bool { return strings.EqualFold(a.Name, name) })
	if i < 0 {
		return Attribute{}, false
	}
	return pool[i], true
}

// caseExact tells how text at a path compares in a filter. Unknown attributes
// compare without case, as the RFC's default is.
func caseExact(p Path) bool {
	a, ok := Lookup(p)
	return ok && a.CaseExact
}

// Problem is why a resource is not valid.
type Problem struct {
	Path   string
	Reason string
}

const unknownAttribute = "is not an attribute of the schema"

// Unknown tells that nothing is wrong but that no schema knows the attribute.
func (p Problem) Unknown() bool { return p.Reason == unknownAttribute }

// String names the attribute and the reason.
func (p Problem) String() string { return p.Path + " " + p.Reason }

// Validate checks a resource as a strict service provider would on a create or
// a replace: required attributes, types and shapes. Unknown attributes are
// problems too; read-only ones are ignored, as RFC 7644 section 3.3 asks.
func Validate(k Kind, r Resource) []Problem {
	var out []Problem
	declared := declares(r)
	if !declared(k.Schema()) {
		out = append(out, Problem{"schemas", "does not name " + k.Schema()})
	}
	core := k.core()
	for name, v := range r {
		if ext, ok := extension(k, name); ok {
			m, isMap := v.(map[string]any)
			if !isMap {
				out = append(out, Problem{name, "must be an object"})
				continue
			}
			if !declared(name) {
				out = append(out, Problem{"schemas", "does not name " + name})
			}
			out = append(out, validateObject(name+":", ext.Attributes, m)...)
			continue
		}
		if strings.HasPrefix(strings.ToLower(name), "urn:") {
			continue // a custom extension: nothing is known about it
		}
		out = append(out, validateField("", core, name, v)...)
	}
	for _, a := range core {
		if _, v, ok := field(r, a.Name); a.Required && (!ok || !present(v)) {
			out = append(out, Problem{a.Name, "is required"})
		}
	}
	slices.SortFunc(out, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	return out
}

func declares(r Resource) func(string) bool {
	_, v, _ := field(r, "schemas")
	names := list(v)
	return func(urn string) bool {
		return slices.ContainsFunc(names, func(n any) bool { s, _ := n.(string); return strings.EqualFold(s, urn) })
	}
}

func extension(k Kind, name string) (Schema, bool) {
	for _, s := range k.schemas()[1:] {
		if strings.EqualFold(s.ID, name) {
			return s, true
		}
	}
	return Schema{}, false
}

func validateObject(prefix string, pool []Attribute, m map[string]any) []Problem {
	var out []Problem
	for name, v := range m {
		out = append(out, validateField(prefix, pool, name, v)...)
	}
	return out
}

func validateField(prefix string, pool []Attribute, name string, v any) []Problem {
	a, ok := find(pool, name)
	switch {
	case !ok:
		return []Problem{{prefix + name, unknownAttribute}}
	case v == nil || a.Mutability == "readOnly":
		return nil
	case !a.Multi:
		return validateValue(prefix+a.Name, a, v)
	}
	elements, isList := v.([]any)
	if !isList {
		return []Problem{{prefix + a.Name, "must be a list"}}
	}
	var out []Problem
	for i, e := range elements {
		out = append(out, validateValue(fmt.Sprintf("%s%s[%d]", prefix, a.Name, i), a, e)...)
	}
	return out
}

func validateValue(path string, a Attribute, v any) []Problem {
	var ok bool
	switch a.Type {
	case "complex":
		if m, isMap := v.(map[string]any); isMap {
			return validateObject(path+".", a.Sub, m)
		}
	case "boolean":
		_, ok = v.(bool)
	case "integer", "decimal":
		_, ok = number(v)
	default:
		_, ok = v.(string)
	}
	if !ok {
		return []Problem{{path, "must be a " + a.Type}}
	}
	return nil
}
