package scimhttp_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/fault"
	"github.com/joinery/joinery/pkg/group"
	"github.com/joinery/joinery/pkg/profile"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/scimhttp"
	"github.com/joinery/joinery/pkg/simulator"
)

// inBulk is a client of a target that has told what it can do.
func inBulk(t *testing.T, h *heard, o simulator.Options, k profile.Knobs) *scimhttp.Client {
	t.Helper()
	h.sim = simulator.New(o)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := scimhttp.New(scimhttp.Options{Endpoint: s.URL, AllowPrivate: true, Knobs: k})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Discover(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.urls = nil
	return c
}

func newUser(id string) scim.BulkCall {
	return scim.BulkCall{Method: http.MethodPost, ID: id, Path: "/Users", Data: scim.Resource{"schemas": []any{scim.UserSchema}, "userName": id + "@x"}}
}

// crew is n users and a group of them, the group first.
func crew(n int) []scim.BulkCall {
	members := []any{}
	for i := range n {
		members = append(members, map[string]any{"value": scim.BulkRef(fmt.Sprint("u", i))})
	}
	ops := []scim.BulkCall{{Method: http.MethodPost, ID: "g", Path: "/Groups", Data: scim.Resource{
		"schemas": []any{scim.GroupSchema}, "displayName": "crew", "members": members,
	}}}
	for i := range n {
		ops = append(ops, newUser(fmt.Sprint("u", i)))
	}
	return ops
}

// size is how many members the only group has.
func size(h *heard) int {
	groups := h.sim.(*simulator.Server).Resources(scim.Groups)
	if len(groups) != 1 {
		return -1
	}
	v, _ := groups[0].Get("members")
	members, _ := v.([]any)
	return len(members)
}

func TestAGroupAndItsMembersAreMadeWhateverTheTargetTakes(t *testing.T) {
	refusing := func(status int) func(*http.Request) int {
		return func(r *http.Request) int {
			if r.URL.Path == "/Bulk" {
				return status
			}
			return 0
		}
	}
	for name, row := range map[string]struct {
		o     simulator.Options
		knobs profile.Knobs
		front func(*http.Request) int
		calls int
	}{
		"one request":             {o: simulator.Options{Bulk: 100}, calls: 1},
		"limited by discovery":    {o: simulator.Options{Bulk: 4}, calls: 4}, // 11 in three, the group after its members
		"limited by the profile":  {o: simulator.Options{Bulk: 100}, knobs: profile.Knobs{BulkMaxOps: 6}, calls: 3},
		"forbidden by profile":    {o: simulator.Options{Bulk: 100}, knobs: profile.Knobs{Bulk: "no"}, calls: 11},
		"not advertised":          {calls: 11},
		"advertised and 501":      {o: simulator.Options{Bulk: 100}, front: refusing(501), calls: 12},
		"advertised and 404":      {o: simulator.Options{Bulk: 100}, front: refusing(404), calls: 12},
		"everything is too large": {o: simulator.Options{Bulk: 100}, front: refusing(413), calls: 20},
	} {
		t.Run(name, func(t *testing.T) {
			h := &heard{}
			c := inBulk(t, h, row.o, row.knobs)
			h.front = row.front
			for i, d := range c.Bulk(t.Context(), crew(10), false) {
				if d.Err != nil || d.ID == "" {
					t.Errorf("operation %d: %+v", i, d)
				}
			}
			if n := size(h); n != 10 {
				t.Errorf("the group has %d members", n)
			}
			if len(h.urls) != row.calls {
				t.Errorf("%d calls, not %d: %v", len(h.urls), row.calls, h.urls)
			}
		})
	}
}

func TestThatThereIsNoBulkIsLearned(t *testing.T) {
	h := &heard{}
	c, learned := inBulk(t, h, simulator.Options{Bulk: 100}, profile.Knobs{}), lessons{}
	c.Remember(learned)
	h.front = func(r *http.Request) int { return map[string]int{"/Bulk": 405}[r.URL.Path] }
	for i := range 3 {
		for _, d := range c.Bulk(t.Context(), []scim.BulkCall{newUser(fmt.Sprint("a", i)), newUser(fmt.Sprint("b", i))}, false) {
			if d.Err != nil {
				t.Error(d.Err)
			}
		}
	}
	if diff := cmp.Diff(lessons{"bulk": "no (POST /Bulk: 405)"}, learned); diff != "" || len(h.urls) != 7 {
		t.Error(diff, h.urls)
	}
}

func TestEachOperationEndsAsASingleAnswerWould(t *testing.T) {
	status := map[string]int{"a": 201, "b": 409, "c": 404, "d": 412, "e": 401, "f": 429, "g": 500, "h": 400, "i": 204, "k": 503, "l": 500, "m": 501}
	method := map[string]string{"a": "POST", "b": "POST", "c": "PATCH", "d": "PUT", "e": "PATCH", "f": "PATCH", "g": "POST", "h": "POST", "i": "DELETE", "k": "PATCH", "l": "PATCH", "m": "PATCH"}
	want := map[string]string{
		"a": "done 7", "b": "conflict", "c": "not-found", "d": "changed", "e": "target-down", "f": "throttled", "g": "unknown", "h": "permanent",
		"i": "done", "k": "transient", "l": "transient", "m": "unsupported", "missing POST": "unknown", "missing PUT": "transient",
	}
	h := &heard{}
	c := inBulk(t, h, simulator.Options{Bulk: 100}, profile.Knobs{})
	var ops []scim.BulkCall
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "k", "l", "m", "missing POST", "missing PUT"} {
		o := scim.BulkCall{Method: method[id], ID: id, Path: "/Users/" + id}
		if o.Method == "" {
			o.Method = strings.Fields(id)[1]
		}
		if o.Method == "POST" {
			o.Path = "/Users"
		}
		ops = append(ops, o)
	}
	h.sim = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var answers []any
		for _, o := range ops {
			if status[o.ID] == 0 {
				continue
			}
			answer := map[string]any{"bulkId": o.ID, "method": o.Method, "status": fmt.Sprint(status[o.ID])}
			if status[o.ID] >= 400 {
				answer["response"] = map[string]any{"detail": secretName, "scimType": "uniqueness"}
			} else if o.Method == "POST" {
				answer["location"] = "https://acme.example/scim/Users/7"
			}
			answers = append(answers, answer)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"schemas": []string{scim.BulkReplySchema}, "Operations": answers})
	})
	got := map[string]string{}
	for i, d := range c.Bulk(t.Context(), ops, false) {
		quiet(t, d.Err)
		got[ops[i].ID] = strings.TrimSpace("done " + d.ID)
		if d.Err != nil {
			got[ops[i].ID] = fault.KindOf(d.Err).String()
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestARequestThatFailsWholeIsWhatItIsForEachOperation(t *testing.T) {
	for status, want := range map[int][2]fault.Kind{
		500: {fault.Unknown, fault.Transient}, 401: {fault.TargetDown, fault.TargetDown}, 429: {fault.Throttled, fault.Throttled}, 400: {fault.Permanent, fault.Permanent},
		200: {fault.Unknown, fault.Transient}, // a web page
	} {
		h := &heard{}
		c := inBulk(t, h, simulator.Options{Bulk: 100}, profile.Knobs{})
		h.sim = answering(status, "<html>")
		done := c.Bulk(t.Context(), []scim.BulkCall{newUser("a"), {Method: "DELETE", ID: "b", Path: "/Users/1"}}, false)
		for i, d := range done {
			if !fault.Is(d.Err, want[i]) {
				t.Errorf("%d: operation %d: %v", status, i, d.Err)
			}
		}
		if len(h.urls) != 1 {
			t.Error(h.urls)
		}
	}
}

func TestNothingIsSentAfterAFailureWhereThatIsAskedFor(t *testing.T) {
	taken := scim.BulkCall{Method: "PATCH", ID: "x", Path: "/Users/nobody", Data: map[string]any{
		"schemas": []string{scim.PatchSchema}, "Operations": []scim.Operation{{Op: "replace", Path: "title", Value: "a"}},
	}}
	for _, o := range []simulator.Options{{Bulk: 2}, {Bulk: 100}, {}} {
		h := &heard{}
		c := inBulk(t, h, o, profile.Knobs{})
		done := c.Bulk(t.Context(), []scim.BulkCall{newUser("a"), taken, newUser("b"), newUser("c")}, true)
		if done[0].Err != nil || !fault.Is(done[1].Err, fault.NotFound) || done[2].Err == nil || done[3].Err == nil {
			t.Errorf("%+v", done)
		}
		if n := len(h.sim.(*simulator.Server).Resources(scim.Users)); n != 1 {
			t.Errorf("bulk of %d: %d users", o.Bulk, n)
		}
	}
}

func TestWhatRefersToWhatFailedIsNotSent(t *testing.T) {
	for _, o := range []simulator.Options{{Bulk: 1}, {}} { // one by one
		h := &heard{}
		c := inBulk(t, h, o, profile.Knobs{})
		nameless := newUser("u0")
		nameless.Data = scim.Resource{"schemas": []any{scim.UserSchema}}
		ops := crew(1)
		ops[1] = nameless
		done := c.Bulk(t.Context(), ops, false)
		if !fault.Is(done[0].Err, fault.Waiting) || !errors.Is(done[0].Err, scimhttp.ErrNotSent) || !fault.Is(done[1].Err, fault.Permanent) {
			t.Errorf("%+v", done)
		}
		if n := size(h); n != -1 {
			t.Error("the group was made")
		}
	}
	c := inBulk(t, &heard{}, simulator.Options{}, profile.Knobs{})
	for _, d := range c.Bulk(t.Context(), []scim.BulkCall{newUser("a"), newUser("a")}, false) {
		if !errors.Is(d.Err, scim.ErrBulk) {
			t.Error(d.Err)
		}
	}
}

func TestAThousandMembersTakeOneCallInBulk(t *testing.T) {
	for _, row := range []struct{ bulk, calls int }{{100, 1}, {4, 3}, {0, 10}} {
		sim := people(t, 1000, simulator.Options{Behaviour: simulator.Behaviour{MembersMax: 100}, Bulk: row.bulk})
		if err := sim.Seed(scim.Groups, scim.Resource{"schemas": []any{scim.GroupSchema}, "displayName": "All"}); err != nil {
			t.Fatal(err)
		}
		var all []group.Member
		for _, u := range sim.Resources(scim.Users) {
			all = append(all, group.Member{ID: u.ID()})
		}
		c := knowing(t, sim, profile.Knobs{MembersMax: 100})
		if _, err := c.Discover(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := len(sim.Requests())
		id := sim.Resources(scim.Groups)[0].ID()
		if done, err := c.Groups().Change(t.Context(), id, group.Delta(nil, nil, all)); done != 10 || err != nil {
			t.Fatal(done, err)
		}
		if n := len(sim.Requests()) - before; n != row.calls {
			t.Errorf("bulk of %d: %d calls", row.bulk, n)
		}
		if members, err := c.Groups().Members(t.Context(), id); err != nil || len(members) != 1000 {
			t.Error(len(members), err)
		}
		if done, err := c.Groups().Change(t.Context(), "nothing", group.Delta(nil, nil, all)); done != 0 || !fault.Is(err, fault.NotFound) {
			t.Error(done, err)
		}
	}
}

func TestABulkRequestIsNeverLargerThanTheTargetSays(t *testing.T) {
	h := &heard{}
	largest := 0
	h.sim = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"bulk":{"supported":true,"maxOperations":1000,"maxPayloadSize":2000}}`)
			return
		}
		data, _ := io.ReadAll(r.Body)
		largest = max(largest, len(data))
		doc, _ := scim.Parse(data)
		var answers []any
		for _, e := range doc["Operations"].([]any) {
			answers = append(answers, map[string]any{"bulkId": e.(map[string]any)["bulkId"], "status": "201", "location": "/Users/1"})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Operations": answers})
	})
	s := httptest.NewServer(h)
	defer s.Close()
	c, err := scimhttp.New(scimhttp.Options{Endpoint: s.URL, AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Discover(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ops []scim.BulkCall
	for i := range 100 {
		ops = append(ops, newUser(fmt.Sprint("u", i)))
	}
	for _, d := range c.Bulk(t.Context(), ops, false) {
		if d.Err != nil {
			t.Error(d.Err)
		}
	}
	if largest > 2000 || largest < 1500 {
		t.Errorf("the largest request has %d bytes", largest)
	}
}

// A target that advertises bulk and keeps to it badly: with the knob all is made,
// without it not.
func TestTheBulkKnobsBothWays(t *testing.T) {
	for name, row := range map[string]struct {
		knobs profile.Knobs
		most  int // operations that the target takes, whatever it says; more are a 400
	}{
		"bulk":         {profile.Knobs{Bulk: "no"}, 0},
		"bulk.max_ops": {profile.Knobs{BulkMaxOps: 4}, 4},
	} {
		failures := func(k profile.Knobs) (n int) {
			h := &heard{}
			c := inBulk(t, h, simulator.Options{Bulk: 100}, k)
			next := h.sim
			h.sim = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				data, _ := io.ReadAll(r.Body)
				if doc, err := scim.Parse(data); err == nil && r.URL.Path == "/Bulk" && len(doc["Operations"].([]any)) > row.most {
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				r.Body = io.NopCloser(strings.NewReader(string(data)))
				next.ServeHTTP(w, r)
			})
			for _, d := range c.Bulk(t.Context(), crew(10), false) {
				if d.Err != nil {
					n++
				}
			}
			return n
		}
		if n := failures(row.knobs); n != 0 {
			t.Errorf("%s: %d failures with the knob", name, n)
		}
		if n := failures(profile.Knobs{}); n == 0 {
			t.Errorf("%s: the knob makes no difference", name)
		}
	}
}
