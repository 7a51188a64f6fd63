package secevent_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/secevent"
	"google.golang.org/protobuf/proto"
)

func TestResourceBecomesAttributes(t *testing.T) {
	got := canonical(t, one(t, token(t, scim+"prov:create:full", `{"version":"v1","data":{
		"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
		"id": "u1", "externalId": "ann", "USERNAME": "ann", "password": "canary", "active": true,
		"name": {"givenName": "Ann", "familyName": "Lee"}, "nickName": null,
		"emails": [{"type": "work", "value": "ann@example.com"}],
		"meta": {"resourceType": "User"},
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "Sales", "manager": {"value": "u9"}},
		"urn:example:ext:2.0:Badge": {"number": "77"}
	}}`, nil)), mapping.SourceSpec{})
	want := map[string]any{
		"externalId": "ann", "userName": "ann", "name": map[string]any{"givenName": "Ann", "familyName": "Lee"},
		"emails":     []any{map[string]any{"type": "work", "value": "ann@example.com"}},
		"department": "Sales", "manager": map[string]any{"value": "u9"}, "urn:example:ext:2.0:Badge:number": "77",
	}
	if diff := cmp.Diff(want, got.GetAttributes().AsMap()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"nickName"}, got.GetCleared()); diff != "" {
		t.Error(diff)
	}
	if data, err := proto.Marshal(got); err != nil || strings.Contains(string(data), "canary") {
		t.Error("the password is kept", err)
	}
}

