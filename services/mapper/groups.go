package mapper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/stream"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// What a target should make of a group, and who should be in it, are two
// levels: the group's wish stands in bucket GROUPS, each membership in bucket
// MEMBERS. A command about a group says only that they may have changed; the
// dispatcher reads them and sends the difference, so that any number of changes
// are one command that waits.

// Groups is the bucket of groups; Put is a compare-and-swap, as that of Identities.
type Groups interface {
	Get(ctx context.Context, key string) (identity.Group, uint64, error)
	Put(ctx context.Context, key string, g identity.Group, rev uint64) (uint64, error)
	Keys(ctx context.Context, prefix string) ([]string, error)
}

// Members is the bucket of memberships; Put is a compare-and-swap.
type Members interface {
	Get(ctx context.Context, key string) (identity.Member, uint64, error)
	Put(ctx context.Context, key string, m identity.Member, rev uint64) (uint64, error)
}

// WithGroups gives the mapper the buckets of groups. Without them groups are left
// alone.
func (s *Service) WithGroups(groups Groups, members Members) *Service {
	s.groups, s.members = groups, members
	return s
}

// memberPrefix begins the event ids of commands that memberships caused.
const memberPrefix = "members-"

// gather brings the person's memberships into bucket MEMBERS and has each group
// looked at whose members changed. It is called with every event of the person,
// so that what a crash left undone is made up for.
func (s *Service) gather(ctx context.Context, rec *identity.Record, event string) error {
	if s.members == nil {
		return nil
	}
	for _, target := range slices.Sorted(maps.Keys(rec.Wishes)) {
		w := rec.Wishes[target]
		for _, group := range slices.Sorted(slices.Values(slices.Concat(w.Groups, w.Quit))) {
			if err := s.enrol(ctx, rec, target, group, event); err != nil {
				return fmt.Errorf("change who is in a group of %s: %w", target, err)
			}
		}
	}
	return nil
}

// enrol stores one membership, unless a newer wish of the person is stored, and
// issues the group's command where one is owed.
func (s *Service) enrol(ctx context.Context, rec *identity.Record, target, group, event string) error {
	w := rec.Wishes[target]
	key := identity.MemberKey(target, group, rec.ID)
	for range maxConflicts {
		m, rev, err := s.members.Get(ctx, key)
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return fmt.Errorf("read a membership: %w", err)
		}
		present := slices.Contains(w.Groups, group)
		if m.Revision > w.Revision || (m.Present == present && !m.Owed) {
			return nil
		}
		m.Present, m.Revision, m.Owed = present, w.Revision, true
		rev, err = s.members.Put(ctx, key, m, rev)
		if errors.Is(err, stream.ErrConflict) {
			continue
		}
		if err != nil {
			return fmt.Errorf("store a membership: %w", err)
		}
		if err := s.look(ctx, rec, target, group, event); err != nil {
			return err
		}
		m.Owed = false
		_, err = s.members.Put(ctx, key, m, rev)
		if err == nil || errors.Is(err, stream.ErrConflict) {
			return nil // the dispatcher was there already, and keeps what is owed: one look too many
		}
		return fmt.Errorf("store a membership: %w", err)
	}
	return fmt.Errorf("store a membership: %w", stream.ErrConflict)
}

// look has the dispatcher look at a group because a person's membership changed.
func (s *Service) look(ctx context.Context, rec *identity.Record, target, group, event string) error {
	w := rec.Wishes[target]
	wish := identity.GroupWish{Wish: identity.Present, DisplayName: w.Made[group]}
	key := ""
	if wish.DisplayName == "" {
		g, _, err := s.groups.Get(ctx, group)
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return fmt.Errorf("read a group: %w", err)
		}
		known, wished := g.Wishes[target]
		if !wished {
			return nil // not a group there yet; when it becomes one, all its members are looked at
		}
		wish, key = known, g.Key
	}
	lane := joineryv1.Lane_LANE_NORMAL
	if !slices.Contains(w.Groups, group) && w.Lane == joineryv1.Lane_LANE_URGENT {
		lane = joineryv1.Lane_LANE_URGENT
	} else if w.Lane == joineryv1.Lane_LANE_BULK {
		lane = joineryv1.Lane_LANE_BULK
	}
	c := groupCommand(target, group, memberPrefix+event, wish, key, lane, w.Cause)
	c.Source, c.Trigger = w.Source, w.Trigger
	if err := s.outbox.Command(ctx, c); err != nil {
		return fmt.Errorf("issue a command for a group of %s: %w", target, err)
	}
	s.commands.Add(1, target, identity.LaneName(lane), "group")
	return nil
}

// groupCommand asks for a group to be looked at. Its revision is the time: it
// only tells later commands from earlier ones, what counts is read when it is
// handled.
func groupCommand(target, group, event string, wish identity.GroupWish, key string, lane joineryv1.Lane, cause joineryv1.Cause) *joineryv1.ProvisioningCommand {
	now := time.Now()
	c := &joineryv1.ProvisioningCommand{
		Id: identity.CommandID(target, group, uint64(now.UnixNano())) + ":" + event, Target: target, Identity: group,
		Revision: uint64(now.UnixNano()), Lane: lane, Wish: joineryv1.Wish_WISH_PRESENT, EventId: event, Cause: cause,
		IssuedAt: timestamppb.New(now), Group: &joineryv1.GroupWish{DisplayName: wish.DisplayName, Key: key},
	}
	if wish.Wish != identity.Present {
		c.Wish = joineryv1.Wish_WISH_ABSENT
	}
	return c
}

