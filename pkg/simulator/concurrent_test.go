package simulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

func TestManyAtOnceMakeOneOfEach(t *testing.T) {
	s := simulator.New(simulator.Options{Control: true})
	const callers, names = 8, 20
	var mu sync.Mutex
	statuses := map[int]int{}
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := range names {
				status, r, _ := call(t, s, "POST", "/Users", user(fmt.Sprint("user", i)))
				mu.Lock()
				statuses[status]++
				mu.Unlock()
				call(t, s, "PATCH", "/Users/"+r.ID(), patch(`{"op":"replace","path":"title","value":"x"}`))
				call(t, s, "GET", "/Users", "")
				call(t, s, "GET", "/_sim/commits", "")
			}
		})
	}
	wg.Wait()
	want := map[int]int{201: names, 409: (callers - 1) * names}
	if diff := cmp.Diff(want, statuses); diff != "" {
		t.Error(diff)
	}
	if n := s.Stats().Requests; n != callers*names*3 {
		t.Error(n, "requests")
	}
}

func TestManyAtOnceLoseNoMembership(t *testing.T) {
	s := simulator.New(simulator.Options{})
	eng := made(t, s, "/Groups", group("eng"))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			id := made(t, s, "/Users", user(fmt.Sprint("user", i)))
			call(t, s, "PATCH", "/Groups/"+eng, patch(`{"op":"add","path":"members","value":[{"value":"`+id+`"}]}`))
		})
	}
	wg.Wait()
	if members := got(t, s, "/Groups/"+eng)["members"].([]any); len(members) != 20 {
		t.Error(len(members), "members")
	}
}

func TestTheRateHoldsForAllCallersTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Options{Rate: 5, Window: time.Minute})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { call(t, s, "GET", "/Users", "") })
		}
		wg.Wait()
		if stats := s.Stats(); stats.Refused != 15 || stats.Most != 5 || stats.Requests != 20 {
			t.Errorf("%+v", stats)
		}
		time.Sleep(20 * time.Second) // fake time
		_, _, header := call(t, s, "GET", "/Users", "")
		if wait := header.Get("Retry-After"); wait != "40" {
			t.Error("Retry-After is", wait)
		}
	})
}

func TestControlShowsAndSteersEverything(t *testing.T) {
	s := simulator.New(simulator.Options{Control: true, Token: "secret", Base: "/v2"})
	steer := func(method, path, body string) (int, string) {
		req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		if strings.HasPrefix(body, "fault=") {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, req)
		return rec.Code, rec.Body.String()
	}
	seed := `[` + user("ann") + `,` + user("bo") + `,` + group("eng", "000001") + `]`
	if status, text := steer("POST", "/_sim/seed", seed); status != 204 {
		t.Fatal(status, text)
	}
	for _, text := range []string{`{}`, `[1]`, `[` + user("ANN") + `]`} {
		if status, _ := steer("POST", "/_sim/seed", text); status != 400 {
			t.Error(text, status)
		}
	}
	if status, text := steer("POST", "/_sim/faults", "fault="+url.QueryEscape("429:retry-after=5s:count=2")); status != 204 {
		t.Fatal(status, text)
	}
	if status, text := steer("POST", "/_sim/faults?fault=nonsense", ""); status != 400 || !strings.Contains(text, "nonsense") {
		t.Error(status, text)
	}
	var faults []simulator.Fault
	if _, text := steer("GET", "/_sim/faults", ""); json.Unmarshal([]byte(text), &faults) != nil {
		t.Fatal(text)
	}
	if diff := cmp.Diff([]simulator.Fault{{Name: "429", Count: 2, RetryAfter: 5 * time.Second}}, faults); diff != "" {
		t.Error(diff)
	}
	call(t, s, "GET", "/v2/Users", "", "Authorization", "Bearer secret")
	steer("DELETE", "/_sim/faults", "")
	call(t, s, "GET", "/v2/Users", "", "Authorization", "Bearer secret")
	var statuses []int
	var requests []simulator.Request
	if _, text := steer("GET", "/_sim/requests", ""); json.Unmarshal([]byte(text), &requests) != nil {
		t.Fatal(text)
	}
	for _, r := range requests {
		statuses = append(statuses, r.Status)
	}
	if diff := cmp.Diff([]int{429, 200}, statuses); diff != "" {
		t.Error(diff)
	}
	if _, text := steer("GET", "/_sim/stats", ""); strings.TrimSpace(text) != `{"requests":2,"commits":3,"refused":0,"most":0,"users":2,"groups":1}` {
		t.Error(text)
	}
	if status, _ := steer("GET", "/_sim/nonsense", ""); status != 404 {
		t.Error(status)
	}
}

