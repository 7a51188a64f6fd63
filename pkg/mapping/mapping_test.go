package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/scim"
	"pgregory.net/rapid"
)

// spec is the mapping of the design's example, with changes.
func spec(change ...func(*Spec)) Spec {
	s := Spec{
		Target: "acme",
		Assign: `identity.active && identity.department in ["Engineering", "Support"]`,
		Users: []Rule{
			{To: "userName", From: "identity.email.lowerAscii()"},
			{To: "externalId", From: "identity.key"},
			{To: "name.givenName", From: "identity.first_name"},
			{To: `emails[type eq "work"].value`, From: "identity.email"},
			{To: scim.EnterpriseSchema + ":department", From: "identity.department"},
			{To: "manager", From: "identity.manager", Ref: "identity"},
		},
	}
	for _, f := range change {
		f(&s)
	}
	return s
}

func assign(text string) func(*Spec) { return func(s *Spec) { s.Assign = text } }

func rules(rules ...Rule) func(*Spec) {
	return func(s *Spec) { s.Users = append([]Rule{{To: "userName", From: "identity.email"}}, rules...) }
}

func compiled(t *testing.T, s Spec) *Mapping {
	t.Helper()
	m, problems := Compile(s)
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	return m
}

func ann(change ...func(map[string]any)) Person {
	a := map[string]any{
		"email": "Ann@Example.com", "first_name": "Ann", "department": "Support", "manager": "E7",
	}
	for _, f := range change {
		f(a)
	}
	return Person{Key: "E1042", Active: true, State: "active", Attributes: a}
}

func without(name string) func(map[string]any) { return func(a map[string]any) { delete(a, name) } }

func with(name string, v any) func(map[string]any) { return func(a map[string]any) { a[name] = v } }

