package simulator_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

// group is a group's text; members are ids.
func group(name string, members ...string) string {
	list := []map[string]any{}
	for _, id := range members {
		list = append(list, map[string]any{"value": id})
	}
	text, _ := json.Marshal(map[string]any{"schemas": []string{scim.GroupSchema}, "displayName": name, "members": list})
	return string(text)
}

// patch is a PATCH request's text.
func patch(ops ...string) string {
	return `{"schemas":["` + scim.PatchSchema + `"],"Operations":[` + strings.Join(ops, ",") + `]}`
}

// made sends a POST that must succeed, and gives the id.
func made(t *testing.T, s *simulator.Server, path, body string) string {
	t.Helper()
	status, r, _ := call(t, s, "POST", path, body)
	if status != 201 {
		t.Fatalf("POST %s: %d %v", path, status, r)
	}
	return r.ID()
}

// got reads a resource that must be there.
func got(t *testing.T, s *simulator.Server, path string) scim.Resource {
	t.Helper()
	status, r, _ := call(t, s, "GET", path, "")
	if status != 200 {
		t.Fatalf("GET %s: %d %v", path, status, r)
	}
	return r
}

// found are the userNames or displayNames in a list answer.
func found(t *testing.T, r scim.Resource) []string {
	t.Helper()
	page, err := scim.ParsePage(jsonOf(t, r))
	if err != nil {
		t.Fatal(err, r)
	}
	out := []string{}
	for _, one := range page.Resources {
		name := one.UserName()
		if v, ok := one.Get("displayName"); ok && name == "" {
			name, _ = v.(string)
		}
		out = append(out, name)
	}
	return out
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// same compares two values as JSON, whatever types hold their numbers.
func same(t *testing.T, what string, want, got any) {
	t.Helper()
	var w, g any
	if err := json.Unmarshal(jsonOf(t, want), &w); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(jsonOf(t, got), &g); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// The example of RFC 7644 section 3.3.
func TestTheRFCsUserIsMade(t *testing.T) {
	s := simulator.New(simulator.Options{Base: "/v2", Public: "https://example.com"})
	status, r, header := call(t, s, "POST", "/v2/Users", `{
		"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],
		"userName":"bjensen","externalId":"bjensen",
		"name":{"formatted":"Ms. Barbara J Jensen III","familyName":"Jensen","givenName":"Barbara"}}`,
		"Content-Type", "application/scim+json")
	if status != 201 {
		t.Fatal(status, r)
	}
	const location = "https://example.com/v2/Users/000001"
	if header.Get("Location") != location || header.Get("Content-Type") != "application/scim+json" || header.Get("ETag") != `W/"1"` {
		t.Error(header)
	}
	meta := r["meta"].(map[string]any)
	if meta["created"] == nil || meta["created"] != meta["lastModified"] {
		t.Error(meta)
	}
	delete(meta, "created")
	delete(meta, "lastModified")
	same(t, "the user", map[string]any{
		"schemas": []string{scim.UserSchema}, "id": "000001", "externalId": "bjensen", "userName": "bjensen", "active": true,
		"name": map[string]any{"formatted": "Ms. Barbara J Jensen III", "familyName": "Jensen", "givenName": "Barbara"},
		"meta": map[string]any{"resourceType": "User", "location": location, "version": `W/"1"`},
	}, r)
}

func TestWhatIsReadOnlyIsIgnoredInHoweverItIsSpelled(t *testing.T) {
	s := simulator.New(simulator.Options{})
	id := made(t, s, "/Users", `{`+schemas+`,"userName":"ann","ID":"mine","META":{"version":"mine"},"Groups":[{"value":"g"}]}`)
	if id != "000001" {
		t.Error("the client chose the id", id)
	}
	_, replaced, _ := call(t, s, "PUT", "/Users/"+id, `{`+schemas+`,"userName":"ann","title":"Lead","Id":"mine","Meta":{"created":"x"},"groups":[]}`)
	want := []string{"active", "id", "meta", "schemas", "userName"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(s.Commits()[0].After))); diff != "" {
		t.Error(diff)
	}
	if replaced.ID() != id || replaced.Version() != `W/"2"` {
		t.Error(replaced)
	}
}

func TestAPutReplacesEverythingThatCanBeWritten(t *testing.T) {
	s := simulator.New(simulator.Options{})
	id := made(t, s, "/Users", user("ann"))
	status, r, _ := call(t, s, "PUT", "/Users/"+id, `{`+schemas+`,"userName":"ann2","active":false}`)
	if status != 200 || r["emails"] != nil || r["externalId"] != nil || r.UserName() != "ann2" {
		t.Error(status, r)
	}
	status, r, _ = call(t, s, "PUT", "/Users/"+id, `{`+schemas+`}`)
	if status != 400 || r["detail"] != "userName is required" {
		t.Error(status, r)
	}
	if status, _, _ = call(t, s, "PUT", "/Users/nobody", user("bo")); status != 404 {
		t.Error("a PUT of nobody gave", status)
	}
}

func TestAPasswordIsNeverShownNorSearchedFor(t *testing.T) {
	s := simulator.New(simulator.Options{})
	id := made(t, s, "/Users", `{`+schemas+`,"userName":"ann","PassWord":"hidden-word"}`)
	for _, path := range []string{"/Users/" + id, "/Users", "/Users?attributes=password", `/Users?filter=userName+eq+"ann"`} {
		if _, r, _ := call(t, s, "GET", path, ""); strings.Contains(string(jsonOf(t, r)), "hidden-word") {
			t.Error(path, r)
		}
	}
	if status, r, _ := call(t, s, "GET", `/Users?filter=password+sw+"h"`, ""); status != 400 || r["scimType"] != "invalidFilter" {
		t.Error(status, r)
	}
}

func TestARefusalNamesEveryAttributeThatIsWrong(t *testing.T) {
	s := simulator.New(simulator.Options{})
	_, r, _ := call(t, s, "POST", "/Users", `{`+schemas+`,"active":"yes","nonsense":1,
		"emails":[{"value":"a","primary":true},{"value":"b","primary":true}]}`)
	same(t, "the refusal", map[string]any{
		"schemas": []string{scim.ErrorSchema}, "status": "400", "scimType": "invalidValue",
		"detail": "active must be a boolean; nonsense is not an attribute of the schema; userName is required; emails has more than one primary value",
	}, r)
	if len(s.Commits()) > 0 {
		t.Error("it was stored nevertheless")
	}
}

func TestAPatchThatIsRefusedChangesNothing(t *testing.T) {
	s := simulator.New(simulator.Options{})
	id := made(t, s, "/Users", user("ann"))
	before := got(t, s, "/Users/"+id)
	for name, row := range map[string]struct{ body, scimType, detail string }{
		"a wrong type":          {patch(`{"op":"replace","path":"title","value":"x"}`, `{"op":"replace","path":"active","value":"maybe"}`), "invalidValue", "active"},
		"an unknown name":       {patch(`{"op":"add","path":"nonsense","value":"x"}`), "invalidValue", "nonsense"},
		"a read-only attribute": {patch(`{"op":"replace","path":"groups","value":[]}`), "mutability", "groups"},
		"no target":             {patch(`{"op":"replace","path":"emails[type eq \"home\"].value","value":"x"}`), "noTarget", "emails"},
		"a wrong path":          {patch(`{"op":"replace","path":"emails[","value":"x"}`), "invalidPath", ""},
		"no operations":         {patch(), "invalidSyntax", "Operations"},
		"another message":       {`{"schemas":["` + scim.SearchSchema + `"],"Operations":[{"op":"remove","path":"title"}]}`, "invalidSyntax", scim.PatchSchema},
		"names twice":           {`{"Operations":[],"operations":[]}`, "invalidSyntax", ""},
	} {
		status, r, _ := call(t, s, "PATCH", "/Users/"+id, row.body)
		if detail, _ := r["detail"].(string); status != 400 || r["scimType"] != row.scimType || !strings.Contains(detail, row.detail) {
			t.Errorf("%s: %d %v", name, status, r)
		}
	}
	same(t, "the user", before, got(t, s, "/Users/"+id))
}

func TestAPatchThatChangesNothingIsNoCommit(t *testing.T) {
	s := simulator.New(simulator.Options{})
	id := made(t, s, "/Users", user("ann"))
	before := got(t, s, "/Users/"+id)
	status, r, _ := call(t, s, "PATCH", "/Users/"+id, patch(`{"op":"replace","path":"active","value":true}`))
	if status != 200 || len(s.Commits()) != 1 {
		t.Error(status, s.Commits())
	}
	same(t, "the user", before, r)
}

func TestEntityTagsGuardAndSpare(t *testing.T) {
	s := simulator.New(simulator.Options{})
	id := made(t, s, "/Users", user("ann"))
	change := patch(`{"op":"replace","path":"title","value":"Lead"}`)
	for _, row := range []struct {
		method, body, name, value string
		want                      int
	}{
		{"GET", "", "If-None-Match", `W/"1"`, 304},
		{"GET", "", "If-None-Match", `"1"`, 304},
		{"GET", "", "If-None-Match", `*`, 304},
		{"GET", "", "If-None-Match", `W/"7"`, 200},
		{"PATCH", change, "If-Match", `W/"7"`, 412},
		{"PUT", user("ann"), "If-Match", `W/"7"`, 412},
		{"DELETE", "", "If-Match", `W/"7"`, 412},
		{"PATCH", change, "If-Match", `W/"7", W/"1"`, 200},
		{"PATCH", change, "If-Match", `W/"1"`, 412},
		{"DELETE", "", "If-Match", `*`, 204},
		{"DELETE", "", "If-Match", `*`, 404},
	} {
		status, _, _ := call(t, s, row.method, "/Users/"+id, row.body, row.name, row.value)
		if status != row.want {
			t.Errorf("%s with %s: %s gave %d", row.method, row.name, row.value, status)
		}
	}
}

func TestOnlyWhatIsBelowTheBaseIsServed(t *testing.T) {
	s := simulator.New(simulator.Options{Base: "/scim/v2/"})
	for path, want := range map[string]int{
		"/scim/v2/Users": 200, "/Users": 404, "/scim/v2Users": 404, "/scim/v2": 404, "/scim/v1/Users": 404,
		"/scim/v2/Users/": 200, "/scim/v2/scim/v2/Users": 404, "/_sim/stats": 404,
	} {
		if status, _, _ := call(t, s, "GET", path, ""); status != want {
			t.Errorf("%s gave %d", path, status)
		}
	}
}

func TestTheRightMethodTypeAndSchemeAreAskedFor(t *testing.T) {
	s := simulator.New(simulator.Options{Token: "secret"})
	for _, row := range []struct {
		method, path, authorization, contentType string
		want                                     int
	}{
		{"GET", "/Users", "Bearer secret", "", 200},
		{"GET", "/Users", "bearer secret", "", 200},
		{"GET", "/Users", "secret", "", 401},
		{"GET", "/Users", "Basic secret", "", 401},
		{"GET", "/Users", "Bearer secret2", "", 401},
		{"POST", "/Users", "Bearer secret", "text/plain", 415},
		{"POST", "/Users", "Bearer secret", "application/json; charset=utf-8", 400},
		{"POST", "/Schemas", "Bearer secret", "", 405},
		{"GET", "/.search", "Bearer secret", "", 405},
		{"POST", "/Bulk", "Bearer secret", "", 501},
		{"OPTIONS", "/Users/1", "Bearer secret", "", 404},
	} {
		header := []string{"Authorization", row.authorization}
		if row.contentType != "" {
			header = append(header, "Content-Type", row.contentType)
		}
		status, _, answer := call(t, s, row.method, row.path, "", header...)
		if status != row.want {
			t.Errorf("%+v gave %d", row, status)
		}
		if status == 401 && answer.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%+v: nothing says how to authenticate", row)
		}
	}
}

