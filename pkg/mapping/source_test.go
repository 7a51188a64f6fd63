package mapping

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func compiledSource(t *testing.T, s SourceSpec) *Source {
	t.Helper()
	source, problems := CompileSource(s)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return source
}

func joined(data map[string]any) map[string]any {
	return map[string]any{"id": "1", "source": "/hr", "type": "com.example.joined", "subject": "E1042", "data": data}
}

func TestKeyIsWhatTheRuleGives(t *testing.T) {
	for _, c := range []struct {
		claim, rule string
		data        map[string]any
		want        string
	}{
		{"a text", "event.data.employee_id", map[string]any{"employee_id": "E1042"}, "E1042"},
		{"a number as its digits", "event.data.employee_id", map[string]any{"employee_id": 1042.0}, "1042"},
		{"a large number as its digits", "event.data.employee_id", map[string]any{"employee_id": 9007199254740991.0}, "9007199254740991"},
		{"an attribute of the event", "event.subject", nil, "E1042"},
		{"a computed text", `"hr:" + event.data.company + ":" + string(event.data.n)`, map[string]any{"company": "x", "n": 7.0}, "hr:x:7"},
		{"the first that is there", "coalesce(event.data.id, event.subject)", map[string]any{"id": nil}, "E1042"},
	} {
		got, err := compiledSource(t, SourceSpec{IdentityKey: c.rule}).Key(joined(c.data))
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.claim, got, err, c.want)
		}
	}
}

func TestEventWithoutAKeyIsRefusedWithoutItsValues(t *testing.T) {
	for _, c := range []struct {
		claim, rule string
		data        map[string]any
		want        string
	}{
		{"missing", "event.data.employee_id", nil, "identity_key: the event has no value for it"},
		{"null", "event.data.employee_id", map[string]any{"employee_id": nil}, "identity_key: the event has no value for it"},
		{"empty", "event.data.employee_id", map[string]any{"employee_id": ""}, "identity_key: the event has no value for it"},
		{"a list", "event.data.employee_id", map[string]any{"employee_id": []any{"canary"}}, "identity_key: the value is not a text"},
		{"an error", "event.data.employee_id.substring(9)", map[string]any{"employee_id": "canary"}, "identity_key: a position lies outside a text"},
	} {
		_, err := compiledSource(t, SourceSpec{IdentityKey: c.rule}).Key(joined(c.data))
		if e := (*RuleError)(nil); !errors.As(err, &e) || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.claim, err, c.want)
		}
	}
}

func TestKindAndAttributesAreLeftToTheEventWithoutRules(t *testing.T) {
	s := compiledSource(t, SourceSpec{IdentityKey: "event.subject"})
	if kind, ok, err := s.Kind(joined(nil)); kind != "" || ok || err != nil {
		t.Errorf("kind %q, %v, %v", kind, ok, err)
	}
	if attributes, ok, err := s.Attributes(joined(nil)); attributes != nil || ok || err != nil {
		t.Errorf("attributes %v, %v, %v", attributes, ok, err)
	}
}

func TestKindAndAttributesFollowTheirRules(t *testing.T) {
	s := compiledSource(t, SourceSpec{
		IdentityKey: "event.subject",
		Kind:        `event.data.action == "hire" ? "joined" : "changed"`,
		Attributes:  `{"email": event.data.mail, "level": event.data.level, "title": null, ?"phone": event.data.?tel, "tags": [1, "a"]}`,
	})
	event := joined(map[string]any{"action": "hire", "mail": "a@b.c", "level": nil})
	if kind, ok, err := s.Kind(event); kind != "joined" || !ok || err != nil {
		t.Errorf("kind %q, %v, %v", kind, ok, err)
	}
	got, ok, err := s.Attributes(event)
	want := map[string]any{"email": "a@b.c", "level": nil, "title": nil, "tags": []any{1.0, "a"}}
	if diff := cmp.Diff(want, got); diff != "" || !ok || err != nil {
		t.Errorf("%v, %v: %s", ok, err, diff)
	}
}

func TestRuleWithoutAValueIsAnErrorAndNotTheDefault(t *testing.T) {
	s := compiledSource(t, SourceSpec{IdentityKey: "event.subject", Kind: "event.data.action", Attributes: "event.data.person"})
	for _, c := range []struct {
		data             map[string]any
		kind, attributes string
	}{
		{nil, "kind: the event has no value for it", "attributes: the event has no value for it"},
		{map[string]any{"action": 5.0, "person": "x"}, "kind: the value is not a text", "attributes: the value is not a map of attributes"},
		{map[string]any{"action": "x", "person": []any{}}, "<nil>", "attributes: the value is not a map of attributes"},
	} {
		_, _, kindErr := s.Kind(joined(c.data))
		_, _, attributesErr := s.Attributes(joined(c.data))
		if kindErr == nil && c.kind != "<nil>" || kindErr != nil && kindErr.Error() != c.kind {
			t.Errorf("%v: %v, want %s", c.data, kindErr, c.kind)
		}
		if attributesErr == nil || attributesErr.Error() != c.attributes {
			t.Errorf("%v: %v, want %s", c.data, attributesErr, c.attributes)
		}
	}
}

func TestEveryProblemOfASourceIsReported(t *testing.T) {
	_, got := CompileSource(SourceSpec{IdentityKey: "identity.key", Kind: "5", Attributes: "event.data +"})
	want := []Problem{
		{"identity_key", 1, 1, `nothing is called "identity" here (an attribute is read as event.identity, a text stands in quotes)`},
		{"kind", 0, 0, "the expression gives a number where a text is needed"},
		{"attributes", 1, 13, "syntax error: the expression ends too early"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, got := CompileSource(SourceSpec{}); len(got) != 1 || got[0].Field != "identity_key" {
		t.Error(got)
	}
}
