package simulator

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
)

// shown is a resource on its way out.
func (s *Server) shown(status int, r scim.Resource, sel selection) reply {
	out := s.view(r)
	location, _ := out.Get("meta.location")
	text, _ := location.(string)
	header := map[string]string{"ETag": r.Version(), "Location": text}
	if s.bent.NoETag {
		delete(header, "ETag")
	}
	return reply{status: status, body: sel.of(out), header: header}
}

// view is a resource as callers see it: without what is never returned, with
// what is computed.
func (s *Server) view(r scim.Resource) scim.Resource {
	out := r.Clone()
	remove(out, "password")
	kind := kindOf(r)
	if meta, ok := out["meta"].(map[string]any); ok {
		meta["location"] = s.location(kind, r.ID())
		if s.bent.NoETag {
			delete(meta, "version")
		}
	}
	if kind == scim.Groups {
		s.showMembers(out)
	} else if groups := s.groupsOf(r.ID()); len(groups) > 0 {
		out["groups"] = groups
	}
	return out
}

func (s *Server) location(kind scim.Kind, id string) string {
	return s.options.Public + s.options.Base + "/" + string(kind) + "/" + id
}

// groupsOf computes the read-only groups of a user (RFC 7643 section 4.1.2).
func (s *Server) groupsOf(id string) []any {
	var out []any
	for _, group := range slices.Sorted(maps.Keys(s.store.memberOf[id])) {
		g := s.store.byID[scim.Groups][group]
		entry := map[string]any{"value": group, "$ref": s.location(scim.Groups, group), "type": "direct"}
		if name, ok := g.Get("displayName"); ok {
			entry["display"] = name
		}
		out = append(out, entry)
	}
	return out
}

// showMembers adds what follows from a member's id.
func (s *Server) showMembers(g scim.Resource) {
	if s.bent.MembersHidden {
		remove(g, "members")
		return
	}
	for _, m := range membersOf(g) {
		id, _ := m["value"].(string)
		for _, kind := range []scim.Kind{scim.Users, scim.Groups} {
			if member, ok := s.store.get(kind, id); ok {
				m["$ref"], m["type"] = s.location(kind, id), strings.TrimSuffix(string(kind), "s")
				if name := displayOf(member); name != "" {
					m["display"] = name
				}
			}
		}
	}
}

func displayOf(r scim.Resource) string {
	if name := textOf(r, "displayName"); name != "" {
		return name
	}
	return textOf(r, "userName")
}

func kindOf(r scim.Resource) scim.Kind {
	if v, _ := r.Get("meta.resourceType"); v == "Group" {
		return scim.Groups
	}
	return scim.Users
}

func membersOf(g scim.Resource) []map[string]any {
	v, _ := g.Get("members")
	elements, _ := v.([]any)
	out := make([]map[string]any, 0, len(elements))
	for _, e := range elements {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// remove takes a name out, however it is spelled.
func remove(m map[string]any, name string) {
	for k := range m {
		if strings.EqualFold(k, name) {
			delete(m, k)
		}
	}
}

// selection is what attributes and excludedAttributes ask for (RFC 7644
// section 3.9).
type selection struct{ only, without tree }

// tree holds paths by lower-case names; a nil branch stands for all below it.
type tree map[string]tree

func selectionOf(values url.Values) (selection, error) {
	only, errOnly := treeOf(values["attributes"])
	without, errWithout := treeOf(values["excludedAttributes"])
	switch {
	case errOnly != nil || errWithout != nil:
		return selection{}, bad(scim.InvalidPath, "attributes or excludedAttributes holds something that is no path")
	case only != nil && without != nil:
		return selection{}, bad(scim.InvalidValue, "attributes and excludedAttributes exclude each other")
	}
	return selection{only, without}, nil
}

func treeOf(lists []string) (tree, error) {
	var out tree
	for _, name := range strings.Split(strings.Join(lists, ","), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		p, err := scim.ParsePath(name)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = tree{}
		}
		path := []string{p.Attr, p.Sub}
		if p.URN != "" && !strings.EqualFold(p.URN, scim.UserSchema) && !strings.EqualFold(p.URN, scim.GroupSchema) {
			path = []string{p.URN, p.Attr, p.Sub}
		}
		out.plant(slices.DeleteFunc(path, func(s string) bool { return s == "" }))
	}
	return out, nil
}

func (t tree) plant(path []string) {
	name := strings.ToLower(path[0])
	branch, there := t[name]
	switch {
	case len(path) == 1 || there && branch == nil:
		t[name] = nil
	case !there:
		branch = tree{}
		t[name] = branch
		fallthrough
	default:
		branch.plant(path[1:])
	}
}

// of gives the part of a resource that was asked for; id and schemas always
// come along.
func (sel selection) of(r scim.Resource) scim.Resource {
	for name, v := range r {
		if strings.EqualFold(name, "id") || strings.EqualFold(name, "schemas") {
			continue
		}
		if sel.only != nil && !sel.only.keep(name, v) || sel.without != nil && sel.without.cut(name, v) {
			delete(r, name)
		}
	}
	return r
}

// keep tells whether a value stays, and takes out of it what does not.
func (t tree) keep(name string, v any) bool {
	branch, ok := t[strings.ToLower(name)]
	if ok && branch != nil {
		each(v, func(sub string, inner any) bool { return !branch.keep(sub, inner) })
	}
	return ok
}

// cut tells whether a value goes, and takes out of it what does.
func (t tree) cut(name string, v any) bool {
	branch, ok := t[strings.ToLower(name)]
	if ok && branch != nil {
		each(v, branch.cut)
		return false
	}
	return ok
}

// each visits the sub-attributes of an object, or of the elements of a list,
// and deletes those that drop says.
func each(v any, drop func(string, any) bool) {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, drop)
	case []any:
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				maps.DeleteFunc(m, drop)
			}
		}
	}
}

// names tells whether a schemas attribute names a schema.
func names(schemas any, urn string) bool {
	all, _ := schemas.([]any)
	return slices.ContainsFunc(all, func(e any) bool {
		s, _ := e.(string)
		return strings.EqualFold(s, urn)
	})
}

func bad(scimType, detail string) error {
	return &scim.Error{Status: http.StatusBadRequest, ScimType: scimType, Detail: detail}
}
