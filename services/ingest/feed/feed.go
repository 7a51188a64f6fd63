// Package feed owns the arithmetic of snapshots: it reads a whole listing of
// people (CSV, a JSON array, JSON lines) row by row, remembers of each row its
// key, a hash and where it stands, compares that with the last good snapshot,
// and judges whether the difference may become events. It knows no HTTP, no
// broker and no clock, and never holds the rows themselves.
package feed

import (
	"encoding/hex"
	"fmt"
	"time"
)

// Settings say what a source's snapshots may do.
type Settings struct {
	// Leavers makes who is absent a leaver, once Confirm complete snapshots
	// agree. Otherwise absence says nothing.
	Leavers bool
	// Confirm is how many complete snapshots must lack a person, at least 2.
	Confirm int
	// ConfirmAfter is how far apart in time they must be.
	ConfirmAfter time.Duration
	// MinPercent is how many percent of the people of the last good snapshot must
	// be there again.
	MinPercent int
	// MaxLeavers and MaxLeaversPercent bound how many people one snapshot ends:
	// the smaller of the two counts. The percentage is of the people of the last
	// good snapshot and those who would leave, and always allows fewLeavers.
	MaxLeavers, MaxLeaversPercent int
	// MaxUnreadable is how many rows may be unreadable.
	MaxUnreadable int
	// Required are columns that must be there with a value in every row.
	Required []string
	// Comma separates the columns of CSV; 0 is a comma.
	Comma rune
}

// fewLeavers is what the percentage allows at least: in a company of twenty, one
// leaver is five percent.
const fewLeavers = 5

// Bounds of a snapshot.
const (
	// MaxRows is twice what the largest tenants that we know of have.
	MaxRows = 2_000_000
	// MaxKeys bounds the keys held in memory, in bytes: 64 for each row.
	MaxKeys = 128 << 20
	// MaxRow is the length of a row in bytes: an event of it can be stored.
	MaxRow = 256 << 10
	// forgetAfter is how many snapshots in a row lack a person before they are
	// forgotten where absence says nothing; it bounds what is kept.
	forgetAfter = 250
)

// Hash is what is remembered of what a row says.
type Hash [16]byte

// String is the hash in hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Kind is what the difference says of a person.
type Kind uint8

const (
	// Listed: the person is in the first snapshot of the source.
	Listed Kind = iota + 1
	// Joined: the person was not in the last good snapshot.
	Joined
	// Changed: the row says something else than before.
	Changed
	// Left: enough snapshots lack the person.
	Left
)

// String is the name of the lifecycle kind.
func (k Kind) String() string {
	return [...]string{"", "snapshot", "joined", "changed", "left"}[k]
}

// Change is one event to be.
type Change struct {
	Kind Kind
	// Row is the row of the index, where the person is in the snapshot.
	Row int32
	// Key is set only where there is no row.
	Key string
}

// Counts are the numbers of a snapshot and of its difference to the last good one.
type Counts struct {
	Rows int `json:"rows"`
	// Joined counts the people who were not there before.
	Joined    int `json:"joined"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
	Left      int `json:"left"`
	// Absent counts the people who are not there and have not left for that.
	Absent int `json:"pending_absence"`
	// Gone counts the people of the last good snapshot who are not there now.
	Gone       int `json:"gone"`
	Unreadable int `json:"unreadable"`
	Doubled    int `json:"doubled"`
	// Last is how many people the last good snapshot had.
	Last int `json:"last_rows"`
}

// Reason classifies refusals; a problem's type and a metric label.
type Reason string

// The reasons. Only Short and Leavers may be overruled by a person.
const (
	Empty      Reason = "feed-empty"
	NoHeader   Reason = "feed-header"
	DoubledKey Reason = "feed-doubled"
	CutShort   Reason = "feed-cut-short"
	Unreadable Reason = "feed-unreadable"
	Malformed  Reason = "feed-malformed"
	TooLarge   Reason = "feed-too-large"
	Short      Reason = "feed-short"
	Leavers    Reason = "feed-leavers"
	Stale      Reason = "feed-stale"
)

// Refusal is why a snapshot is refused whole.
type Refusal struct {
	Reason Reason
	// Detail is a sentence for the sender; it holds no value of any row.
	Detail string
	// Limit is the number that was not kept, where there is one.
	Limit int
	// Line is the first line that is wrong, where one is.
	Line int
}

// Error names the reason.
func (r *Refusal) Error() string { return "refuse snapshot: " + string(r.Reason) }

// Overrulable tells whether a person may let it through.
func (r *Refusal) Overrulable() bool { return r.Reason == Short || r.Reason == Leavers }

func refuse(reason Reason, detail string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(detail, args...)}
}

// Judge says why the counts must not become events, or nil. The first reason is
// the one that a person must look at first.
func (s Settings) Judge(c Counts) *Refusal {
	switch limit := s.leavers(c.Last + c.Left); {
	case c.Unreadable > s.MaxUnreadable:
		r := refuse(Unreadable, "%d rows cannot be read, and %d may be. Correct them, or allow more with feeds.max_unreadable.", c.Unreadable, s.MaxUnreadable)
		r.Limit = s.MaxUnreadable
		return r
	case c.Rows == 0:
		return refuse(Empty, "The snapshot holds nobody. A source that is empty is taken as one that failed.")
	case c.Doubled > 0:
		return refuse(DoubledKey, "%d rows have the key of another row. Nobody can tell which of them holds.", c.Doubled)
	case (c.Last-c.Gone)*100 < s.MinPercent*c.Last:
		r := refuse(Short, "Only %d of the %d people of the last good snapshot are there again, and %d percent must be (feeds.min_percent).", c.Last-c.Gone, c.Last, s.MinPercent)
		r.Limit = (s.MinPercent*c.Last + 99) / 100
		return r
	case c.Left > limit:
		r := refuse(Leavers, "%d people would leave, and %d may at once (feeds.max_leavers, feeds.max_leavers_percent).", c.Left, limit)
		r.Limit = limit
		return r
	}
	return nil
}

// leavers is how many people may leave of so many.
func (s Settings) leavers(last int) int {
	return min(s.MaxLeavers, max(last*s.MaxLeaversPercent/100, fewLeavers))
}
