package simulator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

// inBulk sends operations and gives "bulkId method status location" of each.
func inBulk(t *testing.T, s *simulator.Server, more string, ops ...string) []string {
	t.Helper()
	status, r, _ := call(t, s, "POST", "/Bulk", `{"schemas":["`+scim.BulkSchema+`"],`+more+`"Operations":[`+strings.Join(ops, ",")+`]}`)
	if status != 200 {
		t.Fatal(status, r)
	}
	var out []string
	for _, e := range r["Operations"].([]any) {
		op := scim.Resource(e.(map[string]any))
		detail, _ := op.Get("response.detail")
		out = append(out, strings.TrimSpace(strings.ReplaceAll(fmt.Sprint(op["bulkId"], " ", op["method"], " ", op["status"], " ", op["location"], " ", detail), "<nil>", "")))
	}
	return out
}

func post(bulkID, path, data string) string {
	return `{"method":"POST","bulkId":"` + bulkID + `","path":"` + path + `","data":` + data + `}`
}

// The example of RFC 7644 section 3.7.2, with the reference first.
func TestABulkRequestFollowsReferencesEitherWay(t *testing.T) {
	s := simulator.New(simulator.Options{Bulk: 10})
	for _, ops := range [][]string{
		{post("u", "/Users", user("ann")), post("g", "/Groups", group("one", "bulkId:u"))},
		{post("g", "/Groups", group("two", "bulkId:u")), post("u", "/Users", user("bo"))},
	} {
		for _, line := range inBulk(t, s, "", ops...) {
			if !strings.Contains(line, " POST 201 /") {
				t.Error(line)
			}
		}
	}
	var got []string
	for _, g := range s.Resources(scim.Groups) {
		members, _ := g.Get("members.value")
		got = append(got, fmt.Sprint(g["displayName"], members))
	}
	if diff := cmp.Diff([]string{"one[000001]", "two[000003]"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestABulkRequestDoesAllVerbsAndPairsResults(t *testing.T) {
	s := simulator.New(simulator.Options{Bulk: 10})
	made(t, s, "/Users", user("ann"))
	made(t, s, "/Users", user("bo"))
	got := inBulk(t, s, "",
		post("x", "/Users", user("cy")),
		post("y", "/Users", user("ANN")),
		`{"method":"patch","path":"/Users/bulkId:x","data":`+patch(`{"op":"replace","path":"title","value":"Lead"}`)+`}`,
		`{"method":"PUT","path":"/Users/000001","version":"W/\"1\"","data":`+user("ann")+`}`,
		`{"method":"PATCH","path":"/Users/000001","version":"W/\"9\"","data":{}}`,
		`{"method":"DELETE","path":"/Users/000002"}`,
		`{"method":"DELETE","path":"/Users/bulkId:y"}`,
	)
	want := []string{
		"x POST 201 /Users/000003", "y POST 409  userName is already taken", "PATCH 200 /Users/000003", "PUT 200 /Users/000001",
		"PATCH 412  the resource was changed in the meantime", "DELETE 204", "DELETE 409  a bulkId that it refers to was not made",
	}
	for i := range got {
		got[i] = strings.TrimSpace(got[i])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestABulkRequestEndsAfterItsErrors(t *testing.T) {
	s := simulator.New(simulator.Options{Bulk: 10})
	bad := `{"method":"DELETE","path":"/Users/nobody"}`
	if got := inBulk(t, s, `"failOnErrors":2,`, bad, post("a", "/Users", user("ann")), bad, post("b", "/Users", user("bo"))); len(got) != 3 {
		t.Error(got)
	}
	if n := s.Stats().Users; n != 1 {
		t.Error(n, "users")
	}
}

func TestABulkRequestThatIsWrongDoesNothing(t *testing.T) {
	s := simulator.New(simulator.Options{Bulk: 2})
	one := post("a", "/Users", user("ann"))
	envelope := func(schema, rest string) string { return `{"schemas":["` + schema + `"],` + rest + `}` }
	for name, row := range map[string]struct {
		method, body string
		want         int
	}{
		"too many":            {"POST", envelope(scim.BulkSchema, `"Operations":[`+one+`,`+one+`,`+one+`]`), 413},
		"another schema":      {"POST", envelope(scim.PatchSchema, `"Operations":[`+one+`]`), 400},
		"no operations":       {"POST", envelope(scim.BulkSchema, `"Operations":[]`), 400},
		"an unknown method":   {"POST", envelope(scim.BulkSchema, `"Operations":[`+one+`,{"method":"GET","path":"/Users"}]`), 400},
		"no bulkId":           {"POST", envelope(scim.BulkSchema, `"Operations":[`+post("", "/Users", user("ann"))+`]`), 400},
		"another endpoint":    {"POST", envelope(scim.BulkSchema, `"Operations":[`+post("a", "/Bulk", "{}")+`]`), 400},
		"an operation's type": {"POST", envelope(scim.BulkSchema, `"Operations":[1]`), 400},
		"failOnErrors":        {"POST", envelope(scim.BulkSchema, `"failOnErrors":0,"Operations":[`+one+`]`), 400},
		"no JSON":             {"POST", `{`, 400},
		"a GET":               {"GET", ``, 405},
	} {
		if status, r, _ := call(t, s, row.method, "/Bulk", row.body); status != row.want {
			t.Error(name, status, r)
		}
	}
	if n := s.Stats().Commits; n != 0 {
		t.Error(n, "commits")
	}
}

func TestReferencesInACircleAreRefused(t *testing.T) {
	s := simulator.New(simulator.Options{Bulk: 2})
	got := inBulk(t, s, "", post("a", "/Groups", group("a", "bulkId:b")), post("b", "/Groups", group("b", "bulkId:a")))
	if len(got) != 2 || !strings.HasPrefix(got[0], "a POST 409") || !strings.HasPrefix(got[1], "b POST 409") {
		t.Error(got)
	}
}
