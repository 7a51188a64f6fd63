// Package identity owns the person: what every source said of them, which of
// it holds now, and what each target should therefore show (Record); and the
// ledger of what a target was made to show (Account).
//
// Facts are folded as last-writer-wins registers ordered by the source's own
// time, so that the same facts in any order, doubled or delayed, give the same
// person. The package knows no broker, no clock and no mapping language.
package identity

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"
)

// IDOf is the opaque id of the person behind a source's immutable key: 26
// characters of [a-z2-7], safe in subjects, keys, logs and metrics, and the same
// everywhere. The key itself is personal and stays inside the record.
func IDOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

// Stamp orders facts. The times are the source's, never ours: from when a fact
// holds, and when it was said.
type Stamp struct {
	At time.Time `json:"at"`
	// Said is when the source said it; zero means At.
	Said time.Time `json:"said,omitzero"`
	// Version orders facts of one source with equal times.
	Version int64 `json:"version,omitempty"`
	// Rank lets an ending win over a beginning at the very same instant.
	Rank int `json:"rank,omitempty"`
	// Event breaks the remaining ties, so that the order is total.
	Event string `json:"event,omitempty"`
}

// Compare orders stamps: negative when s is older than t.
func (s Stamp) Compare(t Stamp) int {
	return cmp.Or(s.At.Compare(t.At), s.compareSaid(t))
}

// compareSaid orders stamps by when they were said.
func (s Stamp) compareSaid(t Stamp) int {
	return cmp.Or(
		s.said().Compare(t.said()),
		cmp.Compare(s.Version, t.Version),
		cmp.Compare(s.Rank, t.Rank),
		cmp.Compare(s.Event, t.Event),
	)
}

func (s Stamp) said() time.Time {
	if s.Said.IsZero() {
		return s.At
	}
	return s.Said
}

// State is where a person stands in their employment.
type State string

// The states. Only Active people have accounts by rule; the zero State means
// that no source has said anything about employment yet.
const (
	Active     State = "active"
	OnLeave    State = "on_leave"
	Suspended  State = "suspended"
	Terminated State = "terminated"
	Rescinded  State = "rescinded"
	// PreHire people are to come: their employment begins later.
	PreHire State = "pre_hire"
)

// Value is what one source said of one attribute; Cleared is a statement too.
type Value struct {
	Data    any   `json:"data,omitempty"`
	Cleared bool  `json:"cleared,omitempty"`
	Stamp   Stamp `json:"stamp"`
}

// Record is everything known of one person; the value of bucket IDENTITIES.
type Record struct {
	ID  string `json:"id"`
	Key string `json:"key"`
	// Is is the key by which the person is kept, where this one came later: a record
	// with it holds nothing else.
	Is string `json:"is,omitempty"`
	// Revision grows by one with every stored change and orders commands.
	Revision uint64 `json:"revision"`
	// AsOf is the moment as of which the person is looked at: what is due later does
	// not hold yet. Zero looks at everything that was said.
	AsOf time.Time `json:"as_of,omitzero"`
	// Said is what sources said of the course of the life, in the order they did.
	Said []Statement `json:"said,omitempty"`
	// Listed is the newest snapshot that named the person; where nothing else
	// was said about employment, being listed means Active.
	Listed Stamp `json:"listed,omitzero"`
	// Attributes holds, by attribute and source, the newest statement.
	Attributes map[string]map[string]Value `json:"attributes,omitempty"`
	// Fulls holds, by source, the newest event that stated the whole person:
	// older statements of that source no longer hold.
	Fulls map[string]Stamp `json:"fulls,omitempty"`
	// Plans are attributes that were given ahead of the time from which they hold.
	Plans []Plan `json:"plans,omitempty"`
	// Memberships holds, by group, the newest statement on whether the person is in it.
	Memberships map[string]Membership `json:"memberships,omitempty"`
	// Precedence names, by attribute, the sources whose word counts first, as it was
	// configured when the record was last written.
	Precedence map[string][]string `json:"precedence,omitempty"`
	// Wishes holds, by target, what that target should show.
	Wishes map[string]Wish `json:"wishes,omitempty"`
	// Failing holds, by target, the mapping that cannot be computed for the person.
	Failing map[string]Failing `json:"failing,omitempty"`
	// Events are the newest facts, oldest first, at most MaxEvents.
	Events    []Fact    `json:"events,omitempty"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
}

// Failing is a mapping that cannot be computed.
type Failing struct {
	// Mapping is the version of the mapping, and Reason what was wrong.
	Mapping string `json:"mapping"`
	Reason  string `json:"reason"`
	// Filed tells that it was put before a person.
	Filed bool `json:"filed,omitempty"`
}

// MaxEvents bounds the history inside a record; the streams hold the rest.
const MaxEvents = 64

// Fact is one event in a person's history.
type Fact struct {
	Event    string    `json:"event"`
	Kind     string    `json:"kind"`
	Source   string    `json:"source"`
	At       time.Time `json:"at"`
	Revision uint64    `json:"revision"`
	// Effect says what became of it: applied, no_change or superseded.
	Effect string `json:"effect"`
}

// Current is the attribute values that hold now: the newest statement of any
// source wins, and a clearing leaves the attribute out. Where the attribute has a
// precedence, the first source in it that has a value wins, whatever the times.
func (r *Record) Current() map[string]any {
	r = r.facts()
	out := make(map[string]any, len(r.Attributes))
	for name, bySource := range r.Attributes {
		if best, ok := r.winner(name, bySource); ok && !best.Cleared {
			out[name] = best.Data
		}
	}
	return out
}

// Provenance is, for each attribute that holds now, the source and the time of
// the statement that won.
func (r *Record) Provenance() map[string]Origin {
	r = r.facts()
	out := make(map[string]Origin, len(r.Attributes))
	for name, bySource := range r.Attributes {
		best, ok := r.winner(name, bySource)
		if !ok || best.Cleared {
			continue
		}
		for source, v := range bySource {
			if v.Stamp == best.Stamp {
				out[name] = Origin{Source: source, At: v.Stamp.At, Event: v.Stamp.Event}
			}
		}
	}
	return out
}

// Origin is where a value came from.
type Origin struct {
	Source string    `json:"source"`
	At     time.Time `json:"at"`
	Event  string    `json:"event"`
}

// winner is the statement that holds. A source that has precedence and cleared
// the attribute, or left it out of its full statement, has nothing to say of it:
// the next one is asked.
func (r *Record) winner(name string, bySource map[string]Value) (best Value, ok bool) {
	for _, source := range r.Precedence[name] {
		v, said := bySource[source]
		if said && !v.Cleared && v.Stamp.Compare(r.Fulls[source]) >= 0 {
			return v, true
		}
	}
	for source, v := range bySource {
		// What a source left out of its newest full statement, it cleared then.
		if full := r.Fulls[source]; v.Stamp.Compare(full) < 0 {
			v = Value{Cleared: true, Stamp: full}
		}
		if !ok || v.Stamp.Compare(best.Stamp) > 0 {
			best, ok = v, true
		}
	}
	return best, ok
}
