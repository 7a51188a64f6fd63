package joinery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/crash"
	"github.com/joinery/joinery/pkg/embedded/bubble"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
	"github.com/joinery/joinery/services/deadletter"
)

// crashConfig has two targets, so that an event issues two commands, and a guard
// that holds the third leaver.
func crashConfig() map[string]string {
	target := `target: %s
endpoint: https://%s.example/scim/v2
auth: { bearer: { env: TOKEN } }
rate: [{ requests: 100000, per: 1s }]
assign: identity.active
guard: { deprovision: { max: 1, percent: 100 } }
reconcile: { every: 700h, mode: report }
users:
  - { to: userName, from: identity.email.lowerAscii() }
  - { to: externalId, from: identity.key }
  - { to: title, from: identity.title }
`
	return map[string]string{
		"config/targets/acme.yaml":   fmt.Sprintf(target, "acme", "acme"),
		"config/targets/globex.yaml": fmt.Sprintf(target, "globex", "globex"),
	}
}

// TestAProcessThatDiesAtAnyPointLosesAndDoublesNothing ends the process at each
// named point, the first, second and third time that it is passed, starts
// another, and lets the oracle judge: by what the targets committed, and by
// nothing that the product says of itself but that its books balance.
func TestAProcessThatDiesAtAnyPointLosesAndDoublesNothing(t *testing.T) {
	for _, point := range crash.Points() {
		for nth := 1; nth <= 3; nth++ {
			t.Run(fmt.Sprintf("%s/%d", point, nth), func(t *testing.T) { dieAt(t, point, nth) })
		}
	}
}

func dieAt(t *testing.T, point crash.Point, nth int) {
	bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
		s := newScene(t, b, crashConfig())
		s.log = io.Discard
		var passed atomic.Int32
		s.passing = func(p crash.Point) {
			if p == point && int(passed.Add(1)) == nth {
				s.die(context.WithoutCancel(t.Context()))
			}
		}
		s.start()
		check(t, s.targets["acme"].Seed(scim.Users, scim.Resource{
			"schemas": []any{scim.UserSchema}, "userName": "eve@example.com", "externalId": "stranger",
		}))
		s.live()
		book := s.settle()
		s.halt()
		judge(s)
		if nth == 1 && passed.Load() == 0 {
			t.Error("the point was never passed")
		}
		for _, gap := range book.Gaps {
			t.Errorf("no outcome for %+v", gap)
		}
	})
}

// live is the story: joiners, a change, leavers of whom the guard holds some, an
// approval, a rehire, and a stranger's name.
func (s *scene) live() {
	s.Helper()
	s.later(5) // a router that ends while it begins leaves a goroutine behind
	for i, who := range []string{"ann", "bob", "cid", "dan"} {
		s.insist("joined", i, fmt.Sprintf(`{"employee_id":"%s","email":"%s@example.com","title":"Rep"}`, who, who))
	}
	s.between(1)
	s.later(40) // what a dead process held comes again after 15 s
	s.insist("changed", 10, `{"employee_id":"dan","title":"Lead"}`)
	for i, who := range []string{"ann", "bob", "cid"} {
		s.insist("left", 20+i, fmt.Sprintf(`{"employee_id":"%s"}`, who))
		s.later(2)
	}
	s.between(2)
	s.later(40)
	s.approveAll()
	s.later(5)
	s.between(3)
	s.insist("rehired", 30, `{"employee_id":"ann","email":"ann@example.com","title":"Head"}`)
	s.insist("joined", 31, `{"employee_id":"eve","email":"eve@example.com","title":"Rep"}`)
	s.between(4)
	s.later(40)
	check(s, s.targets["acme"].Remove(scim.Users, "000001"))
	for !s.try("POST", "/api/v1/cases/acme-"+identity.IDOf("eve")+"/replay", `{"by":"ops"}`) {
		s.later(2)
	}
	s.later(60)
}

// between lets a test disturb the story.
func (s *scene) between(step int) {
	if s.disturb != nil {
		s.disturb(step)
	}
}

// insist sends an event as a source does: again until it is accepted.
func (s *scene) insist(kind string, n int, data string) {
	s.Helper()
	body := fmt.Sprintf(`{"specversion":"1.0","id":"%s-%d","source":"/hr","type":%q,"time":%q,"data":%s}`,
		kind, n, kind, s.begun.Add(time.Duration(n)*time.Second).UTC().Format(time.RFC3339), data)
	for range 30 {
		if s.ask("ingest", "POST", "/v1/events", body, "application/cloudevents+json").Code == http.StatusAccepted {
			return
		}
		s.later(2)
	}
	s.Fatal("never accepted", kind, n)
}

// approveAll lets every batch go on, as a person does who sees what is left.
func (s *scene) approveAll() {
	s.Helper()
	for range 30 {
		var held []deadletter.Batch
		res := s.ask("deadletter", "GET", "/api/v1/batches", "", "")
		if res.Code == http.StatusOK && json.Unmarshal(res.Body.Bytes(), &held) == nil && len(held) == 0 {
			return
		}
		for _, b := range held {
			s.try("POST", "/api/v1/batches/"+b.ID+"/decide", fmt.Sprintf(`{"by":"ops","hash":%q}`, b.Hash))
		}
		s.later(3)
	}
	s.Fatal("batches are never decided")
}

