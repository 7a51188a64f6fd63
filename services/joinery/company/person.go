package company

import (
	"fmt"
	"slices"
	"strings"
)

// Person is what the company itself knows of somebody.
type Person struct {
	ID         string
	First      string
	Last       string
	Department string
	Title      string
	// Manager is who they report to, or nil.
	Manager  *Person
	Employed bool
	OnLeave  bool
}

// Active tells whether the person works now.
func (p *Person) Active() bool { return p.Employed && !p.OnLeave }

// Email is unique and plain ASCII, as HR systems make them.
func (p *Person) Email() string {
	plain := strings.NewReplacer("Å", "A", "å", "a", "é", "e", "É", "E", "ü", "u", "ø", "o", "Ø", "O", "í", "i", "á", "a", "'", "")
	return strings.ToLower(plain.Replace(p.First) + "." + plain.Replace(p.Last) + "." + p.ID + "@example.com")
}

func firstNames() []string {
	return []string{
		"Ada", "Amir", "Åsa", "Bo", "Chloé", "Dmitri", "Élodie", "Farah", "Gustavo", "Hana",
		"Ingrid", "Jürgen", "Kwame", "Lucía", "Mei", "Noor", "Øyvind", "Priya", "Quinn", "Søren", "Tomás", "Yuki",
	}
}

func lastNames() []string {
	return []string{
		"Abbott", "Bjørnsen", "Castro", "Dubois", "Eriksson", "Fischer", "García", "Haddad", "Ito",
		"Jansen", "Kowalski", "Lindqvist", "Müller", "Nakamura", "O'Brien", "Petrov", "Quist", "Rossi", "Smith", "Tanaka",
	}
}

// Departments are the company's.
func Departments() []string { return []string{"Engineering", "Support", "Sales", "Finance"} }

// titles are the company's, lowest first.
func titles() []string { return []string{"Associate", "Specialist", "Senior", "Lead", "Director"} }

func (c *Company) join(Options) {
	p := &Person{
		ID: fmt.Sprint(1000 + len(c.People)), First: c.pick(firstNames()), Last: c.pick(lastNames()),
		Department: c.pick(Departments()), Title: c.pick(titles()), Employed: true,
	}
	p.Manager = c.boss(p)
	c.People, c.staff = append(c.People, p), append(c.staff, p)
	data := map[string]any{
		"first_name": p.First, "last_name": p.Last, "email": p.Email(), "department": p.Department, "title": p.Title,
	}
	if p.Manager != nil {
		data["manager"] = p.Manager.ID
	}
	c.say("joined", p, data)
}

func (c *Company) move(p *Person) {
	p.Department, p.Title = c.pick(Departments()), c.pick(titles())
	p.Manager = c.boss(p)
	c.say("changed", p, map[string]any{"department": p.Department, "title": p.Title, "manager": reports(p)})
}

// rename is a marriage: the name changes, and with it the address and the userName.
func (c *Company) rename(p *Person) {
	p.Last = c.pick(lastNames())
	c.say("changed", p, map[string]any{"last_name": p.Last, "email": p.Email()})
}

func (c *Company) absent(day int, p *Person) {
	p.OnLeave = true
	c.say("leave_started", p, map[string]any{})
	c.in(day, 20, 200, func() {
		if p.OnLeave {
			p.OnLeave = false
			c.say("leave_ended", p, map[string]any{})
		}
	})
}

// leave ends somebody's employment; who reported to them reports to somebody
// else from then on.
func (c *Company) leave(day int, p *Person) {
	p.Employed = false
	c.staff = slices.DeleteFunc(c.staff, func(other *Person) bool { return other == p })
	c.say("left", p, map[string]any{})
	for _, other := range c.staff {
		if other.Manager == p {
			other.Manager = c.boss(other)
			c.say("changed", other, map[string]any{"manager": reports(other)})
		}
	}
	if c.rng.Float64() < comeBack {
		c.in(day, 30, 250, func() { c.rehire(p) })
	}
}

func (c *Company) rehire(p *Person) {
	p.Employed, p.Title = true, c.pick(titles())
	p.Manager = c.boss(p)
	c.staff = append(c.staff, p)
	c.say("rehired", p, map[string]any{"title": p.Title, "manager": reports(p)})
}

// reports is the manager as events name them; null clears.
func reports(p *Person) any {
	if p.Manager == nil {
		return nil
	}
	return p.Manager.ID
}

// boss finds somebody of the same department with a higher title, or nil.
func (c *Company) boss(of *Person) *Person {
	for range 20 {
		p := c.somebody()
		if p != nil && p != of && p.Department == of.Department && slices.Index(titles(), p.Title) > slices.Index(titles(), of.Title) {
			return p
		}
	}
	return nil
}
