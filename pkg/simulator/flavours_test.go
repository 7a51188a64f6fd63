package simulator_test

import (
	"testing"

	"github.com/joinery/joinery/pkg/scim"
	"github.com/joinery/joinery/pkg/simulator"
)

// The PATCH requests that identity providers really send, each on a fresh user
// and a fresh group.
func TestIdentityProvidersPatchesAreUnderstood(t *testing.T) {
	const entraType = "application/scim+json; charset=utf-8"
	for _, row := range []struct {
		name, on, ops string
		path          string
		want          any
	}{
		{"Entra disables with a capital Replace", "Users/000001", `{"op":"Replace","path":"active","value":false}`, "active", false},
		{"Entra sets an e-mail by its type", "Users/000001", `{"op":"Replace","path":"emails[type eq \"work\"].value","value":"new@example.com"}`, `emails[type eq "work"].value`, "new@example.com"},
		{"Entra adds a phone number that is not there", "Users/000001", `{"op":"Add","path":"phoneNumbers[type eq \"mobile\"].value","value":"+49 1"}`, `phoneNumbers[type eq "mobile"].value`, "+49 1"},
		{"Entra writes an extension attribute", "Users/000001", `{"op":"Add","path":"` + scim.EnterpriseSchema + `:department","value":"Sales"}`, scim.EnterpriseSchema + ":department", "Sales"},
		{"Entra sets a manager by id", "Users/000001", `{"op":"Add","path":"` + scim.EnterpriseSchema + `:manager.value","value":"000002"}`, scim.EnterpriseSchema + ":manager.value", "000002"},
		{"Entra sends dotted names without a path", "Users/000001", `{"op":"Add","value":{"name.givenName":"Ann","title":"Lead"}}`, "name.givenName", "Ann"},
		{"Entra adds members", "Groups/000003", `{"op":"Add","path":"members","value":[{"value":"000002"}]}`, "members.value", []any{"000001", "000002"}},
		{"Entra removes members by an array", "Groups/000003", `{"op":"Remove","path":"members","value":[{"value":"000001"}]}`, "members.value", nil},
		{"Okta disables without a path", "Users/000001", `{"op":"replace","value":{"active":false}}`, "active", false},
		{"Okta renames a group without a path, with its id", "Groups/000003", `{"op":"replace","value":{"id":"000003","displayName":"engineering"}}`, "displayName", "engineering"},
		{"Okta removes a member by a filter", "Groups/000003", `{"op":"remove","path":"members[value eq \"000001\"]"}`, "members.value", nil},
		{"Okta replaces all members", "Groups/000003", `{"op":"replace","path":"members","value":[{"value":"000002","display":"bo"}]}`, "members.value", []any{"000002"}},
		{"OneLogin adds a member twice", "Groups/000003", `{"op":"add","path":"members","value":[{"value":"000001","display":"ann","$ref":"x"}]}`, "members.value", []any{"000001"}},
		{"the RFC replaces a whole address", "Users/000001", `{"op":"add","path":"addresses","value":[{"type":"work","locality":"Bonn"}]}`, `addresses[type eq "work"].locality`, "Bonn"},
		{"the RFC removes what is not there", "Users/000001", `{"op":"remove","path":"nickName"}`, "nickName", nil},
	} {
		s := simulator.New(simulator.Options{})
		made(t, s, "/Users", user("ann"))
		made(t, s, "/Users", user("bo"))
		made(t, s, "/Groups", group("eng", "000001"))
		status, r, _ := call(t, s, "PATCH", "/"+row.on, patch(row.ops), "Content-Type", entraType)
		if status != 200 {
			t.Errorf("%s: %d %v", row.name, status, r)
			continue
		}
		value, _ := got(t, s, "/"+row.on).Get(row.path)
		same(t, row.name, row.want, value)
	}
}

func TestAnExtensionThatAPatchAddsIsDeclared(t *testing.T) {
	s := simulator.New(simulator.Options{})
	id := made(t, s, "/Users", user("ann"))
	for range 2 {
		call(t, s, "PATCH", "/Users/"+id, patch(`{"op":"add","path":"`+scim.EnterpriseSchema+`:division","value":"North"}`))
	}
	same(t, "schemas", []string{scim.UserSchema, scim.EnterpriseSchema}, got(t, s, "/Users/"+id)["schemas"])
}
