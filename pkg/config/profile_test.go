package config

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// vendor is a target with a profile and more settings.
func vendor(t *testing.T, more string) (Target, string) {
	t.Helper()
	f, err := Load(files(t, map[string]string{"targets/x.yaml": "target: x\nendpoint: https://x.example\nauth: { bearer: { env: HR_SECRET } }\nassign: true\nusers: [ { to: userName, from: identity.email } ]\n" + more}), environment)
	if err != nil {
		return Target{}, err.Error()
	}
	return f.Targets["x"], ""
}

func TestATargetHasTheKnobsOfItsProfileWithItsQuirksOverThem(t *testing.T) {
	got, problem := vendor(t, "profile: aws\nquirks:\n  members.max_per_request: 50\n  page.style: index\n")
	if problem != "" {
		t.Fatal(problem)
	}
	if k := got.Knobs; k.MembersMax != 50 || k.PageStyle != "" || !k.MembersHidden || k.PageMax != 100 {
		t.Errorf("%+v", k)
	}
}

func TestDocumentedRatesHoldWhereTheFileNamesNone(t *testing.T) {
	for more, want := range map[string][]Rate{
		"profile: slack\n": {{180, time.Minute}},
		"profile: scim2\n": {{10, time.Second}},
		"profile: slack\nrate: [ { requests: 5, per: 1s } ]\n":             {{5, time.Second}},
		"profile: slack\nquirks: { rate: [ { requests: 7, per: 2s } ] }\n": {{7, 2 * time.Second}},
	} {
		got, problem := vendor(t, more)
		if diff := cmp.Diff(want, got.Rate); diff != "" || problem != "" {
			t.Error(more, diff, problem)
		}
	}
}

func TestWrongProfilesAndQuirksAreReportedWhereTheyStand(t *testing.T) {
	for more, want := range map[string]string{
		"profile: slak\n":                           `targets/x.yaml:6:10: there is no profile "slak" (did you mean slack?); see: joinery profiles list`,
		"profile: nothing-like-it-at-all\n":         `targets/x.yaml:6:10: there is no profile "nothing-like-it-at-all"; see: joinery profiles list`,
		"quirks:\n  patch.frm: pathless\n":          `targets/x.yaml:7:14: patch.frm: there is no such knob (did you mean patch.form?); see: joinery profiles knobs`,
		"quirks:\n  etag: no\n  patch.form: path\n": "",
		"quirks:\n  page.max_count: lots\n":         `targets/x.yaml:7:19: page.max_count: a whole number is needed here`,
	} {
		if _, problem := vendor(t, more); problem != want {
			t.Errorf("%q: %s", more, cmp.Diff(want, problem))
		}
	}
}

func TestWhatCannotBeUndoneMustBeAllowedInSoManyWords(t *testing.T) {
	const (
		disabling = "setting active to false cannot be undone here"
		deleting  = "deleting a user cannot be undone here"
	)
	for more, want := range map[string]string{
		"profile: sentry\n": disabling,
		"profile: sentry\ndeprovision: { irreversible: true }\n":                           "",
		"profile: sentry\ndeprovision: { action: none }\n":                                 "",
		"profile: github-org\n":                                                            disabling,
		"profile: notion\n":                                                                disabling,
		"profile: github\n":                                                                "",
		"profile: github\ndeprovision: { action: delete }\n":                               deleting,
		"profile: github\ndeprovision: { delete_after: 30d }\n":                            deleting,
		"profile: github\ndeprovision: { action: delete, irreversible: true }\n":           "",
		"profile: github\nquirks: { disable.by: delete }\n":                                deleting,
		"profile: slack\ndeprovision: { action: delete }\n":                                "",
		"profile: docker\ndeprovision: { action: delete }\n":                               "knows no DELETE of users",
		"quirks: { delete.irreversible: true }\ndeprovision: { action: delete }\n":         deleting,
		"profile: sentry\nquirks: { disable.irreversible: false }\n":                       "",
		"profile: github\ndeprovision: { action: none }\nquirks: { disable.by: delete }\n": "",
	} {
		_, problem := vendor(t, more)
		if (want == "") != (problem == "") || !strings.Contains(problem, want) {
			t.Errorf("%q: %s", more, problem)
		}
	}
}

func TestSchemaKnowsProfilesAndQuirks(t *testing.T) {
	var doc struct {
		Defs map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	v := validator{doc.Defs}
	target, _ := doc.Defs["target"].(map[string]any)
	for text, wrong := range map[string]bool{
		`{"profile":"slack"}`:                        false,
		`{"profile":"slak"}`:                         true,
		`{"quirks":{"page.max_count":5}}`:            false,
		`{"quirks":{"page.max_count":"5"}}`:          true,
		`{"quirks":{"page.stile":"index"}}`:          true,
		`{"quirks":{"page.style":"indx"}}`:           true,
		`{"quirks":{"create.on_existing":412}}`:      false,
		`{"quirks":{"filter.visible_after":"soon"}}`: true,
		`{"quirks":{"patch.alone":["userName"]}}`:    false,
		`{"quirks":{"rate":["100/1m"]}}`:             false,
		`{"quirks":{"filter.user_name_as":"email"}}`: false,
		`{"quirks":{"patch.bool_strings":true}}`:     false,
	} {
		var value map[string]any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		whole := map[string]any{"target": "x", "endpoint": "https://x.example", "auth": map[string]any{}, "assign": "true", "users": []any{}}
		for k, e := range value {
			whole[k] = e
		}
		if got := v.errors(target, "", whole); (len(got) > 0) != wrong {
			t.Error(text, got)
		}
	}
}
