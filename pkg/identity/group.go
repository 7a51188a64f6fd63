package identity

import (
	"slices"
	"time"

	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// GroupID is the opaque id of a source's group: group keys of two sources have
// nothing to do with one another.
func GroupID(source, key string) string { return IDOf("group\x00" + source + "\x00" + key) }

// RuleGroupID is the opaque id of a group that a target's rule makes of people:
// the rule's name for it says which it is.
func RuleGroupID(name string) string { return IDOf("rule\x00" + name) }

// AboutGroup tells events about a group itself from those about people.
func AboutGroup(k joineryv1.LifecycleKind) bool {
	return k == joineryv1.LifecycleKind_LIFECYCLE_KIND_GROUP_CHANGED ||
		k == joineryv1.LifecycleKind_LIFECYCLE_KIND_GROUP_DELETED
}

// AboutMember tells events about who is in a group.
func AboutMember(k joineryv1.LifecycleKind) bool {
	return k == joineryv1.LifecycleKind_LIFECYCLE_KIND_MEMBER_ADDED ||
		k == joineryv1.LifecycleKind_LIFECYCLE_KIND_MEMBER_REMOVED
}

// SubjectOf is the id of what an event is about: a person, or a group.
func SubjectOf(e *joineryv1.LifecycleEvent) string {
	if AboutGroup(e.GetKind()) {
		return GroupID(e.GetSource(), e.GetGroup().GetKey())
	}
	return IDOf(e.GetIdentityKey())
}

// Group is what a source said of one of its groups, and what each target should
// make of it; the value of bucket GROUPS.
type Group struct {
	ID     string `json:"id"`
	Source string `json:"source"`
	Key    string `json:"key"`
	// Revision grows by one with every stored change.
	Revision uint64 `json:"revision"`
	Name     string `json:"name,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Deleted  bool   `json:"deleted,omitempty"`
	// Stamp is that of the newest statement.
	Stamp Stamp `json:"stamp,omitzero"`
	// Wishes holds, by target, what the group should be there.
	Wishes    map[string]GroupWish `json:"wishes,omitempty"`
	UpdatedAt time.Time            `json:"updated_at,omitzero"`
}

// GroupWish is what one target should make of a group.
type GroupWish struct {
	// Wish is present or absent.
	Wish        string `json:"wish"`
	DisplayName string `json:"display_name,omitempty"`
	// Revision of the group when the wish last changed, and the event that did it.
	Revision uint64 `json:"revision"`
	Event    string `json:"event"`
}

// Fold takes one event about the group, and says what it did. The same events in
// any order give the same group.
func (g *Group) Fold(e *joineryv1.LifecycleEvent) Effect {
	fact := e.GetGroup()
	g.ID, g.Source, g.Key = SubjectOf(e), e.GetSource(), fact.GetKey()
	stamp := Stamp{At: saidAt(e), Version: e.GetSourceVersion(), Event: e.GetId()}
	deleted := e.GetKind() == joineryv1.LifecycleKind_LIFECYCLE_KIND_GROUP_DELETED
	if deleted {
		stamp.Rank = 2
	}
	switch newer := stamp.Compare(g.Stamp); {
	case newer == 0:
		return NoChange
	case newer < 0:
		return Superseded
	}
	g.Stamp, g.Deleted = stamp, deleted
	if !deleted {
		g.Name, g.Kind = fact.GetName(), fact.GetKind()
	}
	return Applied
}

// Membership is the newest statement on whether a person is in a group.
type Membership struct {
	Source string `json:"source"`
	Key    string `json:"key"`
	Member bool   `json:"member"`
	Stamp  Stamp  `json:"stamp"`
}

// foldMembership takes over who is in a group. It holds from when it was said.
func (r *Record) foldMembership(e *joineryv1.LifecycleEvent, seen *tally) {
	if !AboutMember(e.GetKind()) {
		return
	}
	id := GroupID(e.GetSource(), e.GetGroup().GetKey())
	m := Membership{
		Source: e.GetSource(), Key: e.GetGroup().GetKey(),
		Member: e.GetKind() == joineryv1.LifecycleKind_LIFECYCLE_KIND_MEMBER_ADDED,
		Stamp:  Stamp{At: saidAt(e), Version: e.GetSourceVersion(), Event: e.GetId()},
	}
	if !m.Member {
		m.Stamp.Rank = 2
	}
	if !seen.compare(m.Stamp.Compare(r.Memberships[id].Stamp)) {
		return
	}
	if r.Memberships == nil {
		r.Memberships = map[string]Membership{}
	}
	r.Memberships[id] = m
}

// Groups are the ids of the groups that the person is in, sorted.
func (r *Record) Groups() []string {
	var out []string
	for id, m := range r.Memberships {
		if m.Member {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// GroupCommand asks for the group that the ledger is of to be looked at again, as
// it was last named.
func (a Account) GroupCommand(now time.Time) *joineryv1.ProvisioningCommand {
	name, _ := a.Sent["displayName"].(string)
	key, _ := a.Sent["externalId"].(string)
	revision := uint64(now.UnixNano())
	return &joineryv1.ProvisioningCommand{
		Id: CommandID(a.Target, a.Identity, revision), Target: a.Target, Identity: a.Identity, Revision: revision,
		Wish: joineryv1.Wish_WISH_PRESENT, IssuedAt: timestamppb.New(now), Group: &joineryv1.GroupWish{DisplayName: name, Key: key},
	}
}

// Member is whether one person should be in one group of one target, and whether
// they are; the value of bucket MEMBERS.
type Member struct {
	// Present is the wish, as of a revision of the person.
	Present  bool   `json:"present"`
	Revision uint64 `json:"revision"`
	// Owed tells that the group's command for this wish is not issued for certain.
	Owed bool `json:"owed,omitempty"`
	// Sent is the id in the target under which the person was made a member, ""
	// while they are none that we made.
	Sent string `json:"sent,omitempty"`
}

// Settled tells whether the wish is fulfilled, as far as was sent.
func (m Member) Settled() bool { return m.Present == (m.Sent != "") }

// MemberKey is the key of a member in bucket MEMBERS; MembersKey is the prefix of
// all of a group.
func MemberKey(target, group, id string) string { return MembersKey(target, group) + "." + id }

// MembersKey is the prefix of the keys of a group's members.
func MembersKey(target, group string) string { return target + "." + group }