// try asks the desk, and tells whether it did it or had done it.
func (s *scene) try(method, path, body string) bool {
	code := s.ask("deadletter", method, path, body, "application/json").Code
	return code == http.StatusOK || code == http.StatusConflict
}

func (s *scene) ask(part, method, path, body, contentType string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(crash.With(s.Context(), s.pass), method, path, strings.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer secret")
	res := httptest.NewRecorder()
	s.parts[part].Handler.ServeHTTP(res, req)
	if isClosed(s.crashed) {
		res.Code = http.StatusBadGateway // whoever asked heard nothing
		s.later(1)
	}
	synctest.Wait()
	return res
}

// later lets seconds pass.
func (s *scene) later(seconds int) { s.until(time.Since(s.begun) + time.Duration(seconds)*time.Second) }

// settle reads the books once everything had time to end.
func (s *scene) settle() (book deadletter.Book) {
	s.Helper()
	s.later(60)
	check(s, json.Unmarshal(s.request("deadletter", "GET", "/api/v1/audit", "", "", http.StatusOK), &book))
	if book.Events < 10 || book.Orders < 10 {
		s.Errorf("the books know %d events and %d commands", book.Events, book.Orders)
	}
	return book
}

// judge compares the end with what everybody would expect, and every target's
// own log with what must never happen.
func judge(s *scene) {
	s.Helper()
	want := map[string]string{
		"ann": "active Head", "bob": "inactive Rep", "cid": "inactive Rep", "dan": "active Lead", "eve": "active Rep",
	}
	for name, target := range s.targets {
		got := map[string]string{}
		for _, u := range target.Resources(scim.Users) {
			state := "inactive"
			if active, _ := u.Active(); active {
				state = "active"
			}
			if _, twice := got[u.ExternalID()]; twice {
				s.Errorf("%s has %s twice", name, u.ExternalID())
			}
			got[u.ExternalID()] = fmt.Sprint(state, " ", u["title"])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			s.Errorf("%s: %s", name, diff)
		}
		judgeLog(s, name)
	}
}

func judgeLog(s *scene, name string) {
	s.Helper()
	created, ended := map[string]int{}, map[string]bool{}
	for _, c := range s.targets[name].Commits() {
		who := c.After.ExternalID()
		if c.Verb == "create" {
			created[who]++
		}
		if active, said := c.After.Active(); said && !active {
			ended[who] = true
		} else if ended[who] && who != "ann" {
			s.Errorf("%s: %s left and was active again", name, who)
		}
	}
	for who, n := range created {
		if n > 1 {
			s.Errorf("%s: %s was created %d times", name, who, n)
		}
	}
}

// cutRedis ends all connections to Redis, and refuses new ones, or allows them
// again.
func (s *scene) cutRedis(cut bool) {
	s.wires.Lock()
	defer s.wires.Unlock()
	s.cut = cut
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

// dialRedis is the way to Redis.
func (s *scene) dialRedis(ctx context.Context, network, addr string) (net.Conn, error) {
	s.wires.Lock()
	defer s.wires.Unlock()
	if s.cut {
		return nil, errors.New("no route to Redis")
	}
	c, err := s.bubble.Redis.Dial(ctx, network, addr)
	if err == nil {
		s.conns = append(s.conns, c)
	}
	return c, err
}

// TestPartsThatFailLoseAndDoubleNothing disturbs the same story by what fails
// around the process: the broker, Redis, a target.
func TestPartsThatFailLoseAndDoubleNothing(t *testing.T) {
	for name, disturb := range map[string]func(s *scene, step int){
		"the broker restarts": func(s *scene, _ int) {
			s.insist("changed", 11, `{"employee_id":"dan","title":"Lead"}`) // with work under way
			s.bubble.RestartBroker(s.T)
		},
		"Redis loses its memory": func(s *scene, _ int) { s.bubble.Redis.Flush() },
		"Redis is away for a minute": func(s *scene, step int) {
			if step == 2 {
				s.cutRedis(true)
				s.later(60)
				s.cutRedis(false)
			}
		},
		"a target hangs for ten minutes": func(s *scene, step int) {
			if step != 2 {
				return
			}
			s.bubble.Transport.Handle("acme.example", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
			s.insist("changed", 12, `{"employee_id":"dan","title":"Lead"}`)
			s.later(600)
			s.bubble.Transport.Handle("acme.example", s.targets["acme"])
			s.later(300)
		},
		"a target forgets what it was sent, half of the time": func(s *scene, step int) {
			if step == 1 {
				f, err := simulator.ParseFault("lost:chance=0.5")
				check(s, err)
				s.targets["globex"].Inject(f)
			}
			if step == 4 {
				s.targets["globex"].Heal()
				s.later(600)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Run(t, func(t *testing.T, b *bubble.Bubble) {
				s := newScene(t, b, crashConfig())
				s.log = io.Discard
				s.disturb = func(step int) { disturb(s, step) }
				s.start()
				check(t, s.targets["acme"].Seed(scim.Users, scim.Resource{
					"schemas": []any{scim.UserSchema}, "userName": "eve@example.com", "externalId": "stranger",
				}))
				s.live()
				book := s.settle()
				s.halt()
				judge(s)
				for _, gap := range book.Gaps {
					t.Errorf("no outcome for %+v", gap)
				}
			})
		})
	}
}
