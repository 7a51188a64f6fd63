package rate_test

import (
	"testing"
	"time"

	"github.com/joinery/joinery/pkg/rate"
	"pgregory.net/rapid"
)

// history plays a target's life: true time only goes on, while the clock that the
// limiter sees goes back now and then, and its state is lost now and then.
type history struct {
	t      *rapid.T
	limits rate.Limits
	state  rate.State
	seen   int64

	now    rate.Micros // true
	behind rate.Micros // how far the clock went back in all
	sent   []passed
}

type passed struct {
	at   rate.Micros
	cost int
}

func (h *history) clock() rate.Micros { return noon + h.now - h.behind }

// ask lets callers ask for a random set of demands.
func (h *history) ask(demands []rate.Demand) {
	state, lost := h.state.Verify(h.seen)
	if lost && h.seen == 0 {
		h.t.Error("a loss was reported that nobody could know of")
	}
	var a rate.Answer
	h.state, a = state.Take(h.clock(), h.limits, demands...)
	h.seen = a.Seq
	if a.Granted < len(demands) && a.Wait <= 0 {
		h.t.Errorf("%d of %d granted and nothing to wait for", a.Granted, len(demands))
	}
	for i, d := range demands[:a.Granted] {
		at := h.now
		if i == a.Granted-1 {
			at = at.After(a.Delay)
		}
		h.sent = append(h.sent, passed{at: at, cost: d.Cost})
	}
}

// check looks at every window that begins with a request.
func (h *history) check() {
	for _, w := range h.limits {
		per := rate.Micros(w.Per.Microseconds())
		for i, first := range h.sent {
			total := 0
			for _, p := range h.sent[i:] {
				if p.at-first.at >= per {
					break
				}
				total += p.cost
			}
			if total > w.Requests {
				h.t.Fatalf("%d requests within %v from %d us, allowed %d", total, w.Per, first.at, w.Requests)
			}
		}
	}
}

func demands(most int) *rapid.Generator[[]rate.Demand] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) rate.Demand {
		return rate.Demand{
			Lane: rate.Lane(rapid.IntRange(0, 2).Draw(t, "lane")),
			Cost: rapid.IntRange(1, most).Draw(t, "cost"),
		}
	}), 0, 8)
}

// step is up to a few tokens' time, or exactly until something may be due, or a rest.
func (h *history) step() {
	w := h.limits[0]
	h.now += rate.Micros(rapid.OneOf(
		rapid.Int64Range(0, 3*w.Per.Microseconds()/int64(w.Requests)),
		rapid.Int64Range(0, w.Per.Microseconds()),
		rapid.Just(3*w.Per.Microseconds()),
	).Draw(h.t, "step"))
}

func TestNoHistoryLetsMoreThroughThanAnyWindowAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t, limits: rate.Limits{
			{Requests: rapid.IntRange(1, 300).Draw(t, "a"), Per: time.Second},
			{Requests: rapid.IntRange(1, 900).Draw(t, "b"), Per: 5 * time.Second},
		}}
		most := min(3, h.limits.MaxCost())
		var snapshot rate.State
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			h.step()
			switch rapid.IntRange(0, 11).Draw(t, "event") {
			case 0:
				h.behind += rate.Micros(rapid.Int64Range(1, 3600*int64(second)).Draw(t, "back"))
			case 1:
				if most == 1 {
					h.state = rate.State{}
				}
			case 2:
				if most == 1 {
					h.state = snapshot
				}
			case 3:
				snapshot = h.state
			case 4:
				pause := time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "pause"))
				h.state = h.state.Hold(h.clock(), pause, rapid.Bool().Draw(t, "refused"))
			default:
				h.ask(demands(most).Draw(t, "demands"))
			}
		}
		h.check()
	})
}

// Losses and costs above the burst are drawn apart: a loss while a great cost is
// being paid forgets what it still owes.
func TestNoLossOfStateLetsMoreThrough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t, limits: rate.Limits{{Requests: rapid.IntRange(1, 300).Draw(t, "requests"), Per: time.Second}}}
		var snapshot rate.State
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			h.step()
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0:
				h.state = rate.State{}
			case 1:
				h.state = snapshot
			case 2:
				snapshot = h.state
			default:
				h.ask(demands(1).Draw(t, "demands"))
			}
		}
		h.check()
	})
}

func TestNoSeriesOfGreatCostsLetsMoreThrough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t, limits: rate.Limits{
			{Requests: rapid.IntRange(1, 100).Draw(t, "a"), Per: time.Second},
			{Requests: rapid.IntRange(1, 300).Draw(t, "b"), Per: 4 * time.Second},
		}}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			h.step()
			h.ask(demands(h.limits.MaxCost()).Draw(t, "demands"))
		}
		h.check()
	})
}

func TestWaitingAsLongAsToldIsEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := rate.Limits{window().Draw(t, "one")}
		if other := window().Draw(t, "other"); other.Per != limits[0].Per {
			limits = append(limits, other)
		}
		d := rate.Demand{
			Lane: rate.Lane(rapid.IntRange(0, 2).Draw(t, "lane")),
			Cost: rapid.IntRange(1, min(10, limits.MaxCost())).Draw(t, "cost"),
		}
		now := noon
		state, a := rate.State{}.Take(now, limits, d)
		// Rounding may leave a microsecond or two to wait for.
		for range 3 {
			now = now.After(a.Wait)
			state, a = state.Take(now, limits, d)
			if a.Granted == 1 {
				return
			}
			if a.Wait > 2*time.Microsecond {
				t.Fatalf("told to wait again for %v", a.Wait)
			}
		}
		t.Errorf("never let through: %+v", a)
	})
}
