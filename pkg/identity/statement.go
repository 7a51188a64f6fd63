package identity

import (
	"fmt"
	"slices"
	"time"

	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

// track is what a statement is about; statements of one track are compared with
// each other and with no others.
type track int

const (
	employment track = iota + 1
	leave
	suspension
	access
	rescission
)

// meaning is what a kind of event states. A kind opens or closes its track.
//
//	kind                       track        opens  rank
//	joined rehired converted   employment   yes    0
//	left                       employment   no     2
//	leave_started              leave        yes    1
//	leave_ended                leave        no     0
//	disabled                   suspension   yes    1
//	enabled                    suspension   no     0
//	access_granted             access       yes    0
//	access_revoked             access       no     2
//	rescinded                  takes back what was said before
//	snapshot                   (listed: employed, unless something else was said)
//	all others                 nothing
//
// The higher rank wins where two are said, and take effect, at the very same
// instants: what ends access does.
type meaning struct {
	track track
	opens bool
	rank  int
}

var meanings = map[joineryv1.LifecycleKind]meaning{
	joineryv1.LifecycleKind_LIFECYCLE_KIND_JOINED:         {employment, true, 0},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_REHIRED:        {employment, true, 0},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_CONVERTED:      {employment, true, 0},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_LEFT:           {employment, false, 2},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_LEAVE_STARTED:  {leave, true, 1},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_LEAVE_ENDED:    {leave, false, 0},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_DISABLED:       {suspension, true, 1},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_ENABLED:        {suspension, false, 0},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_ACCESS_GRANTED: {access, true, 0},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_ACCESS_REVOKED: {access, false, 2},
	joineryv1.LifecycleKind_LIFECYCLE_KIND_RESCINDED:      {rescission, false, 3},
}

// byName are the meanings by the kind's short name, as records hold it.
var byName = func() map[string]meaning {
	out := make(map[string]meaning, len(meanings))
	for kind, m := range meanings {
		out[KindName(kind)] = m
	}
	return out
}()

// Statement is one thing that a source said about the course of a life.
type Statement struct {
	// Kind is the short name of the event's kind ("joined").
	Kind   string `json:"kind"`
	Source string `json:"source"`
	// Stamp says when it was said and from when it holds, and Stamp.Event which
	// event said it.
	Stamp Stamp `json:"stamp"`
	// Due is from when it holds, where that lay ahead when it was said; else zero.
	Due time.Time `json:"due,omitzero"`
	// Employment is which of several is meant, or "" for the person.
	Employment string `json:"employment,omitempty"`
	// Rescinds is what a rescission takes back: a kind, an event, or "" for the hire.
	Rescinds string `json:"rescinds,omitempty"`
	// Target and Entitlement are what is granted or revoked; Expires is when a
	// grant ends by itself, or zero.
	Target      string    `json:"target,omitempty"`
	Entitlement string    `json:"entitlement,omitempty"`
	Expires     time.Time `json:"expires,omitzero"`
	Mandate     Mandate   `json:"mandate,omitzero"`
}

// Mandate is who asked for something, and why.
type Mandate struct {
	Actor    string `json:"actor,omitempty"`
	Request  string `json:"request,omitempty"`
	Approver string `json:"approver,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// MandateOf is the mandate of an event.
func MandateOf(e *joineryv1.LifecycleEvent) Mandate {
	t := e.GetTrigger()
	return Mandate{Actor: t.GetActor(), Request: t.GetRequestId(), Approver: t.GetApprover(), Reason: t.GetReason()}
}

// Trigger is the mandate as commands carry it; nil where there is none.
func (m Mandate) Trigger() *joineryv1.Trigger {
	if m == (Mandate{}) {
		return nil
	}
	return &joineryv1.Trigger{Actor: m.Actor, RequestId: m.Request, Approver: m.Approver, Reason: m.Reason}
}

// meaning of the statement's kind.
func (s Statement) meaning() meaning { return byName[s.Kind] }

// class is what the statement could be another word on: the newest of a class is
// what a source means.
func (s Statement) class() [4]string {
	return [4]string{s.Kind, s.Employment, s.Target, s.Entitlement}
}

// statementOf is what an event states; ok is false where it states nothing.
func statementOf(e *joineryv1.LifecycleEvent) (s Statement, ok bool) {
	m, ok := meanings[e.GetKind()]
	if !ok {
		return Statement{}, false
	}
	s = Statement{
		Kind: KindName(e.GetKind()), Source: e.GetSource(), Stamp: StampOf(e), Due: dueOf(e),
		Employment: e.GetEmployment(), Mandate: MandateOf(e),
	}
	switch m.track {
	case rescission:
		s.Rescinds = e.GetRescinds()
	case access:
		s.Employment = "" // access is the person's
		s.Target, s.Entitlement = e.GetGrant().GetTarget(), e.GetGrant().GetEntitlement()
		if e.GetGrant().GetExpiresAt() != nil && m.opens {
			s.Expires = e.GetGrant().GetExpiresAt().AsTime().UTC()
		}
	}
	return s, true
}

const (
	// maxOfClass bounds what is kept of one class: the newest statement decides,
	// and older ones matter only where it is taken back.
	maxOfClass = 8
	// maxEmployments and maxGrants bound the classes of one person. More is a
	// source that names them wrongly, and is put before a person.
	maxEmployments = 32
	maxGrants      = 256
)

// state takes a statement into the record, and tells whether anything said of
// the same matter is newer.
func (r *Record) state(s Statement, seen *tally) error {
	known := slices.ContainsFunc(r.Said, func(o Statement) bool { return o.Stamp.Event == s.Stamp.Event && o.Kind == s.Kind })
	outdated := r.outdated(s)
	seen.won = seen.won || !known && !outdated
	seen.lost = seen.lost || outdated
	if known {
		return nil
	}
	if err := r.room(s); err != nil {
		return err
	}
	said := append(slices.Clone(r.Said), s)
	slices.SortFunc(said, func(a, b Statement) int { return a.Stamp.compareSaid(b.Stamp) })
	r.Said = withoutOldest(said, s.class())
	return nil
}

// withoutOldest drops what was said longest ago of a class that has too many.
// The newest of a set are the same in whatever order it was put together.
func withoutOldest(said []Statement, class [4]string) []Statement {
	extra := -maxOfClass
	for _, s := range said {
		if s.class() == class {
			extra++
		}
	}
	return slices.DeleteFunc(said, func(s Statement) bool {
		if extra <= 0 || s.class() != class {
			return false
		}
		extra--
		return true
	})
}

// outdated tells whether something on the same track was said later and holds
// later.
func (r *Record) outdated(s Statement) bool {
	return slices.ContainsFunc(r.Said, func(o Statement) bool {
		return o.meaning().track == s.meaning().track && o.Target == s.Target && o.Entitlement == s.Entitlement &&
			o.Employment == s.Employment && o.Stamp.Compare(s.Stamp) > 0 && o.Stamp.compareSaid(s.Stamp) > 0
	})
}

// room refuses a statement that opens one class too many.
func (r *Record) room(s Statement) error {
	jobs, grants := map[string]bool{s.Employment: true}, map[[2]string]bool{}
	if s.meaning().track == access {
		grants[[2]string{s.Target, s.Entitlement}] = true
	}
	for _, o := range r.Said {
		jobs[o.Employment] = true
		if o.meaning().track == access {
			grants[[2]string{o.Target, o.Entitlement}] = true
		}
	}
	switch {
	case len(jobs) > maxEmployments+1:
		return fmt.Errorf("event names one employment too many: a person has at most %d", maxEmployments)
	case len(grants) > maxGrants:
		return fmt.Errorf("event grants one access too many: a person has at most %d", maxGrants)
	}
	return nil
}