func TestPersonBecomesAResourceWithReasons(t *testing.T) {
	got, err := compiled(t, spec()).Desired(ann())
	if err != nil {
		t.Fatal(err)
	}
	manager := scim.EnterpriseSchema + ":manager.value"
	want := Result{
		Assigned: true,
		Resource: scim.Resource{
			"userName": "ann@example.com", "externalId": "E1042", "active": true,
			"name":                map[string]any{"givenName": "Ann"},
			"emails":              []any{map[string]any{"type": "work", "value": "Ann@Example.com"}},
			scim.EnterpriseSchema: map[string]any{"department": "Support"},
		},
		Rules: map[string]string{
			"active":                              "assign",
			"userName":                            "users[0] identity.email.lowerAscii()",
			"externalId":                          "users[1] identity.key",
			"name.givenName":                      "users[2] identity.first_name",
			`emails[type eq "work"].value`:        "users[3] identity.email",
			scim.EnterpriseSchema + ":department": "users[4] identity.department",
			manager:                               "users[5] identity.manager",
		},
		References: map[string]string{manager: "E7"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestAssignmentDecidesWhoHasAnAccount(t *testing.T) {
	for _, c := range []struct {
		claim, assign string
		person        Person
		want          bool
	}{
		{"a condition that holds assigns", "identity.active", ann(), true},
		{"a condition that fails does not", "!identity.active", ann(), false},
		{"a missing attribute does not", "identity.team == 'x'", ann(), false},
		{"a null attribute does not", "identity.team == 'x'", ann(with("team", nil)), false},
		{"null does not", "null", ann(), false},
		{"an absent optional does not", "identity.?team", ann(), false},
		{"what was decided before the missing one stays decided", "identity.active || identity.team == 'x'", ann(), true},
		{"state and key can be asked", "identity.state == 'active' && identity.key.startsWith('E')", ann(), true},
		{"attributes never pretend to be the state", "identity.state == 'active'", ann(with("state", "fired")), true},
	} {
		got, err := compiled(t, spec(assign(c.assign))).Desired(c.person)
		if err != nil || got.Assigned != c.want {
			t.Errorf("%s: assigned %v, %v", c.claim, got.Assigned, err)
		}
		if !got.Assigned && (got.Resource != nil || got.Rules != nil || got.References != nil) {
			t.Errorf("%s: something is desired of nobody: %v", c.claim, got)
		}
	}
}

func TestAbsentAttributeIsLeftOutOfTheResource(t *testing.T) {
	m := compiled(t, spec())
	for _, change := range []func(map[string]any){without("first_name"), with("first_name", nil)} {
		got, err := m.Desired(ann(change, without("manager")))
		if err != nil {
			t.Fatal(err)
		}
		if _, there := got.Resource["name"]; there {
			t.Errorf("name is desired: %v", got.Resource)
		}
		if _, there := got.Rules["name.givenName"]; there || len(got.References) > 0 {
			t.Errorf("rules or references of what is absent: %v %v", got.Rules, got.References)
		}
	}
}

func TestActiveIsSetUnlessItIsMapped(t *testing.T) {
	got, err := compiled(t, spec(rules(Rule{To: "active", From: "identity.state != 'on_leave'"}))).Desired(
		Person{Key: "1", State: "on_leave", Active: true, Attributes: ann().Attributes})
	if err != nil {
		t.Fatal(err)
	}
	want := scim.Resource{"userName": "Ann@Example.com", "active": false}
	if diff := cmp.Diff(want, got.Resource); diff != "" {
		t.Fatal(diff)
	}
}

func TestValuesTakeTheTypeOfTheirAttribute(t *testing.T) {
	urn := "urn:example:2.0:User"
	for _, c := range []struct {
		claim, to, from string
		want            any
	}{
		{"a number becomes text", "externalId", "identity.number", "1042"},
		{"a large number keeps its digits", "externalId", "9007199254740993", "9007199254740993"},
		{"an unsigned number becomes text", "externalId", "7u", "7"},
		{"a fraction becomes text", "title", "1.50", "1.5"},
		{"text becomes a boolean", "active", "'FALSE'", false},
		{"a literal is a constant", "title", `"Engineer"`, "Engineer"},
		{"a list becomes values", "roles", "identity.roles.map(r, {'value': r})", []any{map[string]any{"value": "a"}, map[string]any{"value": "b"}}},
		{"a list of texts stays one", "entitlements", "identity.roles", []any{"a", "b"}},
		{"a map becomes a complex value", "name", "{'givenName': identity.email, 'familyName': null}", map[string]any{"givenName": "Ann@Example.com"}},
		{"a map becomes an element", `addresses[type eq "work"]`, "{'locality': 'Berlin', ?'region': identity.?region}", map[string]any{"type": "work", "locality": "Berlin"}},
		{"a custom attribute takes any type", urn + ":level", "identity.number", 1042.0},
		{"a custom attribute takes a truth", urn + ":remote", "true", true},
		{"a custom attribute takes a time", urn + ":since", "timestamp('2026-01-01T00:00:00+01:00')", "2026-01-01T00:00:00+01:00"},
		{"a custom attribute takes a duration", urn + ":notice", "duration('90s')", "90s"},
		{"a custom attribute takes bytes", urn + ":key", "b'ann'", "YW5u"},
		{"a custom extension takes a map", urn, "{'a': [1, null], 'b': []}", map[string]any{"a": []any{1.0}}},
		{"the enterprise extension takes a map", scim.EnterpriseSchema, "{'division': 'x'}", map[string]any{"division": "x"}},
	} {
		got, err := compiled(t, spec(rules(Rule{To: c.to, From: c.from}))).Desired(
			ann(with("number", 1042.0), with("roles", []any{"a", "b"})))
		if err != nil {
			t.Errorf("%s: %v", c.claim, err)
			continue
		}
		v, _ := got.Resource.Get(c.to)
		if diff := cmp.Diff(c.want, v); diff != "" {
			t.Errorf("%s: %s", c.claim, diff)
		}
	}
}

func TestEmptyValueIsNoValue(t *testing.T) {
	for _, from := range []string{"[]", "[null]", "identity.none", "identity.?none", "null", "identity.roles.filter(r, false)", "identity.?roles[?7]"} {
		got, err := compiled(t, spec(rules(Rule{To: "roles", From: from}))).Desired(ann(with("roles", []any{"a"})))
		if err != nil {
			t.Errorf("%s: %v", from, err)
		}
		if v, there := got.Resource["roles"]; there {
			t.Errorf("%s: roles are %v", from, v)
		}
	}
}

func TestFailingRuleNamesItselfAndItsAttributeButNoValue(t *testing.T) {
	const canary = "canary-value-7731"
	person := ann(with("secret", canary), with("list", []any{canary}), with("map", map[string]any{canary: canary}),
		with("number", 77.31), with("truth", true))
	for _, c := range []struct{ to, from, want string }{
		{"title", "identity.secret / 2", "acme users[1] cannot make title: an operation does not suit the type of its value"},
		{"title", "int(identity.secret) == 1 ? 'a' : 'b'", "acme users[1] cannot make title: a value cannot be converted"},
		{"title", "string(timestamp(identity.secret))", "acme users[1] cannot make title: the expression fails for this value"},
		{"title", "identity.secret.substring(99)", "acme users[1] cannot make title: a position lies outside a text"},
		{"title", "identity.list", "acme users[1] cannot make title: the value is not a text"},
		{"title", "identity.truth", "acme users[1] cannot make title: the value is not a text"},
		{"active", "identity.secret", "acme users[1] cannot make active: the value is neither true nor false"},
		{"roles", "identity.secret", "acme users[1] cannot make roles: the value is not a list, but the attribute has several values"},
		{"name", "identity.secret", "acme users[1] cannot make name: the value is not a map, but the attribute has sub-attributes"},
		{"urn:x:y:User:z", "{1: identity.secret, true: 'x'}", "acme users[1] cannot make urn:x:y:User:z: the value cannot be written as JSON"},
		{"title", "1.0 / (identity.number - identity.number)", "acme users[1] cannot make title: the value is not a number"},
		{"title", "string(1 / int(identity.number - identity.number))", "acme users[1] cannot make title: division by zero"},
		{"title", "identity.secret.matches(identity.secret + '(') ? 'a' : 'b'", "acme users[1] cannot make title: the expression fails for this value"},
		{"title", "'%d'.format([identity.secret])", "acme users[1] cannot make title: the expression fails for this value"},
	} {
		_, err := compiled(t, spec(assign("true"), rules(Rule{To: c.to, From: c.from}))).Desired(person)
		if err == nil {
			t.Errorf("%s: no error", c.from)
			continue
		}
		if err.Error() != c.want {
			t.Errorf("%s: %q, want %q", c.from, err, c.want)
		}
		for _, format := range []string{"%v", "%s", "%q", "%+v"} {
			if strings.Contains(fmt.Sprintf(format, err), canary) {
				t.Errorf("%s: the value is in the error", c.from)
			}
		}
		if e := (*RuleError)(nil); !errors.As(err, &e) || e.Target != "acme" || e.Rule != "users[1]" {
			t.Errorf("%s: not a RuleError of the rule: %#v", c.from, err)
		}
	}
}

func TestFailingAssignmentIsAnErrorAndNotANo(t *testing.T) {
	for from, want := range map[string]string{
		"identity.email > 5":           "acme assign: an operation does not suit the type of its value",
		"identity.email":               "acme assign: the value is neither true nor false",
		"identity.?email":              "acme assign: the value is neither true nor false",
		"1 / 0 > 1":                    "acme assign: division by zero",
		"identity.active && 1 / 0 > 1": "acme assign: division by zero",
	} {
		if _, err := compiled(t, spec(assign(from))).Desired(ann()); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", from, err, want)
		}
	}
}

func TestAccountWithoutUserNameIsRefused(t *testing.T) {
	_, err := compiled(t, spec()).Desired(ann(without("email")))
	const want = "acme users cannot make userName: it has no value for this person, and every SCIM account must have one"
	if err == nil || err.Error() != want {
		t.Fatalf("%v, want %s", err, want)
	}
}

func TestExpensiveExpressionIsStopped(t *testing.T) {
	many := make([]any, 1000)
	for i := range many {
		many[i] = strings.Repeat("x", 100)
	}
	for from, want := range map[string]string{
		"identity.many.map(a, identity.many.map(b, a + b))[0][0]":     "the expression is too expensive for this value",
		"identity.many.map(a, identity.many.join('').normalize())[0]": "the expression is too expensive for this value",
	} {
		_, err := compiled(t, spec(assign("true"), rules(Rule{To: "title", From: from}))).Desired(ann(with("many", many)))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", from, err)
		}
	}
}

func TestManyGroupsAndLongTextsAreWithinTheLimit(t *testing.T) {
	groups := make([]any, 2000)
	for i := range groups {
		groups[i] = fmt.Sprintf("eng-%d", i)
	}
	m := compiled(t, spec(assign("true"), rules(
		Rule{To: "roles", From: `identity.groups.filter(g, g.startsWith("eng-")).map(g, {"value": g.after("-")})`},
		Rule{To: "title", From: "identity.photo.normalize().left(3)"},
	)))
	got, err := m.Desired(ann(with("groups", groups), with("photo", strings.Repeat("é", 128<<10))))
	if err != nil {
		t.Fatal(err)
	}
	if roles, _ := got.Resource["roles"].([]any); len(roles) != 2000 || got.Resource["title"] != "eee" {
		t.Fatalf("%d roles, title %v", len(roles), got.Resource["title"])
	}
}

func TestEveryProblemIsReportedWithItsPlace(t *testing.T) {
	_, got := Compile(Spec{
		Target: "acme",
		Assign: "identity.active &&",
		Users: []Rule{
			{To: "userName", From: "identity.email.lowerAscci()"},
			{To: "username", From: "email"},
			{To: "nickname", From: "identity.active"},
			{To: "nickNames", From: "identity.x"},
			{To: "id", From: "identity.key"},
			{To: "groups", From: "identity.key"},
			{To: "meta.location", From: "identity.key"},
			{To: "schemas", From: "[]"},
			{To: "emails.value", From: "identity.email"},
			{To: "userName[type eq \"x\"]", From: "identity.email"},
			{To: "name.first", From: "identity.email"},
			{To: "title.x", From: "identity.email"},
			{To: "manager.displayName", From: "identity.email"},
			{To: `emails[type gt "a"].value`, From: "identity.email"},
			{To: "emails[", From: "identity.email"},
			{To: "", From: " "},
			{To: "active", From: "[true]"},
			{To: "roles", From: "'admin'"},
			{To: "name", From: "'Ann'"},
			{To: "name.givenName", From: "identity.\n  first_name.proper(1, 2)"},
			{To: "manager", From: "true", Ref: "identity"},
			{To: "active", From: "true", Ref: "person"},
			{To: "emails", From: "[]", Ref: "identity"},
			{To: scim.UserSchema, From: "{}"},
			{To: scim.UserSchema + ":department", From: "identity.x"},
			{To: scim.EnterpriseSchema + ":division", From: "timestamp(identity.x)"},
		},
		Groups: []GroupRule{{DisplayName: "identity.x", When: "1"}, {}},
		Tests:  []Test{{}, {Want: map[string]any{"userNam": "x", "id": "y"}}},
	})
	want := []Problem{
		{"assign", 1, 19, "syntax error: the expression ends too early"},
		{"users[0].from", 1, 16, `there is no function "lowerAscci" (did you mean lowerAscii?)`},
		{"users[1].to", 0, 0, "userName is written by users[0] already"},
		{"users[1].from", 1, 1, `nothing is called "email" here (an attribute is read as identity.email, a text stands in quotes)`},
	}
	if diff := cmp.Diff(want, got[:4]); diff != "" {
		t.Error(diff)
	}
	var lines []string
	for _, p := range got[4:] {
		lines = append(lines, p.String())
	}
	wantLines := []string{
		`users[3].to: a SCIM user has no attribute "nickNames" (did you mean nickName?)`,
		`users[4].to: id is written by the service provider`,
		`users[5].to: groups follows from the members of groups: use the rules under groups`,
		`users[6].to: meta is written by the service provider`,
		`users[7].to: schemas is written by Joinery`,
		`users[8].to: emails has several values: say which, as in emails[type eq "work"].value`,
		`users[9].to: userName has one value: it cannot be filtered`,
		`users[10].to: name has no sub-attribute "first"`,
		`users[11].to: title has no sub-attributes`,
		`users[12].to: manager.displayName is written by the service provider`,
		`users[13].to: emails[type gt "a"].value cannot be written: the filter must be made of equalities, as in [type eq "work"]`,
		`users[14].to: "emails[" is not a SCIM path: a bracket is not closed`,
		`users[15].to: the path is missing: name a SCIM attribute`,
		`users[15].from: from is missing: an expression is needed`,
		`users[16].from: the expression gives a list where true or false or a text is needed`,
		`users[17].from: the expression gives a text where a list is needed`,
		`users[18].from: the expression gives a text where a map is needed`,
		`users[19].to: name.givenName is written by users[18] already`,
		`users[19].from: found no matching overload for 'proper' applied to 'any.(int, int)'`,
		`users[20].from: the expression gives true or false where a text or a number is needed`,
		`users[21].ref: "person" cannot be referred to: the one kind of reference is identity`,
		`users[21].to: active is written by users[16] already`,
		`users[22].to: emails cannot refer to a person`,
		`users[22].from: the expression gives a list where a text or a number is needed`,
		`users[23].to: the core schema is not an attribute: name one of its attributes`,
		`users[24].to: a SCIM user has no attribute "department"`,
		`users[25].from: the expression gives a time where a text or a number is needed`,
		`groups[0].displayName: nothing is called "identity" here (an attribute is read as group.identity, a text stands in quotes)`,
		`groups[0].when: the expression gives a number where true or false is needed`,
		`groups[1].displayName: displayName is missing: an expression is needed`,
		`tests[0]: the test wants nothing: give it want or assigned`,
		`tests[1].want.id: id is written by the service provider`,
		`tests[1].want.userNam: a SCIM user has no attribute "userNam" (did you mean userName?)`,
	}
	if diff := cmp.Diff(wantLines, lines); diff != "" {
		t.Error(diff)
	}
}

func TestProblemInALongExpressionHasItsLine(t *testing.T) {
	_, got := Compile(spec(assign("identity.active &&\n  identity.deparment.lowerAscci() == 'x'")))
	want := []Problem{{"assign", 2, 22, `there is no function "lowerAscci" (did you mean lowerAscii?)`}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestMappingWithoutItsEssentialsIsRefused(t *testing.T) {
	_, got := Compile(Spec{})
	want := []Problem{
		{Field: "assign", Message: "assign is missing: say who has an account, as in assign: identity.active"},
		{Field: "users", Message: "no rule writes userName, which every SCIM account must have"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestExpressionBeyondItsBoundsIsRefused(t *testing.T) {
	for claim, text := range map[string]string{
		"too long":    "identity.active" + strings.Repeat(" && true", MaxExpression/8),
		"too deep":    strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100),
		"deep loops":  "[1].exists(a, [1].exists(b, [1].exists(c, [1].exists(d, [1].exists(e, true)))))",
		"large regex": "identity.x.matches('(a{500}){500}')",
	} {
		if _, problems := Compile(spec(assign(text))); len(problems) == 0 {
			t.Errorf("%s: accepted", claim)
		}
	}
}

func TestOverlappingRulesAreReportedAndSiblingsAreNot(t *testing.T) {
	for _, c := range []struct {
		first, second string
		overlap       bool
	}{
		{"name.givenName", "name.familyName", false},
		{"name", "name.familyName", true},
		{"name.familyName", "name", true},
		{"nickName", "NICKNAME", true},
		{"emails", `emails[type eq "work"].value`, true},
		{`emails[type eq "work"].value`, "emails", true},
		{`emails[type eq "work"].value`, `emails[type eq "home"].value`, false},
		{`emails[type eq "work"].value`, `emails[type eq "work"].display`, false},
		{`emails[type eq "work"]`, `emails[type eq "work"].display`, true},
		{`emails[type eq "work"].display`, `emails[type eq "work"]`, true},
		{"department", scim.EnterpriseSchema + ":department", true},
		{"department", "division", false},
		{scim.EnterpriseSchema, "division", true},
		{"division", scim.EnterpriseSchema, true},
		{scim.UserSchema + ":title", "title", true},
		{"urn:a:b:User:x", "urn:a:b:User:xy", false},
		{"urn:a:b:User", "urn:a:b:User:x", true},
		{"manager", "manager.value", true},
	} {
		first, wrong := destinationOf(c.first, false)
		second, alsoWrong := destinationOf(c.second, false)
		if wrong != "" || alsoWrong != "" {
			t.Fatal(wrong, alsoWrong)
		}
		taken := map[string]string{}
		first.claim(taken, "users[0]")
		if got := second.claim(taken, "users[1]"); (len(got) > 0) != c.overlap {
			t.Errorf("%s and %s: %v", c.first, c.second, got)
		}
	}
}

func TestAccountsAreSearchedByPlainAttributes(t *testing.T) {
	for path, want := range map[string]string{
		"userName": "", "externalId": "", "emails.value": "", "employeeNumber": "", scim.EnterpriseSchema + ":employeeNumber": "",
		"urn:a:b:User:x": "", "name.familyName": "",
		"emails":                       "emails has sub-attributes: name one, as in emails.value",
		"name":                         "name has sub-attributes: name one, as in name.formatted",
		`emails[type eq "work"].value`: "an account is searched by an attribute, without a filter: write emails.value",
		"id":                           "id is written by the service provider",
		"usrName":                      `a SCIM user has no attribute "usrName" (did you mean userName?)`,
		"":                             "the path is missing: name a SCIM attribute",
		"a b":                          `"a b" is not a SCIM path: there is something after the path`,
	} {
		if got := CheckMatch(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestWrongPathIsNotAlsoAMissingUserName(t *testing.T) {
	_, got := Compile(Spec{Assign: "true", Users: []Rule{{To: "userNam", From: "identity.email"}}})
	want := []Problem{{Field: "users[0].to", Message: `a SCIM user has no attribute "userNam" (did you mean userName?)`}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestVersionChangesWithTheRulesAndNothingElse(t *testing.T) {
	first := compiled(t, spec())
	again := compiled(t, spec(func(s *Spec) { s.Tests = []Test{{Want: map[string]any{"userName": "x"}}} }))
	changed := compiled(t, spec(assign("identity.active")))
	if first.Version != again.Version || first.Version == changed.Version || len(first.Version) != 16 {
		t.Fatalf("versions %q, %q, %q", first.Version, again.Version, changed.Version)
	}
}

func TestGroupsAreNamedByTheirRules(t *testing.T) {
	m := compiled(t, spec(func(s *Spec) {
		s.Groups = []GroupRule{
			{DisplayName: `"eng-" + group.name`, When: `group.kind == "team"`},
			{DisplayName: `group.name`, When: `group.kind == "team"`},
			{DisplayName: `group.name`},
			{DisplayName: `group.cost_center`},
			{DisplayName: `"x"`, When: `group.cost_center == "1"`},
		}
	}))
	for kind, want := range map[string]string{"team": "eng-web", "role": "web"} {
		got, err := m.GroupName(Group{Key: "1", Name: "web", Kind: kind})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", kind, err, diff)
		}
	}
	failing := compiled(t, spec(func(s *Spec) { s.Groups = []GroupRule{{DisplayName: "group.name.substring(9)"}} }))
	_, err := failing.GroupName(Group{Name: "web"})
	if err == nil || err.Error() != "acme groups[0] cannot make displayName: a position lies outside a text" {
		t.Fatal(err)
	}
}

func TestPeopleAreGroupedByRules(t *testing.T) {
	m := compiled(t, spec(func(s *Spec) {
		s.Groups = []GroupRule{
			{DisplayName: `"leads"`, Members: `identity.title == "Lead"`},
			{DisplayName: `"dept-" + identity.department`, Members: `has(identity.department)`},
			{DisplayName: `group.name`},
		}
	}))
	for title, want := range map[string][]string{"Lead": {"dept-Support", "leads"}, "": {"dept-Support"}} {
		got, err := m.Desired(Person{Key: "1", Active: true, Attributes: map[string]any{"email": "a@b.example", "title": title, "department": "Support"}})
		if diff := cmp.Diff(want, got.Groups); diff != "" || err != nil {
			t.Errorf("%q: %v %s", title, err, diff)
		}
	}
	if !m.HasGroups() || compiled(t, spec(func(s *Spec) { s.Groups = nil })).HasGroups() {
		t.Error("whether sources' groups count is not told")
	}
	_, problems := Compile(spec(func(s *Spec) { s.Groups = []GroupRule{{DisplayName: `"x"`, When: "group.kind == 1", Members: "true"}} }))
	if len(problems) != 1 || problems[0].Field != "groups[0].when" {
		t.Error(problems)
	}
}

// jsonValue draws what a source can say.
func jsonValue(depth int) *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.StringN(0, 6, 12), func(s string) any { return s }),
		rapid.Map(rapid.Float64Range(-1e6, 1e6), func(f float64) any { return f }),
	)
	if depth == 0 {
		return leaf
	}
	return rapid.OneOf(leaf,
		rapid.Map(rapid.SliceOfN(jsonValue(depth-1), 0, 3), func(l []any) any { return l }),
		rapid.Map(rapid.MapOfN(rapid.StringN(1, 4, 8), jsonValue(depth-1), 0, 3), func(m map[string]any) any { return m }))
}

func TestDesiredIsDeterministicTotalAndLeavesThePersonAlone(t *testing.T) {
	m := compiled(t, spec(assign("true"), func(s *Spec) {
		s.Users = append(s.Users,
			Rule{To: "title", From: "coalesce(identity.title, identity.department)"},
			Rule{To: "roles", From: "identity.roles"},
			Rule{To: "urn:a:b:User:x", From: "identity.extra"})
	}))
	rapid.Check(t, func(t *rapid.T) {
		attributes := map[string]any{"email": "a@b.c"}
		for _, name := range []string{"email", "first_name", "department", "manager", "title", "roles", "extra", "key"} {
			if rapid.Bool().Draw(t, "has "+name) {
				attributes[name] = jsonValue(2).Draw(t, name)
			}
		}
		before, _ := json.Marshal(attributes)
		p := Person{Key: "1", Active: true, State: "active", Attributes: attributes}
		first, err := m.Desired(p)
		again, errAgain := m.Desired(p)
		if diff := cmp.Diff(first, again); diff != "" || fmt.Sprint(err) != fmt.Sprint(errAgain) {
			t.Fatalf("twice is not the same: %s, %v, %v", diff, err, errAgain)
		}
		if after, _ := json.Marshal(attributes); string(after) != string(before) {
			t.Fatalf("the person was changed")
		}
		if err != nil {
			if e := (*RuleError)(nil); !errors.As(err, &e) {
				t.Fatalf("not a RuleError: %v", err)
			}
			return
		}
		data, err := json.Marshal(first.Resource)
		if err != nil {
			t.Fatalf("not JSON: %v", err)
		}
		if _, err := scim.Parse(data); err != nil {
			t.Fatalf("not a SCIM resource: %v", err)
		}
	})
}

func BenchmarkDesired(b *testing.B) {
	s := spec()
	for _, name := range []string{"familyName", "middleName", "formatted", "honorificPrefix"} {
		s.Users = append(s.Users, Rule{To: "name." + name, From: "identity.first_name.proper()"})
	}
	for _, name := range []string{"title", "displayName", "nickName", "locale", "timezone"} {
		s.Users = append(s.Users, Rule{To: name, From: "coalesce(identity.title, identity.first_name.normalize())"})
	}
	m, problems := Compile(s)
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	p := ann()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Desired(p); err != nil {
			b.Fatal(err)
		}
	}
}
