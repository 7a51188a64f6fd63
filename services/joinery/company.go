package joinery

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// company plays the life of a made-up company: the same seed gives the same
// people and the same events, so that an interrupted demo can be played again
// from the start and changes nothing that is already right.
type company struct {
	rng    *rand.Rand
	clock  time.Time
	people []*employee
	events []happening
}

// employee is what the company itself knows of a person: the demo's oracle,
// which shares no code with the product.
type employee struct {
	id         string
	first      string
	last       string
	department string
	title      string
	employed   bool
}

// happening is one event as the HR system would send it.
type happening struct {
	phase string
	body  map[string]any
}

var (
	firstNames = []string{
		"Ada", "Amir", "Åsa", "Bo", "Chloé", "Dmitri", "Élodie", "Farah", "Gustavo", "Hana",
		"Ingrid", "Jürgen", "Kwame", "Lucía", "Mei", "Noor", "Øyvind", "Priya", "Quinn", "Søren", "Tomás", "Yuki",
	}
	lastNames = []string{
		"Abbott", "Bjørnsen", "Castro", "Dubois", "Eriksson", "Fischer", "García", "Haddad", "Ito",
		"Jansen", "Kowalski", "Lindqvist", "Müller", "Nakamura", "O'Brien", "Petrov", "Quist", "Rossi", "Smith", "Tanaka",
	}
	departments = []string{"Engineering", "Support", "Sales", "Finance"}
	titles      = []string{"Associate", "Specialist", "Senior", "Lead"}
)

// newCompany plays joiners, movers, leavers and rehires.
func newCompany(seed uint64, size int) *company {
	c := &company{
		rng:   rand.New(rand.NewPCG(seed, seed)),
		clock: time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC),
	}
	for i := range size {
		c.join(i)
	}
	for _, p := range c.some(size * 3 / 10) {
		c.move(p)
	}
	leavers := c.some(size * 2 / 10)
	for _, p := range leavers {
		c.leave(p)
	}
	for i, p := range leavers {
		if i%4 == 0 {
			c.rehire(p)
		}
	}
	return c
}

// some picks n different people.
func (c *company) some(n int) []*employee {
	order := c.rng.Perm(len(c.people))
	out := make([]*employee, 0, n)
	for _, i := range order[:min(n, len(order))] {
		out = append(out, c.people[i])
	}
	return out
}

func (c *company) join(i int) {
	p := &employee{
		id: fmt.Sprintf("%04d", 1000+i), first: c.pick(firstNames), last: c.pick(lastNames),
		department: c.pick(departments), title: c.pick(titles), employed: true,
	}
	c.people = append(c.people, p)
	c.say("joined", "joiners", map[string]any{
		"employee_id": p.id, "first_name": p.first, "last_name": p.last, "email": p.email(),
		"department": p.department, "title": p.title,
	})
}

func (c *company) move(p *employee) {
	p.department, p.title = c.pick(departments), c.pick(titles)
	c.say("changed", "movers", map[string]any{"employee_id": p.id, "department": p.department, "title": p.title})
}

func (c *company) leave(p *employee) {
	p.employed = false
	c.say("left", "leavers", map[string]any{"employee_id": p.id})
}

func (c *company) rehire(p *employee) {
	p.employed, p.title = true, c.pick(titles)
	c.say("rehired", "rehires", map[string]any{"employee_id": p.id, "title": p.title})
}

// say records an event, a minute after the one before.
func (c *company) say(kind, phase string, data map[string]any) {
	c.clock = c.clock.Add(time.Minute)
	c.events = append(c.events, happening{phase: phase, body: map[string]any{
		"specversion": "1.0", "id": fmt.Sprintf("hr-%05d", len(c.events)+1), "source": "/demo/hr",
		"type": "joinery.person." + kind, "time": c.clock.Format(time.RFC3339), "data": data,
	}})
}

func (c *company) pick(from []string) string { return from[c.rng.IntN(len(from))] }

// email is unique and plain ASCII, as HR systems make them.
func (p *employee) email() string {
	plain := strings.NewReplacer("Å", "A", "å", "a", "é", "e", "É", "E", "ü", "u", "ø", "o", "Ø", "O", "í", "i", "á", "a", "'", "")
	return strings.ToLower(plain.Replace(p.first) + "." + plain.Replace(p.last) + "." + p.id + "@example.com")
}
