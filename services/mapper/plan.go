package mapper

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// Target is what the mapper must know of a target: who has an account there,
// and what it looks like.
type Target struct {
	// Desired is the compiled assignment and attribute mapping.
	Desired func(mapping.Person) (mapping.Result, error)
	// Rule is the assignment as it is written, for those who ask why.
	Rule string
	// Version identifies the mapping, and is recorded with what it made.
	Version string
	// Deprovision is what becomes of an account that is no longer due:
	// disable, delete or none.
	Deprovision string
	// Percent of people, stable by identity, that the target is rolled out to.
	Percent int
	// GroupName is what a source's group is called in the target, "" where it is none
	// there; nil where groups of sources are left alone.
	GroupName func(mapping.Group) (string, error)
	// Names is where names that must be unique are reserved. It may be nil for a
	// mapping without any.
	Names Names
	// Keeper says under which key somebody referred to is kept; nil takes every key
	// as it is.
	Keeper Keeper
	// Simulated targets get no wishes and so no commands.
	Simulated bool
}

// Targets is the configuration in force, by name.
type Targets map[string]Target

// reason is why a plan is made; it becomes part of every wish that changes.
type reason struct {
	event   string
	source  string
	cause   joineryv1.Cause
	trigger *joineryv1.Trigger
	urgent  bool
	bulk    bool
	now     time.Time
}

// problem is a mapping that failed for one person and one target; the others go on.
type problem struct {
	target string
	err    error
}

// plan brings the wishes of a record in line with the targets, and says which
// changed. The record's revision must already be the new one. Each target
// stands alone: a mapping that fails leaves that target's wish as it was.
func (ts Targets) plan(ctx context.Context, rec *identity.Record, why reason) (changed []string, problems []problem) {
	who := standingOf(rec)
	for _, name := range slices.Sorted(maps.Keys(ts)) {
		target := ts[name]
		if !target.includes(name, rec.ID) {
			continue
		}
		old, had := rec.Wishes[name]
		wish, due, err := target.wish(ctx, name, rec, who, old, had)
		if err != nil {
			problems = append(problems, problem{name, err})
			continue
		}
		if !due {
			continue
		}
		if had && old.Same(wish) {
			old.Because = wish.Because
			rec.Wishes[name] = old
			continue
		}
		if rec.Wishes == nil {
			rec.Wishes = map[string]identity.Wish{}
		}
		rec.Wishes[name] = why.stamp(wish, rec.Revision, old, had)
		changed = append(changed, name)
	}
	return changed, problems
}

// includes tells whether the target is rolled out to the person.
func (t Target) includes(name, id string) bool {
	if t.Simulated {
		return false
	}
	if t.Percent >= 100 {
		return true
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name + "." + id))
	return int(h.Sum32()%100) < t.Percent
}

// wish is what the target should show; due is false where it should be left alone.
//
//	assigned  had a wish        wish
//	yes       any               present
//	no        none, or none is  -
//	          to be done
//	no        present           disabled, absent or unmanaged, by the target's policy
//	no        anything else     as it was
func (t Target) wish(ctx context.Context, name string, rec *identity.Record, who standing, old identity.Wish, had bool) (w identity.Wish, due bool, err error) {
	result, err := t.Desired(who.in(name))
	if err != nil {
		return identity.Wish{}, false, err
	}
	if result.Assigned {
		if err := settleNames(ctx, t.Names, name, rec.ID, &result); err != nil {
			return identity.Wish{}, false, err
		}
		resource, err := plain(result.Resource)
		if err != nil {
			return identity.Wish{}, false, err
		}
		references, err := t.Keeper.opaque(ctx, result.References)
		if err != nil {
			return identity.Wish{}, false, err
		}
		w := identity.Wish{
			Wish: identity.Present, Resource: resource, Rules: result.Rules, Mapping: t.Version,
			References: references, Because: who.given(name, t.Rule, result.ByGrant),
			Cleared: result.Cleared, Left: result.Left,
		}
		w.Groups, w.Made = t.memberships(who, result.Groups)
		return w, true, nil
	}
	if !had || old.Wish != identity.Present {
		return identity.Wish{}, false, nil
	}
	switch t.Deprovision {
	case "delete":
		return identity.Wish{Wish: identity.Absent, Mapping: t.Version, Because: who.ended(t.Rule)}, true, nil
	case "none": // what still waits must not make or revive the account
		return identity.Wish{
			Wish: identity.Unmanaged, Mapping: t.Version, Because: who.ended(t.Rule), Groups: old.Groups, Made: old.Made,
		}, true, nil
	default:
		return identity.Wish{Wish: identity.Disabled, Mapping: t.Version, Because: who.ended(t.Rule)}, true, nil
	}
}

// PersonOf is the person as mapping rules see them.
func PersonOf(rec *identity.Record) mapping.Person {
	state := rec.EffectiveState()
	return mapping.Person{
		Key:        rec.Key,
		Active:     state == identity.Active,
		State:      string(state),
		Attributes: rec.Current(),
	}
}

func (why reason) stamp(w identity.Wish, revision uint64, old identity.Wish, had bool) identity.Wish {
	w.Revision, w.Since = revision, why.now
	w.Event, w.Source, w.Cause, w.Trigger = why.event, why.source, why.cause, why.trigger
	switch {
	case why.urgent || w.Wish != identity.Present:
		w.Lane = joineryv1.Lane_LANE_URGENT
	case why.bulk:
		w.Lane = joineryv1.Lane_LANE_BULK
	default:
		w.Lane = joineryv1.Lane_LANE_NORMAL
	}
	if had {
		w = w.Replacing(old)
	}
	return w
}

// plain is a resource as JSON would give it back, so that a stored wish and a
// new one compare equal.
func plain(resource map[string]any) (map[string]any, error) {
	data, err := json.Marshal(resource)
	if err != nil {
		return nil, fmt.Errorf("encode the desired resource: %w", err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("decode the desired resource: %w", err)
	}
	return out, nil
}
