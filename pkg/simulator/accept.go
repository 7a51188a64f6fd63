package simulator

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
)

func parsed(body []byte) (scim.Resource, error) {
	r, err := scim.Parse(body)
	if err != nil {
		return nil, bad(scim.InvalidSyntax, err.Error())
	}
	return r, nil
}

// maxProblems is how many problems a refusal names.
const maxProblems = 5

// accepted gives a resource as it would be stored, or says why it is refused.
func (s *Server) accepted(kind scim.Kind, r, current scim.Resource) (scim.Resource, error) {
	var problems []string
	for _, p := range append(scim.Validate(kind, r), primaries(r)...) {
		problems = append(problems, p.String())
	}
	if len(problems) > 0 {
		return nil, bad(scim.InvalidValue, strings.Join(problems[:min(len(problems), maxProblems)], "; "))
	}
	if err := s.bent.fits(kind, r); err != nil {
		return nil, err
	}
	out := writable(kind, r)
	if kind == scim.Groups {
		return out, s.checkMembers(out, current)
	}
	if s.bent.FoldUserName {
		name := out.UserName()
		remove(out, "userName")
		out["userName"] = strings.ToLower(name)
	}
	return out, nil
}

// primaries finds attributes with more than one primary value (RFC 7643
// section 2.4).
func primaries(r scim.Resource) []scim.Problem {
	var out []scim.Problem
	for name, v := range r {
		elements, _ := v.([]any)
		n := 0
		for _, e := range elements {
			m, _ := e.(map[string]any)
			if primary, _ := scim.Resource(m).Get("primary"); primary == true {
				n++
			}
		}
		if n > 1 {
			out = append(out, scim.Problem{Path: name, Reason: "has more than one primary value"})
		}
	}
	return out
}

// checkMembers looks at the members that were not there before.
func (s *Server) checkMembers(g, current scim.Resource) error {
	had := map[any]bool{}
	for _, m := range membersOf(current) {
		had[m["value"]] = true
	}
	var kept []any
	for i, m := range membersOf(g) {
		id, _ := m["value"].(string)
		if had[id] || s.bent.UnknownMembers == "take" || s.store.holds(id) {
			kept = append(kept, m)
			continue
		}
		switch {
		case id == "":
			return bad(scim.InvalidValue, fmt.Sprintf("members[%d].value is required", i))
		case s.bent.UnknownMembers == "missing":
			return &scim.Error{Status: http.StatusNotFound, Detail: "members: " + id + " was not found"}
		case s.bent.UnknownMembers != "drop":
			return bad(scim.InvalidValue, fmt.Sprintf("members[%d].value names nobody: %s", i, id))
		}
	}
	setMembers(g, kept)
	return nil
}

func setMembers(g scim.Resource, members []any) {
	remove(g, "members")
	if len(members) > 0 {
		g["members"] = members
	}
}

// writable leaves out what callers cannot write (RFC 7643 section 7: readOnly
// values are ignored), and keeps each member once.
func writable(kind scim.Kind, r scim.Resource) scim.Resource {
	out := r.Clone()
	for _, name := range []string{"id", "meta"} {
		remove(out, name)
	}
	if kind == scim.Users {
		remove(out, "groups")
		return out
	}
	var members []any
	known := map[any]bool{}
	for _, m := range membersOf(out) {
		member := scim.Resource(m)
		value, _ := member.Get("value")
		id, _ := value.(string)
		if id == "" || !known[id] {
			members = append(members, map[string]any{"value": id})
		}
		known[id] = true
	}
	setMembers(out, members)
	return out
}

// unique refuses a name that somebody else has, whatever its case.
func (s *Server) unique(kind scim.Kind, r scim.Resource, self string) error {
	name := "userName"
	switch {
	case kind == scim.Groups && !s.bent.UniqueGroupNames, kind == scim.Users && s.bent.DuplicateUserName:
		return nil
	case kind == scim.Groups:
		name = "displayName"
	}
	if _, taken := s.store.holder(kind, r, self); !taken {
		return nil
	}
	return &scim.Error{Status: http.StatusConflict, ScimType: scim.Uniqueness, Detail: name + " is already taken"}
}
