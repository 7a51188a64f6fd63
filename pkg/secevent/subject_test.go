package secevent_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/mapping"
)

func TestSubjectIsOfferedToTheKeyRule(t *testing.T) {
	for _, row := range []struct {
		name    string
		claims  string // of the token, in the place of sub_id
		payload string // the event's
		rule    string
		key     string
		subject string
	}{
		{"email", `"sub_id":{"format":"email","email":"ann@example.com"}`, `{}`, "event.data.person.email", "ann@example.com", "ann@example.com"},
		{"issuer and subject", `"sub_id":{"format":"iss_sub","iss":"https://idp.example","sub":"4711"}`, `{}`, "event.data.person.iss + '|' + event.data.person.sub", "https://idp.example|4711", "4711"},
		{"opaque", `"sub_id":{"format":"opaque","id":"o-1"}`, `{}`, "event.data.person.id", "o-1", "o-1"},
		{"account", `"sub_id":{"format":"account","uri":"acct:ann@example.com"}`, `{}`, "event.subject", "acct:ann@example.com", "acct:ann@example.com"},
		{"telephone", `"sub_id":{"format":"phone_number","phone_number":"+15550100"}`, `{}`, "event.subject", "+15550100", "+15550100"},
		{"decentralised", `"sub_id":{"format":"did","url":"did:example:123"}`, `{}`, "event.subject", "did:example:123", "did:example:123"},
		{"uri", `"sub_id":{"format":"uri","uri":"https://hr.example/p/7"}`, `{}`, "event.subject", "https://hr.example/p/7", "https://hr.example/p/7"},
		{"SCIM, by its id", `"sub_id":{"format":"scim","uri":"/Users/u1"}`, `{}`, "event.data.person.id", "u1", "/Users/u1"},
		{"SCIM, by its externalId", `"sub_id":{"format":"scim","uri":"/Users/u1","externalId":"e1"}`, `{}`, "event.data.sub_id.externalId", "e1", "/Users/u1"},
		{"SCIM, by an id that is said", `"sub_id":{"format":"scim","uri":"/Users/u1","id":"U-1"}`, `{}`, "event.data.person.id", "U-1", "/Users/u1"},
		{"complex", `"sub_id":{"format":"complex","user":{"format":"email","email":"ann@example.com"},"device":{"format":"opaque","id":"d1"}}`, `{}`, "event.data.person.email", "ann@example.com", "ann@example.com"},
		{"complex without its format", `"sub_id":{"user":{"format":"opaque","id":"o-1"}}`, `{}`, "event.data.sub_id.user.id", "o-1", "o-1"},
		{"aliases", `"sub_id":{"format":"aliases","identifiers":[{"format":"email","email":"ann@example.com"},{"format":"iss_sub","iss":"i","sub":"4711"},{"format":"email","email":"other@example.com"}]}`, `{}`, "event.data.person.sub + event.data.person.email", "4711ann@example.com", "ann@example.com"},
		{"a format nobody knows", `"sub_id":{"format":"employee","number":"77"}`, `{}`, "event.data.person.number", "77", ""},
		{"the claim sub", `"sub":"4711"`, `{}`, "event.data.person.sub", "4711", "4711"},
		{"the event's own, as RISC was", `"x":1`, `{"subject":{"subject_type":"iss-sub","iss":"i","sub":"4711"}}`, "event.data.person.sub", "4711", "4711"},
		{"the event's own, as CAEP was", `"x":1`, `{"subject":{"user":{"format":"iss_sub","iss":"i","sub":"4711"}}}`, "event.data.person.sub", "4711", "4711"},
	} {
		t.Run(row.name, func(t *testing.T) {
			claims := `{"iss":"https://idp.example","jti":"1","iat":1780314000,` + row.claims +
				`,"events":{"` + risc + `account-disabled":` + row.payload + `}}`
			got := canonical(t, one(t, []byte(claims)), mapping.SourceSpec{IdentityKey: row.rule})
			if got.GetIdentityKey() != row.key || got.GetSubject() != row.subject {
				t.Errorf("got %q about %q, want %q about %q", got.GetIdentityKey(), got.GetSubject(), row.key, row.subject)
			}
		})
	}
}

func TestSubjectThatNamesNobodyHasNoKey(t *testing.T) {
	fact := one(t, token(t, caep+"session-revoked", `{}`, map[string]any{
		"sub_id": json.RawMessage(`{"format":"complex","session":{"format":"opaque","id":"s1"}}`),
	}))
	if key, err := rules(t, mapping.SourceSpec{IdentityKey: "event.data.person.id"}).Key(fact.Values()); err == nil {
		t.Errorf("key %q", key)
	}
	if fact.Subject != "" || fact.Acts {
		t.Errorf("got %+v", fact)
	}
}

func TestEventsAboutGroupsAreLeftOut(t *testing.T) {
	for _, uri := range []string{"/Groups/g1", "/groups/g1", "https://scim.example/v2/Groups/g1"} {
		set := read(t, token(t, scim+"prov:delete", `{}`, map[string]any{"sub_id": map[string]any{"format": "scim", "uri": uri}}))
		if len(set.Facts) != 0 {
			t.Errorf("%s: a group's end would be a person's", uri)
		}
	}
	for _, uri := range []string{"/Users/Groups", "/Employees/1", "/Users/u1"} {
		if set := read(t, token(t, scim+"prov:delete", `{}`, map[string]any{"sub_id": map[string]any{"format": "scim", "uri": uri}})); len(set.Facts) != 1 {
			t.Errorf("%s is left out", uri)
		}
	}
}

func TestSourceRulesGoFirst(t *testing.T) {
	spec := mapping.SourceSpec{
		IdentityKey: "event.data.person.externalId",
		Kind:        `event.type.endsWith(":prov:deactivate") ? "left" : event.data.kind`,
		Attributes:  `{"mail": event.data.attributes.emails[0].value}`,
	}
	got := canonical(t, one(t, token(t, scim+"prov:deactivate", `{}`, nil)), spec)
	if got.GetKind().String() != "LIFECYCLE_KIND_LEFT" || got.GetAttributes() != nil {
		t.Errorf("got %v", got)
	}
	got = canonical(t, one(t, token(t, scim+"prov:create:full", `{"data":{"emails":[{"value":"ann@example.com"}]}}`, nil)), spec)
	if diff := cmp.Diff(map[string]any{"mail": "ann@example.com"}, got.GetAttributes().AsMap()); diff != "" || got.GetKind().String() != "LIFECYCLE_KIND_JOINED" {
		t.Error(got, diff)
	}
}
