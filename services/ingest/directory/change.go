package directory

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/stream"
)

// Create makes a resource of a body that is Writable. It fails with an
// *scim.Error of scimType uniqueness where the name, or the person, is somebody's.
// A create whose answer was lost before it was told is found again: then it gives
// what was made.
func (d Directory) Create(ctx context.Context, kind scim.Kind, body scim.Resource) (Resource, error) {
	for range maxRounds {
		id, err := newID()
		if err != nil {
			return Resource{}, err
		}
		now := time.Now().UTC()
		next := held{Resource: Resource{Kind: kind, ID: id, Body: body, Version: 1, Created: now, Modified: now}}
		if kind == scim.Groups {
			if made, found, err := d.sameName(ctx, next.Resource); found || err != nil {
				return made, err
			}
		}
		holder, err := d.write(ctx, held{Resource: Resource{Kind: kind, ID: id}}, &next)
		switch {
		case err == nil:
			return next.Resource, nil
		case errors.Is(err, errTaken):
			made, found, err := d.again(ctx, kind, holder, body)
			if found || err != nil {
				return made, err
			}
			return Resource{}, taken(kind)
		case !errors.Is(err, stream.ErrConflict):
			return Resource{}, err
		}
	}
	return Resource{}, ErrContended
}

// sameName looks for what an earlier attempt made among groups of the same name.
func (d Directory) sameName(ctx context.Context, r Resource) (Resource, bool, error) {
	i, _, err := d.index(ctx, d.indexKey(r.Kind, namesOf(r)[0]))
	for _, id := range i.IDs {
		made, found, err := d.again(ctx, r.Kind, id, r.Body)
		if found || err != nil {
			return made, found, err
		}
	}
	return Resource{}, false, err
}

// again looks whether the holder of a name is what an earlier attempt made, that
// failed before all of it was told.
func (d Directory) again(ctx context.Context, kind scim.Kind, id string, body scim.Resource) (Resource, bool, error) {
	h, err := d.hold(ctx, kind, id)
	if err != nil || h.rev == 0 {
		return Resource{}, false, err
	}
	same := h.settled != nil && h.settled.Version == 1 && h.Version == 1 && reflect.DeepEqual(normal(h.Body), normal(body))
	return h.Resource, same, nil
}

func taken(kind scim.Kind) error {
	detail := "userName, or what identifies the person, is another user's."
	if kind == scim.Groups {
		detail = "externalId is another group's."
	}
	return &scim.Error{
		Status: 409, ScimType: scim.Uniqueness,
		Detail: detail,
	}
}

// Update changes a resource. change gives the body as it is to be, Writable, and
// may be called several times; what leaves the body as it is changes nothing. It
// fails with ErrNotFound, or with change's error.
func (d Directory) Update(ctx context.Context, kind scim.Kind, id string, change func(Resource) (scim.Resource, error)) (Resource, error) {
	for range maxRounds {
		h, err := d.hold(ctx, kind, id)
		if err != nil {
			return Resource{}, err
		}
		if h.rev == 0 {
			return Resource{}, ErrNotFound
		}
		next := h
		if next.Body, err = change(h.Resource); err != nil {
			return Resource{}, err
		}
		if reflect.DeepEqual(normal(h.Body), normal(next.Body)) {
			return h.Resource, nil
		}
		next.Version++
		next.Modified = after(h.Modified)
		_, err = d.write(ctx, h, &next)
		switch {
		case err == nil:
			return next.Resource, nil
		case errors.Is(err, errTaken):
			return Resource{}, taken(kind)
		case !errors.Is(err, stream.ErrConflict):
			return Resource{}, err
		}
	}
	return Resource{}, ErrContended
}

// Delete removes a resource, a user also from the groups; check may refuse it. It
// fails with ErrNotFound. A removal that was stored before and not told yet is
// told, and succeeds.
func (d Directory) Delete(ctx context.Context, kind scim.Kind, id string, check func(Resource) error) error {
	for range maxRounds {
		h, err := d.hold(ctx, kind, id)
		if err != nil {
			return err
		}
		if h.rev == 0 {
			if h.settled != nil {
				return nil
			}
			return ErrNotFound
		}
		if err := check(h.Resource); err != nil {
			return err
		}
		if kind == scim.Users {
			if err := d.leaveGroups(ctx, id); err != nil {
				return err
			}
		}
		if _, err = d.write(ctx, h, nil); !errors.Is(err, stream.ErrConflict) {
			return err
		}
	}
	return ErrContended
}

