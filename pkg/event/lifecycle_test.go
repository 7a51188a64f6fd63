package event_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/event"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

var received = time.Date(2026, 3, 2, 9, 0, 1, 0, time.UTC)

// rules are a source's rules as functions; nil means that there is no such rule.
type rules struct {
	key        func(event map[string]any) (string, error)
	kind       func(event map[string]any) (string, error)
	attributes func(event map[string]any) (map[string]any, error)
}

func (rules) Course(map[string]any) (map[string]string, error) { return nil, nil }

func (r rules) Key(event map[string]any) (string, error) { return r.key(event) }

func (r rules) Kind(event map[string]any) (string, bool, error) {
	if r.kind == nil {
		return "", false, nil
	}
	kind, err := r.kind(event)
	return kind, true, err
}

func (r rules) Attributes(event map[string]any) (map[string]any, bool, error) {
	if r.attributes == nil {
		return nil, false, nil
	}
	made, err := r.attributes(event)
	return made, true, err
}

var errLacking = errors.New("the event has no value for it")

func employeeID(e map[string]any) (string, error) {
	data, _ := e["data"].(map[string]any)
	key, ok := data["employee_id"].(string)
	if !ok {
		return "", errLacking
	}
	return key, nil
}

// hr takes the key from data.employee_id.
var hr = event.Source{Name: "hr", KeyField: "data.employee_id", Rules: rules{key: employeeID}}

