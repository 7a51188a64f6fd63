package simulator

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
)

func (s *Server) route(a ask) reply {
	kind, id, _ := strings.Cut(strings.Trim(a.path, "/"), "/")
	if refused := s.bent.absent(a, kind, id); refused != nil {
		return *refused
	}
	if s.bent.DiscoveryPath != "" && kind == s.bent.DiscoveryPath {
		kind = "ServiceProviderConfig"
	}
	if s.bent.NoETag {
		a.ifMatch, a.ifNoneMatch = "", ""
	}
	switch kind {
	case "Users", "Groups":
		return s.resources(a, scim.Kind(kind), id)
	case "ServiceProviderConfig", "Schemas", "ResourceTypes":
		if a.method != http.MethodGet {
			return failure(http.StatusMethodNotAllowed, "", "read only")
		}
		return s.discovery(kind, id)
	case ".search":
		if a.method != http.MethodPost {
			return failure(http.StatusMethodNotAllowed, "", "a search is a POST")
		}
		return s.search(a.body, scim.Users, scim.Groups)
	case "Bulk":
		return s.bulk(a)
	case "Me":
		return failure(http.StatusNotImplemented, "", "there is no /Me here")
	}
	return failure(http.StatusNotFound, "", "there is no such endpoint")
}

func (s *Server) resources(a ask, kind scim.Kind, id string) reply {
	if a.method != http.MethodGet && a.method != http.MethodDelete && !scim.IsMediaType(a.contentType) {
		return failure(http.StatusUnsupportedMediaType, "", "the Content-Type must be application/scim+json")
	}
	switch {
	case id == ".search" && a.method == http.MethodPost:
		return s.search(a.body, kind)
	case id == "" && a.method == http.MethodGet:
		return s.list(a.query, kind)
	case id == "" && a.method == http.MethodPost:
		return s.create(a, kind)
	case id == "":
		return failure(http.StatusMethodNotAllowed, "", "a collection takes GET and POST")
	}
	current, ok := s.store.get(kind, id)
	if !ok {
		return failure(http.StatusNotFound, "", fmt.Sprintf("%s %s was not found", kind, id))
	}
	sel, err := scim.SelectionOf(a.query["attributes"], a.query["excludedAttributes"])
	if err != nil {
		return failed(err)
	}
	if a.method == http.MethodGet {
		if a.ifNoneMatch != "" && current.HasVersion(a.ifNoneMatch) {
			return reply{status: http.StatusNotModified, header: map[string]string{"ETag": current.Version()}}
		}
		return s.shown(http.StatusOK, current, sel)
	}
	if a.ifMatch != "" && !current.HasVersion(a.ifMatch) {
		return failure(http.StatusPreconditionFailed, "", "the resource was changed in the meantime")
	}
	return s.change(a, kind, current, sel)
}

func (s *Server) change(a ask, kind scim.Kind, current scim.Resource, sel scim.Selection) reply {
	switch {
	case a.method == http.MethodDelete:
		return s.delete(kind, current)
	case a.method == http.MethodPut && s.bent.NoPut, a.method == http.MethodPatch && s.bent.NoPatch:
		return failure(http.StatusNotImplemented, "", a.method+" is not supported")
	case a.method == http.MethodPut:
		next, err := s.replacement(a.body, current)
		if err == nil && kind == scim.Users {
			err = s.bent.activated(next)
		}
		return s.keep(kind, current, next, err, sel)
	case a.method == http.MethodPatch:
		next, err := s.patched(a.body, current)
		p := s.keep(kind, current, next, err, sel)
		if p.status == http.StatusOK {
			s.bent.quieten(&p)
		}
		return p
	}
	return failure(http.StatusMethodNotAllowed, "", "a resource takes GET, PUT, PATCH and DELETE")
}

// quieten makes the answer to a successful PATCH as short as the vendor's.
func (b Behaviour) quieten(p *reply) {
	switch b.PatchSuccess {
	case "204":
		p.status, p.body = http.StatusNoContent, nil
	case "empty":
		p.body = map[string]any{}
	}
}

func (s *Server) delete(kind scim.Kind, current scim.Resource) reply {
	var err error
	if s.bent.DeleteMeans == "deactivate" && kind == scim.Users {
		next := current.Clone()
		next.Drop("active")
		next["active"] = false
		_, err = s.store.update(kind, current, next)
	} else {
		err = s.store.remove(kind, current)
	}
	if err != nil {
		return failed(err)
	}
	return reply{status: http.StatusNoContent}
}

func (s *Server) replacement(body []byte, current scim.Resource) (scim.Resource, error) {
	next, err := parsed(body)
	if err != nil {
		return nil, err
	}
	if err := s.countMembers(len(next.Members())); err != nil {
		return nil, err
	}
	return s.bent.keepIgnored(current, next)
}

// keepIgnored puts back what a PUT does not reach.
func (b Behaviour) keepIgnored(current, next scim.Resource) (scim.Resource, error) {
	for _, path := range b.IgnoredPaths {
		if path == "*" {
			return current, nil
		}
		op := scim.Operation{Op: "remove", Path: path}
		if v, ok := current.Get(path); ok {
			op = scim.Operation{Op: "replace", Path: path, Value: v}
		}
		kept, err := next.Apply([]scim.Operation{op})
		if err != nil {
			return nil, err
		}
		next = kept
	}
	return next, nil
}

