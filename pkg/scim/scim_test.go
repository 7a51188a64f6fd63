package scim_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"pgregory.net/rapid"
)

func parse(t testing.TB, s string) scim.Resource {
	t.Helper()
	r, err := scim.Parse([]byte(s))
	if err != nil {
		t.Fatalf("parse %s: %v", s, err)
	}
	return r
}

func TestParseRefusesWhatTwoReadersCouldUnderstandDifferently(t *testing.T) {
	deep := ""
	for range 40 {
		deep += `{"a":`
	}
	for name, text := range map[string]string{
		"names equal but for case": `{"active":true,"ACTIVE":false}`,
		"a name twice":             `{"a":1,"a":2}`,
		"nested twice":             `{"x":{"b":1,"B":2}}`,
		"data after the end":       `{} {}`,
		"not an object":            `[1]`,
		"cut off":                  `{"a":`,
		"too deep":                 deep,
		"empty":                    ``,
	} {
		if _, err := scim.Parse([]byte(text)); !errors.Is(err, scim.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNamesCompareWithoutCaseAndNumbersKeepTheirDigits(t *testing.T) {
	r := parse(t, `{"USERNAME":"ann","n":12345678901234567890,"Name":{"GivenName":"Ann"},"meta":{"version":"W/\"1\""},"active":"False"}`)
	if r.UserName() != "ann" || r["n"] != json.Number("12345678901234567890") || r.Version() != `W/"1"` {
		t.Error(r)
	}
	if v, _ := r.Get("name.givenname"); v != "Ann" {
		t.Errorf("name.givenname = %v", v)
	}
	if active, said := r.Active(); active || !said {
		t.Error("text False is not active")
	}
}

const ann = `{
	"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"1","userName":"ann@example.com","active":true,
	"name":{"givenName":"Ann","familyName":"Lee"},"title":"Lead",
	"emails":[{"type":"work","value":"ann@example.com","primary":true},{"type":"home","value":"ann@home.example"}],
	"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"Engineering","manager":{"value":"26"}}}`

func TestPathsReachValues(t *testing.T) {
	r := parse(t, ann)
	for path, want := range map[string]any{
		`userName`:                               "ann@example.com",
		`emails[type eq "work"].value`:           "ann@example.com",
		`EMAILS[Type eq "HOME"].value`:           "ann@home.example",
		scim.UserSchema + `:userName`:            "ann@example.com",
		scim.EnterpriseSchema + `:manager.value`: "26",
		scim.EnterpriseSchema + `:department`:    "Engineering",
	} {
		if got, ok := r.Get(path); !ok || got != want {
			t.Errorf("%s = %v", path, got)
		}
		p, err := scim.ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		again, err := scim.ParsePath(p.String())
		if err != nil || cmp.Diff(p.String(), again.String()) != "" {
			t.Errorf("%s prints as %s", path, p)
		}
	}
	for _, bad := range []string{"", ".", "a.", "a[", "a[b", "a[b eq 1]x", "1a", "a b", `emails[type eq "a].value`} {
		if _, err := scim.ParsePath(bad); err == nil {
			t.Errorf("%q is no path", bad)
		}
	}
}

func TestSetMakesWhatAPathNeeds(t *testing.T) {
	r := scim.Resource{}
	for path, v := range map[string]any{
		"userName": "ann", "name.givenName": "Ann", `emails[type eq "work"].value`: "a@example.com",
		scim.EnterpriseSchema + ":department": "Engineering",
	} {
		if err := r.Set(path, v); err != nil {
			t.Fatal(err)
		}
	}
	want := scim.Resource{
		"userName": "ann", "name": map[string]any{"givenName": "Ann"},
		"emails":              []any{map[string]any{"type": "work", "value": "a@example.com"}},
		scim.EnterpriseSchema: map[string]any{"department": "Engineering"},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
}

func TestFiltersMatch(t *testing.T) {
	r := parse(t, ann)
	for filter, want := range map[string]bool{
		`userName eq "ANN@example.com"`: true,
		`id eq "1" and active eq true`:  true,
		`title pr`:                      true,
		`nickName pr`:                   false,
		`not (title eq "Lead")`:         false,
		`title eq "x" or title eq "Lead" and active eq false`:       false,
		`(title eq "x" or title eq "Lead") and active eq true`:      true,
		`emails[type eq "work" and value co "@example.com"]`:        true,
		`emails[type eq "home" and value co "@example.com"]`:        false,
		`emails.value sw "ann@home"`:                                true,
		`emails co "home.example"`:                                  true,
		`urn:ietf:params:scim:schemas:core:2.0:User:title ew "ead"`: true,
		scim.EnterpriseSchema + `:manager.value eq "26"`:            true,
		`title ne "x"`:     true,
		`nickName eq null`: true,
		`USERNAME EQ "ann@example.com" AND Title PR`: true,
	} {
		f, err := scim.ParseFilter(filter)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		if f.Match(r) != want {
			t.Errorf("%s: %v", filter, !want)
		}
	}
	for _, bad := range []string{"", "a", "a eq", `a eq "`, "a xx 1", "(a pr", "a pr)", "not a pr", `a[b pr`, `a eq {}`, `a eq "b" and`} {
		if _, err := scim.ParseFilter(bad); scim.As(err) == nil || scim.As(err).ScimType != scim.InvalidFilter {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestABuiltFilterFindsExactlyItsValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.String().Draw(t, "value")
		f, err := scim.ParseFilter(scim.Eq("externalId", v).String())
		if err != nil {
			t.Fatalf("%q: %v", v, err)
		}
		same, _ := json.Marshal(v)
		var read string
		_ = json.Unmarshal(same, &read)
		if !f.Match(scim.Resource{"externalId": read}) || f.Match(scim.Resource{"externalId": read + "x"}) {
			t.Fatalf("%q", v)
		}
	})
}

func TestPatchFlavoursOfIdentityProviders(t *testing.T) {
	for _, row := range []struct {
		name, ops, path string
		want            any
	}{
		{"an operation in capitals with text for a boolean path", `[{"op":"Replace","path":"active","value":false}]`, "active", false},
		{"a pathless replace with dotted names", `[{"op":"replace","value":{"name.givenName":"Anna"}}]`, "name.givenName", "Anna"},
		{"a pathless replace of an extension", `[{"op":"add","value":{"` + scim.EnterpriseSchema + `":{"department":"Sales"}}}]`, scim.EnterpriseSchema + ":department", "Sales"},
		{"a filtered path", `[{"op":"replace","path":"emails[type eq \"work\"].value","value":"b@example.com"}]`, `emails[type eq "work"].value`, "b@example.com"},
		{"an element that is not there yet", `[{"op":"add","path":"emails[type eq \"other\"].value","value":"c@example.com"}]`, `emails[type eq "other"].value`, "c@example.com"},
		{"null takes away", `[{"op":"replace","path":"title","value":null}]`, "title", nil},
		{"remove of elements", `[{"op":"remove","path":"emails[type eq \"home\"]"}]`, `emails[type eq "home"]`, nil},
		{"remove by value list", `[{"op":"remove","path":"emails","value":[{"value":"ann@home.example"}]}]`, `emails[type eq "home"]`, nil},
		{"remove by value list with company", `[{"op":"remove","path":"emails","value":[{"value":"ann@home.example","display":"x","$ref":"y"}]}]`, `emails[type eq "home"]`, nil},
		{"a new primary", `[{"op":"add","path":"emails","value":[{"type":"x","value":"x","primary":true}]}]`, `emails[type eq "work"].primary`, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := parse(t, ann)
			ops, err := scim.ParsePatch([]byte(`{"schemas":["` + scim.PatchSchema + `"],"Operations":` + row.ops + `}`))
			if err != nil {
				t.Fatal(err)
			}
			after, err := before.Apply(ops)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := after.Get(row.path); got != row.want {
				t.Errorf("%s = %v, want %v", row.path, got, row.want)
			}
			if diff := cmp.Diff(parse(t, ann), before); diff != "" {
				t.Error("the input was changed", diff)
			}
		})
	}
}

func TestPatchRefusesWithTheRightKeyword(t *testing.T) {
	for ops, want := range map[string]string{
		`[{"op":"nonsense","path":"title","value":1}]`: scim.InvalidSyntax,
		`[{"op":"remove"}]`:                            scim.NoTarget,
		`[{"op":"replace","path":"emails[type eq \"other\"].value","value":"x"}]`:         scim.NoTarget,
		`[{"op":"replace","path":"id","value":"2"}]`:                                      scim.Mutability,
		`[{"op":"replace","path":"emails[","value":"2"}]`:                                 scim.InvalidPath,
		`[{"op":"add","value":"x"}]`:                                                      scim.InvalidValue,
		`[{"op":"replace","path":"title","value":"x"},{"op":"remove","path":"userName"}]`: scim.Mutability,
	} {
		r := parse(t, ann)
		parsed, err := scim.ParsePatch([]byte(`{"Operations":` + ops + `}`))
		if err == nil {
			_, err = r.Apply(parsed)
		}
		if scim.As(err) == nil || scim.As(err).ScimType != want {
			t.Errorf("%s: %v", ops, err)
		}
	}
}

func TestMembersAreAddedOnceAndRemovedOneByOne(t *testing.T) {
	g := parse(t, `{"displayName":"eng","members":[{"value":"1","display":"Ann"},{"value":"2"}]}`)
	after, err := g.Apply([]scim.Operation{
		{Op: "add", Path: "members", Value: []any{map[string]any{"value": "1"}, map[string]any{"value": "3"}}},
		{Op: "remove", Path: `members[value eq "2"]`},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []any{map[string]any{"value": "1", "display": "Ann"}, map[string]any{"value": "3"}}
	if diff := cmp.Diff(want, after["members"]); diff != "" {
		t.Error(diff)
	}
}

func TestDiffSendsOnlyWhatDiffers(t *testing.T) {
	work := func(v string) []any { return []any{map[string]any{"type": "work", "value": v}} }
	for _, row := range []struct {
		name                    string
		sent, observed, desired scim.Resource
		want                    []scim.Operation
	}{
		{"nothing, when all is so", nil, scim.Resource{"userName": "ann", "title": "Lead"}, scim.Resource{"userName": "ann"}, nil},
		{"one attribute", scim.Resource{"title": "Rep"}, nil, scim.Resource{"title": "Lead"}, []scim.Operation{{Op: "replace", Path: "title", Value: "Lead"}}},
		{
			"what was sent and is not wanted any more goes",
			scim.Resource{"title": "Rep", "nickName": "A"},
			nil,
			scim.Resource{"nickName": "A"},
			[]scim.Operation{{Op: "remove", Path: "title"}},
		},
		{
			"what was never sent stays",
			scim.Resource{},
			scim.Resource{"title": "Theirs"},
			scim.Resource{"nickName": "A"},
			[]scim.Operation{{Op: "replace", Path: "nickName", Value: "A"}},
		},
		{
			"an e-mail by its type",
			scim.Resource{"emails": work("a")},
			scim.Resource{"emails": append(work("a"), map[string]any{"type": "home", "value": "h"})},
			scim.Resource{"emails": work("b")},
			[]scim.Operation{{Op: "replace", Path: `emails[type eq "work"].value`, Value: "b"}},
		},
		{
			"an e-mail that is not there", nil,
			scim.Resource{},
			scim.Resource{"emails": work("b")},
			[]scim.Operation{{Op: "add", Path: "emails", Value: []any{map[string]any{"type": "work", "value": "b"}}}},
		},
		{
			"an extension, attribute by attribute", nil,
			scim.Resource{scim.EnterpriseSchema: map[string]any{"department": "Sales", "manager": map[string]any{"value": "1", "displayName": "M"}}},
			scim.Resource{scim.EnterpriseSchema: map[string]any{"department": "Engineering", "manager": map[string]any{"value": "2"}}},
			[]scim.Operation{
				{Op: "replace", Path: scim.EnterpriseSchema + ":department", Value: "Engineering"},
				{Op: "replace", Path: scim.EnterpriseSchema + ":manager.value", Value: "2"},
			},
		},
		{"a boolean shown as text", nil, scim.Resource{"active": "True"}, scim.Resource{"active": true}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, scim.Diff(row.sent, row.observed, row.desired)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// managed draws a resource of managed attributes.
func managed(t *rapid.T, label string) scim.Resource {
	r := scim.Resource{}
	word := rapid.SampledFrom([]string{"a", "b", "c"})
	for _, name := range []string{"userName", "title", "nickName"} {
		if rapid.Bool().Draw(t, label+name) {
			r[name] = word.Draw(t, label+name)
		}
	}
	if rapid.Bool().Draw(t, label+"active?") {
		r["active"] = rapid.Bool().Draw(t, label+"active")
	}
	var emails []any
	for _, kind := range []string{"work", "home"} {
		if rapid.Bool().Draw(t, label+kind) {
			emails = append(emails, map[string]any{"type": kind, "value": word.Draw(t, label+"mail")})
		}
	}
	if len(emails) > 0 {
		r["emails"] = emails
	}
	if rapid.Bool().Draw(t, label+"name?") {
		r["name"] = map[string]any{"givenName": word.Draw(t, label+"given")}
	}
	if rapid.Bool().Draw(t, label+"ext?") {
		r[scim.EnterpriseSchema] = map[string]any{"department": word.Draw(t, label+"department")}
	}
	return r
}

// The laws of the difference: applying it gives what is desired, and then there
// is none.
func TestApplyingADifferenceLeavesNone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent, observed, desired := managed(t, "sent "), managed(t, "observed "), managed(t, "desired ")
		after, err := observed.Apply(scim.Diff(sent, observed, desired))
		if err != nil {
			var e *scim.Error
			if errors.As(err, &e) && e.ScimType == scim.Mutability {
				t.Skip("userName cannot be taken away")
			}
			t.Fatal(err)
		}
		if again := scim.Diff(sent, after, desired); len(again) > 0 {
			t.Fatalf("still differs: %v\nafter %v", again, after)
		}
		if differs := scim.Equal(after, desired); len(differs) > 0 {
			t.Fatalf("not as desired: %v", differs)
		}
	})
}

func TestErrorsAreReadInEveryShape(t *testing.T) {
	for body, want := range map[string]*scim.Error{
		`{"schemas":["` + scim.ErrorSchema + `"],"status":"409","scimType":"UNIQUENESS","detail":"userName is taken"}`: {Status: 409, ScimType: "uniqueness", Detail: "userName is taken", Attributes: []string{"userName"}},
		`{"errors":[{"detail":"bad 'emails.value'"}]}`:                                                                 {Status: 409, Detail: "bad 'emails.value'", Attributes: []string{"emails.value"}},
		`{"Errors":[{"description":"email_taken"}]}`:                                                                   {Status: 409, Detail: "email_taken"},
		`{"title":"Nope","scimType":"ann@example.com"}`:                                                                {Status: 409, Detail: "Nope"},
		`<html>gateway</html>`: {Status: 409, Detail: "<html>gateway</html>"},
		``:                     {Status: 409},
	} {
		got := scim.DecodeError(409, []byte(body))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(body, diff)
		}
	}
	if text := (&scim.Error{Status: 400, ScimType: "invalidValue", Detail: "ann@example.com", Attributes: []string{"userName"}}).Error(); text != "the target answered 400 invalidValue about userName" {
		t.Error(text)
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	if problems := scim.Validate(scim.Users, parse(t, `{"schemas":["`+scim.UserSchema+`","`+scim.EnterpriseSchema+`"],"userName":"a","active":true,"`+scim.EnterpriseSchema+`":{"department":"x"}}`)); len(problems) > 0 {
		t.Error(problems)
	}
	got := scim.Validate(scim.Users, parse(t, `{"active":"True","nonsense":1,"emails":{"value":"x"},"name":{"givenName":3}}`))
	var text []string
	for _, p := range got {
		text = append(text, p.String())
	}
	want := []string{
		"active must be a boolean", "emails must be a list", "name.givenName must be a string", "nonsense is not an attribute of the schema",
		"schemas does not name " + scim.UserSchema, "schemas is required", "userName is required",
	}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoListIsNotEmpty(t *testing.T) {
	for _, body := range []string{`{}`, `{"Resources":{}}`, `{"Resources":[1]}`, `{"detail":"error"}`, `[]`, `<html>`, `{"totalResults":"x"}`} {
		if _, err := scim.ParsePage([]byte(body)); err == nil {
			t.Errorf("%s read as a list", body)
		}
	}
	p, err := scim.ParsePage([]byte(`{"resources":[{"id":"1"}],"totalResults":7}`))
	if err != nil || p.Total != 7 || len(p.Resources) != 1 {
		t.Error(p, err)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(`emails[type eq "work" and not (value co "@")] or (a pr and b lt 3)`)
	f.Fuzz(func(t *testing.T, s string) {
		filter, err := scim.ParseFilter(s)
		if err != nil {
			return
		}
		if len(filter.String()) > 8192 {
			return // parentheses and escapes made it longer than a filter may be
		}
		again, err := scim.ParseFilter(filter.String())
		if err != nil || again.String() != filter.String() {
			t.Fatalf("%q prints as %q, which reads as %v, %v", s, filter, again, err)
		}
		filter.Match(parse(t, ann))
	})
}

func FuzzPath(f *testing.F) {
	f.Add(`urn:x:y:User:emails[type eq "a\"]"].value`)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := scim.ParsePath(s)
		if err != nil {
			return
		}
		if len(p.String()) > 2048 {
			return
		}
		if again, err := scim.ParsePath(p.String()); err != nil || again.String() != p.String() {
			t.Fatalf("%q prints as %q: %v", s, p, err)
		}
	})
}

func FuzzPatch(f *testing.F) {
	f.Add([]byte(`{"Operations":[{"op":"add","path":"emails","value":[{"value":"x"}]},{"op":"remove","path":"title"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ops, err := scim.ParsePatch(data)
		if err != nil {
			return
		}
		before := parse(t, ann)
		if _, err := before.Apply(ops); err != nil && scim.As(err) == nil {
			t.Fatalf("not a SCIM error: %v", err)
		}
		if diff := cmp.Diff(parse(t, ann), before); diff != "" {
			t.Fatal("the input was changed", diff)
		}
	})
}

func FuzzDecodeError(f *testing.F) {
	f.Add([]byte(`{"errors":{"detail":"x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e := scim.DecodeError(400, data); e == nil || e.Status != 400 {
			t.Fatal(e)
		}
	})
}
