package probe

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
)

// writing makes throw-away resources, changes them in every dialect, and removes
// them, also where ctx ends on the way.
func (s *session) writing(ctx context.Context) {
	defer s.cleanUp(context.WithoutCancel(ctx))
	id, ok := s.creating(ctx)
	if !ok {
		return
	}
	s.visible(ctx)
	s.duplicate(ctx)
	s.changing(ctx, id)
	s.replacing(ctx, id)
	s.versioned(ctx, id)
	s.leaving(ctx, id)
	if _, none := s.report.Quirks["group.supported"]; !none {
		s.grouping(ctx, id)
	}
	s.bulk(ctx)
	s.deleting(ctx, id)
}

// name is the userName of the throw-away user; it says what it is.
func (s *session) name() string { return "joinery-probe-" + s.options.Mark + "@example.com" }

func (s *session) user() scim.Resource {
	return scim.Resource{
		"schemas":  []any{scim.UserSchema, scim.EnterpriseSchema},
		"userName": s.name(), "externalId": "joinery-probe-" + s.options.Mark, "active": true,
		"displayName": "Joinery Probe", "title": "Probe",
		"name":                map[string]any{"givenName": "Joinery", "familyName": "Probe"},
		"emails":              []any{map[string]any{"value": s.name(), "type": "work", "primary": true}},
		scim.EnterpriseSchema: map[string]any{"department": "Probe"},
	}
}

// creating makes the throw-away user.
func (s *session) creating(ctx context.Context) (id string, ok bool) {
	x := s.send(ctx, scimhttp.Raw{Method: http.MethodPost, Path: "/Users", Body: s.user()})
	r := x.resource()
	id = r.ID()
	if id == "" && x.is(http.StatusCreated, http.StatusOK) {
		id = lastSegment(x.answer.Header.Get("Location"))
	}
	if id != "" {
		s.made = append(s.made, "/Users/"+id)
	}
	if !s.judge(Check{
		ID: "create", Clause: "RFC 7644 section 3.3", Title: "a user is made by POST",
		Advice: "Take a user with userName, externalId, name, emails and the enterprise extension.",
	}, id != "" && x.is(http.StatusCreated, http.StatusOK), x) {
		return "", false
	}
	s.judge(Check{
		ID: "create.status", Clause: "RFC 7644 section 3.3", Title: "the answer is 201", Optional: true, Advice: "Answer 201.",
	}, x.is(http.StatusCreated), x)
	s.judge(Check{
		ID: "create.location", Clause: "RFC 7644 section 3.3", Title: "the answer has a Location", Optional: true, Advice: "Send Location.",
	}, x.answer.Header.Get("Location") != "", x)
	s.judge(Check{
		ID: "create.body", Clause: "RFC 7644 section 3.3", Title: "the answer is the resource", Optional: true,
		Advice: "Answer with the resource as it is stored.",
	}, r.ID() != "" && r.UserName() != "", x)
	back := s.get(ctx, "/Users/"+id)
	got := back.resource()
	lost := scim.Equal(got, s.managed())
	s.judge(Check{
		ID: "create.kept", Clause: "RFC 7644 section 3.3", Title: "everything that was sent is kept",
		Advice: "Keep or refuse what is sent. Not kept: " + strings.Join(lost, ", "),
	}, got != nil && len(lost) == 0, back)
	if got != nil && len(lost) > 0 {
		s.quirk("user.unsupported", lost, "taken at a POST, and not there afterwards")
	}
	return id, true
}

func (s *session) managed() scim.Resource {
	r := s.user()
	delete(r, "schemas")
	return r
}

func lastSegment(location string) string {
	return location[strings.LastIndex(location, "/")+1:]
}

