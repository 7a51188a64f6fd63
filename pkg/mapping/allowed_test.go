package mapping

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOnlyAllowedAttributesAreWritten(t *testing.T) {
	all := []Rule{
		{To: "userName", From: "identity.key"},
		{To: "name.givenName", From: "identity.first_name"},
		{To: `emails[type eq "work"].value`, From: "identity.email"},
		{To: "department", From: "identity.department"},
		{To: "title", From: "identity.title"},
		{To: "urn:example:2.0:User:badge", From: "identity.badge"},
	}
	for _, c := range []struct {
		claim string
		allow []string
		want  []string
	}{
		{"no list allows all", nil, nil},
		{
			"whole attributes and extensions allow what is under them",
			[]string{"USERNAME", "name", "emails", "title", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", "urn:example:2.0:User"},
			nil,
		},
		{
			"parts allow themselves",
			[]string{"userName", "name.givenName", `emails[type eq "work"]`, "department", "title", "urn:example:2.0:User:badge"},
			nil,
		},
		{"other parts do not", []string{"userName", "name.familyName", `emails[type eq "home"]`, "division", "urn:example:2.0:Users"}, []string{
			"users[1].to: name.givenName is not in attributes.allow: this target may not have it",
			`users[2].to: emails[type eq "work"].value is not in attributes.allow: this target may not have it`,
			"users[3].to: urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department is not in attributes.allow: this target may not have it",
			"users[4].to: title is not in attributes.allow: this target may not have it",
			"users[5].to: urn:example:2.0:User:badge is not in attributes.allow: this target may not have it",
		}},
	} {
		_, problems := Compile(Spec{Target: "acme", Assign: "true", Users: all, Allow: c.allow})
		var got []string
		for _, p := range problems {
			got = append(got, p.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.claim, diff)
		}
	}
	_, problems := Compile(Spec{Target: "acme", Assign: "true", Users: all[:1], Allow: []string{"userName", "usrName"}})
	if want := `attributes.allow[1]: a SCIM user has no attribute "usrName" (did you mean userName?)`; len(problems) != 1 || problems[0].String() != want {
		t.Errorf("%v, want %s", problems, want)
	}
}

func TestSensitiveAttributesAreReadByNameAndByPermission(t *testing.T) {
	const refused = "users[0].from: identity.salary is sensitive (pay): where this target may have it, write attributes: { sensitive: [pay] }"
	const whole = "users[0].from: the rule uses the person as a whole: where attributes are sensitive each is read by name, as in identity.email"
	withheld := map[string][]string{"pay": {"salary", "iban"}, "health": {"leave_reason"}}
	for from, want := range map[string]string{
		`identity.email`:                                       "",
		`identity.email + identity["key"]`:                     "",
		`identity.salary_band`:                                 "",
		`identity.people.map(identity, identity.salary)[0]`:    refused, // it cannot be told from the person
		`string(identity.salary)`:                              refused,
		`string(identity["salary"])`:                           refused,
		`identity.?salary.orValue("")`:                         refused,
		`has(identity.salary) ? "paid" : "unpaid"`:             refused,
		`cel.bind(p, identity, string(p.salary))`:              whole,
		`string(identity[identity.field])`:                     whole,
		`identity.map(k, k).join(",")`:                         whole,
		`[identity].map(i, string(i.salary))[0]`:               whole,
		`identity.salary == 5 && has(identity.iban) ? "" : ""`: "users[0].from: identity.salary is sensitive",
	} {
		_, problems := Compile(Spec{
			Target: "acme", Assign: "identity.salary > 5", Users: []Rule{{To: "userName", From: from}}, Withheld: withheld,
		})
		got := ""
		if len(problems) > 0 {
			got = problems[0].String()
		}
		if got != want && (want == "" || len(got) < len(want) || got[:len(want)] != want) {
			t.Errorf("%s: %q, want %q", from, got, want)
		}
	}
	_, problems := Compile(Spec{
		Target: "acme", Assign: "true", Withheld: withheld,
		Users: []Rule{{To: "userName", Unique: []string{"identity.key", "identity.iban"}}},
	})
	if len(problems) != 1 || problems[0].Field != "users[0].unique[1]" {
		t.Errorf("a candidate: %v", problems)
	}
}
