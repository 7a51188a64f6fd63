// Package target owns what is known of a target at run time, shared by all
// replicas through bucket TARGETS: whether it is paused or quarantined and why,
// and what it taught us about itself. What it should be is configuration, and
// lives elsewhere.
package target

import (
	"maps"
	"time"
)

// Everything is the key under which the switch for all targets is kept; no
// target can have this name.
const Everything = "_all"

// State is the value of bucket TARGETS.
type State struct {
	Target string `json:"target"`
	// Paused is a person's decision; nothing is sent until it is taken back.
	Paused *Decision `json:"paused,omitempty"`
	// Quarantined is Joinery's decision, ended by a person or a succeeding probe.
	Quarantined *Quarantine `json:"quarantined,omitempty"`
	// Quirks are what the target taught, by name.
	Quirks    map[string]Quirk `json:"quirks,omitempty"`
	UpdatedAt time.Time        `json:"updated_at,omitzero"`
}

// Decision is who decided what, when and why.
type Decision struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// Quarantine is why nothing is sent to a target.
type Quarantine struct {
	Reason string    `json:"reason"`
	Status int       `json:"status,omitempty"`
	Since  time.Time `json:"since"`
	Worker string    `json:"worker,omitempty"`
}

// Quirk is a learned behaviour with its evidence.
type Quirk struct {
	Value    string    `json:"value"`
	Evidence string    `json:"evidence,omitempty"`
	At       time.Time `json:"at"`
}

// Open tells whether commands may be sent, and if not, why.
func (s State) Open() (bool, string) {
	switch {
	case s.Quarantined != nil:
		return false, "quarantined: " + s.Quarantined.Reason
	case s.Paused != nil:
		return false, "paused by " + s.Paused.By
	default:
		return true, ""
	}
}

// Under is the state where that of everything counts too.
func (s State) Under(all State) State {
	if all.Paused != nil {
		s.Paused = all.Paused
	}
	return s
}

// Knows tells whether the target taught this value of a quirk.
func (s State) Knows(name, value string) bool { return s.Quirks[name].Value == value }

// With is the state with a quirk learned.
func (s State) With(name string, q Quirk) State {
	s.Quirks = maps.Clone(s.Quirks)
	if s.Quirks == nil {
		s.Quirks = map[string]Quirk{}
	}
	s.Quirks[name] = q
	return s
}