// handleGroup folds an event about a group itself, and has every target look
// whose group it changed.
func (s *Service) handleGroup(ctx context.Context, e *joineryv1.LifecycleEvent) (handled, error) {
	g, effect, err := s.storeGroup(ctx, e.GetGroup().GetKey(), identity.SubjectOf(e), func(g *identity.Group) identity.Effect {
		return g.Fold(e)
	}, e.GetId())
	done := handled{record: identity.Record{ID: g.ID, Revision: g.Revision}, effect: effect}
	if err != nil {
		return done, err
	}
	why := reason{source: e.GetSource(), cause: joineryv1.Cause_CAUSE_EVENT, trigger: e.GetTrigger()}
	if done.commands, err = s.issueGroup(ctx, g, e.GetId(), why); err != nil {
		return done, err
	}
	return done, nil
}

// storeGroup changes a group by compare-and-swap, and brings its wishes in line
// with the targets.
func (s *Service) storeGroup(ctx context.Context, key, id string, change func(*identity.Group) identity.Effect, event string) (identity.Group, identity.Effect, error) {
	for range maxConflicts {
		g, rev, err := s.groups.Get(ctx, id)
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return g, 0, fmt.Errorf("read a group: %w", err)
		}
		g.Wishes = maps.Clone(g.Wishes)
		effect := change(&g)
		g.Revision++
		changed, err := s.Targets().planGroup(&g, event)
		if err != nil {
			return g, effect, err
		}
		if effect != identity.Applied && !changed {
			g.Revision--
			return g, effect, nil
		}
		g.UpdatedAt = time.Now().UTC()
		_, err = s.groups.Put(ctx, id, g, rev)
		if errors.Is(err, stream.ErrConflict) {
			continue
		}
		if err != nil {
			return g, effect, fmt.Errorf("store a group: %w", err)
		}
		return g, effect, nil
	}
	return identity.Group{}, 0, fmt.Errorf("store group %s: %w", key, stream.ErrConflict)
}

// planGroup brings the wishes of a group in line with the targets.
func (ts Targets) planGroup(g *identity.Group, event string) (changed bool, err error) {
	for _, name := range slices.Sorted(maps.Keys(ts)) {
		t := ts[name]
		if t.GroupName == nil || t.Simulated {
			continue
		}
		wish := identity.GroupWish{Wish: identity.Absent, Revision: g.Revision, Event: event}
		if !g.Deleted {
			wish.DisplayName, err = t.GroupName(mapping.Group{Key: g.Key, Name: g.Name, Kind: g.Kind})
			if err != nil {
				return changed, fault.Mark(fault.Permanent, fmt.Errorf("name a group: %w", err))
			}
		}
		if wish.DisplayName != "" {
			wish.Wish = identity.Present
		}
		old, had := g.Wishes[name]
		if (!had && wish.Wish == identity.Absent) || (had && old.Wish == wish.Wish && old.DisplayName == wish.DisplayName) {
			continue
		}
		if g.Wishes == nil {
			g.Wishes = map[string]identity.GroupWish{}
		}
		g.Wishes[name], changed = wish, true
	}
	return changed, nil
}

// issueGroup publishes the command of every wish that an event made.
func (s *Service) issueGroup(ctx context.Context, g identity.Group, event string, why reason) (targets []string, err error) {
	lane := joineryv1.Lane_LANE_NORMAL
	if why.bulk {
		lane = joineryv1.Lane_LANE_BULK
	}
	for _, target := range slices.Sorted(maps.Keys(g.Wishes)) {
		if g.Wishes[target].Event != event {
			continue
		}
		c := groupCommand(target, g.ID, event, g.Wishes[target], g.Key, lane, why.cause)
		c.Source, c.Trigger = why.source, why.trigger
		if err := s.outbox.Command(ctx, c); err != nil {
			return targets, fmt.Errorf("issue a command for a group of %s: %w", target, err)
		}
		s.commands.Add(1, target, identity.LaneName(lane), "group")
		targets = append(targets, target)
	}
	return targets, nil
}

// recomputeGroups brings every stored group in line with the targets in force.
func (s *Service) recomputeGroups(ctx context.Context, event string) error {
	if s.groups == nil {
		return nil
	}
	keys, err := s.groups.Keys(ctx, "")
	if err != nil {
		return fmt.Errorf("list groups: %w", err)
	}
	for _, id := range keys {
		g, _, err := s.storeGroup(ctx, id, id, func(*identity.Group) identity.Effect { return identity.NoChange }, event)
		if err != nil {
			return err
		}
		if _, err := s.issueGroup(ctx, g, event, reason{cause: joineryv1.Cause_CAUSE_CONFIGURATION, bulk: true}); err != nil {
			return err
		}
	}
	return nil
}

// memberships are the groups that somebody with an account should be in: those
// that the target's rules make, named, and those of sources.
func (t Target) memberships(who standing, names []string) (groups []string, made map[string]string) {
	for _, name := range names {
		id := identity.RuleGroupID(name)
		if made == nil {
			made = map[string]string{}
		}
		groups, made[id] = append(groups, id), name
	}
	if t.GroupName != nil {
		groups = append(groups, who.groups...)
	}
	slices.Sort(groups)
	return groups, made
}