func TestABodyOfAnySizeIsNotRead(t *testing.T) {
	s := simulator.New(simulator.Options{})
	if status, _, _ := call(t, s, "POST", "/Users", `{"x":"`+strings.Repeat("x", 9<<20)+`"}`); status != 413 {
		t.Error(status)
	}
}

func TestDiscoveryTellsWhatIsSo(t *testing.T) {
	s := simulator.New(simulator.Options{
		PageMax: 7, Bulk: 5, NoPatch: true, Behaviour: simulator.Behaviour{Paging: "cursor"},
	})
	_, r, _ := call(t, s, "GET", "/ServiceProviderConfig", "")
	config, err := scim.ParseServiceProviderConfig(jsonOf(t, r))
	if err != nil {
		t.Fatal(err)
	}
	want := scim.ServiceProviderConfig{Bulk: true, Filter: true, Sort: true, ETag: true, MaxResults: 7, MaxOperations: 5, MaxPayload: 8 << 20, Cursor: true}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Error(diff)
	}
	for path, want := range map[string]int{
		"/Schemas/" + scim.EnterpriseSchema: 200, "/Schemas/urn:nonsense": 404, "/ResourceTypes/Group": 200, "/ResourceTypes/Robot": 404,
	} {
		if status, _, _ := call(t, s, "GET", path, ""); status != want {
			t.Errorf("%s gave %d", path, status)
		}
	}
}

