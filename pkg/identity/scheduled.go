package identity

import (
	"cmp"
	"slices"
	"time"
)

// Scheduled is something that was said and does not hold yet, or a grant that
// will end.
type Scheduled struct {
	At time.Time `json:"at"`
	// Kind is the kind of the event, or "expires" for the end of a grant.
	Kind   string `json:"kind"`
	Event  string `json:"event"`
	Source string `json:"source"`
	// Target and Entitlement are what a grant is for; Employment what is concerned.
	Target      string  `json:"target,omitempty"`
	Entitlement string  `json:"entitlement,omitempty"`
	Employment  string  `json:"employment,omitempty"`
	Mandate     Mandate `json:"mandate,omitzero"`

	stamp Stamp
}

// DuePrefix begins the ids under which what was scheduled acts when it is due: the
// event that announced it has ended with an outcome of its own.
const DuePrefix = "due-"

// Expires is the kind of Scheduled that is the end of a grant.
const Expires = "expires"

// ScheduledAfter is what changes after a moment, soonest first. What was taken
// back or replaced is not in it.
func (r *Record) ScheduledAfter(now time.Time) []Scheduled {
	at := *r
	at.AsOf = now
	var out []Scheduled
	for _, s := range at.standingStatements() {
		if s.Due.After(now) {
			out = append(out, scheduledOf(s, s.Kind, s.Due))
		}
		if s.Expires.After(now) {
			out = append(out, scheduledOf(s, Expires, s.Expires))
		}
	}
	for _, p := range r.Plans {
		known := slices.ContainsFunc(out, func(o Scheduled) bool { return o.Event == p.Stamp.Event })
		if p.Due.After(now) && !known && at.stands(p) {
			out = append(out, Scheduled{
				At: p.Due, Kind: p.Kind, Event: p.Stamp.Event, Source: p.Source,
				Employment: p.Employment, Mandate: p.Mandate, stamp: p.Stamp,
			})
		}
	}
	slices.SortFunc(out, func(a, b Scheduled) int { return cmp.Or(a.At.Compare(b.At), a.stamp.Compare(b.stamp)) })
	return out
}

func scheduledOf(s Statement, kind string, at time.Time) Scheduled {
	return Scheduled{
		At: at, Kind: kind, Event: s.Stamp.Event, Source: s.Source, Target: s.Target, Entitlement: s.Entitlement,
		Employment: s.Employment, Mandate: s.Mandate, stamp: s.Stamp,
	}
}

// standingStatements are those that were neither taken back nor replaced,
// rescissions included.
func (r *Record) standingStatements() []Statement {
	l := r.life()
	out := l.matter(rescission, everything)
	out = append(out, settled(l.matter(suspension, everything))...)
	seen := map[string]bool{}
	for _, job := range l.jobs() {
		for _, t := range []track{employment, leave} {
			for _, s := range settled(l.matter(t, of(job))) {
				if !seen[s.Stamp.Event] {
					seen[s.Stamp.Event] = true
					out = append(out, s)
				}
			}
		}
	}
	for _, matter := range l.accesses() {
		out = append(out, settled(matter)...)
	}
	return out
}