func values(t *testing.T, m map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEventBecomesCanonical(t *testing.T) {
	in := event.Event{
		ID: "e-1", Source: "/hr", SpecVersion: "1.0", Type: "example.person.changed.v2", Subject: "1001",
		Time: received.Add(-time.Hour), DataSchema: "https://example.com/p", DataContentType: "application/json",
		Extensions: map[string]string{
			"effectivetime": "2026-04-01T00:00:00+02:00", "sequence": "42", "timezone": "Europe/Berlin",
			"joineryurgent": "true", "joineryfull": "true", "actor": "sys", "requestid": "R-1",
			"approver": "boss", "reason": "moved", "tenant": "x", "traceparent": "00-1-2-01",
		},
		Data: map[string]any{"employee_id": "1001", "department": "IT", "manager": nil, "phone": nil},
	}
	got, err := hr.Interpret(in, received)
	if err != nil {
		t.Fatal(err)
	}
	want := &joineryv1.LifecycleEvent{
		Id: event.IDOf("hr", "e-1"), Source: "hr", SourceEventId: "e-1", SourceUri: "/hr", SpecVersion: "1.0",
		Type: "example.person.changed.v2", Subject: "1001", DataSchema: "https://example.com/p", DataContentType: "application/json",
		IdentityKey: "1001", Kind: joineryv1.LifecycleKind_LIFECYCLE_KIND_CHANGED,
		OccurredAt: timestamppb.New(received.Add(-time.Hour)), ReceivedAt: timestamppb.New(received),
		EffectiveAt: timestamppb.New(time.Date(2026, 3, 31, 22, 0, 0, 0, time.UTC)),
		TimeZone:    "Europe/Berlin", SourceVersion: 42, Full: true, Urgent: true,
		Attributes: values(t, map[string]any{"employee_id": "1001", "department": "IT"}), Cleared: []string{"manager", "phone"},
		Trigger: &joineryv1.Trigger{Actor: "sys", RequestId: "R-1", Approver: "boss", Reason: "moved"},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if in.Data.(map[string]any)["department"] != "IT" || len(in.Data.(map[string]any)) != 4 {
		t.Error("interpreting changed the event itself")
	}
}

func TestEventWithoutTimeHappenedWhenItWasAccepted(t *testing.T) {
	got, err := hr.Interpret(plain("joined", map[string]any{"employee_id": "1"}), received)
	if err != nil {
		t.Fatal(err)
	}
	if !got.GetOccurredAt().AsTime().Equal(received) {
		t.Errorf("occurred at %v", got.GetOccurredAt().AsTime())
	}
}

func TestEventIsPartialUnlessItSaysOtherwise(t *testing.T) {
	for _, kind := range []string{"joined", "snapshot", "rehired"} {
		got, err := hr.Interpret(plain(kind, map[string]any{"employee_id": "1"}), received)
		if err != nil || got.GetFull() {
			t.Errorf("%s: full is %v (%v)", kind, got.GetFull(), err)
		}
	}
}

func plain(eventType string, data any) event.Event {
	return event.Event{ID: "e-1", Source: "/hr", SpecVersion: "1.0", Type: eventType, Data: data}
}

func TestKindIsTheLastSegmentOfTheType(t *testing.T) {
	for _, name := range event.KindNames() {
		for _, eventType := range []string{name, "a.b." + name, "a." + name + ".v1", name + ".v12"} {
			got, err := hr.Interpret(plain(eventType, person(name)), received)
			if err != nil {
				t.Errorf("%s: %v", eventType, err)
				continue
			}
			if want := "LIFECYCLE_KIND_" + strings.ToUpper(name); got.GetKind().String() != want {
				t.Errorf("%s: got %s, want %s", eventType, got.GetKind(), want)
			}
		}
	}
}

// person is data that suits a kind.
func person(kind string) map[string]any {
	return map[string]any{
		"employee_id": "1001",
		"grant":       map[string]any{"target": "acme"},
		"group":       map[string]any{"key": "g-1"},
		"kind":        kind,
	}
}

func TestAllKindsHaveANameInATypeButTheUnspecified(t *testing.T) {
	if got, want := len(event.KindNames()), len(joineryv1.LifecycleKind_name)-1; got != want {
		t.Errorf("%d names, want %d", got, want)
	}
}

func TestInterpretationRefusalNamesTheField(t *testing.T) {
	ok := map[string]any{"employee_id": "1"}
	ext := func(name, value string) event.Event {
		e := plain("joined", ok)
		e.Extensions = map[string]string{name: value}
		return e
	}
	for _, row := range []struct {
		name  string
		event event.Event
		code  event.Code
		field string
	}{
		{"a kind that nobody knows", plain("a.promoted", ok), event.UnknownKind, "type"},
		{"a kind in upper case", plain("a.Joined", ok), event.UnknownKind, "type"},
		{"the unspecified kind", plain("unspecified", ok), event.UnknownKind, "type"},
		{"a version alone", plain("v1", ok), event.UnknownKind, "type"},
		{"a type that ends with a dot", plain("joined.", ok), event.UnknownKind, "type"},
		{"data that is a list", plain("joined", []any{}), event.Invalid, "data"},
		{"data that is a string", plain("joined", "x"), event.Invalid, "data"},
		{"no data", plain("joined", nil), event.Missing, "data.employee_id"},
		{"no key in data", plain("joined", map[string]any{"name": "Ann"}), event.Missing, "data.employee_id"},
		{"an empty key", plain("joined", map[string]any{"employee_id": ""}), event.Missing, "data.employee_id"},
		{"a key with a line break", plain("joined", map[string]any{"employee_id": "a\nb"}), event.Invalid, "data.employee_id"},
		{"a long key", plain("joined", map[string]any{"employee_id": strings.Repeat("k", 513)}), event.TooLong, "data.employee_id"},
		{"an effective time that is none", ext("effectivetime", "soon"), event.Invalid, "effectivetime"},
		{"a sequence that is no number", ext("sequence", "a7"), event.Invalid, "sequence"},
		{"a sequence beyond 64 bits", ext("sequence", "9223372036854775808"), event.Invalid, "sequence"},
		{"a time zone that is a path", ext("timezone", "../etc/passwd"), event.Invalid, "timezone"},
		{"a flag that is neither", ext("joineryfull", "yes"), event.Invalid, "joineryfull"},
		{"an urgency that is neither", ext("joineryurgent", "1"), event.Invalid, "joineryurgent"},
		{"a grant without a target", plain("access_granted", ok), event.Missing, "data.grant.target"},
		{"a grant that is a string", plain("access_granted", map[string]any{"employee_id": "1", "grant": "acme"}), event.Invalid, "data.grant"},
		{
			"a grant with a number as target", plain("access_revoked", map[string]any{"employee_id": "1", "grant": map[string]any{"target": 1.0}}),
			event.Invalid, "data.grant.target",
		},
		{
			"a grant with an unknown member", plain("access_granted", map[string]any{"employee_id": "1", "grant": map[string]any{"target": "a", "role": "b"}}),
			event.Invalid, "data.grant.role",
		},
		{
			"a grant that ends at no time", plain("access_granted", map[string]any{"employee_id": "1", "grant": map[string]any{"target": "a", "expires_at": "x"}}),
			event.Invalid, "data.grant.expires_at",
		},
		{"a membership without a group", plain("member_added", ok), event.Missing, "data.group.key"},
		{"a membership without a person", plain("member_added", map[string]any{"group": map[string]any{"key": "g"}}), event.Missing, "data.employee_id"},
		{"a group without a key", plain("group_changed", map[string]any{"group": map[string]any{"name": "g"}}), event.Missing, "data.group.key"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := hr.Interpret(row.event, received)
			refused(t, err, row.code, row.field)
		})
	}
}

func TestWholePersonWithoutAttributesIsRefused(t *testing.T) {
	e := plain("joined", map[string]any{"name": nil})
	e.Subject, e.Extensions = "1001", map[string]string{"joineryfull": "true"}
	bySubject := event.Source{Name: "hr", Rules: rules{key: func(e map[string]any) (string, error) { return e["subject"].(string), nil }}}
	_, err := bySubject.Interpret(e, received)
	refused(t, err, event.Missing, "data")
}

func TestRulesOfTheSourceGoBeforeTheEvent(t *testing.T) {
	ruled := event.Source{Name: "hr", Rules: rules{
		key:  employeeID,
		kind: func(e map[string]any) (string, error) { return strings.ToLower(e["type"].(string)), nil },
		attributes: func(e map[string]any) (map[string]any, error) {
			return map[string]any{"mail": e["subject"], "age": int64(41), "phone": nil}, nil
		},
	}}
	e := plain("LEFT", map[string]any{"employee_id": "1001"})
	e.Subject = "ann@example.com"
	got, err := ruled.Interpret(e, received)
	if err != nil {
		t.Fatal(err)
	}
	if got.GetKind() != joineryv1.LifecycleKind_LIFECYCLE_KIND_LEFT {
		t.Errorf("kind %s", got.GetKind())
	}
	if diff := cmp.Diff(map[string]any{"mail": "ann@example.com", "age": 41.0}, got.GetAttributes().AsMap()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"phone"}, got.GetCleared()); diff != "" {
		t.Error(diff)
	}
}