func TestGroupsShowInUsersAndUsersInGroups(t *testing.T) {
	s := simulator.New(simulator.Options{Base: "/v2"})
	ann := made(t, s, "/v2/Users", `{`+schemas+`,"userName":"ann","displayName":"Ann Lee"}`)
	bo := made(t, s, "/v2/Users", user("bo"))
	eng := made(t, s, "/v2/Groups", group("eng", ann, bo, ann))
	all := made(t, s, "/v2/Groups", group("all", eng))
	same(t, "members", []any{
		map[string]any{"value": ann, "$ref": "/v2/Users/" + ann, "type": "User", "display": "Ann Lee"},
		map[string]any{"value": bo, "$ref": "/v2/Users/" + bo, "type": "User", "display": "bo"},
	}, got(t, s, "/v2/Groups/"+eng)["members"])
	same(t, "a group in a group", []any{
		map[string]any{"value": eng, "$ref": "/v2/Groups/" + eng, "type": "Group", "display": "eng"},
	}, got(t, s, "/v2/Groups/"+all)["members"])
	same(t, "groups", []any{
		map[string]any{"value": eng, "$ref": "/v2/Groups/" + eng, "type": "direct", "display": "eng"},
	}, got(t, s, "/v2/Users/"+ann)["groups"])
	for query, want := range map[string][]string{
		`Users?filter=groups.value+eq+"` + eng + `"`: {"ann", "bo"}, `Users?filter=groups[display+eq+"eng"]`: {"ann", "bo"},
		`Groups?filter=members.value+eq+"` + ann + `"`: {"eng"}, `Groups?filter=members[value+eq+"` + eng + `"]`: {"all"},
	} {
		if diff := cmp.Diff(want, found(t, got(t, s, "/v2/"+query))); diff != "" {
			t.Error(query, diff)
		}
	}
	call(t, s, "PATCH", "/v2/Groups/"+eng, patch(`{"op":"remove","path":"members[value eq \"`+ann+`\"]"}`))
	if groups := got(t, s, "/v2/Users/"+ann)["groups"]; groups != nil {
		t.Error(groups)
	}
}