func (s *Server) patched(body []byte, current scim.Resource) (scim.Resource, error) {
	doc, err := parsed(body)
	if err != nil {
		return nil, err
	}
	if s.bent.PatchBody == "resource" && kindOf(current) == scim.Users {
		return readAsUser(doc, current), nil
	}
	schemas, said := doc.Get("schemas")
	if (said || s.bent.SchemasRequired) && !scim.Names(schemas, scim.PatchSchema) {
		return nil, bad(scim.InvalidSyntax, "schemas does not name "+scim.PatchSchema)
	}
	ops, err := scim.ParsePatch(body)
	if err == nil {
		ops, err = s.bent.understood(kindOf(current), ops)
	}
	if err != nil {
		return nil, err
	}
	if most := s.bent.PatchMaxOps; most > 0 && len(ops) > most {
		return nil, bad(scim.TooMany, fmt.Sprintf("Operations must not be more than %d", most))
	}
	members := 0
	for _, op := range ops {
		members += membersNamed(op)
	}
	if err := s.countMembers(members); err != nil {
		return nil, err
	}
	next, err := current.Apply(s.bent.heard(ops))
	if err != nil {
		return nil, err
	}
	next.Declare()
	return next, nil
}

// heard leaves out the operations that are silently ignored.
func (b Behaviour) heard(ops []scim.Operation) []scim.Operation {
	if len(b.IgnoredPaths) == 0 {
		return ops
	}
	var out []scim.Operation
	for _, op := range ops {
		m, isMap := op.Value.(map[string]any)
		switch {
		case op.Path == "" && isMap:
			kept := map[string]any{}
			for name, v := range m {
				if !b.ignores(name) {
					kept[name] = v
				}
			}
			out = append(out, scim.Operation{Op: op.Op, Value: kept})
		case op.Path == "" || !b.ignores(op.Path):
			out = append(out, op)
		}
	}
	return out
}

// membersNamed counts the members that an operation names.
func membersNamed(op scim.Operation) int {
	value := op.Value
	if op.Path == "" {
		m, _ := value.(map[string]any)
		value, _ = scim.Resource(m).Get("members")
	} else if p, err := scim.ParsePath(op.Path); err != nil || !strings.EqualFold(p.Attr, "members") {
		return 0
	}
	if elements, ok := value.([]any); ok {
		return len(elements)
	}
	return 1
}

func (s *Server) countMembers(n int) error {
	if most := s.bent.MembersMax; most > 0 && n > most {
		return bad(scim.TooMany, fmt.Sprintf("members must not be more than %d a request", most))
	}
	return nil
}

// keep stores what a change made of a resource.
func (s *Server) keep(kind scim.Kind, current, next scim.Resource, err error, sel scim.Selection) reply {
	if err == nil {
		next, err = s.accepted(kind, next, current)
	}
	if err == nil {
		err = s.bent.keeps(kind, current, next)
	}
	if err == nil {
		err = s.unique(kind, next, current.ID())
	}
	if err != nil {
		return failed(err)
	}
	stored, err := s.store.update(kind, current, next)
	if err != nil {
		return failed(err)
	}
	p := s.shown(http.StatusOK, stored, sel)
	if active, said := stored.Active(); kind == scim.Users && said && !active && s.bent.DeactivateMeans == "gone" {
		if err := s.store.remove(kind, stored); err != nil {
			return failed(err)
		}
	}
	return p
}

func (s *Server) create(a ask, kind scim.Kind) reply {
	sel, err := scim.SelectionOf(a.query["attributes"], a.query["excludedAttributes"])
	if err != nil {
		return failed(err)
	}
	r, err := parsed(a.body)
	if err == nil {
		err = s.countMembers(len(r.Members()))
	}
	if err == nil {
		r, err = s.bent.welcome(kind, r)
	}
	if err == nil {
		r, err = s.accepted(kind, r, nil)
	}
	if err != nil {
		return failed(err)
	}
	if err := s.unique(kind, r, ""); err != nil {
		return s.exists(kind, r, err, sel)
	}
	stored, err := s.store.create(kind, r)
	if err != nil {
		return failed(err)
	}
	status := http.StatusCreated
	if s.bent.CreateStatus != 0 {
		status = s.bent.CreateStatus
	}
	return s.shown(status, stored, sel)
}

// exists answers a POST of a name that is taken.
func (s *Server) exists(kind scim.Kind, r scim.Resource, err error, sel scim.Selection) reply {
	switch s.bent.OnExisting {
	case "409-bare":
		return failure(http.StatusConflict, "", "conflict")
	case "412":
		return failure(http.StatusPreconditionFailed, "", "the user exists already")
	case "link":
		if holder, ok := s.store.holder(kind, r, ""); ok {
			return s.linked(kind, holder, r, sel)
		}
	}
	return failed(err)
}

// linked answers with the resource that has the name; where that is how people
// come back, it is active afterwards.
func (s *Server) linked(kind scim.Kind, holder, r scim.Resource, sel scim.Selection) reply {
	is, _ := holder.Active()
	becomes, _ := r.Active()
	if s.bent.ReactivateBy == "create" && becomes && !is {
		next := holder.Clone()
		next["active"] = true
		var err error
		if holder, err = s.store.update(kind, holder, next); err != nil {
			return failed(err)
		}
	}
	return s.shown(http.StatusOK, holder, sel)
}
