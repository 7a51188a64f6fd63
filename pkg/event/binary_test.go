package event_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/event"
)

// headers are those of a valid event in binary mode, with more set; an empty
// value takes one out.
func headers(more map[string]string) http.Header {
	h := http.Header{}
	for name, value := range map[string]string{
		"ce-specversion": "1.0", "ce-id": "e-1", "ce-source": "/hr", "ce-type": "joined", "Content-Type": "application/json",
	} {
		h.Set(name, value)
	}
	for name, value := range more {
		if h.Set(name, value); value == "" {
			h.Del(name)
		}
	}
	return h
}

func TestBinaryEventIsReadWhole(t *testing.T) {
	h := headers(map[string]string{
		"ce-subject": "1001", "ce-time": "2026-03-02T09:00:00Z", "ce-sequence": "7",
		"ce-reason": "caf%C3%A9%20closed, 100%25", "ce-actor": `"Ann \"the\" boss"`,
		"Accept": "*/*", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	})
	got, err := event.ParseBinary(h, []byte(`{"employee_id": "1001"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := event.Event{
		ID: "e-1", Source: "/hr", SpecVersion: "1.0", Type: "joined", Subject: "1001",
		Time: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), DataContentType: "application/json",
		Extensions: map[string]string{"sequence": "7", "reason": "café closed, 100%", "actor": `Ann "the" boss`},
		Data:       map[string]any{"employee_id": "1001"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBinaryEventMayHaveNoData(t *testing.T) {
	got, err := event.ParseBinary(headers(map[string]string{"Content-Type": ""}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(event.Event{ID: "e-1", Source: "/hr", SpecVersion: "1.0", Type: "joined"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestBinaryRefusalNamesTheField(t *testing.T) {
	for _, row := range []struct {
		name    string
		headers map[string]string
		body    string
		code    event.Code
		field   string
	}{
		{"no id", map[string]string{"ce-id": ""}, `{}`, event.Missing, "id"},
		{"no type", map[string]string{"ce-type": ""}, `{}`, event.Missing, "type"},
		{"an encoded line feed", map[string]string{"ce-id": "a%0Ab"}, `{}`, event.Invalid, "id"},
		{"encoded bytes that are not UTF-8", map[string]string{"ce-id": "a%FFb"}, `{}`, event.Invalid, "id"},
		{"a percent sign that encodes nothing", map[string]string{"ce-subject": "100%"}, `{}`, event.Invalid, "subject"},
		{"a quote that never ends", map[string]string{"ce-subject": `"abc`}, `{}`, event.Invalid, "subject"},
		{"a single quote mark", map[string]string{"ce-subject": `"`}, `{}`, event.Invalid, "subject"},
		{"a quote inside quotes", map[string]string{"ce-subject": `"a"b"`}, `{}`, event.Invalid, "subject"},
		{"an escape before the end", map[string]string{"ce-subject": `"a\"`}, `{}`, event.Invalid, "subject"},
		{"the content type as an attribute", map[string]string{"ce-datacontenttype": "application/json"}, `{}`, event.Invalid, "datacontenttype"},
		{"data as an attribute", map[string]string{"ce-data": "x"}, `{}`, event.Invalid, "data"},
		{"data that is not JSON by its type", map[string]string{"Content-Type": "text/plain"}, `{}`, event.Invalid, "datacontenttype"},
		{"data that is not JSON", nil, `hello`, event.Syntax, "data"},
		{"data that is cut off", nil, `{"a": {"b": 1`, event.Syntax, "data.a"},
		{"data nested one level too deep", nil, strings.Repeat("[", 32) + strings.Repeat("]", 32), event.TooDeep, "data" + strings.Repeat("[0]", 31)},
		{"data with a member twice", nil, `{"a": {"b": 1, "B": 2}}`, event.DuplicateKey, "data.a.B"},
		{"an integer beyond 2^53", nil, `{"employee_id": 9007199254740993}`, event.BadNumber, "data.employee_id"},
		{"an attribute with a dash", map[string]string{"ce-employee-id": "1"}, `{}`, event.Invalid, "employee-id"},
		{"a long id", map[string]string{"ce-id": strings.Repeat("x", 600)}, `{}`, event.TooLong, "id"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := event.ParseBinary(headers(row.headers), []byte(row.body))
			refused(t, err, row.code, row.field)
		})
	}
}

func TestHeaderGivenTwiceIsRefused(t *testing.T) {
	h := headers(nil)
	h.Add("ce-id", "e-2")
	_, err := event.ParseBinary(h, nil)
	refused(t, err, event.DuplicateKey, "id")
}

func TestBinaryModeIsToldByItsHeaders(t *testing.T) {
	if !event.IsBinary(headers(nil)) {
		t.Error("an event in binary mode is not recognised")
	}
	if event.IsBinary(http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-cache"}}) {
		t.Error("an ordinary request is taken for an event in binary mode")
	}
}