// leaveGroups takes a user out of all groups, before the user goes: so nobody is
// a member who is not there.
func (d Directory) leaveGroups(ctx context.Context, id string) error {
	groups, err := d.groupsOf(ctx, id)
	if err != nil {
		return err
	}
	for _, group := range groups {
		_, err := d.Update(ctx, scim.Groups, group, func(g Resource) (scim.Resource, error) {
			body := g.Body.Clone()
			var kept []any
			for _, m := range body.Members() {
				if scim.Resource(m).Text("value") != id {
					kept = append(kept, m)
				}
			}
			body.SetMembers(kept)
			return body, nil
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// groupsOf are the groups that a user is a member of.
func (d Directory) groupsOf(ctx context.Context, id string) ([]string, error) {
	done, err := d.scanning(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	var groups []string
	err = d.Keep.Each(ctx, "r."+d.Source+"."+string(scim.Groups)+".", func(key string, item Item, _ uint64) error {
		if item.Record != nil && slices.Contains(item.Record.Members, id) {
			groups = append(groups, stream.Token(key, 3))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for the groups of a user: %w", err)
	}
	return groups, nil
}

// write stores a change with what it is found by and what it owes, and tells it.
// next is nil for a removal; its time may be moved behind what is known of the
// person. It fails with stream.ErrConflict where another came between, and with
// errTaken, naming the holder, where a name is another's.
func (d Directory) write(ctx context.Context, now held, next *held) (holder string, err error) {
	owed, err := d.owing(ctx, now.Resource, next)
	if err != nil && next != nil {
		// A client that is told that the name is taken knows what to do.
		if holder, unread := d.holder(ctx, next.Resource); unread == nil && holder != "" && holder != now.ID {
			return holder, errTaken
		}
	}
	if err != nil {
		return "", err
	}
	x := indexing{directory: d, id: now.ID}
	if holder, err = x.move(ctx, now, next, &owed); err != nil {
		return holder, err
	}
	// What owes is the last write: its revision comes back.
	key, value := d.recordKey(now.Kind, now.ID), &Item{Owed: &owed}
	last := stream.Write[Item]{Key: key, Value: value, Rev: now.rev}
	after := Resource{Kind: now.Kind, ID: now.ID}
	if next != nil {
		if value.Record, err = next.record(); err != nil {
			return "", err
		}
		after = next.Resource
	} else {
		x.writes = append(x.writes, stream.Write[Item]{Key: key, Rev: now.rev})
		key = d.removedKey(now.Kind, now.ID)
		last = stream.Write[Item]{Key: key, Value: value}
	}
	rev, err := d.Keep.PutAll(ctx, append(x.writes, last))
	if err != nil {
		return "", fmt.Errorf("store a resource: %w", err)
	}
	if next == nil || now.rev == 0 {
		d.Lists.drop(d.Source, now.Kind)
	}
	if err := d.tell(ctx, after, owed); err != nil {
		return "", err
	}
	// It is stored and told: what was not noted is told again later, to no effect.
	_ = d.note(ctx, key, *value, rev)
	return "", nil
}

// owing is what a change owes, and whether it can be told.
func (d Directory) owing(ctx context.Context, now Resource, next *held) (Owed, error) {
	if now.Kind == scim.Groups {
		return d.owingGroup(ctx, now, next)
	}
	if next == nil {
		return Owed{Version: now.Version + 1, At: after(now.Modified), What: Left, Person: now.Person}, nil
	}
	next.Begun = now.Begun || active(next.Body)
	owed := Owed{Version: next.Version, At: next.Modified, What: whatOf(now, next.Resource)}
	person, err := d.Teller.Judge(ctx, Fact{
		ID: fmt.Sprintf("%s/%s/%d", next.Kind, next.ID, next.Version), What: owed.What, At: owed.At, Version: owed.Version, User: next.Resource,
	})
	if err != nil {
		return owed, err
	}
	if now.Person != "" && person != now.Person {
		return owed, &scim.Error{
			Status: 400, ScimType: scim.Mutability,
			Detail: "The change would make the user another person: what the source's identity_key reads cannot change. Delete the user and make a new one.",
		}
	}
	next.Person, owed.Person = person, person
	return owed, nil
}

// whatOf is what a change says of the user.
//
//	before    after      what
//	none      active     joined
//	none      inactive   disabled
//	active    inactive   disabled
//	inactive  active     enabled, or joined if it never was active
//	else                 changed
//
// So somebody who was deleted and is made again in advance comes back at the
// first activation: to lift a suspension would not undo the deletion.
func whatOf(now, next Resource) string {
	was, _ := now.Body.Active()
	is := active(next.Body)
	switch {
	case is && !was && !now.Begun:
		return Joined
	case !is && (was || now.Version == 0):
		return Disabled
	case is && !was:
		return Enabled
	}
	return Changed
}

// active tells whether a user who is stored is active: one of whom it is not said
// is.
func active(user scim.Resource) bool {
	is, said := user.Active()
	return is || !said
}

func (d Directory) owingGroup(ctx context.Context, now Resource, next *held) (Owed, error) {
	if next == nil {
		return Owed{Version: now.Version + 1, At: after(now.Modified), What: GroupDeleted, Name: now.Body.Text("displayName")}, nil
	}
	owed := Owed{Version: next.Version, At: next.Modified, Name: next.Body.Text("displayName")}
	if owed.Name != now.Body.Text("displayName") || now.Version == 0 {
		owed.What = GroupChanged
		if _, err := d.Teller.Judge(ctx, Fact{What: owed.What, At: owed.At, Version: owed.Version, Group: next.ID, GroupName: owed.Name}); err != nil {
			return owed, err
		}
	}
	had, has := now.Members(), next.Members()
	if len(has) > MaxMembers {
		return owed, &scim.Error{Status: 400, ScimType: scim.TooMany, Detail: fmt.Sprintf("A group may have %d members.", MaxMembers)}
	}
	added, removed := without(has, had), without(had, has)
	if len(added)+len(removed) > MaxMemberChanges {
		return owed, &scim.Error{Status: 400, ScimType: scim.TooMany, Detail: fmt.Sprintf("A request may add and remove %d members.", MaxMemberChanges)}
	}
	var err error
	if owed.Added, err = d.members(ctx, added); err == nil {
		owed.Removed, err = d.members(ctx, removed)
	}
	if err == nil && len(owed.Added) < len(added) {
		err = &scim.Error{
			Status: 400, ScimType: scim.InvalidValue, Attributes: []string{"members"},
			Detail: "members: a value is the id of no user here; make the user first. Groups in groups are not supported.",
		}
	}
	return owed, err
}

// members are the users of these ids, those that are there.
func (d Directory) members(ctx context.Context, ids []string) ([]Member, error) {
	found, err := d.several(ctx, placesOf(scim.Users, ids))
	if err != nil {
		return nil, err
	}
	out := make([]Member, len(found))
	for i, r := range found {
		out[i] = Member{ID: r.ID, Person: r.Person}
	}
	return out, nil
}

// without is the texts of a that are not in b.
func without(a, b []string) []string {
	in := make(map[string]bool, len(b))
	for _, s := range b {
		in[s] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return in[s] })
}

// after is now, but later than a time that is stored: clocks of replicas differ.
func after(t time.Time) time.Time {
	now := time.Now().UTC()
	if earliest := t.Add(time.Millisecond); now.Before(earliest) {
		return earliest
	}
	return now
}

// normal is a body for comparing: members as a set.
func normal(r scim.Resource) scim.Resource {
	members := r.Members()
	if len(members) < 2 {
		return r
	}
	out := make(scim.Resource, len(r))
	for name, v := range r {
		if !strings.EqualFold(name, "members") {
			out[name] = v
		}
	}
	set := make(map[string]bool, len(members))
	for _, m := range members {
		set[scim.Resource(m).Text("value")] = true
	}
	out["members"] = set
	return out
}
