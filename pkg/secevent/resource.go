package secevent

import (
	"maps"
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/scim"
)

// maxOperations bounds the operations of one PATCH.
const maxOperations = 1000

// withheld tells of an attribute that says nothing of the person, or that must
// not be kept.
func withheld(name string) bool {
	switch strings.ToLower(name) {
	case "schemas", "id", "meta", "password":
		return true
	}
	return false
}

// named is what an attribute is called among the person's: by its own name where
// it is one of the core or enterprise schema, as mapping rules may call it too,
// and else with the URN of its schema.
func named(urn, name string) string {
	if attribute, ok := scim.Lookup(scim.Path{Attr: name}); ok && known(urn) {
		return attribute.Name
	}
	if known(urn) {
		return name
	}
	return urn + ":" + name
}

func known(urn string) bool {
	return urn == "" || strings.EqualFold(urn, scim.UserSchema) || strings.EqualFold(urn, scim.EnterpriseSchema)
}

// Attributes is what a whole SCIM resource says of a person, as an event of a
// token that holds it would say it: under the names of the core and enterprise
// schemas, other extensions' with their URN, and without what says nothing of the
// person or must not be kept.
func Attributes(resource map[string]any) map[string]any {
	s := statement{attributes: map[string]any{}}
	s.readResource(resource)
	return s.attributes
}

// readResource takes a whole resource over: each attribute of the core schema
// and of extensions becomes one of the person. What it leaves out, it clears.
func (s *statement) readResource(data map[string]any) {
	s.full = true
	for name, v := range data {
		members, isObject := v.(map[string]any)
		switch {
		case withheld(name):
		case strings.EqualFold(name, "active"):
			// Said of a resource as a whole, true may be old news: it brings nobody
			// back who has left meanwhile. False ends access at once.
			if active, said := (scim.Resource{"active": v}).Active(); said && !active {
				s.kind = "disabled"
			}
		case isObject && strings.HasPrefix(strings.ToLower(name), "urn:"):
			for inner, v := range members {
				s.attributes[named(name, inner)] = v
			}
		default:
			s.attributes[named("", name)] = v
		}
	}
}

// readPatch takes over the operations that speak of a whole attribute. Of a part
// of one (a sub-attribute, a value added to several) nothing can be said without
// the rest of it: these are listed as unread.
func (s *statement) readPatch(data map[string]any) *event.Problem {
	operations, ok := member(data, "Operations").([]any)
	if !ok || len(operations) == 0 || len(operations) > maxOperations {
		return event.Refuse(event.Invalid, "data", "The data of a PATCH is its Operations, 1 to 1000 of them (RFC 7644 section 3.5.2).")
	}
	for _, o := range operations {
		op, ok := o.(map[string]any)
		if !ok {
			return event.Refuse(event.Invalid, "data", "An operation of a PATCH is a JSON object.")
		}
		verb, _ := member(op, "op").(string)
		path, _ := member(op, "path").(string)
		if problem := s.operate(strings.ToLower(verb), path, member(op, "value")); problem != nil {
			return problem
		}
	}
	return nil
}

func (s *statement) operate(verb, path string, value any) *event.Problem {
	if verb != "add" && verb != "replace" && verb != "remove" {
		return event.Refuse(event.Invalid, "data", "An operation of a PATCH is one of add, replace and remove.")
	}
	if path != "" {
		return s.change(verb, path, value)
	}
	members, ok := value.(map[string]any)
	if !ok || verb == "remove" {
		return event.Refuse(event.Invalid, "data", "An operation without a path sets the members of an object.")
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		inner, isObject := members[name].(map[string]any)
		if !isObject || !strings.HasPrefix(strings.ToLower(name), "urn:") {
			inner, name = map[string]any{name: members[name]}, ""
		}
		for _, sub := range slices.Sorted(maps.Keys(inner)) {
			path := strings.TrimPrefix(name+":"+sub, ":")
			if problem := s.change(verb, path, inner[sub]); problem != nil {
				return problem
			}
		}
	}
	return nil
}

// change is one operation on one path.
func (s *statement) change(verb, path string, value any) *event.Problem {
	p, err := scim.ParsePath(path)
	if err != nil {
		return event.Refuse(event.Invalid, "data", "The path of an operation is not one of SCIM (RFC 7644 section 3.5.2).")
	}
	switch {
	case withheld(p.Attr):
		return nil
	case strings.EqualFold(p.Attr, "active"):
		s.activate(verb, value)
		return nil
	case !whole(verb, p, value):
		s.unread = append(s.unread, path)
		return nil
	}
	if verb == "remove" {
		value = nil
	}
	s.attributes[named(p.URN, p.Attr)] = value
	return nil
}

// activate takes a change of the attribute active for the event that it is.
func (s *statement) activate(verb string, value any) {
	active, said := (scim.Resource{"active": value}).Active()
	switch {
	case verb == "remove" || !said:
	case active:
		s.kind = "enabled"
	default:
		s.kind = "disabled"
	}
}

// whole tells whether an operation says what an attribute is from now on.
func whole(verb string, p scim.Path, value any) bool {
	attribute, _ := scim.Lookup(scim.Path{Attr: p.Attr})
	_, isObject := value.(map[string]any)
	_, isList := value.([]any)
	switch {
	case p.Filter != nil || p.Sub != "" || strings.HasPrefix(strings.ToLower(p.Attr), "urn:"):
		return false
	case verb == "remove":
		return value == nil // with a value, it removes only that one
	case verb == "replace" && (isList || value == nil):
		return true
	case value == nil:
		return false // nothing is added
	case attribute.Name == "manager":
		return true // whoever it is, is named whole
	default:
		return !isObject && !isList && !attribute.Multi
	}
}

// member is a member of an object, its name compared as SCIM compares names.
func member(m map[string]any, name string) any {
	for key, v := range m {
		if strings.EqualFold(key, name) {
			return v
		}
	}
	return nil
}
