package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/group"
	"github.com/joinery/joinery/pkg/scim"
)

// ErrHidden: the target does not show who the members of a group are.
var ErrHidden = errors.New("the target does not show members")

// Groups is a target's groups. It is safe for concurrent use.
type Groups struct{ client *Client }

// Groups gives the target's groups.
func (c *Client) Groups() Groups { return Groups{client: c} }

// manner is how the target wants memberships changed.
func (g Groups) manner() group.Manner {
	k := g.client.options.Knobs
	return group.Manner{
		Pathless: k.MembersForm == "pathless", ArrayRemove: k.MembersRemove == "array", MaxMembers: k.MembersMax,
		MaxOps: k.PatchMaxOps, Display: k.MembersDisplay, TitleCase: k.OpCase == "title",
	}
}

// Head reads a group without its members, which may be many. Where the target
// cannot leave them out, they come along.
func (g Groups) Head(ctx context.Context, id string) (scim.Resource, error) {
	var query url.Values
	if g.client.options.Knobs.Excluded != "unsupported" {
		query = url.Values{"excludedAttributes": {"members"}}
	}
	return g.client.get(ctx, scim.Groups, id, query)
}

// Members reads who is in a group. ErrHidden, where the target does not show it:
// then a ledger of what was sent stands for them, and Has asks for one.
func (g Groups) Members(ctx context.Context, id string) ([]group.Member, error) {
	if g.client.options.Knobs.MembersHidden {
		return nil, fault.Mark(fault.Unsupported, ErrHidden)
	}
	// A group may be as large as a list.
	r, err := g.client.get(ctx, scim.Groups, id, nil)
	if err != nil {
		return nil, err
	}
	v, _ := r.Get("members")
	elements, _ := v.([]any)
	members := make([]group.Member, 0, len(elements))
	for _, e := range elements {
		m, _ := e.(map[string]any)
		value, _ := scim.Resource(m).Get("value")
		text, _ := value.(string)
		if text == "" {
			return nil, fault.Mark(fault.Transient, fmt.Errorf("read members: %w: one has no value", ErrUnreadable))
		}
		members = append(members, group.Member{ID: text})
	}
	return members, nil
}

// Of reads the ids of the groups that a user is in, by the inverted query. It
// works where members are hidden.
func (g Groups) Of(ctx context.Context, user string) ([]string, error) {
	refused := g.client.options.Knobs.FilterRefused
	known := g.client.searchable(scim.Groups, "members.value") || g.client.searchable(scim.Groups, "members")
	if !known || named(refused, "members.value") || named(refused, "members") {
		return nil, fault.Mark(fault.Unsupported, fmt.Errorf("search by members.value: %w", ErrNotAsked))
	}
	extra := url.Values{"filter": {scim.Eq("members.value", user).String()}}
	if g.client.options.Knobs.Excluded != "unsupported" {
		extra.Set("excludedAttributes", "members")
	}
	var ids []string
	for r, err := range g.client.list(ctx, scim.Groups, extra) {
		if err != nil {
			return nil, fmt.Errorf("search for the groups of a user: %w", err)
		}
		ids = append(ids, r.ID())
	}
	return ids, nil
}

// Change adds and removes members, in as few requests as the target allows. It
// stops at the first that fails; done is how many of the requests went through.
// Repeating the whole change does no harm.
//
// Where the target has bulk requests, those of several travel in one.
func (g Groups) Change(ctx context.Context, id string, c group.Change) (done int, err error) {
	bodies := g.manner().Bodies(c)
	if most, _ := g.client.bulkLimits(); most > 1 && len(bodies) > 1 {
		return g.together(ctx, id, bodies)
	}
	for _, body := range bodies {
		if _, err := g.client.Patch(ctx, scim.Groups, id, "", body); err != nil {
			return done, fmt.Errorf("change members: %w", err)
		}
		done++
	}
	return done, nil
}

// together changes members by bulk requests. They may be in any order: no member
// is added and removed by one change.
func (g Groups) together(ctx context.Context, id string, bodies [][]scim.Operation) (done int, err error) {
	path, err := resourcePath(scim.Groups, id)
	if err != nil {
		return 0, err
	}
	var ops []scim.BulkCall
	for i, body := range bodies {
		ops = append(ops, scim.BulkCall{
			Method: http.MethodPatch, ID: strconv.Itoa(i), Path: path,
			Data: map[string]any{"schemas": []string{scim.PatchSchema}, "Operations": body},
		})
	}
	for _, d := range g.client.Bulk(ctx, ops, true) {
		switch {
		case d.Err == nil:
			done++
		case err == nil:
			err = fmt.Errorf("change members: %w", d.Err)
		}
	}
	return done, err
}

// Rename gives a group another displayName.
func (g Groups) Rename(ctx context.Context, id, name string) error {
	k := g.client.options.Knobs
	if k.GroupRename == "unsupported" {
		return fault.Mark(fault.Unsupported, errors.New("the target's groups cannot be renamed"))
	}
	d := scim.Dialect{Pathless: k.PatchForm == "pathless", TitleCase: k.OpCase == "title", Ops: k.PatchOps}
	bodies, err := d.Shape([]scim.Operation{{Op: "replace", Path: "displayName", Value: name}}, nil)
	if err != nil {
		return fault.Mark(fault.Unsupported, fmt.Errorf("rename a group: %w", err))
	}
	for _, body := range bodies {
		if _, err := g.client.Patch(ctx, scim.Groups, id, "", body); err != nil {
			return fmt.Errorf("rename a group: %w", err)
		}
	}
	return nil
}

// get reads a resource, of a group up to the size of a list.
func (c *Client) get(ctx context.Context, kind scim.Kind, id string, query url.Values) (scim.Resource, error) {
	path, err := resourcePath(kind, id)
	if err != nil {
		return nil, err
	}
	limit := int64(maxBody)
	if kind == scim.Groups {
		limit = maxList
	}
	a, err := c.do(ctx, request{method: http.MethodGet, kind: kind, path: path, query: query, limit: limit})
	if err != nil {
		return nil, err
	}
	r, err := a.resource()
	switch {
	case err != nil:
		return nil, fault.Mark(fault.Transient, err)
	case r == nil:
		return nil, fault.Mark(fault.Transient, errors.New("the target answered a read without a resource"))
	case r.ID() != "" && r.ID() != id:
		return nil, fault.Mark(fault.Transient, errors.New("the target answered with another resource than was asked for"))
	}
	return r, nil
}
