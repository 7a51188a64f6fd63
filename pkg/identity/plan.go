package identity

import (
	"fmt"
	"maps"
	"slices"
	"time"

	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// Plan is attributes that a source gave ahead of the time from which they hold.
type Plan struct {
	Kind       string         `json:"kind"`
	Source     string         `json:"source"`
	Stamp      Stamp          `json:"stamp"`
	Due        time.Time      `json:"due"`
	Employment string         `json:"employment,omitempty"`
	Full       bool           `json:"full,omitempty"`
	Attributes map[string]any `json:"attributes,omitempty"`
	Cleared    []string       `json:"cleared,omitempty"`
	Mandate    Mandate        `json:"mandate,omitzero"`
}

// MaxPlans bounds the plans of one person: a record must fit into a message, and
// nobody plans more changes of one person.
const MaxPlans = 32

// dueOf is from when an event holds, where that lay ahead when it was said, and
// zero where it holds at once.
func dueOf(e *joineryv1.LifecycleEvent) time.Time {
	if e.GetEffectiveAt() == nil {
		return time.Time{}
	}
	if due := e.GetEffectiveAt().AsTime().UTC(); due.After(saidAt(e)) {
		return due
	}
	return time.Time{}
}

// saidAt is when the source said it.
func saidAt(e *joineryv1.LifecycleEvent) time.Time {
	if e.GetOccurredAt() == nil {
		return e.GetEffectiveAt().AsTime().UTC()
	}
	return e.GetOccurredAt().AsTime().UTC()
}

// describes tells whether an event of a kind tells who somebody is, rather than
// what changes: that holds from when it is said, also where the hire itself is
// to come.
func describes(k joineryv1.LifecycleKind) bool {
	return k == joineryv1.LifecycleKind_LIFECYCLE_KIND_JOINED ||
		k == joineryv1.LifecycleKind_LIFECYCLE_KIND_REHIRED ||
		k == joineryv1.LifecycleKind_LIFECYCLE_KIND_SNAPSHOT
}

// planOf is the plan in an event; ok is false where it gives no attributes, or
// gives them at once.
func planOf(e *joineryv1.LifecycleEvent) (p Plan, ok bool) {
	due := dueOf(e)
	attributes := e.GetAttributes().AsMap()
	if due.IsZero() || describes(e.GetKind()) || (len(attributes) == 0 && len(e.GetCleared()) == 0 && !e.GetFull()) {
		return Plan{}, false
	}
	return Plan{
		Kind: KindName(e.GetKind()), Source: e.GetSource(), Stamp: StampOf(e), Due: due, Employment: e.GetEmployment(),
		Full: e.GetFull(), Attributes: attributes, Cleared: slices.Clone(e.GetCleared()), Mandate: MandateOf(e),
	}, true
}

// plan takes a plan into the record.
func (r *Record) plan(p Plan, seen *tally) error {
	if slices.ContainsFunc(r.Plans, func(o Plan) bool { return o.Stamp.Event == p.Stamp.Event }) {
		return nil
	}
	seen.won = true
	plans := append(slices.Clone(r.Plans), p)
	slices.SortFunc(plans, func(a, b Plan) int { return a.Stamp.Compare(b.Stamp) })
	if len(plans) > MaxPlans {
		if !plans[0].Due.Before(newestWord(plans)) {
			return fmt.Errorf("event is one change too many ahead of its time: a person has at most %d", MaxPlans)
		}
		// It has long come true: it becomes like everything that held at once.
		r.come(plans[0], &tally{})
		plans = plans[1:]
	}
	r.Plans = plans
	return nil
}

// newestWord is when the last of the plans was made.
func newestWord(plans []Plan) (last time.Time) {
	for _, p := range plans {
		if said := p.Stamp.said(); said.After(last) {
			last = said
		}
	}
	return last
}

// come makes a plan's attributes hold.
func (r *Record) come(p Plan, seen *tally) {
	r.foldAttributes(p.Source, p.Full, p.Attributes, p.Cleared, p.Stamp, seen)
}

// stands tells whether a plan was neither taken back nor replaced.
func (r *Record) stands(p Plan) bool {
	if r.takenBack(p.Kind, p.Employment, p.Stamp) {
		return false
	}
	m := byName[p.Kind]
	if m.track == 0 || m.track == access {
		return true
	}
	l, stated := r.life(), false
	said := func(s Statement) bool { return s.Stamp.Event == p.Stamp.Event }
	for _, job := range l.jobs() {
		course := l.matter(m.track, of(job))
		stated = stated || slices.ContainsFunc(course, said)
		if slices.ContainsFunc(settled(course), said) {
			return true
		}
	}
	return !stated
}

// facts is the record with the attributes of those plans that hold at its moment.
func (r *Record) facts() *Record {
	var due []Plan
	for _, p := range r.Plans {
		if r.holds(p.Due) && r.stands(p) {
			due = append(due, p)
		}
	}
	if len(due) == 0 {
		return r
	}
	now := &Record{Attributes: make(map[string]map[string]Value, len(r.Attributes)), Fulls: maps.Clone(r.Fulls)}
	for name, bySource := range r.Attributes {
		now.Attributes[name] = maps.Clone(bySource)
	}
	for _, p := range due {
		now.come(p, &tally{})
	}
	return now
}
