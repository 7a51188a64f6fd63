package rate

import (
	"maps"
	"math"
	"time"
)

// Micros is a time in microseconds on the clock of whoever keeps the state; 0 is
// never.
type Micros int64

// After is the time d later, d rounded up to a microsecond.
func (m Micros) After(d time.Duration) Micros {
	return m + Micros((d+time.Microsecond-1)/time.Microsecond)
}

// until is the time from m to end, or 0 where end has passed.
func (m Micros) until(end Micros) time.Duration {
	return time.Duration(max(0, end-m)) * time.Microsecond
}

// State is what is kept of one target. The zero State is that of a target nobody
// has asked for or whose state was lost: its buckets are empty and fill from now
// on. So a loss can only slow down, and a start never bursts.
type State struct {
	// Seq grows with every grant; see Verify.
	Seq int64
	// At is when the levels held.
	At Micros
	// Levels are tokens by length of the window; negative while a large request is
	// paid off.
	Levels map[time.Duration]float64
	// HoldUntil is the end of the longest pause that the target asked for.
	HoldUntil Micros
	// Pace is how much of the configured rate the target bears.
	Pace Pace
}

// Demand is a request that wants to be sent. Cost is how many requests the target
// counts it for, at least 1.
type Demand struct {
	Lane Lane
	Cost int
}

// Answer is what became of demands.
type Answer struct {
	// Granted is how many were let through, from the first.
	Granted int
	// Delay is how long the last of them must wait with what it was granted: more
	// than 0 only for a cost above a bucket's capacity, which is paid before.
	Delay time.Duration
	// Wait is the time until the next demand can be let through, if nobody else
	// takes its tokens; 0 when all were granted.
	Wait time.Duration
	// Held is the rest of the pause that the target asked for.
	Held time.Duration
	// Factor is the share of the configured rate in use, above 0 and up to 1.
	Factor float64
	// Lost tells that the state was older than what the caller has seen.
	Lost bool
	// Seq is for the next Verify.
	Seq int64
}

// MaxHold bounds a pause: a target that asks for more is asked again after a day.
const MaxHold = 24 * time.Hour

// Verify makes up for a state that is older than seen, the greatest Seq that the
// caller was given: it comes from a lagging replica or an old snapshot, or the
// caller was served elsewhere meanwhile. Its tokens may have been used since, so
// its buckets are emptied. It tells whether that was so.
func (s State) Verify(seen int64) (State, bool) {
	if s.Seq >= seen {
		return s, false
	}
	s.Seq, s.Levels = seen, nil
	return s, true
}

// Take lets through as many of the demands as the target's limits allow, in the
// given order, and stops at the first that must wait: nobody overtakes within a
// call. Most urgent first is the caller's duty.
func (s State) Take(now Micros, limits Limits, demands ...Demand) (State, Answer) {
	s = s.advance(now, limits)
	a := Answer{Held: now.until(s.HoldUntil), Factor: s.Pace.Factor(now)}
	for _, d := range demands {
		a.Wait = max(a.Held, s.wait(limits, d, a.Factor))
		if a.Wait > 0 {
			break
		}
		a.Granted++
		s.Seq++
		if a.Delay = s.pay(limits, d, a.Factor); a.Delay > 0 {
			if a.Granted < len(demands) {
				a.Wait = s.wait(limits, demands[a.Granted], a.Factor)
			}
			break
		}
	}
	a.Seq = s.Seq
	return s, a
}

// advance fills the buckets up to now. A clock that went back fills nothing, and
// takes its future with it: a pause keeps the length it had left.
func (s State) advance(now Micros, limits Limits) State {
	s = s.follow(now)
	elapsed := float64(now - s.At)
	if s.At == 0 {
		elapsed = 0
	}
	factor := s.Pace.Factor(now)
	levels := maps.Clone(s.Levels)
	if levels == nil {
		levels = map[time.Duration]float64{}
	}
	for _, w := range limits {
		b := w.Bucket()
		if level, known := levels[w.Per]; known {
			// The conversion keeps compilers from fusing the operations, so that the
			// script, which cannot, comes to the same number.
			levels[w.Per] = min(b.Capacity, level+float64(elapsed*b.Refill*factor))
		} else {
			levels[w.Per] = 0
		}
	}
	s.Levels, s.At = levels, now
	return s
}

// follow moves the state back with a clock that went back.
func (s State) follow(now Micros) State {
	if now >= s.At {
		return s
	}
	back := s.At - now
	s.At = now
	s.HoldUntil = max(0, s.HoldUntil-back)
	s.Pace = s.Pace.back(back)
	return s
}

// wait is the time until every bucket has the level that d needs.
func (s State) wait(limits Limits, d Demand, factor float64) time.Duration {
	var longest float64
	for _, w := range limits {
		b := w.Bucket()
		if missing := b.need(d) - s.Levels[w.Per]; missing > 0 {
			longest = max(longest, missing/(b.Refill*factor))
		}
	}
	return time.Duration(math.Ceil(longest)) * time.Microsecond
}

// pay takes the cost of d out of every bucket. Where it is above a bucket's
// capacity, the rest is paid twice: before d may be used, by the delay, and after
// it, by a level below 0, under which nobody is let through meanwhile. Either alone
// would let too many pass in the windows that end or begin with d.
//
// A loss of the state forgets what is still owed: only then can the windows around
// a cost above the burst hold more than they should.
func (s State) pay(limits Limits, d Demand, factor float64) time.Duration {
	cost := float64(d.Cost)
	var longest float64
	for _, w := range limits {
		b := w.Bucket()
		if rest := cost - b.Capacity; rest > 0 {
			longest = max(longest, math.Ceil(rest/(b.Refill*factor)))
		}
	}
	for _, w := range limits {
		b := w.Bucket()
		gained := float64(longest * b.Refill * factor)
		s.Levels[w.Per] = min(b.Capacity, s.Levels[w.Per]+gained) - cost - gained
	}
	return time.Duration(longest) * time.Microsecond
}

// Hold makes everybody wait for the pause that the target asked for, at most
// MaxHold; of several pauses the one that ends last counts. Refused says
// that the target refused a request (429), which is what lowers the pace when it
// goes on.
func (s State) Hold(now Micros, pause time.Duration, refused bool) State {
	s = s.follow(now)
	before := s.HoldUntil
	s.HoldUntil = max(before, now.After(min(max(0, pause), MaxHold)))
	if refused {
		s.Pace = s.Pace.refused(now, before, s.HoldUntil)
	}
	return s
}

// Release ends a pause and gives the full pace back: a person's decision.
func (s State) Release(now Micros) State {
	s = s.follow(now)
	s.HoldUntil = 0
	s.Pace = Pace{}
	return s
}
