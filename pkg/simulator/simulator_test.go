package simulator_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

// call sends one request and gives the status, the body and the headers.
func call(t *testing.T, s *simulator.Server, method, path, body string, header ...string) (int, scim.Resource, http.Header) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, strings.ReplaceAll(path, " ", "%20"), strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, req)
	r, _ := scim.Parse(rec.Body.Bytes())
	return rec.Code, r, rec.Header()
}

const schemas = `"schemas":["` + scim.UserSchema + `"]`

func user(name string) string {
	return `{` + schemas + `,"userName":"` + name + `","externalId":"x-` + name + `","emails":[{"type":"work","value":"` + name + `@example.com"}]}`
}

func TestAResourceLivesAsTheRFCSays(t *testing.T) {
	s := simulator.New(simulator.Options{Base: "/scim/v2", Prefix: "u"})
	status, made, header := call(t, s, "POST", "/scim/v2/Users", user("ann"))
	if status != 201 || made.ID() != "u000001" || header.Get("Location") != "/scim/v2/Users/u000001" || header.Get("ETag") != `W/"1"` {
		t.Fatal(status, made, header)
	}
	if active, _ := made.Active(); !active {
		t.Error("a new user is active")
	}
	status, patched, _ := call(t, s, "PATCH", "/scim/v2/Users/u000001",
		`{"Operations":[{"op":"replace","path":"active","value":false},{"op":"add","path":"`+scim.EnterpriseSchema+`:department","value":"Sales"}]}`, "If-Match", `W/"1"`)
	if active, _ := patched.Active(); status != 200 || active || patched.Version() != `W/"2"` {
		t.Fatal(status, patched)
	}
	if status, _, _ = call(t, s, "PATCH", "/scim/v2/Users/u000001", `{"Operations":[{"op":"remove","path":"title"}]}`, "If-Match", `W/"1"`); status != 412 {
		t.Error("a stale ETag gave", status)
	}
	if status, _, _ = call(t, s, "DELETE", "/scim/v2/Users/u000001", ""); status != 204 {
		t.Error("delete gave", status)
	}
	if status, _, _ = call(t, s, "GET", "/scim/v2/Users/u000001", ""); status != 404 {
		t.Error("a deleted user gave", status)
	}
	var verbs []string
	for _, c := range s.Commits() {
		verbs = append(verbs, c.Verb)
	}
	if diff := cmp.Diff([]string{"create", "update", "delete"}, verbs); diff != "" {
		t.Error(diff)
	}
}

func TestItRefusesAndSaysWhy(t *testing.T) {
	s := simulator.New(simulator.Options{Token: "secret"})
	auth := []string{"Authorization", "Bearer secret"}
	call(t, s, "POST", "/Users", user("ann"), auth...)
	for name, row := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		scimType, detail   string
	}{
		"no token":            {"GET", "/Users", "", nil, 401, "", "token"},
		"a taken name":        {"POST", "/Users", user("ANN"), auth, 409, "uniqueness", "userName"},
		"no userName":         {"POST", "/Users", `{` + schemas + `}`, auth, 400, "invalidValue", "userName is required"},
		"an unknown name":     {"POST", "/Users", `{` + schemas + `,"userName":"b","nonsense":1}`, auth, 400, "invalidValue", "nonsense"},
		"text for a boolean":  {"POST", "/Users", `{` + schemas + `,"userName":"b","active":"True"}`, auth, 400, "invalidValue", "active must be a boolean"},
		"no JSON":             {"POST", "/Users", `{`, auth, 400, "invalidSyntax", ""},
		"a wrong filter":      {"GET", "/Users?filter=userName+xx", "", auth, 400, "invalidFilter", ""},
		"a wrong count":       {"GET", "/Users?count=x", "", auth, 400, "invalidValue", "count"},
		"nobody":              {"GET", "/Users/9", "", auth, 404, "", "9"},
		"no such endpoint":    {"GET", "/Nonsense", "", auth, 404, "", ""},
		"a wrong method":      {"PUT", "/Users", "", auth, 405, "", ""},
		"/Me":                 {"GET", "/Me", "", auth, 501, "", ""},
		"removing a required": {"PATCH", "/Users/000001", `{"Operations":[{"op":"remove","path":"userName"}]}`, auth, 400, "mutability", "userName"},
	} {
		status, body, _ := call(t, s, row.method, row.path, row.body, row.header...)
		detail, _ := body["detail"].(string)
		scimType, _ := body["scimType"].(string)
		if status != row.status || scimType != row.scimType || !strings.Contains(detail, row.detail) {
			t.Errorf("%s: %d %v", name, status, body)
		}
	}
}

func TestListsArePagedAndFiltered(t *testing.T) {
	s := simulator.New(simulator.Options{PageMax: 2})
	for _, name := range []string{"a", "b", "c"} {
		call(t, s, "POST", "/Users", user(name))
	}
	for query, want := range map[string]int{
		"": 2, "?startIndex=3": 1, "?startIndex=9": 0, "?count=1": 1, "?count=0": 0, "?count=-1": 0,
		`?filter=userName+eq+"B"`: 1, `?filter=emails[type+eq+"work"+and+value+sw+"c@"]`: 1, `?filter=userName+eq+"z"`: 0,
	} {
		status, page, _ := call(t, s, "GET", "/Users"+query, "")
		if got := len(page["Resources"].([]any)); status != 200 || got != want {
			t.Errorf("%s: %d resources, status %d", query, got, status)
		}
	}
	_, page, _ := call(t, s, "POST", "/Users/.search", `{"filter":"userName eq \"a\"","count":1}`)
	if len(page["Resources"].([]any)) != 1 {
		t.Error(page)
	}
	for _, path := range []string{"/ServiceProviderConfig", "/Schemas", "/ResourceTypes", "/Schemas/" + scim.UserSchema, "/ResourceTypes/User"} {
		if status, _, _ := call(t, s, "GET", path, ""); status != 200 {
			t.Errorf("%s gave %d", path, status)
		}
	}
}

