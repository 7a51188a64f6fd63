package simulator_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

// behaves is a provider with quirks, holding the users ann and bo.
func behaves(t *testing.T, b simulator.Behaviour) *simulator.Server {
	t.Helper()
	if err := b.Validate(); err != nil {
		t.Fatal(err)
	}
	s := simulator.New(simulator.Options{Behaviour: b, PageMax: 10})
	for _, name := range []string{"ann", "bo"} {
		if err := s.Seed(scim.Users, scim.Resource{"schemas": []any{scim.UserSchema}, "userName": name, "title": "Rep"}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Each quirk, and what one request gives with it and without it.
func TestEachQuirkMakesItsDifference(t *testing.T) {
	const (
		off    = `{"op":"replace","path":"active","value":false}`
		titled = `{"op":"replace","path":"title","value":"Lead"}`
	)
	filter := "/Users?filter=userName+sw+%22a%22"
	for name, row := range map[string]struct {
		quirk              simulator.Behaviour
		method, path, body string
		without, with      string
	}{
		"user agent":         {simulator.Behaviour{UserAgentRequired: true}, "GET", "/Users/000001", "", "200 ann", "403"},
		"schemas":            {simulator.Behaviour{SchemasRequired: true}, "PATCH", "/Users/000001", `{"Operations":[` + titled + `]}`, "200 ann", "400 invalidSyntax"},
		"schemas of search":  {simulator.Behaviour{SchemasRequired: true}, "POST", "/Users/.search", `{"count":1}`, "200 [ann]", "400 invalidSyntax"},
		"page default":       {simulator.Behaviour{PageDefault: 1}, "GET", "/Users", "", "200 [ann bo]", "200 [ann]"},
		"page over":          {simulator.Behaviour{PageOver: "refuse"}, "GET", "/Users?count=11", "", "200 [ann bo]", "400 invalidValue"},
		"no paging":          {simulator.Behaviour{Paging: "none"}, "GET", "/Users?startIndex=2&count=1", "", "200 [bo]", "200 [ann bo]"},
		"cursor":             {simulator.Behaviour{Paging: "cursor"}, "GET", "/Users?startIndex=2&count=1", "", "200 [bo]", "200 [ann]"},
		"filter refused":     {simulator.Behaviour{FilterOps: []string{"eq"}}, "GET", filter, "", "200 [ann]", "400 invalidFilter"},
		"filter empty":       {simulator.Behaviour{FilterOps: []string{"eq"}, FilterUnsupported: "empty"}, "GET", filter, "", "200 [ann]", "200 []"},
		"filter ignored":     {simulator.Behaviour{FilterOps: []string{"eq"}, FilterUnsupported: "everything"}, "GET", filter, "", "200 [ann]", "200 [ann bo]"},
		"filter attributes":  {simulator.Behaviour{FilterAttributes: []string{"externalId"}}, "GET", filter, "", "200 [ann]", "400 invalidFilter"},
		"filter allowed":     {simulator.Behaviour{FilterOps: []string{"sw"}, FilterAttributes: []string{"USERNAME"}}, "GET", filter, "", "200 [ann]", "200 [ann]"},
		"create status":      {simulator.Behaviour{CreateStatus: 200}, "POST", "/Users", user("cy"), "201 cy", "200 cy"},
		"existing bare":      {simulator.Behaviour{OnExisting: "409-bare"}, "POST", "/Users", user("ann"), "409 uniqueness", "409"},
		"existing 412":       {simulator.Behaviour{OnExisting: "412"}, "POST", "/Users", user("ann"), "409 uniqueness", "412"},
		"existing link":      {simulator.Behaviour{OnExisting: "link"}, "POST", "/Users", user("ANN"), "409 uniqueness", "200 ann"},
		"duplicates":         {simulator.Behaviour{DuplicateUserName: true}, "POST", "/Users", user("ann"), "409 uniqueness", "201 ann"},
		"folding":            {simulator.Behaviour{FoldUserName: true}, "POST", "/Users", user("CY"), "201 CY", "201 cy"},
		"no PATCH":           {simulator.Behaviour{NoPatch: true}, "PATCH", "/Users/000001", patch(titled), "200 ann", "501"},
		"no PUT":             {simulator.Behaviour{NoPut: true}, "PUT", "/Users/000001", user("ann"), "200 ann", "501"},
		"operations":         {simulator.Behaviour{PatchMaxOps: 1}, "PATCH", "/Users/000001", patch(titled, off), "200 ann", "400 tooMany"},
		"PATCH gives 204":    {simulator.Behaviour{PatchSuccess: "204"}, "PATCH", "/Users/000001", patch(titled), "200 ann", "204"},
		"PATCH gives {}":     {simulator.Behaviour{PatchSuccess: "empty"}, "PATCH", "/Users/000001", patch(titled), "200 ann", "200"},
		"a refused PATCH":    {simulator.Behaviour{PatchSuccess: "204"}, "PATCH", "/Users/000001", patch(`{"op":"x"}`), "400 invalidSyntax", "400 invalidSyntax"},
		"members, too many":  {simulator.Behaviour{MembersMax: 1}, "POST", "/Groups", group("g", "000001", "000002"), "201 g", "400 tooMany"},
		"members, dropped":   {simulator.Behaviour{UnknownMembers: "drop"}, "POST", "/Groups", group("g", "x"), "400 invalidValue", "201 g"},
		"members, taken":     {simulator.Behaviour{UnknownMembers: "take"}, "POST", "/Groups", group("g", "x"), "400 invalidValue", "201 g"},
		"members, not found": {simulator.Behaviour{UnknownMembers: "missing"}, "POST", "/Groups", group("g", "x"), "400 invalidValue", "404"},
		"a null quirk":       {simulator.Behaviour{}, "DELETE", "/Users/000001", "", "204", "204"},
	} {
		for which, want := range map[string]string{"without": row.without, "with": row.with} {
			quirk := row.quirk
			if which == "without" {
				quirk = simulator.Behaviour{}
			}
			status, r, _ := call(t, behaves(t, quirk), row.method, row.path, row.body)
			if got := gist(t, status, r); got != want {
				t.Errorf("%s, %s it: %s", name, which, got)
			}
		}
	}
}

// gist is an answer in short: the status, and the scimType, the name or the
// names in a list.
func gist(t *testing.T, status int, r scim.Resource) string {
	t.Helper()
	text := fmt.Sprint(status)
	if v, ok := r["Resources"]; ok && v != nil {
		return text + " " + fmt.Sprint(found(t, r))
	}
	for _, name := range []string{"scimType", "userName", "displayName"} {
		if v, ok := r[name]; ok {
			text += fmt.Sprint(" ", v)
		}
	}
	return text
}

func TestARefusalHasTheVendorsShape(t *testing.T) {
	for shape, want := range map[string]string{
		"":        `application/scim+json {"detail":"Users x was not found","schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"404"}`,
		"problem": `application/problem+json {"detail":"Users x was not found","status":404,"title":"Not Found"}`,
		"errors":  `application/scim+json {"errors":[{"code":404,"description":"Users x was not found"}]}`,
		"html":    `text/html <html><h1>Not Found</h1></html>`,
	} {
		s := behaves(t, simulator.Behaviour{ErrorShape: shape})
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/Users/x", strings.NewReader("")))
		if got := rec.Header().Get("Content-Type") + " " + rec.Body.String(); rec.Code != 404 || got != want {
			t.Errorf("%s: %d %s", shape, rec.Code, got)
		}
		if status, _, _ := call(t, s, "GET", "/Users/000001", ""); status != 200 {
			t.Error("the shape of errors reaches what is no error:", status)
		}
	}
}

func TestAListMayCallItsResourcesOtherwise(t *testing.T) {
	r := list(t, behaves(t, simulator.Behaviour{ResourcesKey: "resources"}), "")
	if r["Resources"] != nil || len(r["resources"].([]any)) != 2 {
		t.Error(r)
	}
}

func TestFiltersAreReadNotGuessed(t *testing.T) {
	s := behaves(t, simulator.Behaviour{FilterOps: []string{"eq", "and"}, FilterAttributes: []string{"userName", "emails", "type", "active", "title"}})
	for filter, want := range map[string]int{
		`userName eq "a or b not (c pr) password"`:             200,
		`userName eq "a \" or title co \"b"`:                   200,
		`userName eq "x" and active eq true`:                   200,
		`title eq null and userName eq "3"`:                    200,
		`emails[type eq "work"]`:                               200,
		`userName eq "x" or userName eq "y"`:                   400,
		`not (userName eq "x")`:                                400,
		`userName pr`:                                          400,
		`nickName eq "x"`:                                      400,
		`userName eq "x" and password eq "y"`:                  400,
		`urn:ietf:params:scim:schemas:core:2.0:User:id eq "1"`: 400,
	} {
		query := strings.NewReplacer(`"`, "%22", `\`, "%5C", " ", "+").Replace(filter)
		if status, r, _ := call(t, s, "GET", "/Users?filter="+query, ""); status != want {
			t.Error(filter, status, r)
		}
	}
}

func TestMembersMayBeHiddenAndStillCount(t *testing.T) {
	s := behaves(t, simulator.Behaviour{MembersHidden: true, MembersMax: 1, UniqueGroupNames: true})
	id := made(t, s, "/Groups", group("eng", "000001"))
	status, r, _ := call(t, s, "PATCH", "/Groups/"+id, patch(`{"op":"add","path":"members","value":[{"value":"000002"}]}`))
	if status != 200 || r["members"] != nil || list(t, s, "")["members"] != nil {
		t.Error(status, r)
	}
	if members := s.Resources(scim.Groups)[0]["members"]; len(members.([]any)) != 2 {
		t.Error(members)
	}
	for body, want := range map[string]int{
		patch(`{"op":"add","path":"members","value":[{"value":"000001"},{"value":"000002"}]}`):                                      400,
		patch(`{"op":"remove","path":"members[value eq \"000001\"]"}`, `{"op":"remove","path":"members[value eq \"000002\"]"}`):     400,
		patch(`{"op":"replace","value":{"members":[{"value":"000001"},{"value":"000002"}]}}`):                                       400,
		patch(`{"op":"remove","path":"members[value eq \"000001\"]"}`, `{"op":"replace","path":"displayName","value":"engineers"}`): 200,
		patch(`{"op":"replace","path":"displayName","value":"Engineers"}`):                                                          200,
	} {
		if status, r, _ := call(t, s, "PATCH", "/Groups/"+id, body); status != want {
			t.Error(body, status, r)
		}
	}
	if status, r, _ := call(t, s, "POST", "/Groups", group("ENGINEERS")); status != 409 || r["detail"] != "displayName is already taken" {
		t.Error(status, r)
	}
}

func TestLeavingMeansWhatTheVendorSays(t *testing.T) {
	s := behaves(t, simulator.Behaviour{DeleteMeans: "deactivate"})
	for range 2 {
		if status, _, _ := call(t, s, "DELETE", "/Users/000001", ""); status != 204 {
			t.Error(status)
		}
	}
	if active, said := got(t, s, "/Users/000001").Active(); active || !said {
		t.Error("a deleted user is active")
	}
	s = behaves(t, simulator.Behaviour{DeactivateMeans: "gone"})
	if status, r, _ := call(t, s, "PATCH", "/Users/000001", patch(`{"op":"replace","path":"active","value":false}`)); status != 200 || r["active"] != false {
		t.Error(status, r)
	}
	if status, _, _ := call(t, s, "GET", "/Users/000001", ""); status != 404 {
		t.Error("a deactivated user is still there:", status)
	}
	if status, _, _ := call(t, s, "PATCH", "/Users/000002", patch(`{"op":"replace","path":"title","value":"x"}`)); status != 200 {
		t.Error(status)
	}
}

func TestALinkingPostBringsSomebodyBackWhereThatIsTheWay(t *testing.T) {
	for way, want := range map[string]bool{"": false, "create": true} {
		s := behaves(t, simulator.Behaviour{OnExisting: "link", ReactivateBy: way})
		call(t, s, "PATCH", "/Users/000001", patch(`{"op":"replace","path":"active","value":false}`))
		status, r, _ := call(t, s, "POST", "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ann","active":true}`)
		if status != 200 || r["active"] != want || got(t, s, "/Users/000001")["active"] != want {
			t.Error(way, status, r)
		}
	}
}

func TestABehaviourIsDataAndItsMistakesAreAllNamed(t *testing.T) {
	want := simulator.Behaviour{
		Paging: "cursor", FilterOps: []string{"eq", "and"}, PatchSuccess: "204", MembersMax: 100, MembersHidden: true,
		IgnoredPaths: []string{"nickName"}, UnknownMembers: "missing", DeleteMeans: "deactivate", OnExisting: "link",
	}
	var read simulator.Behaviour
	if err := json.Unmarshal(jsonOf(t, want), &read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, read); diff != "" || read.Validate() != nil {
		t.Error(diff, read.Validate())
	}
	err := simulator.Behaviour{
		ErrorShape: "x", Paging: "x", PageOver: "x", FilterUnsupported: "x", OnExisting: "x", ReactivateBy: "x", PatchSuccess: "x",
		UnknownMembers: "x", DeleteMeans: "x", DeactivateMeans: "x", FilterOps: []string{"eq", "x"},
	}.Validate()
	if err == nil || strings.Count(err.Error(), `"x" is none of`) != 11 {
		t.Error(err)
	}
}

func TestEverythingMayBeIgnored(t *testing.T) {
	s := behaves(t, simulator.Behaviour{IgnoredPaths: []string{"*"}})
	before := got(t, s, "/Users/000001")
	for method, body := range map[string]string{"PATCH": patch(`{"op":"replace","path":"title","value":"x"}`), "PUT": user("zoe")} {
		if status, r, _ := call(t, s, method, "/Users/000001", body); status != 200 || r["title"] != "Rep" {
			t.Error(status, r)
		}
	}
	same(t, "the user", before, got(t, s, "/Users/000001"))
}
