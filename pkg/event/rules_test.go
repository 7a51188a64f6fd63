package event_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/mapping"
)

// compiled is a source whose rules are written in the mapping language.
func compiled(t *testing.T, spec mapping.SourceSpec) event.Source {
	t.Helper()
	made, problems := mapping.CompileSource(spec)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return event.Source{Name: "hr", Rules: made, KeyField: event.KeyField(spec.IdentityKey)}
}

func TestRulesOfTheMappingLanguageReadEvents(t *testing.T) {
	for _, row := range []struct {
		name string
		spec mapping.SourceSpec
		data string
		key  string
		want map[string]any
	}{
		{
			"a key that is text",
			mapping.SourceSpec{IdentityKey: "event.data.employee_id"},
			`{"employee_id":"0042","x":null}`, "0042",
			map[string]any{"employee_id": "0042"},
		},
		{
			"a key that is a number",
			mapping.SourceSpec{IdentityKey: "event.data.employee_id"},
			`{"employee_id":9007199254740991}`, "9007199254740991",
			map[string]any{"employee_id": 9007199254740991.0},
		},
		{
			"an attribute as the key",
			mapping.SourceSpec{IdentityKey: "event.subject"},
			`{"a":1}`, "person-1",
			map[string]any{"a": 1.0},
		},
		{
			"an extension in the key",
			mapping.SourceSpec{IdentityKey: `event.tenant + "/" + event.data.id`},
			`{"id":"7"}`, "eu/7",
			map[string]any{"id": "7"},
		},
		{
			"attributes by rule",
			mapping.SourceSpec{IdentityKey: "event.data.id", Attributes: `{"mail": event.data.contact.mail, "age": 41, "phone": null}`},
			`{"id":"7","contact":{"mail":"m"}}`, "7",
			map[string]any{"mail": "m", "age": 41.0},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			e, err := event.Parse([]byte(`{"specversion":"1.0","id":"e","source":"/hr","type":"changed","subject":"person-1","tenant":"eu","data":` + row.data + `}`))
			if err != nil {
				t.Fatal(err)
			}
			got, err := compiled(t, row.spec).Interpret(e, received)
			if err != nil {
				t.Fatal(err)
			}
			if got.GetIdentityKey() != row.key {
				t.Errorf("key %q, want %q", got.GetIdentityKey(), row.key)
			}
			if diff := cmp.Diff(row.want, got.GetAttributes().AsMap()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEventThatTheRulesCannotReadIsRefused(t *testing.T) {
	for _, row := range []struct {
		name  string
		spec  mapping.SourceSpec
		data  string
		code  event.Code
		field string
	}{
		{"no key", mapping.SourceSpec{IdentityKey: "event.data.employee_id"}, `{"name":"x"}`, event.Missing, "data.employee_id"},
		{"a key that is null", mapping.SourceSpec{IdentityKey: "event.data.employee_id"}, `{"employee_id":null}`, event.Missing, "data.employee_id"},
		{"a key that is a list", mapping.SourceSpec{IdentityKey: "event.data.employee_id"}, `{"employee_id":[]}`, event.Missing, "data.employee_id"},
		{"a key that is made of nothing", mapping.SourceSpec{IdentityKey: `event.data.a + event.data.b`}, `{"a":""}`, event.Missing, "data"},
		{"a kind that nobody knows", mapping.SourceSpec{IdentityKey: "event.data.id", Kind: "event.data.what"}, `{"id":"7","what":"promoted"}`, event.UnknownKind, "type"},
		{"attributes that are not there", mapping.SourceSpec{IdentityKey: "event.data.id", Attributes: "event.data.person"}, `{"id":"7"}`, event.Invalid, "data"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e, err := event.Parse([]byte(`{"specversion":"1.0","id":"e","source":"/hr","type":"changed","data":` + row.data + `}`))
			if err != nil {
				t.Fatal(err)
			}
			_, err = compiled(t, row.spec).Interpret(e, received)
			refused(t, err, row.code, row.field)
		})
	}
}