func TestADeletedUserLeavesTheirGroups(t *testing.T) {
	s := simulator.New(simulator.Options{})
	call(t, s, "POST", "/Users", user("ann"))
	status, group, _ := call(t, s, "POST", "/Groups", `{"schemas":["`+scim.GroupSchema+`"],"displayName":"eng","members":[{"value":"000001"}]}`)
	if status != 201 {
		t.Fatal(status, group)
	}
	call(t, s, "DELETE", "/Users/000001", "")
	if _, group, _ = call(t, s, "GET", "/Groups/"+group.ID(), ""); group["members"] != nil {
		t.Error(group)
	}
}

func TestTheRateIsASlidingWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Options{Rate: 2, Window: time.Second})
		var got []int
		for _, pause := range []time.Duration{0, 600 * time.Millisecond, 0, 400 * time.Millisecond, 0} {
			time.Sleep(pause) // fake time: the arrival times are what is tested
			status, _, _ := call(t, s, "GET", "/Users", "")
			got = append(got, status)
		}
		if diff := cmp.Diff([]int{200, 200, 429, 200, 429}, got); diff != "" {
			t.Error(diff)
		}
		if stats := s.Stats(); stats.Refused != 2 || stats.Most != 2 {
			t.Error(stats)
		}
	})
}

func TestFaultsStrikeWhenAndAsOftenAsToldTo(t *testing.T) {
	for _, text := range []string{"nonsense", "500:count=x", "500:nonsense=1"} {
		if _, err := simulator.ParseFault(text); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
	for _, row := range []struct {
		fault string
		want  []int // of three posts
		users int
	}{
		{"429:retry-after=30s:count=1:method=POST", []int{429, 201, 409}, 1},
		{"500:skip=1:count=1", []int{201, 500, 409}, 1},
		{"401", []int{401, 401, 401}, 0},
		{"500-after:count=1", []int{500, 409, 409}, 1},
		{"empty:count=1", []int{201, 409, 409}, 1},
		{"html:count=2", []int{200, 200, 201}, 1},
		{"ignored:count=1", []int{200, 201, 409}, 1},
		{"redirect:count=1", []int{307, 201, 409}, 1},
		{"409-bare:count=1", []int{409, 201, 409}, 1},
	} {
		s := simulator.New(simulator.Options{})
		f, err := simulator.ParseFault(row.fault)
		if err != nil {
			t.Fatal(err)
		}
		s.Inject(f)
		var got []int
		for range 3 {
			status, _, _ := call(t, s, "POST", "/Users", user("ann"))
			got = append(got, status)
		}
		if diff := cmp.Diff(row.want, got); diff != "" || len(s.Resources(scim.Users)) != row.users {
			t.Error(row.fault, diff, len(s.Resources(scim.Users)))
		}
	}
}

func TestALostAnswerIsCommitted(t *testing.T) {
	s := simulator.New(simulator.Options{})
	s.Inject(simulator.Fault{Name: "lost", Count: 1})
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // the exact value is the contract
				t.Errorf("panicked with %v", p)
			}
		}()
		call(t, s, "POST", "/Users", user("ann"))
	}()
	if len(s.Resources(scim.Users)) != 1 || s.Requests()[0].Status != 0 {
		t.Error(s.Requests())
	}
}

func TestAJournalBringsItBackAsItWas(t *testing.T) {
	var journal bytes.Buffer
	s := simulator.New(simulator.Options{Journal: &journal})
	call(t, s, "POST", "/Users", user("ann"))
	call(t, s, "POST", "/Users", user("bo"))
	call(t, s, "DELETE", "/Users/000001", "")
	journal.WriteString(`{"kind":"Users","id":"000003","verb":"cre`) // the process was killed here
	again := simulator.New(simulator.Options{})
	if err := again.Replay(&journal); err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(s.Resources(scim.Users))
	got, _ := json.Marshal(again.Resources(scim.Users))
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
	if _, made, _ := call(t, again, "POST", "/Users", user("cy")); made.ID() != "000003" {
		t.Error("the next id is", made.ID())
	}
}

func TestOtherProcessesSeeAndSteerThroughControl(t *testing.T) {
	s := simulator.New(simulator.Options{Control: true})
	if status, _, _ := call(t, s, "POST", "/_sim/faults?fault=500:count=1", ""); status != 204 {
		t.Fatal(status)
	}
	if status, _, _ := call(t, s, "GET", "/Users", ""); status != 500 {
		t.Error("the fault did not strike")
	}
	if _, stats, _ := call(t, s, "GET", "/_sim/stats", ""); stats["requests"] != json.Number("1") {
		t.Error(stats)
	}
}
