package identity

import (
	"fmt"
	"strings"
	"time"

	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// Effect is what folding an event did.
type Effect int

const (
	// NoChange: everything the event says was already known, word for word.
	NoChange Effect = iota
	// Applied: the person is different now.
	Applied
	// Superseded: newer information had already taken its place.
	Superseded
)

// String is the name that histories and outcomes use.
func (e Effect) String() string {
	return [...]string{"no_change", "applied", "superseded"}[e]
}

// KindName is the short name of a kind ("joined").
func KindName(k joineryv1.LifecycleKind) string {
	return strings.ToLower(strings.TrimPrefix(k.String(), "LIFECYCLE_KIND_"))
}

// StampOf is the stamp of the facts in an event: from when they hold, by the
// source's clock, and when it said so.
func StampOf(e *joineryv1.LifecycleEvent) Stamp {
	s := Stamp{
		At: saidAt(e), Version: e.GetSourceVersion(), Rank: meanings[e.GetKind()].rank, Event: e.GetId(),
	}
	if e.GetEffectiveAt() != nil && !e.GetEffectiveAt().AsTime().Equal(s.At) {
		s.At, s.Said = e.GetEffectiveAt().AsTime().UTC(), s.At
	}
	return s
}

// Fold takes one event into the record and says what it did. Folding the same
// events in any order, any of them any number of times, gives the same person,
// whenever they are looked at: what is due later is kept beside what holds, and
// nothing has to happen at that moment but looking again.
// It fails only for an event that can never be folded.
func (r *Record) Fold(e *joineryv1.LifecycleEvent) (Effect, error) {
	if err := r.admit(e); err != nil {
		return NoChange, err
	}
	seen := tally{}
	if s, ok := statementOf(e); ok {
		if err := r.state(s, &seen); err != nil {
			return NoChange, err
		}
	}
	r.foldMembership(e, &seen)
	if p, ok := planOf(e); ok {
		err := r.plan(p, &seen)
		return seen.effect(), err
	}
	stamp := StampOf(e)
	if describes(e.GetKind()) && !dueOf(e).IsZero() {
		stamp.At, stamp.Said = saidAt(e), time.Time{}
	}
	if e.GetKind() == joineryv1.LifecycleKind_LIFECYCLE_KIND_SNAPSHOT && seen.compare(stamp.Compare(r.Listed)) {
		r.Listed = stamp
	}
	r.foldAttributes(e.GetSource(), e.GetFull(), e.GetAttributes().AsMap(), e.GetCleared(), stamp, &seen)
	return seen.effect(), nil
}

// Remember adds an event to the history, once.
func (r *Record) Remember(e *joineryv1.LifecycleEvent, effect Effect) {
	for _, f := range r.Events {
		if f.Event == e.GetId() {
			return
		}
	}
	r.Events = append(r.Events, Fact{
		Event: e.GetId(), Kind: KindName(e.GetKind()), Source: e.GetSource(),
		At: StampOf(e).At, Revision: r.Revision, Effect: effect.String(),
	})
	if extra := len(r.Events) - MaxEvents; extra > 0 {
		r.Events = append([]Fact(nil), r.Events[extra:]...)
	}
}

func (r *Record) admit(e *joineryv1.LifecycleEvent) error {
	switch key := e.GetIdentityKey(); {
	case key == "":
		return fmt.Errorf("event names no person: identity_key is empty")
	case r.Key != "" && r.Key != key:
		return fmt.Errorf("event is about another person than the record")
	case e.GetOccurredAt() == nil && e.GetEffectiveAt() == nil:
		return fmt.Errorf("event has no time: occurred_at is absent")
	case e.GetKind() == joineryv1.LifecycleKind_LIFECYCLE_KIND_UNSPECIFIED:
		return fmt.Errorf("event has no kind")
	default:
		r.Key, r.ID = key, IDOf(key)
		return nil
	}
}

// tally collects, over the registers an event touches, whether it won or lost.
type tally struct{ won, lost bool }

func (t *tally) compare(newer int) bool {
	t.won = t.won || newer > 0
	t.lost = t.lost || newer < 0
	return newer > 0
}

func (t *tally) effect() Effect {
	switch {
	case t.won:
		return Applied
	case t.lost:
		return Superseded
	default:
		return NoChange
	}
}

func (r *Record) foldAttributes(source string, full bool, set map[string]any, cleared []string, stamp Stamp, seen *tally) {
	if full && seen.compare(stamp.Compare(r.Fulls[source])) {
		if r.Fulls == nil {
			r.Fulls = map[string]Stamp{}
		}
		r.Fulls[source] = stamp
	}
	for name, v := range set {
		r.foldValue(name, source, Value{Data: v, Stamp: stamp}, seen)
	}
	for _, name := range cleared {
		r.foldValue(name, source, Value{Cleared: true, Stamp: stamp}, seen)
	}
}

func (r *Record) foldValue(name, source string, v Value, seen *tally) {
	old := r.Attributes[name][source]
	if !seen.compare(v.Stamp.Compare(old.Stamp)) {
		return
	}
	if r.Attributes == nil {
		r.Attributes = map[string]map[string]Value{}
	}
	if r.Attributes[name] == nil {
		r.Attributes[name] = map[string]Value{}
	}
	r.Attributes[name][source] = v
}
