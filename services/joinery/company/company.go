// Package company plays the life of a made-up company: who is hired, moves, gets
// another name or another manager, goes on leave, leaves, and comes back. It is
// at once the HR system that tells of it and the oracle that knows the truth, and
// shares no code with the product. The same options give the same company.
package company

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Options say what company is played.
type Options struct {
	Seed uint64
	// People is how many are ever hired.
	People int
	// Days that are played; 0 means two years.
	Days int
}

// Company is a company after its last day.
type Company struct {
	// People are all who were ever hired, in that order.
	People []*Person
	// Events are what its HR system said, in the order it happened.
	Events []Event

	rng    *rand.Rand
	clock  time.Time
	staff  []*Person // who is employed, in no order
	coming map[int][]func()
}

// Event is one event as the HR system sends it: a CloudEvent.
type Event struct {
	ID   string
	Kind string
	Time time.Time
	Data map[string]any
}

// CloudEvent is the event in CloudEvents' JSON.
func (e Event) CloudEvent() map[string]any {
	return map[string]any{
		"specversion": "1.0", "id": e.ID, "source": "/company/hr", "type": "joinery.person." + e.Kind,
		"time": e.Time.Format(time.RFC3339), "data": e.Data,
	}
}

// How often things happen to somebody, in a year.
const (
	moves    = 0.4
	weddings = 0.03
	leavings = 0.15
	absences = 0.06
	// comeBack is the share of leavers who are hired again.
	comeBack = 0.25
)

// New plays a company from its first day to its last.
func New(o Options) *Company {
	if o.Days == 0 {
		o.Days = 2 * 365
	}
	c := &Company{rng: rand.New(rand.NewPCG(o.Seed, o.Seed)), coming: map[int][]func(){}}
	start := time.Date(2024, 1, 1, 8, 0, 0, 0, time.UTC)
	for day := range o.Days {
		c.clock = start.AddDate(0, 0, day)
		for range c.hires(o, day) {
			c.join(o)
		}
		c.happen(moves, c.move)
		c.happen(weddings, c.rename)
		c.happen(absences, func(p *Person) { c.absent(day, p) })
		c.happen(leavings, func(p *Person) { c.leave(day, p) })
		for _, then := range c.coming[day] {
			then()
		}
		delete(c.coming, day)
	}
	return c
}

// hires is how many begin on a day: a third of all in the first month, the others
// evenly over the time.
func (c *Company) hires(o Options, day int) int {
	founders, month := o.People/3, min(30, o.Days)
	if day >= o.Days-1 {
		return o.People - len(c.People)
	}
	due := founders * (day + 1) / month
	if day >= month {
		due = founders + (o.People-founders)*(day-month+1)/max(o.Days-month, 1)
	}
	return max(due-len(c.People), 0)
}

// happen lets something happen to as many people as it happens to in a day.
func (c *Company) happen(yearly float64, to func(*Person)) {
	expected := yearly / 365 * float64(len(c.staff))
	n := int(expected)
	if c.rng.Float64() < expected-float64(n) {
		n++
	}
	for range n {
		if p := c.somebody(); p != nil && !p.OnLeave {
			to(p)
		}
	}
}

// somebody is anyone who is employed, or nil.
func (c *Company) somebody() *Person {
	if len(c.staff) == 0 {
		return nil
	}
	return c.staff[c.rng.IntN(len(c.staff))]
}

// in lets something happen some days later; what lies behind the last day never does.
func (c *Company) in(day, least, most int, then func()) {
	at := day + least + c.rng.IntN(most-least)
	c.coming[at] = append(c.coming[at], then)
}

// say records an event, a second after the one before.
func (c *Company) say(kind string, p *Person, data map[string]any) {
	c.clock = c.clock.Add(time.Second)
	data["employee_id"] = p.ID
	c.Events = append(c.Events, Event{ID: fmt.Sprintf("hr-%06d", len(c.Events)+1), Kind: kind, Time: c.clock, Data: data})
}

func (c *Company) pick(from []string) string { return from[c.rng.IntN(len(from))] }
