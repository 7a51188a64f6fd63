package company_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/joinery/joinery/services/joinery/company"
)

func TestOneSeedIsOneCompany(t *testing.T) {
	o := company.Options{Seed: 7, People: 200}
	a, b := company.New(o), company.New(o)
	if diff := cmp.Diff(a.Events, b.Events); diff != "" {
		t.Error(diff)
	}
	o.Seed = 8
	if cmp.Equal(a.Events, company.New(o).Events) {
		t.Error("two seeds played one company")
	}
}

func TestEverythingHappensInTwoYears(t *testing.T) {
	c := company.New(company.Options{Seed: 7, People: 10_000})
	if len(c.People) != 10_000 {
		t.Error(len(c.People), "people")
	}
	kinds := map[string]int{}
	cleared, renamed := 0, 0
	last := time.Time{}
	for _, e := range c.Events {
		kinds[e.Kind]++
		if manager, said := e.Data["manager"]; said && manager == nil {
			cleared++
		}
		if e.Data["email"] != nil && e.Kind == "changed" {
			renamed++
		}
		if !e.Time.After(last) {
			t.Fatal("events out of order at", e.ID)
		}
		last = e.Time
	}
	for kind, least := range map[string]int{"joined": 10_000, "changed": 5000, "left": 1000, "rehired": 100, "leave_started": 500, "leave_ended": 300} {
		if kinds[kind] < least {
			t.Error(kind, kinds[kind])
		}
	}
	if cleared < 100 || renamed < 200 {
		t.Error(cleared, "cleared,", renamed, "renamed")
	}
}

// The oracle and the events must say the same: playing the events by hand gives
// the people as the company knows them.
func TestTheEventsTellWhatTheCompanyKnows(t *testing.T) {
	c := company.New(company.Options{Seed: 3, People: 500})
	told := map[string]*company.Person{}
	managers := map[string]any{}
	set := func(to *string, data map[string]any, name string) {
		if v, ok := data[name].(string); ok {
			*to = v
		}
	}
	for _, e := range c.Events {
		id := e.Data["employee_id"].(string)
		p := told[id]
		if p == nil {
			p = &company.Person{ID: id}
			told[id] = p
		}
		set(&p.First, e.Data, "first_name")
		set(&p.Last, e.Data, "last_name")
		set(&p.Department, e.Data, "department")
		set(&p.Title, e.Data, "title")
		if manager, said := e.Data["manager"]; said {
			managers[id] = manager
		}
		switch e.Kind {
		case "joined", "rehired":
			p.Employed = true
		case "left":
			p.Employed = false
		case "leave_started", "leave_ended":
			p.OnLeave = e.Kind == "leave_started"
		}
	}
	for _, p := range c.People {
		if diff := cmp.Diff(p, told[p.ID], cmpopts.IgnoreFields(company.Person{}, "Manager")); diff != "" {
			t.Error(diff)
		}
		var manager any
		if p.Manager != nil {
			manager = p.Manager.ID
		}
		if told := managers[p.ID]; told != manager {
			t.Error(p.ID, "reports to", manager, "and was told", told)
		}
		if p.Employed && p.Manager != nil && !p.Manager.Employed {
			t.Error(p.ID, "reports to somebody who left")
		}
	}
}
