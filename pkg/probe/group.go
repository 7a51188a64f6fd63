package probe

import (
	"context"
	"net/http"
	"slices"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
)

// grouping makes a throw-away group, fills and empties it, and renames it.
func (s *session) grouping(ctx context.Context, member string) {
	name := "joinery-probe-" + s.options.Mark
	x := s.send(ctx, scimhttp.Raw{Method: http.MethodPost, Path: "/Groups", Body: map[string]any{
		"schemas": []any{scim.GroupSchema}, "displayName": name, "members": []any{map[string]any{"value": member}},
	}})
	id := x.resource().ID()
	if id != "" {
		s.made = append(s.made, "/Groups/"+id)
	}
	if !s.judge(Check{
		ID: "group.create", Clause: "RFC 7643 section 4.2", Title: "a group is made by POST", Optional: true, Advice: "Take a group with displayName and members.",
	}, id != "", x) {
		s.quirk("group.create", "unsupported", x.evidence())
		return
	}
	path := "/Groups/" + id
	if !s.has(ctx, path, member, true, Check{ID: "group.create.members", Clause: "RFC 7643 section 4.2", Title: "a new group has the members that it was sent with", Optional: true}) {
		s.quirk("group.create_members", "ignored", "a new group is empty")
	}
	for _, d := range []struct {
		id, title, knob, value string
		there                  bool
		op                     map[string]any
	}{
		{"members.remove.filter", `a member is removed by members[value eq "…"]`, "members.remove_form", "array", false, op("remove", "members["+scim.Eq("value", member).String()+"]", nil)},
		{"members.add", "a member is added by path", "members.add_form", "pathless", true, op("add", "members", []any{map[string]any{"value": member}})},
		{"members.remove.array", "a member is removed by an array", "", "", false, op("remove", "members", []any{map[string]any{"value": member}})},
		{"members.add.pathless", "a member is added without a path", "", "", true, op("add", "", map[string]any{"members": []any{map[string]any{"value": member}}})},
	} {
		s.patch(ctx, path, op("add", "members", []any{map[string]any{"value": member}}))
		if d.there {
			s.patch(ctx, path, op("remove", "members["+scim.Eq("value", member).String()+"]", nil))
		}
		x := s.patch(ctx, path, d.op)
		check := Check{ID: d.id, Clause: "RFC 7644 section 3.5.2", Title: d.title, Optional: d.knob == "", Advice: "Support it: groups are kept by such operations."}
		if !x.is(http.StatusOK, http.StatusNoContent) {
			s.judge(check, false, x)
		} else if s.has(ctx, path, member, d.there, check) {
			continue
		}
		if d.knob != "" {
			s.quirk(d.knob, d.value, x.evidence())
		}
	}
	x = s.patch(ctx, path, op("replace", "displayName", name+"-renamed"))
	shown, _ := s.get(ctx, path).resource().Get("displayName")
	if !s.judge(Check{ID: "group.rename", Clause: "RFC 7643 section 4.2", Title: "a group is renamed", Optional: true}, shown == name+"-renamed", x) {
		s.quirk("group.rename", "unsupported", x.evidence())
	}
	x = s.get(ctx, "/Groups", "filter", scim.Eq("members.value", member).String(), "count", "10")
	page, ok := x.page()
	s.judge(Check{ID: "members.search", Clause: "RFC 7644 section 3.4.2.2", Title: "groups are found by their members", Optional: true},
		ok && slices.ContainsFunc(page.Resources, func(r scim.Resource) bool { return r.ID() == id }), x)
	x = s.send(ctx, scimhttp.Raw{Method: http.MethodDelete, Path: path})
	if s.judge(Check{ID: "group.delete", Clause: "RFC 7644 section 3.6", Title: "a group is removed", Optional: true}, x.is(http.StatusNoContent, http.StatusOK), x) {
		s.made = slices.DeleteFunc(s.made, func(made string) bool { return made == path })
	} else {
		s.quirk("group.delete", "unsupported", x.evidence())
	}
}

// has reads a group and judges whether it has the member, or has it no more.
func (s *session) has(ctx context.Context, path, member string, there bool, c Check) bool {
	x := s.get(ctx, path)
	v, _ := x.resource().Get("members")
	members, _ := v.([]any)
	has := slices.ContainsFunc(members, func(m any) bool {
		one, ok := m.(map[string]any)
		return ok && one["value"] == member
	})
	return s.judge(c, x.is(http.StatusOK) && has == there, x)
}