func TestSomebodyElseChangesWhatIsHeld(t *testing.T) {
	s := simulator.New(simulator.Options{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(s.Seed(scim.Users, scim.Resource{"userName": "ann"}, scim.Resource{"userName": "bo"}))
	must(s.Edit(scim.Users, "000001", scim.Operation{Op: "replace", Path: "title", Value: "Lead"}))
	must(s.Remove(scim.Users, "000002"))
	if u := s.Resources(scim.Users); len(u) != 1 || u[0]["title"] != "Lead" || u[0].Version() != `W/"2"` {
		t.Error(u)
	}
	for name, err := range map[string]error{
		"a taken name":      s.Seed(scim.Users, scim.Resource{"userName": "ANN"}),
		"editing nobody":    s.Edit(scim.Users, "000002"),
		"removing nobody":   s.Remove(scim.Users, "000002"),
		"an edit's mistake": s.Edit(scim.Users, "000001", scim.Operation{Op: "x"}),
	} {
		if err == nil {
			t.Error(name, "was taken")
		}
	}
	s.Resources(scim.Users)[0]["title"] = "changed from outside"
	if got(t, s, "/Users/000001")["title"] != "Lead" {
		t.Error("a snapshot is not a copy")
	}
}

// Whatever is sent, the provider answers, never with a failure of its own, and
// what it then holds is valid.
func FuzzAnyRequest(f *testing.F) {
	f.Add("POST", "/Users", user("ann"))
	f.Add("PATCH", "/Users/000001", patch(`{"op":"add","path":"emails[type eq \"work\"].value","value":"x"}`))
	f.Add("PUT", "/Groups/000002", group("g", "000001"))
	f.Add("PATCH", "/Groups/000002", patch(`{"op":"remove","path":"members[value eq \"000001\"]"}`, `{"op":"add","value":{"members":{"value":1}}}`))
	f.Add("POST", "/Bulk", `{"schemas":["`+scim.BulkSchema+`"],"Operations":[`+post("a", "/Users", user("bulkId:b"))+`]}`)
	f.Add("POST", "/.search", `{"filter":"groups pr","attributes":["name.x"],"sortBy":"emails"}`)
	f.Add("GET", "/Users?attributes=a.b,c&sortBy=name&filter=not+(a+pr)", "")
	f.Fuzz(func(t *testing.T, method, target, body string) {
		u, err := url.Parse(target)
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		s := simulator.New(simulator.Options{Bulk: 3})
		made(t, s, "/Users", user("seed"))
		made(t, s, "/Groups", group("seeds", "000001"))
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", strings.NewReader(body))
		req.Method, req.URL = method, u
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, req)
		if rec.Code == http.StatusInternalServerError {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		for _, kind := range []scim.Kind{scim.Users, scim.Groups} {
			for _, r := range s.Resources(kind) {
				if problems := scim.Validate(kind, r); len(problems) > 0 {
					t.Fatalf("it holds %v: %v", r, problems)
				}
			}
		}
		if status, r, _ := call(t, s, "GET", "/Users", ""); status != 200 {
			t.Fatal(status, r)
		}
	})
}
