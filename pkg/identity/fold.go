package identity

import (
	"fmt"
	"strings"

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

// statement is what a kind of event says about employment.
//
//	kind                       state        rank  accounts by rule
//	joined rehired enabled     active       0     yes
//	leave_ended converted      active       0     yes
//	leave_started              on_leave     1     as the rules say
//	disabled                   suspended    1     no
//	left                       terminated   2     no
//	rescinded                  rescinded    2     no
//	snapshot                   (listed)     -     yes, unless something else was said
//	all others                 nothing      -     -
type statement struct {
	state State
	rank  int
}

var statements = map[joineryv1.LifecycleKind]statement{
	joineryv1.LifecycleKind_LIFECYCLE_KIND_JOINED:        {Active, 0},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_REHIRED:       {Active, 0},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_ENABLED:       {Active, 0},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_LEAVE_ENDED:   {Active, 0},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_CONVERTED:     {Active, 0},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_LEAVE_STARTED: {OnLeave, 1},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_DISABLED:      {Suspended, 1},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_LEFT:          {Terminated, 2},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_RESCINDED:     {Rescinded, 2},
}

// KindName is the short name of a kind ("joined").
func KindName(k joineryv1.LifecycleKind) string {
	return strings.ToLower(strings.TrimPrefix(k.String(), "LIFECYCLE_KIND_"))
}

// StampOf is the stamp of the facts in an event: when they take effect, or
// happened, by the source's clock.
func StampOf(e *joineryv1.LifecycleEvent) Stamp {
	at := e.GetOccurredAt()
	if e.GetEffectiveAt() != nil {
		at = e.GetEffectiveAt()
	}
	return Stamp{
		At:      at.AsTime().UTC(),
		Version: e.GetSourceVersion(),
		Rank:    statements[e.GetKind()].rank,
		Event:   e.GetId(),
	}
}

// Fold takes one event into the record and says what it did. Folding the same
// events in any order, any of them any number of times, gives the same person.
// It fails only for an event that can never be folded.
func (r *Record) Fold(e *joineryv1.LifecycleEvent) (Effect, error) {
	if err := r.admit(e); err != nil {
		return NoChange, err
	}
	stamp := StampOf(e)
	seen := tally{}
	r.foldState(e, stamp, &seen)
	r.foldAttributes(e, stamp, &seen)
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

func (r *Record) foldState(e *joineryv1.LifecycleEvent, stamp Stamp, seen *tally) {
	if e.GetKind() == joineryv1.LifecycleKind_LIFECYCLE_KIND_SNAPSHOT {
		if seen.compare(stamp.Compare(r.Listed)) {
			r.Listed = stamp
		}
		return
	}
	says, ok := statements[e.GetKind()]
	if ok && seen.compare(stamp.Compare(r.StateStamp)) {
		r.State, r.StateStamp = says.state, stamp
	}
}

func (r *Record) foldAttributes(e *joineryv1.LifecycleEvent, stamp Stamp, seen *tally) {
	source := e.GetSource()
	if e.GetFull() && seen.compare(stamp.Compare(r.Fulls[source])) {
		if r.Fulls == nil {
			r.Fulls = map[string]Stamp{}
		}
		r.Fulls[source] = stamp
	}
	for name, v := range e.GetAttributes().AsMap() {
		r.foldValue(name, source, Value{Data: v, Stamp: stamp}, seen)
	}
	for _, name := range e.GetCleared() {
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