func TestRuleThatCannotReadAnEventRefusesIt(t *testing.T) {
	fails := func(map[string]any) (string, error) { return "", errLacking }
	for _, row := range []struct {
		name  string
		rules rules
		code  event.Code
		field string
	}{
		{"key", rules{key: fails}, event.Missing, "data"},
		{"kind", rules{key: employeeID, kind: fails}, event.UnknownKind, "type"},
		{"an unknown kind", rules{key: employeeID, kind: func(map[string]any) (string, error) { return "promoted", nil }}, event.UnknownKind, "type"},
		{
			"attributes",
			rules{key: employeeID, attributes: func(map[string]any) (map[string]any, error) { return nil, errLacking }},
			event.Invalid, "data",
		},
		{
			"an attribute that is no JSON",
			rules{key: employeeID, attributes: func(map[string]any) (map[string]any, error) {
				return map[string]any{"f": func() {}}, nil
			}},
			event.Invalid, "data",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := event.Source{Name: "hr", Rules: row.rules}.Interpret(plain("joined", map[string]any{"employee_id": "1"}), received)
			refused(t, err, row.code, row.field)
		})
	}
}

func TestUnknownKindListsTheKnownOnes(t *testing.T) {
	_, err := hr.Interpret(plain("a.promoted", nil), received)
	detail := event.ProblemsOf(err)[0].Detail
	for _, name := range event.KindNames() {
		if !strings.Contains(detail, name) {
			t.Errorf("%q does not mention %s", detail, name)
		}
	}
}

