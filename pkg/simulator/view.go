package simulator

import (
	"maps"
	"net/http"
	"slices"

	"github.com/joinery/joinery/pkg/scim"
)

// shown is a resource on its way out.
func (s *Server) shown(status int, r scim.Resource, sel scim.Selection) reply {
	out := s.view(r)
	location, _ := out.Get("meta.location")
	text, _ := location.(string)
	header := map[string]string{"ETag": r.Version(), "Location": text}
	if s.bent.NoETag {
		delete(header, "ETag")
	}
	return reply{status: status, body: sel.Of(out), header: header}
}

// view is a resource as callers see it: without what is never returned, with
// what is computed.
func (s *Server) view(r scim.Resource) scim.Resource {
	out := r.Clone()
	out.Drop("password")
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
		g.Drop("members")
		return
	}
	for _, m := range g.Members() {
		id, _ := m["value"].(string)
		for _, kind := range []scim.Kind{scim.Users, scim.Groups} {
			if member, ok := s.store.get(kind, id); ok {
				m["$ref"], m["type"] = s.location(kind, id), kind.ResourceType()
				if name := displayOf(member); name != "" {
					m["display"] = name
				}
			}
		}
	}
}

func displayOf(r scim.Resource) string {
	if name := r.Text("displayName"); name != "" {
		return name
	}
	return r.Text("userName")
}

func kindOf(r scim.Resource) scim.Kind {
	if v, _ := r.Get("meta.resourceType"); v == "Group" {
		return scim.Groups
	}
	return scim.Users
}

func bad(scimType, detail string) error {
	return &scim.Error{Status: http.StatusBadRequest, ScimType: scimType, Detail: detail}
}