// visible waits until a search finds the new user.
func (s *session) visible(ctx context.Context) {
	begun := time.Now()
	for {
		x := s.search(ctx, scim.Eq("userName", s.name()).String())
		page, ok := x.page()
		found := ok && len(page.Resources) > 0
		late := time.Since(begun) > s.options.Settle
		if found || late || ctx.Err() != nil {
			s.judge(Check{
				ID: "create.visible", Clause: "RFC 7644 section 3.4.2", Title: "a search finds the new user",
				Advice: "Show new resources to searches at once: clients that find nobody make a second account.",
			}, found, x)
			if took := time.Since(begun).Round(time.Second); found && took >= time.Second {
				s.quirk("filter.visible_after", took.String(), "so long a search did not find the new user")
			}
			return
		}
		timer := time.NewTimer(500 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// duplicate makes the same user again.
func (s *session) duplicate(ctx context.Context) {
	again := s.user()
	delete(again, "externalId")
	again["userName"] = strings.ToUpper(s.name()[:1]) + s.name()[1:]
	x := s.send(ctx, scimhttp.Raw{Method: http.MethodPost, Path: "/Users", Body: again})
	if id := x.resource().ID(); id != "" && !slices.Contains(s.made, "/Users/"+id) {
		s.made = append(s.made, "/Users/"+id)
	}
	ok := s.judge(Check{
		ID: "create.unique", Clause: "RFC 7644 section 3.3", Title: "a userName that somebody has is refused with 409, whatever its case",
		Advice: "Answer 409 with scimType uniqueness; userName compares without case.",
	}, x.is(http.StatusConflict), x)
	said := scim.DecodeError(x.answer.Status, x.answer.Body).ScimType
	if ok {
		s.judge(Check{
			ID: "create.unique.type", Clause: "RFC 7644 section 3.12", Title: "the refusal says uniqueness", Optional: true, Advice: "Send scimType uniqueness.",
		}, said == scim.Uniqueness, x)
	}
	switch {
	case ok && said != scim.Uniqueness:
		s.quirk("create.on_existing", "409-bare", x.evidence())
	case x.is(http.StatusPreconditionFailed):
		s.quirk("create.on_existing", "412", x.evidence())
	case x.is(http.StatusOK, http.StatusCreated) && slices.Contains(s.made[:1], "/Users/"+x.resource().ID()):
		s.quirk("create.on_existing", "link", "a POST of a taken name gives the one who has it")
	}
}

// dialect is one way to write a PATCH.
type dialect struct {
	id, clause, title, advice string
	optional                  bool
	ops                       []any
	// want is what must be there afterwards, by path; nil is nothing.
	want map[string]any
	// quirk is concluded where it does not work.
	quirk string
	value any
}

func op(name, path string, value any) map[string]any {
	out := map[string]any{"op": name}
	if path != "" {
		out["path"] = path
	}
	if value != nil {
		out["value"] = value
	}
	return out
}

func dialects() []dialect {
	const department = scim.EnterpriseSchema + ":department"
	return []dialect{
		{
			id: "patch.replace", clause: "RFC 7644 section 3.5.2.3", title: "PATCH replaces an attribute by its path", advice: "Support PATCH.",
			ops: []any{op("replace", "title", "Path")}, want: map[string]any{"title": "Path"}, quirk: "update.style", value: "put",
		},
		{
			id: "patch.pathless", clause: "RFC 7644 section 3.5.2.3", title: "PATCH replaces attributes without a path", optional: true,
			ops: []any{op("replace", "", map[string]any{"title": "Pathless"})}, want: map[string]any{"title": "Pathless"},
		},
		{
			id: "patch.add", clause: "RFC 7644 section 3.5.2.1", title: "PATCH adds an attribute", advice: "Support op add.",
			ops: []any{op("add", "nickName", "Probe")}, want: map[string]any{"nickName": "Probe"},
		},
		{
			id: "patch.several", clause: "RFC 7644 section 3.5.2", title: "a PATCH takes several operations", advice: "Take several operations in a request.",
			ops: []any{op("replace", "title", "One"), op("replace", "displayName", "Two")}, want: map[string]any{"title": "One", "displayName": "Two"}, quirk: "patch.max_ops", value: 1,
		},
		{
			id: "patch.case", clause: "RFC 7644 section 3.5.2", title: "op is read without case", optional: true,
			ops: []any{op("Replace", "title", "Case")}, want: map[string]any{"title": "Case"},
		},
		{
			id: "patch.valuepath", clause: "RFC 7644 section 3.5.2", title: "PATCH reaches one value of many by a filter", advice: "Support paths with filters.",
			ops:   []any{op("replace", `emails[type eq "work"].display`, "Work")},
			want:  map[string]any{`emails[type eq "work"].display`: "Work"},
			quirk: "patch.value_paths", value: "unsupported",
		},
		{
			id: "patch.extension", clause: "RFC 7644 section 3.10", title: "PATCH reaches an attribute of an extension", advice: "Support paths with a schema URN.",
			ops: []any{op("replace", department, "Other")}, want: map[string]any{department: "Other"},
		},
		{
			id: "patch.subattribute", clause: "RFC 7644 section 3.5.2", title: "PATCH reaches a sub-attribute", advice: "Support paths such as name.familyName.",
			ops: []any{op("replace", "name.familyName", "Changed")}, want: map[string]any{"name.familyName": "Changed"},
		},
		{
			id: "patch.remove", clause: "RFC 7644 section 3.5.2.2", title: "PATCH removes an attribute", advice: "Support op remove.",
			ops: []any{op("remove", "title", nil)}, want: map[string]any{"title": nil},
		},
	}
}

// changing changes the user in each dialect, and reads it back each time.
func (s *session) changing(ctx context.Context, id string) {
	for _, d := range dialects() {
		x := s.patch(ctx, "/Users/"+id, d.ops...)
		took := x.is(http.StatusOK, http.StatusNoContent, http.StatusAccepted)
		shows := took && s.shows(ctx, id, d.want)
		s.judge(Check{ID: d.id, Clause: d.clause, Title: d.title, Optional: d.optional, Advice: d.advice}, shows, x)
		if took && !shows {
			s.quirk("patch.ignored", ignored(s.report.Quirks, d.ops), "answered with success and not done")
		}
		if !took && d.quirk != "" && x.err == nil {
			s.quirk(d.quirk, d.value, x.evidence())
		}
		if d.id == "patch.replace" && !took {
			return // there is no PATCH
		}
		if d.id == "patch.replace" && x.is(http.StatusNoContent) {
			s.quirk("patch.answer", "none", "a PATCH is answered 204")
		}
	}
	x := s.patch(ctx, "/Users/"+id, op("replace", "noSuchAttribute", "x"))
	s.judge(Check{
		ID: "patch.unknown", Clause: "RFC 7644 section 3.5.2", Title: "PATCH of an attribute that does not exist is refused", Optional: true,
		Advice: "Answer 400 invalidPath: silence hides mistakes in a mapping.",
	}, x.is(http.StatusBadRequest), x)
}

// ignored are the paths that were ignored so far, and those of these operations.
func ignored(quirks map[string]Quirk, ops []any) []string {
	paths, _ := quirks["patch.ignored"].Value.([]string)
	for _, o := range ops {
		if path, ok := o.(map[string]any)["path"].(string); ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

func (s *session) patch(ctx context.Context, path string, ops ...any) exchange {
	return s.send(ctx, scimhttp.Raw{Method: http.MethodPatch, Path: path, Body: map[string]any{
		"schemas": []string{scim.PatchSchema}, "Operations": ops,
	}})
}

// shows reads the user back, and tells whether it has these values.
func (s *session) shows(ctx context.Context, id string, want map[string]any) bool {
	got := s.get(ctx, "/Users/"+id).resource()
	for path, value := range want {
		v, there := got.Get(path)
		if many, isList := v.([]any); isList && len(many) == 1 {
			v = many[0]
		}
		if (value == nil && there && v != nil && v != "") || (value != nil && v != value) {
			return false
		}
	}
	return got != nil
}

// replacing puts the whole user in its place.
func (s *session) replacing(ctx context.Context, id string) {
	whole := s.user()
	whole["id"], whole["title"] = id, "Put"
	x := s.send(ctx, scimhttp.Raw{Method: http.MethodPut, Path: "/Users/" + id, Body: whole})
	s.judge(Check{
		ID: "put", Clause: "RFC 7644 section 3.5.1", Title: "PUT replaces a user", Advice: "Support PUT.",
	}, x.is(http.StatusOK, http.StatusNoContent) && s.shows(ctx, id, map[string]any{"title": "Put"}), x)
}

// versioned changes the user on an old version.
func (s *session) versioned(ctx context.Context, id string) {
	x := s.send(ctx, scimhttp.Raw{
		Method: http.MethodPatch, Path: "/Users/" + id, Header: http.Header{"If-Match": {`W/"joinery-probe-old"`}},
		Body: map[string]any{"schemas": []string{scim.PatchSchema}, "Operations": []any{op("replace", "title", "Stale")}},
	})
	s.offered(Check{
		ID: "etag.match", Clause: "RFC 7644 section 3.14", Title: "a change on an old version is refused with 412",
		Advice: "Answer 412 where If-Match is not the current version.",
	}, x.is(http.StatusPreconditionFailed), s.config.ETag, x)
}

// leaving sets the user inactive and active again.
func (s *session) leaving(ctx context.Context, id string) {
	x := s.patch(ctx, "/Users/"+id, op("replace", "active", false))
	if !x.is(http.StatusOK, http.StatusNoContent) {
		x = s.patch(ctx, "/Users/"+id, op("replace", "", map[string]any{"active": false}))
		if x.is(http.StatusOK, http.StatusNoContent) {
			s.quirk("patch.form", "pathless", "active is only taken without a path")
		}
	}
	back := s.get(ctx, "/Users/"+id)
	active, said := back.resource().Active()
	gone := back.is(http.StatusNotFound)
	s.judge(Check{
		ID: "active.false", Clause: "RFC 7643 section 4.1.1", Title: "active: false takes access away, and shows",
		Advice: "Set active to false by PATCH and show it: it is how people leave.",
	}, (said && !active) || gone, back)
	if gone {
		s.quirk("disable.means", "gone", "a user set inactive answers 404")
		s.quirk("reactivate.by", "create", "a user set inactive answers 404")
		return
	}
	found := s.search(ctx, scim.Eq("userName", s.name()).String())
	page, ok := found.page()
	s.judge(Check{
		ID: "active.found", Clause: "RFC 7644 section 3.4.2", Title: "an inactive user is found by searches", Optional: true,
		Advice: "Show inactive users to searches: a client that does not find them makes a second account.",
	}, ok && len(page.Resources) == 1, found)
	x = s.patch(ctx, "/Users/"+id, op("replace", "active", true))
	active, _ = s.get(ctx, "/Users/"+id).resource().Active()
	s.judge(Check{
		ID: "active.true", Clause: "RFC 7643 section 4.1.1", Title: "active: true gives it back", Advice: "Set active to true by PATCH.",
	}, active, x)
}

// bulk sends two operations at once.
func (s *session) bulk(ctx context.Context) {
	x := s.send(ctx, scimhttp.Raw{Method: http.MethodPost, Path: "/Bulk", Body: map[string]any{
		"schemas":    []string{"urn:ietf:params:scim:api:messages:2.0:BulkRequest"},
		"Operations": []any{map[string]any{"method": "DELETE", "path": "/Users/" + nobody, "bulkId": "one"}},
	}})
	doc := x.resource()
	ops, _ := doc.Get("Operations")
	listed, _ := ops.([]any)
	if !s.offered(Check{
		ID: "bulk", Clause: "RFC 7644 section 3.7", Title: "a bulk request is answered operation by operation",
		Advice: "Answer each operation with its status.",
	}, x.is(http.StatusOK) && len(listed) == 1, s.config.Bulk, x) && s.config.Bulk {
		s.quirk("bulk", "no", x.evidence())
	}
}

// deleting removes the user.
func (s *session) deleting(ctx context.Context, id string) {
	x := s.send(ctx, scimhttp.Raw{Method: http.MethodDelete, Path: "/Users/" + id})
	if !s.judge(Check{
		ID: "delete", Clause: "RFC 7644 section 3.6", Title: "a user is removed by DELETE", Advice: "Answer DELETE with 204.",
	}, x.is(http.StatusNoContent, http.StatusOK), x) {
		if x.is(http.StatusMethodNotAllowed, http.StatusNotImplemented) {
			s.quirk("delete.unsupported", true, x.evidence())
		}
		return
	}
	back := s.get(ctx, "/Users/"+id)
	gone := back.is(http.StatusNotFound)
	s.judge(Check{
		ID: "delete.gone", Clause: "RFC 7644 section 3.6", Title: "it is gone afterwards", Advice: "Answer 404 for what was deleted.",
	}, gone, back)
	if gone {
		s.made = slices.DeleteFunc(s.made, func(path string) bool { return path == "/Users/"+id })
	} else {
		s.quirk("delete.means", "deactivate", "a deleted user is still there")
	}
}

// cleanUp removes what is left of the probe's own.
func (s *session) cleanUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, path := range slices.Backward(s.made) {
		x := s.send(ctx, scimhttp.Raw{Method: http.MethodDelete, Path: path})
		if !x.is(http.StatusNoContent, http.StatusOK, http.StatusNotFound) {
			s.report.Left = append(s.report.Left, fmt.Sprintf("%s (%s)", path, x.evidence()))
		}
	}
	s.made = nil
}
