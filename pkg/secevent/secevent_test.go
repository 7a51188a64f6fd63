package secevent_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/identity"
	"github.com/joinery/joinery/pkg/mapping"
	"github.com/joinery/joinery/pkg/secevent"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
)

const (
	scim = "urn:ietf:params:scim:event:"
	risc = "https://schemas.openid.net/secevent/risc/event-type/"
	caep = "https://schemas.openid.net/secevent/caep/event-type/"
)

var (
	now    = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	issued = time.Date(2026, 6, 1, 11, 59, 0, 0, time.UTC)
)

// token is claims with one event about ann; change overwrites them, nil takes
// one out.
func token(t testing.TB, kind, payload string, change map[string]any) []byte {
	t.Helper()
	out := map[string]any{
		"iss": "https://idp.example", "aud": "https://joinery.example", "jti": "set-1", "iat": issued.Unix(),
		"sub_id": map[string]any{"format": "scim", "uri": "/Users/u1", "externalId": "ann"},
		"events": map[string]any{kind: json.RawMessage(payload)},
	}
	maps.Copy(out, change)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	data, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func read(t testing.TB, claims []byte) secevent.Set {
	t.Helper()
	set, err := secevent.Read(claims, now)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// one is the only fact of claims.
func one(t testing.TB, claims []byte) secevent.Fact {
	t.Helper()
	set := read(t, claims)
	if len(set.Facts) != 1 {
		t.Fatalf("%d facts", len(set.Facts))
	}
	return set.Facts[0]
}

// rules are those of a source.
func rules(t testing.TB, spec mapping.SourceSpec) secevent.Rules {
	t.Helper()
	if spec.IdentityKey == "" {
		spec.IdentityKey = "event.data.person.externalId"
	}
	compiled, problems := mapping.CompileSource(spec)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return secevent.Rules{Rules: compiled}
}

// canonical is a fact as the rest of Joinery gets it.
func canonical(t testing.TB, fact secevent.Fact, spec mapping.SourceSpec) *joineryv1.LifecycleEvent {
	t.Helper()
	e, err := event.Source{Name: "idp", Rules: rules(t, spec)}.Interpret(fact.Event, now)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEveryEventHasItsMeaning(t *testing.T) {
	const (
		user = `{"data":{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ann"}}`
		list = `{"attributes":["userName","emails"],"version":"v2"}`
	)
	for _, row := range []struct {
		kind, payload string
		want          string // kind, then what is special about it
		acts          bool
	}{
		{scim + "feed:add", `{}`, "changed", false},
		{scim + "feed:remove", `{}`, "changed", false},
		{scim + "prov:create:notice", list, "changed", false},
		{scim + "prov:create:full", user, "joined full", true},
		{scim + "prov:patch:notice", list, "changed", false},
		{scim + "prov:patch:full", `{"data":{"Operations":[{"op":"replace","path":"userName","value":"ann"}]}}`, "changed", true},
		{scim + "prov:put:notice", list, "changed", false},
		{scim + "prov:put:full", user, "changed full", true},
		{scim + "prov:delete", `{}`, "left", true},
		{scim + "prov:activate", `{}`, "enabled", true},
		{scim + "prov:deactivate", `{}`, "disabled", true},
		{scim + "misc:asyncresp", `{"method":"PUT","status":"200"}`, "changed", false},
		{"urn:ietf:params:SCIM:event:prov:delete", `{}`, "left", true},

		{risc + "account-disabled", `{"reason":"hijacking"}`, "disabled urgent", true},
		{risc + "account-enabled", `{}`, "enabled", true},
		{risc + "account-purged", `{}`, "left urgent", true},
		{risc + "account-credential-change-required", `{}`, "changed", false},
		{risc + "credential-compromise", `{"credential_type":"password"}`, "changed", false},
		{risc + "identifier-changed", `{"new-value":"ann@new.example"}`, "changed", false},
		{risc + "identifier-recycled", `{}`, "changed", false},
		{risc + "recovery-activated", `{}`, "changed", false},
		{risc + "recovery-information-changed", `{}`, "changed", false},
		{risc + "sessions-revoked", `{}`, "changed urgent", false},

		{caep + "session-revoked", `{"initiating_entity":"policy"}`, "changed urgent", false},
		{caep + "credential-change", `{"credential_type":"password","change_type":"revoke"}`, "changed", false},
	} {
		t.Run(row.kind, func(t *testing.T) {
			fact := one(t, token(t, row.kind, row.payload, nil))
			got := canonical(t, fact, mapping.SourceSpec{})
			said := []string{identity.KindName(got.GetKind())}
			if got.GetUrgent() {
				said = append(said, "urgent")
			}
			if got.GetFull() {
				said = append(said, "full")
			}
			if text := strings.Join(said, " "); text != row.want || fact.Acts != row.acts {
				t.Errorf("got %s, acts %v; want %s, %v", text, fact.Acts, row.want, row.acts)
			}
			if n := len(got.GetAttributes().GetFields()) + len(got.GetCleared()); !row.acts && n != 0 {
				t.Errorf("an event that is only recorded says %d things of the person", n)
			}
			if got.GetType() != row.kind || got.GetIdentityKey() != "ann" || got.GetSourceEventId() != "set-1" {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestRecordedEventChangesNothingAboutAPerson(t *testing.T) {
	record := &identity.Record{}
	fold := func(claims []byte) identity.Effect {
		effect, err := record.Fold(canonical(t, one(t, claims), mapping.SourceSpec{}))
		if err != nil {
			t.Fatal(err)
		}
		return effect
	}
	fold(token(t, scim+"prov:create:full", `{"data":{"userName":"ann"}}`, nil))
	for i, kind := range []string{caep + "session-revoked", risc + "credential-compromise", scim + "feed:remove", scim + "prov:put:notice"} {
		later := map[string]any{"jti": fmt.Sprint(i), "iat": issued.Unix() + 10}
		if effect := fold(token(t, kind, `{}`, later)); effect != identity.NoChange {
			t.Errorf("%s: %v", kind, effect)
		}
	}
	if record.EffectiveState() != identity.Active {
		t.Errorf("the person is %s", record.EffectiveState())
	}
	if diff := cmp.Diff(map[string]any{"userName": "ann"}, record.Current()); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownEventsAreCountedAndLeftOut(t *testing.T) {
	for _, kind := range []string{
		"https://schemas.openid.net/secevent/ssf/event-type/verification",
		"https://schemas.openid.net/secevent/ssf/event-type/stream-updated",
		"https://example.com/logout", scim + "prov:create", scim + "prov:delete:notice", scim, "urn:ietf:params:scim", "account-disabled",
		risc + "account-disabled/", caep, caep + "risk-level-change",
	} {
		set := read(t, token(t, kind, `{"any":"thing"}`, map[string]any{"sub_id": nil}))
		if len(set.Facts) != 0 || set.Events != 1 {
			t.Errorf("%s: %v", kind, set)
		}
	}
}

func TestFactIsWhatTheSourceSaid(t *testing.T) {
	claims := token(t, caep+"session-revoked", `{
		"event_timestamp": 1780314000.5, "initiating_entity": "admin",
		"reason_admin": {"de": "Gerät verloren", "en": "lost device"}}`, map[string]any{"txn": "t-7"})
	want := event.Event{
		ID: "set-1", Source: "https://idp.example", SpecVersion: "1.0", Type: caep + "session-revoked",
		Subject: "/Users/u1", Time: time.Date(2026, 6, 1, 11, 40, 0, 500_000_000, time.UTC),
		Extensions: map[string]string{"requestid": "t-7", "actor": "admin", "reason": "lost device", "joineryurgent": "true"},
		Data: map[string]any{
			"kind": "changed", "txn": "t-7", "attributes": map[string]any{},
			"sub_id": map[string]any{"format": "scim", "uri": "/Users/u1", "externalId": "ann"},
			"person": map[string]any{"format": "scim", "uri": "/Users/u1", "externalId": "ann", "id": "u1"},
			"payload": map[string]any{
				"event_timestamp": 1780314000.5, "initiating_entity": "admin",
				"reason_admin": map[string]any{"de": "Gerät verloren", "en": "lost device"},
			},
		},
	}
	if diff := cmp.Diff(want, one(t, claims).Event); diff != "" {
		t.Error(diff)
	}
}

func TestTimeIsTheMostExactOneGiven(t *testing.T) {
	hour := func(h int) time.Time { return time.Date(2026, 5, 1, h, 0, 0, 0, time.UTC) }
	for _, row := range []struct {
		name    string
		payload string
		toe     any
		want    time.Time
	}{
		{"when it was issued", `{}`, nil, issued},
		{"when it happened, by the token", `{}`, hour(8).Unix(), hour(8)},
		{"when it happened, by the event", fmt.Sprintf(`{"event_timestamp":%d}`, hour(7).Unix()), hour(8).Unix(), hour(7)},
		{"in milliseconds, as CAEP counted once", fmt.Sprintf(`{"event_timestamp":%d}`, hour(7).UnixMilli()), nil, hour(7)},
	} {
		got := one(t, token(t, scim+"prov:delete", row.payload, map[string]any{"toe": row.toe})).Time
		if !got.Equal(row.want) {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
}

func TestEventsOfOneTokenHaveIDsOfTheirOwn(t *testing.T) {
	claims := token(t, "", "", map[string]any{"events": map[string]any{
		scim + "prov:put:full": map[string]any{"data": map[string]any{"userName": "ann"}},
		scim + "feed:add":      map[string]any{},
		"https://unknown":      map[string]any{},
	}})
	var ids []string
	for _, fact := range read(t, claims).Facts {
		ids = append(ids, fact.ID)
	}
	want := []string{"set-1#" + scim + "feed:add", "set-1#" + scim + "prov:put:full"}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Error(diff)
	}
}

func TestClaimsThatCannotBeReadAreRefused(t *testing.T) {
	long := strings.Repeat("x", 3000)
	many := map[string]any{}
	for i := range 33 {
		many[fmt.Sprint(i)] = map[string]any{}
	}
	email := func(v any) map[string]any {
		return map[string]any{"sub_id": map[string]any{"format": "email", "email": v}}
	}
	for _, row := range []struct {
		name   string
		claims []byte
		code   event.Code
		field  string
	}{
		{"no JSON", []byte(`x`), event.Syntax, ""},
		{"a list", []byte(`[]`), event.Syntax, ""},
		{"a claim in two cases", []byte(`{"jti":"a","JTI":"b"}`), event.DuplicateKey, "JTI"},
		{"no id", token(t, scim+"prov:delete", `{}`, map[string]any{"jti": nil}), event.Missing, "jti"},
		{"an empty id", token(t, scim+"prov:delete", `{}`, map[string]any{"jti": ""}), event.Invalid, "jti"},
		{"an id that is a number", token(t, scim+"prov:delete", `{}`, map[string]any{"jti": 1}), event.Invalid, "jti"},
		{"an id in two lines", token(t, scim+"prov:delete", `{}`, map[string]any{"jti": "a\nb"}), event.Invalid, "jti"},
		{"a long id", token(t, scim+"prov:delete", `{}`, map[string]any{"jti": strings.Repeat("x", 256)}), event.TooLong, "jti"},
		{"no issuer", token(t, scim+"prov:delete", `{}`, map[string]any{"iss": nil}), event.Missing, "iss"},
		{"no time", token(t, scim+"prov:delete", `{}`, map[string]any{"iat": nil}), event.Missing, "iat"},
		{"a time in words", token(t, scim+"prov:delete", `{}`, map[string]any{"iat": "now"}), event.Invalid, "iat"},
		{"a time before there was time", token(t, scim+"prov:delete", `{}`, map[string]any{"iat": -1}), event.Invalid, "iat"},
		{"a time after all time", token(t, scim+"prov:delete", `{}`, map[string]any{"iat": 1e15}), event.Invalid, "iat"},
		{"a time to come", token(t, scim+"prov:delete", `{}`, map[string]any{"iat": now.Unix() + 301}), event.Invalid, "iat"},
		{"a wrong time of the event", token(t, scim+"prov:delete", `{}`, map[string]any{"toe": "x"}), event.Invalid, "toe"},
		{"a wrong time in the event", token(t, scim+"prov:delete", `{"event_timestamp":"x"}`, nil), event.Invalid, "event_timestamp"},
		{"no events", token(t, "", "", map[string]any{"events": nil}), event.Missing, "events"},
		{"an empty list of events", token(t, "", "", map[string]any{"events": map[string]any{}}), event.Missing, "events"},
		{"events in a list", token(t, "", "", map[string]any{"events": []any{scim + "prov:delete"}}), event.Missing, "events"},
		{"too many events", token(t, "", "", map[string]any{"events": many}), event.TooMany, "events"},
		{"an event that is a text", token(t, scim+"prov:delete", `"x"`, nil), event.Invalid, "events"},
		{"an event that is null", token(t, scim+"prov:delete", `null`, nil), event.Invalid, "events"},
		{"nobody", token(t, scim+"prov:delete", `{}`, map[string]any{"sub_id": nil}), event.Missing, "events"},
		{"a subject that is a text", token(t, scim+"prov:delete", `{}`, map[string]any{"sub_id": "ann"}), event.Missing, "sub_id"},
		{"a subject without a format", token(t, scim+"prov:delete", `{}`, map[string]any{"sub_id": map[string]any{"email": "x"}}), event.Invalid, "sub_id"},
		{"an e-mail subject without an address", token(t, scim+"prov:delete", `{}`, email(nil)), event.Invalid, "sub_id"},
		{"an address that is a number", token(t, scim+"prov:delete", `{}`, email(1)), event.Invalid, "sub_id"},
		{"an address in two lines", token(t, scim+"prov:delete", `{}`, email("a\nb")), event.Invalid, "sub_id"},
		{"a long address", token(t, scim+"prov:delete", `{}`, email(long)), event.Invalid, "sub_id"},
		{"aliases that are none", token(t, scim+"prov:delete", `{}`, map[string]any{"sub_id": map[string]any{"format": "aliases", "identifiers": []any{}}}), event.Invalid, "sub_id"},
		{"an alias that is a text", token(t, scim+"prov:delete", `{}`, map[string]any{"sub_id": map[string]any{"format": "aliases", "identifiers": []any{"x"}}}), event.Invalid, "sub_id"},
		{"aliases of aliases", token(t, scim+"prov:delete", `{}`, map[string]any{"sub_id": map[string]any{"format": "aliases", "identifiers": []any{map[string]any{"format": "aliases"}}}}), event.Invalid, "sub_id"},
		{"too many aliases", token(t, scim+"prov:delete", `{}`, map[string]any{"sub_id": map[string]any{"format": "aliases", "identifiers": make([]any, 17)}}), event.Invalid, "sub_id"},
		{"a full event without data", token(t, scim+"prov:create:full", `{"attributes":["x"]}`, nil), event.Missing, "data"},
		{"a patch without operations", token(t, scim+"prov:patch:full", `{"data":{}}`, nil), event.Invalid, "data"},
		{"an operation that is none", token(t, scim+"prov:patch:full", `{"data":{"Operations":[1]}}`, nil), event.Invalid, "data"},
		{"an operation nobody knows", token(t, scim+"prov:patch:full", `{"data":{"Operations":[{"op":"move","path":"a"}]}}`, nil), event.Invalid, "data"},
		{"an operation on nothing", token(t, scim+"prov:patch:full", `{"data":{"Operations":[{"op":"remove"}]}}`, nil), event.Invalid, "data"},
		{"an operation on a broken path", token(t, scim+"prov:patch:full", `{"data":{"Operations":[{"op":"add","path":"emails[","value":1}]}}`, nil), event.Invalid, "data"},
		{"nested too deep", token(t, scim+"prov:delete", `{"a":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`, nil), event.TooDeep, ""},
		{"too much", token(t, scim+"prov:delete", `{"a":[1`+strings.Repeat(",1", 10_000)+`]}`, nil), event.TooMany, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := secevent.Read(row.claims, now)
			problems := event.ProblemsOf(err)
			if len(problems) != 1 || problems[0].Code != row.code || problems[0].Detail == "" {
				t.Fatalf("got %v, want %s", err, row.code)
			}
			if row.field != "" && problems[0].Field != row.field {
				t.Errorf("at %q, want %q", problems[0].Field, row.field)
			}
			if strings.Contains(problems[0].Detail, "ann") {
				t.Errorf("the refusal repeats what was said: %s", problems[0].Detail)
			}
		})
	}
}
