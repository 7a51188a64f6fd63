package mapping

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSetClearLeaveAndRetractAreFourThings(t *testing.T) {
	m := compiled(t, spec(rules(
		Rule{To: "title", From: "identity.title", Empty: Clear},
		Rule{To: "manager", From: "identity.boss", Ref: "identity", Empty: Leave},
		Rule{To: "nickName", From: "identity.nickname", Empty: Retract},
		Rule{To: "locale", From: "identity.locale"},
		Rule{To: "displayName", Unique: []string{"identity.display"}, Empty: Leave},
		Rule{To: "phoneNumbers", From: "identity.phones", Empty: Clear},
	)))
	type made struct {
		Cleared, Left []string
		Title, Nick   any
		Locale        any
	}
	manager := "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value"
	for _, c := range []struct {
		claim  string
		change []func(map[string]any)
		want   made
	}{
		{
			"what is missing is cleared or left as its rule says", nil,
			made{Cleared: []string{"title", "phoneNumbers"}, Left: []string{manager, "displayName"}},
		},
		{"what is there is set", []func(map[string]any){
			with("title", "Lead"), with("boss", "E7"), with("nickname", "A"), with("locale", "de"), with("display", "Ann"),
			with("phones", []any{map[string]any{"value": "1"}}),
		}, made{Title: "Lead", Nick: "A", Locale: "de"}},
		{"an empty text is nothing only where empty is given", []func(map[string]any){
			with("title", ""), with("boss", ""), with("nickname", ""), with("locale", ""), with("phones", []any{}),
		}, made{Cleared: []string{"title", "phoneNumbers"}, Left: []string{manager, "displayName"}, Locale: ""}},
	} {
		got, err := m.Desired(ann(c.change...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, made{got.Cleared, got.Left, got.Resource["title"], got.Resource["nickName"], got.Resource["locale"]}); diff != "" {
			t.Errorf("%s: %s", c.claim, diff)
		}
		for _, path := range got.Cleared {
			if !strings.HasSuffix(got.Rules[path], "(empty: clear)") {
				t.Errorf("%s is cleared by %q", path, got.Rules[path])
			}
		}
	}
}

func TestWhatNoAccountCanLackCannotBeEmpty(t *testing.T) {
	for _, c := range []struct{ to, empty, want string }{
		{"userName", Leave, "users[0].empty: an account always has userName: it cannot be empty"},
		{"active", Clear, "users[0].empty: an account always has active: it cannot be empty"},
		{"title", "keep", `users[0].empty: "keep" is not allowed here: write retract, clear or leave`},
	} {
		_, problems := Compile(Spec{Target: "acme", Assign: "true", Users: []Rule{
			{To: c.to, From: "identity.x", Empty: c.empty}, {To: "externalId", From: "identity.key"},
		}})
		if len(problems) == 0 || problems[0].String() != c.want {
			t.Errorf("%v: %v", c, problems)
		}
	}
}

func TestTheVersionOfAMappingKnowsEverySetting(t *testing.T) {
	seen := map[string]string{}
	for name, rule := range map[string]Rule{
		"plain":   {To: "userName", From: "identity.key"},
		"retract": {To: "userName", From: "identity.key", Empty: Retract},
		"unique":  {To: "userName", Unique: []string{"identity.key"}},
		"two":     {To: "userName", Unique: []string{"identity.key", "identity.login"}},
		"counted": {To: "userName", Unique: []string{"identity.key"}, Counter: 5},
	} {
		version := compiled(t, Spec{Target: "acme", Assign: "true", Users: []Rule{rule}}).Version
		if other := seen[version]; other != "" {
			t.Errorf("%s and %s have one version", name, other)
		}
		seen[version] = name
	}
}
