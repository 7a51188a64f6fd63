package joinery_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/embedded/bubble"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/scim"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/joinery/company"
)

// disorderly gives the events of a company shuffled, and one in ten of them twice.
func disorderly[T any](events []T, seed uint64) []T {
	rng := rand.New(rand.NewPCG(seed, seed))
	out := slices.Clone(events)
	for i := range events {
		if i%10 == 0 {
			out = append(out, events[i])
		}
	}
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// byCode is the rules of the company's HR system.
type byCode struct{}

func (byCode) Key(e map[string]any) (string, error) {
	data, _ := e["data"].(map[string]any)
	key, _ := data["employee_id"].(string)
	return key, nil
}

func (byCode) Kind(map[string]any) (string, bool, error) { return "", false, nil }

func (byCode) Attributes(map[string]any) (map[string]any, bool, error) { return nil, false, nil }
func (byCode) Course(map[string]any) (map[string]string, error)        { return nil, nil }

// Two years of ten thousand people, told in any order and in part twice, make the
// same people as told in order; and those are as the company itself knows them.
func TestACompanyToldInAnyOrderIsTheSame(t *testing.T) {
	c := company.New(company.Options{Seed: 11, People: 10_000})
	hr := event.Source{Name: "hr", Rules: byCode{}}
	events := make([]*joineryv1.LifecycleEvent, len(c.Events))
	for i, e := range c.Events {
		text, err := json.Marshal(e.CloudEvent())
		check(t, err)
		parsed, err := event.Parse(text)
		check(t, err)
		events[i], err = hr.Interpret(parsed, e.Time)
		check(t, err)
	}
	fold := func(events []*joineryv1.LifecycleEvent) map[string]*identity.Record {
		people := map[string]*identity.Record{}
		for _, e := range events {
			r := people[e.GetIdentityKey()]
			if r == nil {
				r = &identity.Record{}
				people[e.GetIdentityKey()] = r
			}
			if _, err := r.Fold(e); err != nil {
				t.Fatal(err)
			}
		}
		return people
	}
	want, got := fold(events), fold(disorderly(events, 12))
	for _, p := range c.People {
		if diff := cmp.Diff(want[p.ID], got[p.ID]); diff != "" {
			t.Fatalf("%s is another (-in order +in disorder)\n%s", p.ID, diff)
		}
		r := got[p.ID]
		if (r.EffectiveState() == identity.Active) != p.Active() || r.Current()["title"] != p.Title || r.Current()["email"] != p.Email() {
			t.Fatalf("the company knows %+v; it was understood as %s, %v", p, r.EffectiveState(), r.Current())
		}
	}
}

// The whole pipeline, with what comes late: the accounts end as in order,
// with their managers, and nothing is left for a person to decide.
func TestACompanyInAnyOrderEndsInTheSameAccounts(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := company.New(company.Options{Seed: seed, People: 60})
			inOrder := accountsAfter(t, c, c.Events, len(c.Events))
			truth := map[string]bool{}
			for _, p := range c.People {
				if p.Active() {
					truth[p.ID+" "+p.Email()+" "+p.Title+" "+managerOf(p)] = true
				}
			}
			if diff := cmp.Diff(truth, inOrder); diff != "" {
				t.Errorf("in order (-as the company knows +accounts)\n%s", diff)
			}
			late := disorderly(c.Events, seed)
			if diff := cmp.Diff(truth, accountsAfter(t, c, late, len(late)/3)); diff != "" {
				t.Errorf("in disorder (-as the company knows +accounts)\n%s", diff)
			}
		})
	}
}

func managerOf(p *company.Person) string {
	if p.Manager == nil || !p.Manager.Active() {
		return ""
	}
	return p.Manager.ID
}

// accountsAfter plays events in portions, half an hour apart, and tells whose account
// is active in the end, with name, title and manager.
func accountsAfter(t *testing.T, c *company.Company, events []company.Event, portion int) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		s := newScene(t, b, map[string]string{"config/targets/acme.yaml": companyTarget})
		s.start()
		back := c.Events[len(c.Events)-1].Time.Sub(s.begun) + time.Hour
		for batch := range slices.Chunk(events, portion) {
			var body []any
			for _, e := range batch {
				e.Time = e.Time.Add(-back)
				body = append(body, e.CloudEvent())
			}
			for some := range slices.Chunk(body, 100) {
				text, err := json.Marshal(some)
				check(t, err)
				s.request("ingest", "POST", "/v1/events", string(text), "application/cloudevents-batch+json", http.StatusAccepted)
			}
			s.later(1800)
		}
		if book := s.settle(); len(book.Gaps) != 0 {
			t.Errorf("no outcome for %+v", book.Gaps)
		}
		if cases := s.cases(); strings.Contains("\n"+cases, "\nopen ") {
			t.Errorf("left to decide:\n%s", cases)
		}
		keys := map[string]string{}
		users := s.targets["acme"].Resources(scim.Users)
		for _, u := range users {
			// Whether somebody on leave has an account depends on when it was told.
			if active, _ := u.Active(); active {
				keys[u.ID()] = u.ExternalID()
			}
		}
		for _, u := range users {
			if active, _ := u.Active(); !active {
				continue
			}
			manager, _ := u.Get(scim.EnterpriseSchema + ":manager.value")
			id, _ := manager.(string)
			out[fmt.Sprintf("%s %s %v %s", u.ExternalID(), u.UserName(), u["title"], keys[id])] = true
		}
		s.stop()
	})
	return out
}

const companyTarget = `target: acme
endpoint: https://acme.example/scim/v2
auth: { bearer: { env: TOKEN } }
rate: [{ requests: 100000, per: 1s }]
assign: identity.active
reconcile: { every: 700h, mode: report }
guard: { deprovision: { max: 100000, percent: 100 }, rename: { max: 100000, percent: 100 } }
users:
  - { to: userName, from: identity.email.lowerAscii() }
  - { to: externalId, from: identity.key }
  - { to: title, from: identity.title }
  - { to: manager, from: identity.manager, ref: identity }
`
