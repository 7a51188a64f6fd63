package identity

import (
	"slices"
	"time"
)

// life is what was said of a person, as it stands at a moment: without what was
// taken back, what a newer word replaced, and what is still to come.
type life struct {
	asOf time.Time
	said []Statement
}

// life is the person's, as of the record's moment.
func (r *Record) life() life {
	return life{asOf: r.AsOf, said: slices.DeleteFunc(slices.Clone(r.Said), func(s Statement) bool {
		return s.meaning().track != rescission && r.takenBack(s.Kind, s.Employment, s.Stamp)
	})}
}

// holds tells whether what is due then holds as of the record's moment. Without
// a moment everything that was said does.
func (r *Record) holds(due time.Time) bool { return holds(due, r.AsOf) }

func holds(due, asOf time.Time) bool {
	return due.IsZero() || asOf.IsZero() || !due.After(asOf)
}

// takenBack tells whether a rescission that holds takes back what was said.
//
//	rescinds   takes back
//	""         every hire (joined, rehired, converted) that was said before
//	a kind     every statement of that kind that was said before
//	an event   that event, whenever it was said
func (r *Record) takenBack(kind, job string, stamp Stamp) bool {
	return slices.ContainsFunc(r.Said, func(s Statement) bool {
		if s.meaning().track != rescission || !r.holds(s.Due) {
			return false
		}
		if s.Rescinds == stamp.Event {
			return true
		}
		if s.Stamp.compareSaid(stamp) < 0 || (s.Employment != "" && s.Employment != job) {
			return false
		}
		m := byName[kind]
		return s.Rescinds == kind || (s.Rescinds == "" && m.track == employment && m.opens)
	})
}

// matter is the statements of one track that are about the same thing.
func (l life) matter(t track, about func(Statement) bool) []Statement {
	return slices.DeleteFunc(slices.Clone(l.said), func(s Statement) bool { return s.meaning().track != t || !about(s) })
}

// settled leaves out of a matter what a newer word replaced.
//
// A statement is replaced by one of the same kind that was said later: a date
// that was moved or corrected. It is not where something opposite lies between
// the two: those are two hires, or two leaves, of which both are meant. And who
// is said to be hired again does not leave after that.
func settled(matter []Statement) []Statement {
	return slices.DeleteFunc(slices.Clone(matter), func(s Statement) bool {
		return slices.ContainsFunc(matter, func(q Statement) bool {
			if q.Stamp.compareSaid(s.Stamp) <= 0 {
				return false
			}
			if s.Kind == "left" && q.Kind == "rehired" {
				return !q.Stamp.At.After(s.Stamp.At)
			}
			return q.Kind == s.Kind && q.Employment == s.Employment && !divided(matter, s, q)
		})
	})
}

// divided tells whether something opposite takes effect between two statements.
func divided(matter []Statement, a, b Statement) bool {
	from, to := a.Stamp.At, b.Stamp.At
	if to.Before(from) {
		from, to = to, from
	}
	return slices.ContainsFunc(matter, func(o Statement) bool {
		return o.meaning().opens != a.meaning().opens && !o.Stamp.At.Before(from) && !o.Stamp.At.After(to)
	})
}

// newest is the statement of a matter that took effect last.
func (l life) newest(matter []Statement) (last Statement, ok bool) {
	for _, s := range settled(matter) {
		if holds(s.Due, l.asOf) && (!ok || s.Stamp.Compare(last.Stamp) > 0) {
			last, ok = s, true
		}
	}
	return last, ok
}

// jobs are the employments of the person. Where a source tells them apart, what
// is said of a hire without naming one says nothing more.
func (l life) jobs() []string {
	var jobs []string
	for _, s := range l.said {
		if s.meaning().track == employment && s.Employment != "" && !slices.Contains(jobs, s.Employment) {
			jobs = append(jobs, s.Employment)
		}
	}
	if len(jobs) == 0 {
		return []string{""}
	}
	return jobs
}

// of selects what concerns one employment: also what ends or rescinds without
// naming any.
func of(job string) func(Statement) bool {
	return func(s Statement) bool {
		return s.Employment == job || (s.Employment == "" && (s.meaning().track != employment || !s.meaning().opens))
	}
}

func everything(Statement) bool { return true }

// standings orders states: the first that any employment has is the person's.
var standings = []State{Active, OnLeave, Suspended, PreHire, Terminated, Rescinded}

// EffectiveState is the state that rules see, as of the record's moment: the
// best that any employment gives.
func (r *Record) EffectiveState() State {
	state, _ := r.Standing()
	return state
}

// Standing is the state that rules see, and the statement that made it so; the
// zero Statement where none did.
func (r *Record) Standing() (State, Statement) {
	l := r.life()
	best, because := State(""), Statement{}
	for _, job := range l.jobs() {
		state, by := l.standing(job, !r.Listed.At.IsZero())
		if state != "" && (best == "" || slices.Index(standings, state) < slices.Index(standings, best)) {
			best, because = state, by
		}
	}
	return best, because
}

// standing is the state of one employment.
//
//	employment            suspended   on leave   state
//	begun                 since       any        suspended
//	begun                 no          since      on_leave
//	begun                 no          no         active
//	ended                 any         any        terminated
//	begins later          any         any        pre_hire
//	taken back            any         any        rescinded
//	nothing said of it    yes         any        suspended
//	                      no          yes        on_leave
//	                      lifted, or ended, or listed        active
func (l life) standing(job string, listed bool) (State, Statement) {
	course := l.matter(employment, of(job))
	if now, ok := l.newest(course); ok && !now.meaning().opens {
		return Terminated, now
	} else if ok {
		return l.interrupted(job, now, Active)
	}
	if slices.ContainsFunc(settled(course), func(s Statement) bool { return s.meaning().opens }) {
		return PreHire, Statement{}
	}
	if s, ok := l.hireRescinded(job); ok {
		return Rescinded, s
	}
	otherwise := State("")
	if listed || len(l.matter(suspension, everything))+len(l.matter(leave, of(job))) > 0 {
		otherwise = Active
	}
	return l.interrupted(job, Statement{}, otherwise)
}

// interrupted is the state of someone employed since a statement.
func (l life) interrupted(job string, since Statement, otherwise State) (State, Statement) {
	for _, stop := range []struct {
		matter []Statement
		state  State
	}{
		{l.matter(suspension, everything), Suspended},
		{l.matter(leave, of(job)), OnLeave},
	} {
		if s, ok := l.newest(stop.matter); ok && s.meaning().opens && s.Stamp.Compare(since.Stamp) > 0 {
			return stop.state, s
		}
	}
	return otherwise, since
}

// hireRescinded is the newest rescission of the hire.
func (l life) hireRescinded(job string) (last Statement, ok bool) {
	for _, s := range l.matter(rescission, func(s Statement) bool { return s.Employment == "" || s.Employment == job }) {
		m := byName[s.Rescinds]
		hire := s.Rescinds == "" || (m.track == employment && m.opens)
		if hire && holds(s.Due, l.asOf) {
			last, ok = s, true
		}
	}
	return last, ok
}
