package event_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/event"
)

const joined = `{
	"specversion": "1.0", "id": "e-1", "source": "/hr", "type": "example.person.joined.v1",
	"subject": "1001", "time": "2026-03-02T10:00:00.5+01:00", "datacontenttype": "application/json",
	"dataschema": "https://example.com/person", "sequence": 7, "joineryfull": true, "reason": "hired",
	"data": {"employee_id": "1001", "age": 41, "share": 0.5, "manager": null, "tags": ["a", {"b": true}]}
}`

// with is a valid event with members replaced; nil takes a member out.
func with(t *testing.T, members map[string]any) string {
	t.Helper()
	base := map[string]any{"specversion": "1.0", "id": "e-1", "source": "/hr", "type": "joined", "data": map[string]any{"employee_id": "1"}}
	for name, v := range members {
		if base[name] = v; v == nil {
			delete(base, name)
		}
	}
	out, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestStructuredEventIsReadWhole(t *testing.T) {
	got, err := event.Parse([]byte(joined))
	if err != nil {
		t.Fatal(err)
	}
	want := event.Event{
		ID: "e-1", Source: "/hr", SpecVersion: "1.0", Type: "example.person.joined.v1", Subject: "1001",
		Time:       time.Date(2026, 3, 2, 9, 0, 0, 500_000_000, time.UTC),
		DataSchema: "https://example.com/person", DataContentType: "application/json",
		Extensions: map[string]string{"sequence": "7", "joineryfull": "true", "reason": "hired"},
		Data: map[string]any{
			"employee_id": "1001", "age": 41.0, "share": 0.5, "manager": nil,
			"tags": []any{"a", map[string]any{"b": true}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDataMayComeAsBase64OfJSON(t *testing.T) {
	got, err := event.Parse([]byte(with(t, map[string]any{"data": nil, "data_base64": "eyJlbXBsb3llZV9pZCI6IjEifQ=="})))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"employee_id": "1"}, got.Data); diff != "" {
		t.Error(diff)
	}
}

func TestNullAttributeIsAbsent(t *testing.T) {
	got, err := event.Parse([]byte(`{"specversion":"1.0","id":"e","source":"/hr","type":"left","subject":null,"time":null,"actor":null,"data":null}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(event.Event{ID: "e", Source: "/hr", SpecVersion: "1.0", Type: "left"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestRefusalNamesTheField is the table of everything that a structured event
// is refused for before it is interpreted.
func TestRefusalNamesTheField(t *testing.T) {
	nested := func(depth int) string { // depth counts the event as 1
		return `{"specversion":"1.0","id":"e","source":"/hr","type":"left","data":` +
			strings.Repeat(`[`, depth-1) + strings.Repeat(`]`, depth-1) + `}`
	}
	for _, row := range []struct {
		name  string
		body  string
		code  event.Code
		field string
	}{
		{"an empty body", ``, event.Syntax, ""},
		{"a body that is cut off", joined[:len(joined)-3], event.Syntax, "data"},
		{"a body that is not JSON", `hello`, event.Syntax, ""},
		{"a comma too many", `{"id": "1",}`, event.Syntax, ""},
		{"a single-quoted string", `{'id': 1}`, event.Syntax, ""},
		{"brackets that do not match", `{"id": [1}`, event.Syntax, "id"},
		{"two documents", with(t, nil) + with(t, nil), event.Syntax, ""},
		{"a closing brace too many", with(t, nil) + "}", event.Syntax, ""},
		{"a list where an event belongs", `[]`, event.Syntax, ""},
		{"a string where an event belongs", `"joined"`, event.Syntax, ""},
		{"bytes that are not UTF-8", "{\"id\": \"\xff\"}", event.Syntax, ""},

		{"an attribute given twice", `{"id":"1","id":"1"}`, event.DuplicateKey, "id"},
		{"an attribute given in two cases", `{"id":"1","ID":"2"}`, event.DuplicateKey, "ID"},
		{"a member of data given twice", `{"data":{"active":true,"Active":false}}`, event.DuplicateKey, "data.Active"},
		{"a member given with the Kelvin sign", `{"data":{"k":1,"` + "\u212a" + `":2}}`, event.DuplicateKey, "data.\u212a"},
		{"a member given with the long s", `{"data":{"s":1,"` + "\u017f" + `":2}}`, event.DuplicateKey, "data.\u017f"},
		{"a member given twice inside a list", `{"data":{"a":[{},{"x":1,"X":1}]}}`, event.DuplicateKey, "data.a[1].X"},

		{"nesting one level too deep", nested(33), event.TooDeep, "data" + strings.Repeat("[0]", 31)},
		{"very deep nesting", strings.Repeat("[", 100_000), event.TooDeep, strings.Repeat("[0]", 32)},
		{"too many members", `{"data":[` + strings.Repeat("1,", event.MaxNodes) + `1]}`, event.TooMany, "data[9999]"},
		{"a long string", with(t, map[string]any{"data": map[string]any{"bio": strings.Repeat("x", event.MaxString+1)}}), event.TooLong, "data.bio"},
		{"a long name", with(t, map[string]any{"data": map[string]any{strings.Repeat("n", 300): 1}}), event.Invalid, "data"},
		{"an empty name", `{"data":{"":1}}`, event.Invalid, "data"},
		{"a name with a line break", `{"data":{"a\nb":1}}`, event.Invalid, "data"},
		{"a strange name, quoted in the field", `{"data":{"a b.c":{"x":1,"x":2}}}`, event.DuplicateKey, `data["a b.c"].x`},

		{"an integer beyond 2^53", `{"data":{"employee_id":9007199254740993}}`, event.BadNumber, "data.employee_id"},
		{"a negative integer beyond 2^53", `{"data":{"n":-9007199254740993}}`, event.BadNumber, "data.n"},
		{"an integer beyond 2^64", `{"data":{"n":123456789012345678901234567890}}`, event.BadNumber, "data.n"},
		{"a large number with an exponent", `{"data":{"n":1e300}}`, event.BadNumber, "data.n"},
		{"a large number with a fraction", `{"data":{"n":9007199254740993.0}}`, event.BadNumber, "data.n"},
		{"a number beyond all floats", `{"data":{"n":1e999}}`, event.BadNumber, "data.n"},

		{"no specversion", with(t, map[string]any{"specversion": nil}), event.Missing, "specversion"},
		{"no id", with(t, map[string]any{"id": nil}), event.Missing, "id"},
		{"no source", with(t, map[string]any{"source": nil}), event.Missing, "source"},
		{"no type", with(t, map[string]any{"type": nil}), event.Missing, "type"},
		{"no attribute at all", `{}`, event.Missing, "specversion"},
		{"an id that is null", `{"specversion":"1.0","id":null,"source":"/hr","type":"left"}`, event.Missing, "id"},
		{"an empty id", with(t, map[string]any{"id": ""}), event.Missing, "id"},
		{"an empty source", with(t, map[string]any{"source": ""}), event.Missing, "source"},
		{"an empty type", with(t, map[string]any{"type": ""}), event.Missing, "type"},
		{"an empty subject", with(t, map[string]any{"subject": ""}), event.Missing, "subject"},
		{"an id that is a number", with(t, map[string]any{"id": 5}), event.Invalid, "id"},
		{"a type that is a list", with(t, map[string]any{"type": []string{"joined"}}), event.Invalid, "type"},
		{"a source that is an object", with(t, map[string]any{"source": map[string]any{}}), event.Invalid, "source"},
		{"a specversion that is a number", with(t, map[string]any{"specversion": 1}), event.Invalid, "specversion"},
		{"specversion 0.3", with(t, map[string]any{"specversion": "0.3"}), event.Invalid, "specversion"},
		{"an id with a line feed", with(t, map[string]any{"id": "a\nb"}), event.Invalid, "id"},
		{"an id with a carriage return", with(t, map[string]any{"id": "a\rb"}), event.Invalid, "id"},
		{"an id with NUL", with(t, map[string]any{"id": "a\x00b"}), event.Invalid, "id"},
		{"an id with a C1 control", with(t, map[string]any{"id": "a\u0085b"}), event.Invalid, "id"},
		{"an id with a line separator", with(t, map[string]any{"id": "a\u2028b"}), event.Invalid, "id"},
		{"an id with half a surrogate pair", `{"specversion":"1.0","id":"\ud800","source":"/hr","type":"left"}`, event.Invalid, "id"},
		{"a long id", with(t, map[string]any{"id": strings.Repeat("x", 513)}), event.TooLong, "id"},
		{"a long source", with(t, map[string]any{"source": strings.Repeat("x", 2049)}), event.TooLong, "source"},
		{"a time that is none", with(t, map[string]any{"time": "yesterday"}), event.Invalid, "time"},
		{"a time without a zone", with(t, map[string]any{"time": "2026-03-02T10:00:00"}), event.Invalid, "time"},
		{"a time before all times", with(t, map[string]any{"time": "0000-01-01T00:00:00Z"}), event.Invalid, "time"},
		{"an attribute in upper case", `{"specversion":"1.0","Id":"1","source":"/hr","type":"left"}`, event.Invalid, "Id"},
		{"an attribute with an underscore", with(t, map[string]any{"employee_id": "1"}), event.Invalid, "employee_id"},
		{"an extension that is an object", with(t, map[string]any{"actor": map[string]any{}}), event.Invalid, "actor"},
		{"an extension that is a fraction", with(t, map[string]any{"sequence": 1.5}), event.Invalid, "sequence"},
		{"an extension with a line break", with(t, map[string]any{"actor": "a\nb"}), event.Invalid, "actor"},
		{"a long extension", with(t, map[string]any{"actor": strings.Repeat("x", 5000)}), event.TooLong, "actor"},

		{"data that is XML", with(t, map[string]any{"datacontenttype": "application/xml"}), event.Invalid, "datacontenttype"},
		{"data in another charset", with(t, map[string]any{"datacontenttype": "application/json; charset=latin1"}), event.Invalid, "datacontenttype"},
		{"data twice", with(t, map[string]any{"data_base64": "e30="}), event.Invalid, "data_base64"},
		{"base64 that is none", with(t, map[string]any{"data": nil, "data_base64": "%%"}), event.Invalid, "data_base64"},
		{"base64 of no JSON", with(t, map[string]any{"data": nil, "data_base64": "aGVsbG8="}), event.Syntax, "data_base64"},
		{"base64 that is a number", with(t, map[string]any{"data": nil, "data_base64": 5}), event.Invalid, "data_base64"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := event.Parse([]byte(row.body))
			refused(t, err, row.code, row.field)
		})
	}
}

// refused checks that err is one problem with the code and field, which says
// something.
func refused(t *testing.T, err error, code event.Code, field string) {
	t.Helper()
	problems := event.ProblemsOf(err)
	if len(problems) != 1 {
		t.Fatalf("got %v, want one problem", err)
	}
	got := problems[0]
	if got.Code != code || got.Field != field {
		t.Errorf("got %s at %q (%s), want %s at %q", got.Code, got.Field, got.Detail, code, field)
	}
	if !strings.HasSuffix(got.Detail, ".") {
		t.Errorf("detail %q is no sentence", got.Detail)
	}
}

func TestBoundsThemselvesAreAccepted(t *testing.T) {
	for name, data := range map[string]string{
		"depth":            strings.Repeat("[", 31) + strings.Repeat("]", 31),
		"largest integer":  `9007199254740992`,
		"smallest integer": `-9007199254740992`,
		"nodes":            `[` + strings.Repeat("1,", event.MaxNodes-6) + `1]`,
		"string":           `"` + strings.Repeat("x", event.MaxString) + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := event.Parse([]byte(`{"specversion":"1.0","id":"e","source":"/hr","type":"left","data":` + data + `}`)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBatchKeepsItsOrder(t *testing.T) {
	body := "[" + with(t, map[string]any{"id": "a"}) + "," + with(t, map[string]any{"id": "b"}) + "]\n"
	events, err := event.ParseBatch([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	if diff := cmp.Diff([]string{"a", "b"}, ids); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyBatchHasNoEvents(t *testing.T) {
	events, err := event.ParseBatch([]byte(`[]`))
	if err != nil || len(events) != 0 {
		t.Errorf("got %v, %v", events, err)
	}
}

func TestBatchRefusalNamesTheEvent(t *testing.T) {
	good := with(t, nil)
	many := "[" + strings.Repeat(good+",", event.MaxBatch) + good + "]"
	for _, row := range []struct {
		name  string
		body  string
		code  event.Code
		field string
	}{
		{"no list", good, event.Syntax, ""},
		{"an empty body", ``, event.Syntax, ""},
		{"a list that is cut off", "[" + good, event.Syntax, ""},
		{"something after the list", "[" + good + "] []", event.Syntax, ""},
		{"two events without a comma", "[" + good + good + "]", event.Syntax, "events[1]"},
		{"an element that is no object", `[` + good + `, 5]`, event.Syntax, "events[1]"},
		{"an event without a type", `[` + good + `,` + with(t, map[string]any{"type": nil}) + `]`, event.Missing, "events[1].type"},
		{"a member given twice", `[` + good + `,{"data":{"a":1,"A":1}}]`, event.DuplicateKey, "events[1].data.A"},
		{"more events than a batch may hold", many, event.TooMany, "events[1000]"},
		{"bytes that are not UTF-8", "[\"\xff\"]", event.Syntax, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := event.ParseBatch([]byte(row.body))
			refused(t, err, row.code, row.field)
		})
	}
}

func TestBatchReportsAllItsBadEventsUpToABound(t *testing.T) {
	bad := with(t, map[string]any{"id": nil})
	_, err := event.ParseBatch([]byte("[" + with(t, nil) + "," + bad + "," + with(t, map[string]any{"type": 1}) + "]"))
	var fields []string
	for _, p := range event.ProblemsOf(err) {
		fields = append(fields, p.Field)
	}
	if diff := cmp.Diff([]string{"events[1].id", "events[2].type"}, fields); diff != "" {
		t.Error(diff)
	}
	_, err = event.ParseBatch([]byte("[" + strings.Repeat(bad+",", 100) + bad + "]"))
	if n := len(event.ProblemsOf(err)); n != event.MaxProblems {
		t.Errorf("%d problems reported, want %d", n, event.MaxProblems)
	}
	if want := "read event: events[0].id: missing (and 19 more)"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestErrorTextRepeatsNothingOfTheSender(t *testing.T) {
	for _, body := range []string{
		`{"data":{"ann@example.com":{"x":1,"X":2}}}`,
		`{"data":{"a":"ann@example.com","A":1}}`,
		`{"specversion":"ann@example.com"}`,
		`{"ann@example.com":1}`,
		`{"annexample.com":1}`,
		`{"annexample":{}}`,
		`[{"data":{"ann@example.com":{"x":1,"X":2}}}]`,
	} {
		_, err := event.Parse([]byte(body))
		if strings.HasPrefix(body, "[") {
			_, err = event.ParseBatch([]byte(body))
		}
		if err == nil || strings.Contains(err.Error(), "example") {
			t.Errorf("error %v shows what the sender wrote", err)
		}
		for _, p := range event.ProblemsOf(err) {
			if strings.Contains(p.Attribute(), "example") {
				t.Errorf("attribute %q shows what the sender wrote", p.Attribute())
			}
		}
	}
}

func TestAttributeIsWhatLogsMayShow(t *testing.T) {
	for field, want := range map[string]string{
		"": "", "id": "id", "data": "data", "data.email": "data", `data["a b"].x`: "data", "data[3]": "data", "sequence": "sequence",
		"events[3]": "events[3]", "events[3].type": "events[3].type", "events[12].data.a.b": "events[12].data",
		"shoesize": "other", "events[0].shoesize": "events[0].other", `["a b"]`: "", "Ann": "",
	} {
		if got := (&event.Problem{Field: field}).Attribute(); got != want {
			t.Errorf("%q: got %q, want %q", field, got, want)
		}
	}
}

func TestOtherErrorsAreNoProblems(t *testing.T) {
	if got := event.ProblemsOf(fmt.Errorf("broker is away")); got != nil {
		t.Errorf("got %v", got)
	}
}
