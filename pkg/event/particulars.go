package event

import (
	"maps"
	"slices"
	"time"

	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// particulars takes out of data what some kinds say besides attributes:
//
//	kind                             member      required            optional
//	access_granted, access_revoked   data.grant  target              entitlement, expires_at
//	group_changed, group_deleted,    data.group  key                 name, kind
//	member_added, member_removed
//
// For all other kinds these members are attributes like any other.
func particulars(out *joineryv1.LifecycleEvent, data map[string]any) (problem *Problem) {
	switch {
	case aboutAccess(out.GetKind()):
		out.Grant, problem = grant(data["grant"], out.GetTimeZone())
		delete(data, "grant")
	case aboutGroup(out.GetKind()) || aboutMember(out.GetKind()):
		out.Group, problem = group(data["group"])
		delete(data, "group")
		if problem == nil {
			out.Group.MemberKey = out.GetIdentityKey()
		}
	}
	return problem
}

func aboutAccess(kind joineryv1.LifecycleKind) bool {
	return kind == joineryv1.LifecycleKind_LIFECYCLE_KIND_ACCESS_GRANTED ||
		kind == joineryv1.LifecycleKind_LIFECYCLE_KIND_ACCESS_REVOKED
}

func aboutGroup(kind joineryv1.LifecycleKind) bool {
	return kind == joineryv1.LifecycleKind_LIFECYCLE_KIND_GROUP_CHANGED ||
		kind == joineryv1.LifecycleKind_LIFECYCLE_KIND_GROUP_DELETED
}

func aboutMember(kind joineryv1.LifecycleKind) bool {
	return kind == joineryv1.LifecycleKind_LIFECYCLE_KIND_MEMBER_ADDED ||
		kind == joineryv1.LifecycleKind_LIFECYCLE_KIND_MEMBER_REMOVED
}

// grant reads a grant; one that expires on a date ends with that day in the zone.
func grant(v any, zone string) (*joineryv1.Grant, *Problem) {
	m, problem := record(v, "data.grant", "target", "entitlement", "expires_at")
	if problem != nil {
		return nil, problem
	}
	out := &joineryv1.Grant{Target: m["target"], Entitlement: m["entitlement"]}
	if expires, ok := m["expires_at"]; ok {
		var t time.Time
		if problem := moment(&t, "data.grant.expires_at", expires, zone, true); problem != nil {
			return nil, problem
		}
		out.ExpiresAt = timestamppb.New(t)
	}
	return out, nil
}

func group(v any) (*joineryv1.GroupFact, *Problem) {
	m, problem := record(v, "data.group", "key", "name", "kind")
	if problem != nil {
		return nil, problem
	}
	return &joineryv1.GroupFact{Key: m["key"], Name: m["name"], Kind: m["kind"]}, nil
}

// record is an object of strings: the first name is required, the others may
// be there, and nothing else may.
func record(v any, field, required string, optional ...string) (map[string]string, *Problem) {
	members, problem := object(v, field)
	if problem != nil {
		return nil, problem
	}
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		at := join(field, shown(name))
		value, ok := members[name].(string)
		switch {
		case name != required && !slices.Contains(optional, name):
			return nil, refuse(Invalid, at, "%s has no such member. It has %s and may have %v.", field, required, optional)
		case members[name] == nil:
			continue
		case !ok:
			return nil, refuse(Invalid, at, "%s must be a string.", at)
		}
		if problem := text(&value, at, value, maxKey); problem != nil {
			return nil, problem
		}
		out[name] = value
	}
	if out[required] == "" {
		return nil, refuse(Missing, join(field, required), "An event of this kind needs %s.", join(field, required))
	}
	return out, nil
}

func grantData(g *joineryv1.Grant) map[string]any {
	out := present(map[string]any{"target": g.GetTarget(), "entitlement": g.GetEntitlement()})
	if g.GetExpiresAt() != nil {
		out["expires_at"] = g.GetExpiresAt().AsTime().Format(time.RFC3339Nano)
	}
	return out
}

func groupData(g *joineryv1.GroupFact) map[string]any {
	return present(map[string]any{"key": g.GetKey(), "name": g.GetName(), "kind": g.GetKind()})
}

// present leaves out the members that are the empty string.
func present(m map[string]any) map[string]any {
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == "" })
	return m
}
