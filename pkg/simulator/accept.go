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
	for _, p := range append(scim.Validate(kind, r), scim.Primaries(r)...) {
		problems = append(problems, p.String())
	}
	if len(problems) > 0 {
		return nil, bad(scim.InvalidValue, strings.Join(problems[:min(len(problems), maxProblems)], "; "))
	}
	if err := s.bent.fits(kind, r); err != nil {
		return nil, err
	}
	out := scim.Writable(kind, r)
	if kind == scim.Groups {
		return out, s.checkMembers(out, current)
	}
	if s.bent.FoldUserName {
		name := out.UserName()
		out.Drop("userName")
		out["userName"] = strings.ToLower(name)
	}
	return out, nil
}

// checkMembers looks at the members that were not there before.
func (s *Server) checkMembers(g, current scim.Resource) error {
	had := map[any]bool{}
	for _, m := range current.Members() {
		had[m["value"]] = true
	}
	var kept []any
	for i, m := range g.Members() {
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
	g.SetMembers(kept)
	return nil
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
