// Package group owns what a group's members are to become: which to add, which
// to remove, and in which requests. It knows no HTTP, and never replaces a whole
// membership: what it was not told of stays.
package group

import (
	"slices"
	"strings"

	"github.com/joinery/joinery/pkg/scim"
)

// Member is a member of a group, by the target's id.
type Member struct {
	ID string
	// Display is its userName, for targets that need it.
	Display string
}

// Manner is how a target wants memberships changed.
type Manner struct {
	// Pathless adds by an object without a path; else by path members.
	Pathless bool
	// ArrayRemove removes by path members with an array; else each member by a
	// path members[value eq "id"] of its own.
	ArrayRemove bool
	// MaxMembers is the most members that a request may name; 0 is no limit.
	MaxMembers int
	// MaxOps is the most operations in a request; 0 is no limit.
	MaxOps int
	// Display sends each member's userName along.
	Display bool
	// TitleCase writes Add for add.
	TitleCase bool
}

// MaxMembers bounds a request where the target names no limit: the smallest of
// the limits that large vendors document.
const MaxMembers = 100

// Change is what has to become of a membership.
type Change struct {
	Add, Remove []Member
}

// Delta compares the members that are wanted with those that are known: read
// from the target, or from the ledger of what was sent. Only those of mine that
// are not wanted any more are removed; somebody else's stay. The order of the
// wish is kept, and nobody is named twice.
func Delta(known, mine, wanted []Member) Change {
	has, want, ours := ids(known), ids(wanted), ids(mine)
	var c Change
	for _, m := range wanted {
		if m.ID != "" && !has[m.ID] {
			has[m.ID] = true
			c.Add = append(c.Add, m)
		}
	}
	for _, m := range known {
		if m.ID != "" && ours[m.ID] && !want[m.ID] {
			want[m.ID] = true
			c.Remove = append(c.Remove, m)
		}
	}
	return c
}

func ids(members []Member) map[string]bool {
	out := make(map[string]bool, len(members))
	for _, m := range members {
		out[m.ID] = true
	}
	return out
}

// Bodies are the requests that make the change, in order: removals first, so
// that a group with a limit of members has room.
func (m Manner) Bodies(c Change) [][]scim.Operation {
	size := m.MaxMembers
	if size <= 0 {
		size = MaxMembers
	}
	perRemoval := size
	if !m.ArrayRemove && m.MaxOps > 0 {
		perRemoval = min(size, m.MaxOps)
	}
	var bodies [][]scim.Operation
	for chunk := range slices.Chunk(c.Remove, perRemoval) {
		bodies = append(bodies, m.removal(chunk))
	}
	for chunk := range slices.Chunk(c.Add, size) {
		bodies = append(bodies, []scim.Operation{m.addition(chunk)})
	}
	return bodies
}

func (m Manner) removal(members []Member) []scim.Operation {
	if m.ArrayRemove {
		return []scim.Operation{{Op: m.verb("remove"), Path: "members", Value: m.values(members, false)}}
	}
	ops := make([]scim.Operation, 0, len(members))
	for _, e := range members {
		ops = append(ops, scim.Operation{Op: m.verb("remove"), Path: "members[" + scim.Eq("value", e.ID).String() + "]"})
	}
	return ops
}

func (m Manner) addition(members []Member) scim.Operation {
	values := m.values(members, m.Display)
	if m.Pathless {
		return scim.Operation{Op: m.verb("add"), Value: map[string]any{"members": values}}
	}
	return scim.Operation{Op: m.verb("add"), Path: "members", Value: values}
}

func (m Manner) values(members []Member, display bool) []any {
	out := make([]any, 0, len(members))
	for _, e := range members {
		value := map[string]any{"value": e.ID}
		if display && e.Display != "" {
			value["display"] = e.Display
		}
		out = append(out, value)
	}
	return out
}

func (m Manner) verb(op string) string {
	if m.TitleCase {
		return strings.ToUpper(op[:1]) + op[1:]
	}
	return op
}