func TestInactiveResourceIsADisabledPerson(t *testing.T) {
	for _, row := range []struct{ kind, active, want string }{
		{"prov:create:full", `true`, "joined"},
		{"prov:create:full", `false`, "disabled"},
		{"prov:create:full", `"False"`, "disabled"},
		{"prov:create:full", `null`, "joined"},
		{"prov:put:full", `false`, "disabled"},
		{"prov:put:full", `true`, "changed"}, // no news: brings back nobody who has left
	} {
		got := canonical(t, one(t, token(t, scim+row.kind, `{"data":{"userName":"ann","Active":`+row.active+`}}`, nil)), mapping.SourceSpec{})
		if kind := identity.KindName(got.GetKind()); kind != row.want {
			t.Errorf("%s with active %s: %s, want %s", row.kind, row.active, kind, row.want)
		}
		if diff := cmp.Diff(map[string]any{"userName": "ann"}, got.GetAttributes().AsMap()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestPatchSaysWhatWholeAttributesAre(t *testing.T) {
	for _, row := range []struct {
		name       string
		operations string
		kind       string
		attributes map[string]any
		cleared    []string
		unread     []any
	}{
		{"a value", `{"op":"replace","path":"title","value":"Lead"}`, "changed", map[string]any{"title": "Lead"}, nil, nil},
		{"a value, as Entra writes it", `{"op":"Add","path":"urn:ietf:params:scim:schemas:core:2.0:User:title","value":"Lead"}`, "changed", map[string]any{"title": "Lead"}, nil, nil},
		{"a value of the enterprise schema", `{"op":"replace","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:Department","value":"Sales"}`, "changed", map[string]any{"department": "Sales"}, nil, nil},
		{"a value of another schema", `{"op":"replace","path":"urn:example:ext:2.0:Badge:number","value":"7"}`, "changed", map[string]any{"urn:example:ext:2.0:Badge:number": "7"}, nil, nil},
		{"several without a path", `{"op":"replace","value":{"title":"Lead","nickName":null,"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"Sales"}}}`, "changed", map[string]any{"title": "Lead", "department": "Sales"}, []string{"nickName"}, nil},
		{"a removal", `{"op":"remove","path":"title"}`, "changed", nil, []string{"title"}, nil},
		{"a removal of all values", `{"op":"remove","path":"emails"}`, "changed", nil, []string{"emails"}, nil},
		{"all values of many", `{"op":"replace","path":"emails","value":[{"value":"a@example.com"}]}`, "changed", map[string]any{"emails": []any{map[string]any{"value": "a@example.com"}}}, nil, nil},
		{"the last word counts", `{"op":"replace","path":"title","value":"Lead"},{"op":"remove","path":"title"}`, "changed", nil, []string{"title"}, nil},
		{"nothing instead of a value", `{"op":"replace","path":"emails","value":null}`, "changed", nil, []string{"emails"}, nil},
		{"another manager", `{"op":"add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":{"value":"u9"}}`, "changed", map[string]any{"manager": map[string]any{"value": "u9"}}, nil, nil},
		{"nothing more", `{"op":"add","path":"title","value":null}`, "changed", nil, nil, []any{"title"}},
		{"one value more", `{"op":"add","path":"emails","value":[{"value":"a@example.com"}]}`, "changed", nil, nil, []any{"emails"}},
		{"one value less", `{"op":"remove","path":"emails","value":[{"value":"a@example.com"}]}`, "changed", nil, nil, []any{"emails"}},
		{"a part", `{"op":"replace","path":"name.givenName","value":"Ann"},{"op":"replace","path":"title","value":"Lead"}`, "changed", map[string]any{"title": "Lead"}, nil, []any{"name.givenName"}},
		{"a part as an object", `{"op":"replace","path":"name","value":{"givenName":"Ann"}}`, "changed", nil, nil, []any{"name"}},
		{"a chosen value", `{"op":"replace","path":"emails[type eq \"work\"].value","value":"a@example.com"}`, "changed", nil, nil, []any{`emails[type eq "work"].value`}},
		{"a whole extension", `{"op":"remove","path":"URN:ietf:params:scim:schemas:extension:enterprise:2.0:User"}`, "changed", nil, nil, []any{"URN:ietf:params:scim:schemas:extension:enterprise:2.0:User"}},
		{"an end", `{"op":"replace","path":"active","value":false}`, "disabled", nil, nil, nil},
		{"an end, as Entra writes it", `{"op":"Replace","path":"active","value":"False"}`, "disabled", nil, nil, nil},
		{"an end, as Okta writes it", `{"op":"replace","value":{"active":false}}`, "disabled", nil, nil, nil},
		{"a return", `{"op":"replace","path":"active","value":true}`, "enabled", nil, nil, nil},
		{"a removal of active", `{"op":"remove","path":"active"}`, "changed", nil, nil, nil},
		{"a password", `{"op":"replace","path":"password","value":"canary"}`, "changed", nil, nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			fact := one(t, token(t, scim+"prov:patch:full", `{"data":{"schemas":[],"operations":[`+row.operations+`]}}`, nil))
			got := canonical(t, fact, mapping.SourceSpec{})
			if kind := identity.KindName(got.GetKind()); kind != row.kind {
				t.Errorf("kind %s, want %s", kind, row.kind)
			}
			if diff := cmp.Diff(row.attributes, got.GetAttributes().AsMap()); diff != "" && len(row.attributes) > 0 {
				t.Error(diff)
			}
			if n := len(got.GetAttributes().GetFields()); n != len(row.attributes) {
				t.Errorf("%d attributes", n)
			}
			if diff := cmp.Diff(row.cleared, got.GetCleared()); diff != "" {
				t.Error(diff)
			}
			unread, _ := fact.Data.(map[string]any)["unread"].([]any)
			if diff := cmp.Diff(row.unread, unread); diff != "" {
				t.Error(diff)
			}
			if got.GetFull() {
				t.Error("a change is taken for the whole person")
			}
		})
	}
}

func TestAttributesOfAResourceAreThoseThatItsEventWouldState(t *testing.T) {
	resource := map[string]any{
		"schemas": []any{"urn:ietf:params:scim:schemas:core:2.0:User"}, "id": "7", "meta": map[string]any{"version": "1"}, "password": "x", "active": false,
		"userName": "ann", "NICKNAME": "A", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": map[string]any{"department": "R"}, "urn:x:y": map[string]any{"badge": "1"},
	}
	want := map[string]any{"userName": "ann", "nickName": "A", "department": "R", "urn:x:y:badge": "1"}
	if diff := cmp.Diff(want, secevent.Attributes(resource)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