func TestGrantAndGroupAreTakenOutOfData(t *testing.T) {
	data := map[string]any{
		"employee_id": "1001",
		"grant":       map[string]any{"target": "acme", "entitlement": "admin", "expires_at": "2026-05-01T00:00:00Z"},
		"group":       map[string]any{"key": "g-1", "name": "Team", "kind": "team"},
	}
	for _, row := range []struct {
		kind       string
		grant      *joineryv1.Grant
		group      *joineryv1.GroupFact
		key        string
		attributes []string
	}{
		{
			"access_granted", &joineryv1.Grant{
				Target: "acme", Entitlement: "admin",
				ExpiresAt: timestamppb.New(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)),
			}, nil,
			"1001",
			[]string{"employee_id", "group"},
		},
		{
			"member_added", nil, &joineryv1.GroupFact{Key: "g-1", Name: "Team", Kind: "team", MemberKey: "1001"},
			"1001",
			[]string{"employee_id", "grant"},
		},
		{"group_changed", nil, &joineryv1.GroupFact{Key: "g-1", Name: "Team", Kind: "team"}, "", []string{"employee_id", "grant"}},
		{"changed", nil, nil, "1001", []string{"employee_id", "grant", "group"}},
	} {
		t.Run(row.kind, func(t *testing.T) {
			got, err := hr.Interpret(plain(row.kind, data), received)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.grant, got.GetGrant(), protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(row.group, got.GetGroup(), protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			if got.GetIdentityKey() != row.key {
				t.Errorf("key %q, want %q", got.GetIdentityKey(), row.key)
			}
			for _, name := range row.attributes {
				if got.GetAttributes().GetFields()[name] == nil {
					t.Errorf("attribute %s is not there", name)
				}
			}
			if n := len(got.GetAttributes().GetFields()); n != len(row.attributes) {
				t.Errorf("%d attributes, want %v", n, row.attributes)
			}
		})
	}
}

func TestKeyFieldIsThePathThatTheRuleReads(t *testing.T) {
	for rule, want := range map[string]string{
		"event.data.employee_id":             "data.employee_id",
		" event.subject ":                    "subject",
		"event.data.employee.id":             "data.employee.id",
		"string(event.data.id)":              "data",
		`event.data["id"]`:                   "data",
		"event.data.a + event.data.b":        "data",
		"event.data.email.lowerAscii()":      "data",
		"has(event.data.x) ? 'a' : 'b'":      "data",
		"eventual.data.id":                   "data",
		"event.data.first_name + '.' + 'x' ": "data",
	} {
		if got := event.KeyField(rule); got != want {
			t.Errorf("%s: got %s, want %s", rule, got, want)
		}
	}
}

func TestIDIsStableSafeAndOneForEachSourceAndID(t *testing.T) {
	if got, want := event.IDOf("hr", "e-1"), "grwdoaxp7htaeuiishyy2mrsqe"; got != want {
		t.Errorf("got %s, want %s: what was stored under the old id would come twice", got, want)
	}
	seen := map[string]string{}
	for _, pair := range [][2]string{{"hr", "e-1"}, {"hr", "e-2"}, {"idp", "e-1"}, {"h", "re-1"}, {"hre", "-1"}} {
		id := event.IDOf(pair[0], pair[1])
		if strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") != "" || len(id) != 26 {
			t.Errorf("%s is not safe", id)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%v and %s share an id", pair, other)
		}
		seen[id] = pair[0] + "/" + pair[1]
		if event.IDOf(pair[0], pair[1]) != id {
			t.Errorf("id of %v changes", pair)
		}
	}
}

