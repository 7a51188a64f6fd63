package event_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/event"
)

// seeds are bodies near the edges of what is accepted.
func seeds() []string {
	return []string{
		joined, `{}`, `[]`, `null`, `{"data":{"a":1,"A":2}}`, strings.Repeat("[", 40), `{"data":9007199254740993}`,
		`{"specversion":"1.0","id":"e","source":"/hr","type":"left"}`,
		`{"specversion":"1.0","id":"\ud800","source":"/hr","type":"left"}`,
		`{"specversion":"1.0","id":"e","source":"/hr","type":"access_granted","data":{"employee_id":"1","grant":{"target":"a","expires_at":"2026-01-01T00:00:00Z"}}}`,
		`{"specversion":"1.0","id":"e","source":"/hr","type":"left","data_base64":"eyJlbXBsb3llZV9pZCI6IjEifQ=="}`,
		`{"specversion":"1.0","id":"e","source":"/hr","type":"left","time":"2026-03-02T09:00:00Z","data":{"employee_id":"1","x":null}}`,
	}
}

// FuzzStructured: whatever is accepted is valid JSON to everybody, is complete,
// and means the same after a round trip.
func FuzzStructured(f *testing.F) {
	for _, body := range seeds() {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := event.Parse(body)
		if err != nil {
			wellRefused(t, err)
			return
		}
		if !json.Valid(body) {
			t.Fatal("accepted what is not JSON")
		}
		wellAccepted(t, e)
	})
}

// FuzzBatch: a batch is accepted exactly where each of its events is.
func FuzzBatch(f *testing.F) {
	for _, body := range seeds() {
		f.Add([]byte(body))
		f.Add([]byte("[" + body + "]"))
		f.Add([]byte("[" + body + "," + body + "]"))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := event.ParseBatch(body)
		if err != nil {
			wellRefused(t, err)
			return
		}
		var raw []json.RawMessage
		if err := json.Unmarshal(body, &raw); err != nil || len(raw) != len(events) {
			t.Fatalf("read %d events of %d (%v)", len(events), len(raw), err)
		}
		for i, e := range events {
			wellAccepted(t, e)
			alone, err := event.Parse(raw[i])
			if err != nil {
				t.Fatalf("event %d is refused alone: %v", i, err)
			}
			if diff := cmp.Diff(alone, e); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

// FuzzBinary: a header never becomes an attribute with control characters.
func FuzzBinary(f *testing.F) {
	f.Add("e-1", "caf%C3%A9", []byte(`{"a":1}`))
	f.Add(`"a\"b"`, "%0a", []byte(``))
	f.Add("%", `"`, []byte(`{"a":1,"A":2}`))
	f.Fuzz(func(t *testing.T, id, subject string, body []byte) {
		h := headers(nil)
		h["Ce-Id"], h["Ce-Subject"] = []string{id}, []string{subject}
		e, err := event.ParseBinary(h, body)
		if err != nil {
			wellRefused(t, err)
			return
		}
		wellAccepted(t, e)
	})
}

func wellRefused(t *testing.T, err error) {
	problems := event.ProblemsOf(err)
	if len(problems) == 0 {
		t.Fatalf("refused without a problem: %v", err)
	}
	for _, p := range problems {
		if p.Code == "" || p.Detail == "" {
			t.Fatalf("refused without a reason: %+v", p)
		}
	}
}

func wellAccepted(t *testing.T, e event.Event) {
	if e.ID == "" || e.Source == "" || e.Type == "" || e.SpecVersion != "1.0" {
		t.Fatalf("accepted an incomplete event: %+v", e)
	}
	if strings.ContainsAny(e.ID+e.Source+e.Type+e.Subject, "\x00\r\n\ufffd") {
		t.Fatalf("accepted control characters: %+v", e)
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	again, err := event.Parse(text)
	if err != nil {
		t.Fatalf("own JSON is refused: %v: %s", err, text)
	}
	if diff := cmp.Diff(e, again); diff != "" {
		t.Fatal(diff)
	}
	if _, err := hr.Interpret(e, received); err != nil {
		wellRefused(t, err)
	}
}
