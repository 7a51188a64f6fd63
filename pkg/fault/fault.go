// Package fault says what a failure means, so that it can be marked where the
// knowledge is and decided in one place. An unmarked error is Transient: back
// off and try again; giving up must be earned by a mark.
package fault

import (
	"errors"
	"time"
)

// Kind is what a failure asks of the caller.
type Kind int

const (
	// Transient failures pass by themselves: retry at once with jitter, then back off.
	Transient Kind = iota
	// Unknown means that a request may or may not have taken effect (a POST
	// whose answer was lost): search before trying again.
	Unknown
	// Throttled means that the whole target asks for a pause; attempts are not used up.
	Throttled
	// TargetDown means that the target refuses everything (credential, right,
	// address): stop the target, never the command.
	TargetDown
	// Permanent means that this command can never succeed as it is.
	Permanent
	// Conflict means that somebody else holds a unique value.
	Conflict
	// NotFound means that the resource is not where our link says.
	NotFound
	// Changed means that the resource changed since it was read (412).
	Changed
	// Unsupported means that the target cannot do that at all (405, 501).
	Unsupported
	// Waiting means that something this command depends on is not there yet.
	Waiting
	// Held means that a person must agree first.
	Held
)

var names = [...]string{
	"transient", "unknown", "throttled", "target-down", "permanent",
	"conflict", "not-found", "changed", "unsupported", "waiting", "held",
}

// String is the name used in logs and as a metric label.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(names) {
		return "transient"
	}
	return names[k]
}

type marked struct {
	kind  Kind
	after time.Duration
	err   error
}

func (m *marked) Error() string { return m.err.Error() }
func (m *marked) Unwrap() error { return m.err }

// Mark says what err means. A mark on an already marked error replaces its meaning.
// Marking nil gives nil.
func Mark(kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &marked{kind: kind, err: err}
}

// After marks err as Throttled with the pause that the target asked for.
// A pause of zero means that the target named none.
func After(pause time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &marked{kind: Throttled, after: pause, err: err}
}

// Retry marks err as Transient, to be tried again no sooner than the given pause.
func Retry(pause time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &marked{kind: Transient, after: pause, err: err}
}

// KindOf is the meaning of the outermost mark, or Transient.
func KindOf(err error) Kind {
	var m *marked
	if errors.As(err, &m) {
		return m.kind
	}
	return Transient
}

// Is tells whether err is marked as kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Pause is the waiting time that came with the outermost mark, or 0.
func Pause(err error) time.Duration {
	var m *marked
	if errors.As(err, &m) {
		return m.after
	}
	return 0
}
