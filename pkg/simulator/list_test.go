package simulator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

// company is a provider with four users: ann, Bo, cy and di.
func company(t *testing.T, o simulator.Options) *simulator.Server {
	t.Helper()
	s := simulator.New(o)
	for _, text := range []string{
		`"userName":"ann","title":"Rep","name":{"givenName":"Ann","familyName":"Lee"},"emails":[{"type":"work","value":"ann@a.example"},{"type":"home","value":"a@b.example"}]`,
		`"userName":"Bo","title":"Lead","active":false,"emails":[{"type":"work","value":"bo@a.example"}]`,
		`"userName":"cy","title":"rep"`,
		`"userName":"di","nickName":"D \"x\" eq"`,
	} {
		made(t, s, "/Users", `{`+schemas+`,`+text+`}`)
	}
	return s
}

func list(t *testing.T, s *simulator.Server, query string) scim.Resource {
	t.Helper()
	return got(t, s, "/Users?"+strings.NewReplacer(`"`, "%22", `\`, "%5C").Replace(query))
}

func TestFiltersFindWhatTheRFCSays(t *testing.T) {
	s := company(t, simulator.Options{})
	for filter, want := range map[string][]string{
		`userName eq "BO"`:                          {"Bo"},
		`userName sw "a" or userName ew "Y"`:        {"ann", "cy"},
		`title eq "rep" and not (userName eq "cy")`: {"ann"},
		`title pr`:                    {"ann", "Bo", "cy"},
		`not (title pr)`:              {"di"},
		`active eq false`:             {"Bo"},
		`emails.value co "a.example"`: {"ann", "Bo"},
		`emails[type eq "home" and value co "b.ex"]`:                {"ann"},
		`emails[type eq "home"] and title eq "Lead"`:                {},
		`name.familyName eq "lee"`:                                  {"ann"},
		`nickName eq "D \"x\" eq"`:                                  {"di"},
		`urn:ietf:params:scim:schemas:core:2.0:User:title eq "rep"`: {"ann", "cy"},
		`meta.resourceType eq "User"`:                               {"ann", "Bo", "cy", "di"},
		`meta.created gt "2000-01-01T00:00:00Z"`:                    {"ann", "Bo", "cy", "di"},
		`id eq "000002"`:                                            {"Bo"},
	} {
		if diff := cmp.Diff(want, found(t, list(t, s, "filter="+filter))); diff != "" {
			t.Error(filter, diff)
		}
	}
}

// A filter that is looked up finds what the same filter finds in another form,
// which is not.
func TestALookUpFindsWhatALookThroughFinds(t *testing.T) {
	s := simulator.New(simulator.Options{Behaviour: simulator.Behaviour{DuplicateUserName: true}})
	for _, name := range []string{"ann", "ANN", "Öz", "x eq y", `q\"q`, "null"} {
		text := string(jsonOf(t, map[string]any{"schemas": []string{scim.UserSchema}, "userName": name, "externalId": name}))
		made(t, s, "/Users", text)
	}
	made(t, s, "/Groups", group("ann"))
	call(t, s, "PATCH", "/Users/000002", patch(`{"op":"replace","path":"externalId","value":"renamed"}`))
	call(t, s, "DELETE", "/Users/000006", "")
	for _, value := range []string{`"ann"`, `"ANN"`, `"öz"`, `"x eq y"`, `"q\\\"q"`, `"null"`, `null`, `""`, `true`, `"renamed"`, `"nobody"`} {
		for _, attr := range []string{"userName", "USERNAME", "externalId", "displayName"} {
			for _, kind := range []string{"Users", "Groups"} {
				look := func(filter string) []string {
					q := strings.NewReplacer(`"`, "%22", `\`, "%5C", " ", "+").Replace(filter)
					return found(t, got(t, s, "/"+kind+"?filter="+q))
				}
				filter := attr + " eq " + value
				if diff := cmp.Diff(look("("+filter+") and not (id eq \"x\")"), look(filter)); diff != "" {
					t.Error(kind, filter, diff)
				}
			}
		}
	}
}

func TestListsAreSorted(t *testing.T) {
	s := company(t, simulator.Options{})
	for query, want := range map[string][]string{
		"sortBy=userName":                         {"ann", "Bo", "cy", "di"},
		"sortBy=userName&sortOrder=descending":    {"di", "cy", "Bo", "ann"},
		"sortBy=title":                            {"Bo", "ann", "cy", "di"},
		"sortBy=emails&sortOrder=ascending":       {"ann", "Bo", "cy", "di"},
		"sortBy=emails.value&count=1":             {"ann"},
		"sortBy=title&sortOrder=descending":       {"di", "ann", "cy", "Bo"},
		"sortBy=name.familyName&startIndex=1":     {"ann", "Bo", "cy", "di"},
		"filter=title eq \"rep\"&sortBy=userName": {"ann", "cy"},
	} {
		if diff := cmp.Diff(want, found(t, list(t, s, query))); diff != "" {
			t.Error(query, diff)
		}
	}
	for _, query := range []string{"sortOrder=up", "sortBy=[", "attributes=[", "excludedAttributes=a..b", "attributes=id&excludedAttributes=title", "startIndex=x"} {
		if status, r, _ := call(t, s, "GET", "/Users?"+query, ""); status != 400 {
			t.Errorf("%s: %d %v", query, status, r)
		}
	}
}

func TestAttributesAreSelected(t *testing.T) {
	s := simulator.New(simulator.Options{})
	id := made(t, s, "/Users", `{"schemas":["`+scim.UserSchema+`","`+scim.EnterpriseSchema+`"],"userName":"ann","title":"Rep",
		"name":{"givenName":"Ann","familyName":"Lee"},"emails":[{"type":"work","value":"a"},{"type":"home","value":"b"}],
		"`+scim.EnterpriseSchema+`":{"department":"Sales","division":"North"}}`)
	both := []any{scim.UserSchema, scim.EnterpriseSchema}
	for query, want := range map[string]map[string]any{
		"attributes=USERNAME":       {"userName": "ann"},
		"attributes=userName,title": {"userName": "ann", "title": "Rep"},
		"attributes=name.givenName&attributes=emails.type": {
			"name": map[string]any{"givenName": "Ann"}, "emails": []any{map[string]any{"type": "work"}, map[string]any{"type": "home"}},
		},
		"attributes=name,name.givenName":                               {"name": map[string]any{"givenName": "Ann", "familyName": "Lee"}},
		"attributes=name.givenName,name":                               {"name": map[string]any{"givenName": "Ann", "familyName": "Lee"}},
		"attributes=nickName":                                          {},
		"attributes=" + scim.UserSchema + ":title":                     {"title": "Rep"},
		"attributes=" + scim.EnterpriseSchema + ":division":            {scim.EnterpriseSchema: map[string]any{"division": "North"}},
		"attributes=" + scim.EnterpriseSchema:                          {scim.EnterpriseSchema: map[string]any{"department": "Sales", "division": "North"}},
		"excludedAttributes=meta,name.familyName,emails,id,active,urn": {"userName": "ann", "title": "Rep", "name": map[string]any{"givenName": "Ann"}, scim.EnterpriseSchema: map[string]any{"department": "Sales", "division": "North"}},
	} {
		want["id"], want["schemas"] = id, both
		same(t, query, want, got(t, s, "/Users/"+id+"?"+query))
		page, err := scim.ParsePage(jsonOf(t, list(t, s, query)))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "list "+query, []any{want}, page.Resources)
	}
	_, r, _ := call(t, s, "PATCH", "/Users/"+id+"?attributes=title", patch(`{"op":"replace","path":"title","value":"Lead"}`))
	same(t, "a PATCH", map[string]any{"id": id, "schemas": both, "title": "Lead"}, r)
	if v, _ := got(t, s, "/Users/"+id).Get("name.familyName"); v != "Lee" {
		t.Error("looking at a part took the rest away")
	}
}

func TestASearchIsAListAskedForInABody(t *testing.T) {
	s := company(t, simulator.Options{})
	made(t, s, "/Groups", group("ann's"))
	search := func(path, more string) scim.Resource {
		status, r, _ := call(t, s, "POST", path, `{"schemas":["`+scim.SearchSchema+`"],`+more+`}`)
		if status != 200 {
			t.Fatal(status, r)
		}
		return r
	}
	for more, want := range map[string][]string{
		`"filter":"title pr","sortBy":"userName","sortOrder":"descending","startIndex":2,"count":2`: {"Bo", "ann"},
		`"attributes":["userName","title"],"filter":"userName eq \"cy\""`:                           {"cy"},
	} {
		if diff := cmp.Diff(want, found(t, search("/Users/.search", more))); diff != "" {
			t.Error(more, diff)
		}
	}
	if diff := cmp.Diff([]string{"ann", "ann's"}, found(t, search("/.search", `"filter":"userName sw \"a\" or displayName sw \"a\""`))); diff != "" {
		t.Error(diff)
	}
	for _, body := range []string{`[]`, `{"schemas":["x"]}`, `{"filter":"x"}`, `{"count":1.5}`} {
		if status, r, _ := call(t, s, "POST", "/Users/.search", body); status != 400 {
			t.Error(body, status, r)
		}
	}
}

func TestPagesMakeUpTheWholeHoweverTheyAreCut(t *testing.T) {
	for size := 1; size <= 5; size++ {
		s := company(t, simulator.Options{PageMax: size})
		var all []string
		for start := 1; ; {
			r := list(t, s, fmt.Sprintf("startIndex=%d", start))
			page := found(t, r)
			same(t, "the envelope", []any{4, start, len(page)}, []any{r["totalResults"], r["startIndex"], r["itemsPerPage"]})
			if len(page) == 0 {
				break
			}
			all = append(all, page...)
			start += len(page)
		}
		if diff := cmp.Diff([]string{"ann", "Bo", "cy", "di"}, all); diff != "" {
			t.Error(size, diff)
		}
	}
}

func TestACursorLeadsThroughTheWhole(t *testing.T) {
	s := company(t, simulator.Options{PageMax: 3, Behaviour: simulator.Behaviour{Paging: "cursor"}})
	first := list(t, s, "cursor")
	next, _ := first["nextCursor"].(string)
	if diff := cmp.Diff([]string{"ann", "Bo", "cy"}, found(t, first)); diff != "" || next == "" {
		t.Fatal(diff, first)
	}
	second := list(t, s, "cursor="+next)
	if diff := cmp.Diff([]string{"di"}, found(t, second)); diff != "" || second["nextCursor"] != nil {
		t.Error(diff, second)
	}
	for _, cursor := range []string{"4", "c-1", "c!", "cccccccccccc"} {
		if status, r, _ := call(t, s, "GET", "/Users?cursor="+cursor, ""); status != 400 {
			t.Error(cursor, status, r)
		}
	}
}

func TestANewUserIsListedBeforeItIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, s := range map[string]*simulator.Server{
			"as an option": simulator.New(simulator.Options{Visibility: 2 * time.Second}),
			"as a quirk":   simulator.New(simulator.Options{Behaviour: simulator.Behaviour{Visibility: 2 * time.Second}}),
			"as a fault":   broken(t, "invisible:retry-after=2"),
		} {
			id := made(t, s, "/Users", user("ann"))
			look := func() []string {
				return slices.Concat(found(t, list(t, s, "")), found(t, list(t, s, `filter=userName eq "ann"`)), []string{got(t, s, "/Users/"+id).UserName()})
			}
			time.Sleep(1999 * time.Millisecond) // fake time
			if diff := cmp.Diff([]string{"ann", "ann"}, look()); diff != "" {
				t.Error(name, diff)
			}
			time.Sleep(time.Millisecond) // fake time
			if diff := cmp.Diff([]string{"ann", "ann", "ann"}, look()); diff != "" {
				t.Error(name, diff)
			}
		}
	})
}

// broken is a provider with faults.
func broken(t *testing.T, faults ...string) *simulator.Server {
	t.Helper()
	s := simulator.New(simulator.Options{})
	inject(t, s, faults...)
	return s
}

func inject(t *testing.T, s *simulator.Server, faults ...string) {
	t.Helper()
	for _, text := range faults {
		f, err := simulator.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		s.Inject(f)
	}
}