func TestAMemberMustExist(t *testing.T) {
	s := simulator.New(simulator.Options{})
	ann := made(t, s, "/Users", user("ann"))
	for body, want := range map[string]string{
		group("eng", ann, "nobody"): "members[1].value names nobody: nobody",
		`{"schemas":["` + scim.GroupSchema + `"],"displayName":"x","members":[{"display":"ann"}]}`: "members[0].value is required",
	} {
		status, r, _ := call(t, s, "POST", "/Groups", body)
		if status != 400 || r["scimType"] != "invalidValue" || r["detail"] != want {
			t.Error(status, r)
		}
	}
}

func TestADeletionIsCommittedGroupByGroup(t *testing.T) {
	s := simulator.New(simulator.Options{})
	ann, bo := made(t, s, "/Users", user("ann")), made(t, s, "/Users", user("bo"))
	made(t, s, "/Groups", group("one", ann, bo))
	made(t, s, "/Groups", group("two", bo))
	made(t, s, "/Groups", group("three", ann))
	before := len(s.Commits())
	call(t, s, "DELETE", "/Users/"+ann, "")
	var lines []string
	for _, c := range s.Commits()[before:] {
		members, _ := c.After.Get("members")
		lines = append(lines, fmt.Sprintf("%s %s %s %s %v", c.Verb, c.Kind, c.ID, c.After.Version(), string(jsonOf(t, members))))
	}
	want := []string{
		"delete Users 000001  null", `update Groups 000003 W/"2" [{"value":"000002"}]`, `update Groups 000005 W/"2" null`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestACommitTellsBeforeAndAfter(t *testing.T) {
	s := simulator.New(simulator.Options{})
	id := made(t, s, "/Users", user("ann"))
	call(t, s, "PATCH", "/Users/"+id, patch(`{"op":"replace","path":"title","value":"Lead"}`))
	call(t, s, "DELETE", "/Users/"+id, "")
	var lines []string
	for _, c := range s.Commits() {
		before, _ := c.Before.Get("title")
		after, _ := c.After.Get("title")
		lines = append(lines, fmt.Sprint(c.Verb, " ", c.Before != nil, before, " ", c.After != nil, after))
	}
	want := []string{"create false <nil> true <nil>", "update true <nil> trueLead", "delete trueLead false <nil>"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestARequestIsRecordedAsItCame(t *testing.T) {
	s := simulator.New(simulator.Options{Base: "/v2", Token: "secret"})
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	call(t, s, "POST", "/v2/Users?attributes=id", user("ann"), "Authorization", "Bearer secret", "Traceparent", trace,
		"User-Agent", "Joinery/1", "Content-Type", "application/scim+json")
	call(t, s, "PATCH", "/v2/Users/000001", patch(`{"op":"remove","path":"title"}`), "Authorization", "Bearer secret", "If-Match", `W/"9"`)
	got := s.Requests()
	for i := range got {
		if got[i].At.IsZero() {
			t.Error("no time")
		}
		got[i].At = got[0].At
	}
	want := []simulator.Request{
		{
			At: got[0].At, Method: "POST", Path: "/Users", Query: "attributes=id", Traceparent: trace, UserAgent: "Joinery/1",
			ContentType: "application/scim+json", Body: json.RawMessage(user("ann")), Status: 201, Committed: true,
		},
		{
			At: got[0].At, Method: "PATCH", Path: "/Users/000001", IfMatch: `W/"9"`,
			Body: json.RawMessage(patch(`{"op":"remove","path":"title"}`)), Status: 412,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTwoProvidersShareNothing(t *testing.T) {
	a, b := simulator.New(simulator.Options{Prefix: "a"}), simulator.New(simulator.Options{Prefix: "b"})
	made(t, a, "/Users", user("ann"))
	if id := made(t, b, "/Users", user("ann")); id != "b000001" {
		t.Error(id)
	}
	a.Inject(simulator.Fault{Name: "500"})
	if status, _, _ := call(t, b, "GET", "/Users", ""); status != 200 {
		t.Error(status)
	}
}

func TestOverASocketALostAnswerIsABrokenConnection(t *testing.T) {
	s := simulator.New(simulator.Options{})
	server := httptest.NewServer(s)
	defer server.Close()
	s.Inject(simulator.Fault{Name: "lost", Method: "POST", Count: 1})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/Users", strings.NewReader(user("ann")))
	if err != nil {
		t.Fatal(err)
	}
	res, err := server.Client().Do(req)
	if err == nil {
		_ = res.Body.Close()
		t.Fatal("there was an answer:", res.Status)
	}
	if r := s.Requests()[0]; r.Status != 0 || !r.Committed {
		t.Error(r)
	}
}
