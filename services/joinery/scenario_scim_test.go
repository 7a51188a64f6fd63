package joinery_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/embedded/bubble"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/scim"
)

// provision plays "NAME METHOD PATH BODY" of an identity provider at the SCIM
// door; $NAME stands for the id of what NAME made. The events that follow are
// called NAME-1, NAME-2 and so on, by the version of the resource.
func (s *scene) provision(args string) {
	s.Helper()
	fields := strings.SplitN(args, " ", 4)
	for name, id := range s.made {
		for i := range fields[2:] {
			fields[2+i] = strings.ReplaceAll(fields[2+i], "$"+name, id)
		}
	}
	body := ""
	if len(fields) == 4 {
		body = fields[3]
	}
	res := s.ask("ingest", fields[1], "/scim/v2/idp"+fields[2], body, "application/scim+json")
	if res.Code >= http.StatusBadRequest {
		s.Fatalf("%s: %d %s", args, res.Code, res.Body)
	}
	if fields[1] != http.MethodPost {
		return
	}
	r, err := scim.Parse(res.Body.Bytes())
	check(s, err)
	if s.made == nil {
		s.made = map[string]string{}
	}
	s.made[fields[0]] = r.ID()
	for version := range 9 {
		id := fmt.Sprintf("%s/%s/%d", strings.Trim(fields[2], "/"), r.ID(), version+1)
		s.events[event.IDOf("idp", id)] = fmt.Sprintf("%s-%d", fields[0], version+1)
	}
}

// TestJoineryProvisionsIntoAnotherJoinery: what the one sends, the other takes,
// reads back to it as it was sent, and carries on.
func TestJoineryProvisionsIntoAnotherJoinery(t *testing.T) {
	config := map[string]string{
		"config/sources/idp.yaml": `source: idp
auth: { basic: { username: joinery, password: { env: TOKEN } } }
identity_key: '"idp:" + event.data.person.externalId'
scim: { public_url: "https://joinery.example" }
`,
		"config/targets/joinery.yaml": `target: joinery
endpoint: https://joinery.example/scim/v2/idp
auth: { basic: { username: joinery, password: { env: TOKEN } } }
rate: [{ requests: 100000, per: 1s }]
assign: identity.active && !identity.key.startsWith("idp:")
reconcile: { every: 700h, mode: report }
users:
  - { to: userName, from: identity.email.lowerAscii() }
  - { to: externalId, from: identity.key }
  - { to: title, from: identity.title }
  - { to: name.givenName, from: identity.first }
  - { to: 'emails[type eq "work"].value', from: identity.email }
  - { to: 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department', from: identity.department }
`,
		"config/targets/acme.yaml": `target: acme
endpoint: https://acme.example/scim/v2
auth: { bearer: { env: TOKEN } }
rate: [{ requests: 100000, per: 1s }]
assign: identity.active && identity.key.startsWith("idp:")
reconcile: { every: 700h, mode: report }
users:
  - { to: userName, from: identity.userName }
  - { to: title, from: identity.title }
  - { to: name.givenName, from: identity.name.givenName }
  - { to: displayName, from: 'identity.department + " " + identity.emails[0].value' }
`,
	}
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		s := newScene(t, b, config)
		s.log = io.Discard
		s.start()
		b.Transport.Handle("joinery.example", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.parts["ingest"].Handler.ServeHTTP(w, r)
		}))
		s.later(5)
		steps := []struct{ kind, data, want string }{
			{"joined", `{"employee_id":"ann","email":"Ann@Example.com","first":"Ann","title":"Rep","department":"Sales"}`, "ann@example.com Rep Ann Sales Ann@Example.com true"},
			{"changed", `{"employee_id":"ann","title":null,"first":"Anna"}`, "ann@example.com <nil> Anna Sales Ann@Example.com true"},
			{"left", `{"employee_id":"ann"}`, "ann@example.com <nil> Anna Sales Ann@Example.com false"},
			{"rehired", `{"employee_id":"ann","title":"Lead"}`, "ann@example.com Lead Anna Sales Ann@Example.com true"},
		}
		for i, step := range steps {
			s.insist(step.kind, i, step.data)
			s.later(20)
			r := s.targets["acme"].Resources(scim.Users)[0]
			title, _ := r.Get("title")
			first, _ := r.Get("name.givenName")
			if diff := cmp.Diff(step.want, fmt.Sprint(r["userName"], " ", title, " ", first, " ", r["displayName"], " ", r["active"])); diff != "" {
				t.Errorf("%s (-want +got)\n%s", step.kind, diff)
			}
		}
		s.insist("left", 9, `{"employee_id":"ann"}`)
		s.later(20)
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/scim/v2/idp/Users", nil)
		req.SetBasicAuth("joinery", "secret")
		rec := httptest.NewRecorder()
		s.parts["ingest"].Handler.ServeHTTP(rec, req)
		if page, err := scim.ParsePage(rec.Body.Bytes()); err != nil || page.Total != 1 || page.Resources[0]["active"] != false {
			t.Errorf("the door answers %d %s", rec.Code, rec.Body)
		}
		if active := s.targets["acme"].Resources(scim.Users)[0]["active"]; active != false {
			t.Errorf("the account is active: %v", active)
		}
		if got := s.cases(); got != "" {
			t.Errorf("cases %s", got)
		}
		s.halt()
	})
}