// canonicalEvent draws events whose every part has a place in the canonical form.
func canonicalEvent(t *rapid.T) event.Event {
	word := rapid.StringMatching(`[a-zA-Z0-9äß _.-]{1,12}`)
	kind := rapid.SampledFrom(event.KindNames()).Draw(t, "kind")
	e := event.Event{
		ID: word.Draw(t, "id"), Source: word.Draw(t, "source"), SpecVersion: "1.0",
		Type:            rapid.SampledFrom([]string{"", "a.b."}).Draw(t, "prefix") + kind + rapid.SampledFrom([]string{"", ".v1"}).Draw(t, "version"),
		Time:            time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "time"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos")).UTC(),
		Subject:         rapid.OneOf(rapid.Just(""), word).Draw(t, "subject"),
		DataSchema:      rapid.OneOf(rapid.Just(""), word).Draw(t, "schema"),
		DataContentType: rapid.SampledFrom([]string{"", "application/json", "application/scim+json"}).Draw(t, "content type"),
		Extensions:      drawExtensions(t, word),
		Data:            drawData(t, kind, word),
	}
	return e
}

func drawExtensions(t *rapid.T, word *rapid.Generator[string]) map[string]string {
	all := map[string]*rapid.Generator[string]{
		"effectivetime": rapid.Just("2026-04-01T00:00:00Z"), "sequence": rapid.StringMatching(`-?[1-9][0-9]{0,15}`),
		"timezone": rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "Etc/GMT+5"}), "joineryfull": rapid.Just("true"),
		"joineryurgent": rapid.Just("true"), "actor": word, "requestid": word, "approver": word, "reason": word,
	}
	var out map[string]string
	for name, values := range all {
		if rapid.Bool().Draw(t, "has "+name) {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = values.Draw(t, name)
		}
	}
	return out
}

func drawData(t *rapid.T, kind string, word *rapid.Generator[string]) map[string]any {
	scalar := rapid.OneOf(
		rapid.Just[any](nil), rapid.Just[any](true), rapid.Map(rapid.Int64Range(-1<<53, 1<<53), func(n int64) any { return float64(n) }),
		rapid.Map(word, func(s string) any { return s }), rapid.Just[any]([]any{"a", nil, 0.5, map[string]any{"x": nil}}),
	)
	data := rapid.MapOfN(rapid.StringMatching(`[a-z]{1,6}`), scalar, 0, 6).Draw(t, "data")
	delete(data, "grant")
	delete(data, "group")
	data["employee_id"] = word.Draw(t, "key")
	switch {
	case strings.HasPrefix(kind, "access"):
		data["grant"] = map[string]any{"target": word.Draw(t, "target"), "expires_at": "2026-05-01T00:00:00Z"}
	case strings.HasPrefix(kind, "group"), strings.HasPrefix(kind, "member"):
		data["group"] = map[string]any{"key": word.Draw(t, "group key"), "name": word.Draw(t, "group name")}
	}
	return data
}

func TestCloudEventSurvivesTheCanonicalFormAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := canonicalEvent(t)
		canonical, err := hr.Interpret(in, received)
		if err != nil {
			t.Fatalf("interpret: %v", err)
		}
		out := event.FromLifecycle(canonical)
		if diff := cmp.Diff(in, out); diff != "" {
			t.Fatal(diff)
		}
		again, err := hr.Interpret(out, received)
		if err != nil {
			t.Fatalf("interpret again: %v", err)
		}
		if diff := cmp.Diff(canonical, again, protocmp.Transform()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestEventSurvivesItsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := canonicalEvent(t)
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := event.Parse(text)
		if err != nil {
			t.Fatalf("parse %s: %v", text, err)
		}
		if diff := cmp.Diff(in, out); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestRulesSeeAttributesByTheirCloudEventsNames(t *testing.T) {
	e, err := event.Parse([]byte(joined))
	if err != nil {
		t.Fatal(err)
	}
	got := e.Values()
	delete(got, "data")
	want := map[string]any{
		"specversion": "1.0", "id": "e-1", "source": "/hr", "type": "example.person.joined.v1", "subject": "1001",
		"time": "2026-03-02T09:00:00.5Z", "datacontenttype": "application/json", "dataschema": "https://example.com/person",
		"sequence": "7", "joineryfull": "true", "reason": "hired",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
