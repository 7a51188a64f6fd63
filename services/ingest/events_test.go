package ingest_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joinery/joinery/pkg/event"
	"github.com/joinery/joinery/pkg/fault"
	joineryv1 "github.com/joinery/joinery/proto/joinery/v1"
	"github.com/joinery/joinery/services/ingest"
	"go.opentelemetry.io/otel/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestEventIsStoredInCanonicalForm(t *testing.T) {
	d := open(t)
	before := time.Now()
	w := d.post(structured, told("e-1", "joined.v1", "1001", `,"time":"2026-03-02T09:00:00Z","reason":"hired"`))
	result := decode[ingest.Result](t, w)
	if w.Code != http.StatusAccepted || result.Status != ingest.Accepted || len(result.Trace) != 32 {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	got := d.journal.events[result.ID].Event
	if at := got.GetReceivedAt().AsTime(); at.Before(before) || at.After(time.Now()) {
		t.Errorf("received at %v", at)
	}
	want := &joineryv1.LifecycleEvent{
		Id: event.IDOf("hr", "e-1"), Source: "hr", SourceEventId: "e-1", SourceUri: "/hr", SpecVersion: "1.0",
		Type: "joinery.person.joined.v1", IdentityKey: "1001", Kind: joineryv1.LifecycleKind_LIFECYCLE_KIND_JOINED,
		OccurredAt: timestamppb.New(time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)),
		Attributes: &structpb.Struct{Fields: map[string]*structpb.Value{
			"employee_id": structpb.NewStringValue("1001"), "email": structpb.NewStringValue("ann@example.com"),
		}},
		Trigger: &joineryv1.Trigger{Reason: "hired"},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(want, "received_at")); diff != "" {
		t.Error(diff)
	}
}

func TestBinaryEventIsStored(t *testing.T) {
	d := open(t)
	w := d.post("application/json; charset=utf-8", `{"employee_id": "1001"}`,
		"ce-specversion", "1.0", "ce-id", "caf%C3%A9", "ce-source", "/hr", "ce-type", "left")
	if w.Code != http.StatusAccepted {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	equal(t, []string{"café"}, d.journal.ids())
}

func TestRepeatedEventIsADuplicateUnderItsFirstTrace(t *testing.T) {
	d := open(t)
	first := decode[ingest.Result](t, d.post(structured, told("e-1", "joined", "1001", `,"time":"2026-03-02T09:00:00Z"`)))
	w := d.post(structured, told("e-1", "joined", "1001", `,"time":"2026-03-02T09:00:05Z"`))
	if w.Code != http.StatusAccepted {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	equal(t, ingest.Result{ID: first.ID, Trace: first.Trace, Status: ingest.Duplicate}, decode[ingest.Result](t, w))
	equal(t, []string{"e-1"}, d.journal.ids())
}

func TestIDUsedForAnotherEventIsRefusedAndNotSwallowed(t *testing.T) {
	for name, again := range map[string]string{
		"another kind":   told("e-1", "left", "1001", ""),
		"another person": told("e-1", "joined", "1002", ""),
		"another sender": strings.Replace(told("e-1", "joined", "1001", ""), `"/hr"`, `"/hr/eu"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			d.post(structured, told("e-1", "joined", "1001", ""))
			w := d.post(structured, again)
			if p := decode[problem](t, w); w.Code != http.StatusConflict || p.Field != "id" || p.Code != "id_reused" {
				t.Errorf("got %d: %s", w.Code, w.Body)
			}
		})
	}
}

func TestRefusedEventNamesItsField(t *testing.T) {
	for _, row := range []struct {
		name    string
		body    string
		headers []string
		status  int
		field   string
	}{
		{"no JSON", `{`, nil, 400, ""},
		{"nothing", ``, nil, 400, ""},
		{"no id", `{"specversion":"1.0","source":"/hr","type":"joined"}`, nil, 400, "id"},
		{"no type", `{"specversion":"1.0","source":"/hr","id":"1"}`, nil, 400, "type"},
		{"no source", `{"specversion":"1.0","type":"joined","id":"1"}`, nil, 400, "source"},
		{"no specversion", `{"source":"/hr","type":"joined","id":"1"}`, nil, 400, "specversion"},
		{"an unknown kind", told("e", "promoted", "1", ""), nil, 400, "type"},
		{"no key", `{"specversion":"1.0","id":"1","source":"/hr","type":"joined","data":{"name":"x"}}`, nil, 400, "data.employee_id"},
		{"a key twice", `{"specversion":"1.0","id":"1","source":"/hr","type":"joined","data":{"a":{"b":1,"B":2}}}`, nil, 400, "data.a.B"},
		{"a large integer", `{"specversion":"1.0","id":"1","source":"/hr","type":"joined","data":{"employee_id":9007199254740993}}`, nil, 400, "data.employee_id"},
		{"a bad time", told("e", "joined", "1", `,"time":"soon"`), nil, 400, "time"},
		{"two documents", oneEvent + oneEvent, nil, 400, ""},
		{"data too large to store", large(), nil, 413, "data"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := open(t)
			p := d.refused(t, d.post(structured, row.body, row.headers...), row.status, row.field)
			if len(p.Errors) != 0 || p.Code == "" {
				t.Errorf("got %+v", p)
			}
		})
	}
}

// large is an event that is small enough as JSON, and too large as the broker
// stores it.
func large() string {
	return `{"specversion":"1.0","id":"e","source":"/hr","type":"joined","data":{"employee_id":"1","a":[` +
		strings.Repeat(`"`+strings.Repeat("x", 104)+`",`, 9600) + `0]}}`
}

func TestContentTypeDecidesWhatIsRead(t *testing.T) {
	ce := []string{"ce-specversion", "1.0", "ce-id", "1", "ce-source", "/hr", "ce-type", "left"}
	for _, row := range []struct {
		contentType string
		body        string
		headers     []string
		status      int
	}{
		{"application/cloudevents+json", oneEvent, nil, 202},
		{"Application/CloudEvents+JSON; charset=UTF-8", oneEvent, nil, 202},
		{"application/cloudevents-batch+json", "[" + oneEvent + "]", nil, 202},
		{"application/json", `{"employee_id":"1"}`, ce, 202},
		{"application/hr+json", `{"employee_id":"1"}`, ce, 202},
		{"", `{"employee_id":"1"}`, ce, 202},
		{"application/cloudevents+json", oneEvent, []string{"Content-Encoding", "identity"}, 202},
		{"application/cloudevents+json; charset=latin1", oneEvent, nil, 415},
		{"application/cloudevents+xml", oneEvent, nil, 415},
		{"application/cloudevents+avro", oneEvent, ce, 415},
		{"application/json", oneEvent, nil, 415},
		{"text/plain", `{"employee_id":"1"}`, ce, 415},
		{"application/json; charset=utf-16", `{"employee_id":"1"}`, ce, 415},
		{"", oneEvent, nil, 415},
		{"nonsense;;", oneEvent, nil, 415},
		{"application/cloudevents+json", oneEvent, []string{"Content-Encoding", "gzip"}, 415},
	} {
		t.Run(fmt.Sprintf("%s %d", row.contentType, row.status), func(t *testing.T) {
			d := open(t)
			w := d.post(row.contentType, row.body, append([]string{"Content-Type", row.contentType}, row.headers...)...)
			if w.Code != row.status {
				t.Fatalf("got %d: %s", w.Code, w.Body)
			}
			if row.status == 415 {
				d.refused(t, w, 415, "")
				if w.Header().Get("Accept")+w.Header().Get("Accept-Encoding") == "" {
					t.Error("the answer does not say in its header what is accepted")
				}
			}
		})
	}
}

func TestOnlyPostIsAllowed(t *testing.T) {
	d := open(t)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		w := httptest.NewRecorder()
		d.Handler().ServeHTTP(w, httptest.NewRequest(method, "/v1/events", nil))
		d.refused(t, w, http.StatusMethodNotAllowed, "")
		equal(t, "POST", w.Header().Get("Allow"))
	}
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v2/events", nil))
	d.refused(t, w, http.StatusNotFound, "")
}

func TestBrokerThatCannotTakeItIsAskedAgainLater(t *testing.T) {
	for name, row := range map[string]struct {
		err   error
		after string
	}{
		"without a time": {errors.New("no responders"), "2"},
		"with a time":    {fault.Retry(30*time.Second, errors.New("stream is full")), "30"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			d.journal.fail = func(string) error { return row.err }
			w := d.post(structured, oneEvent)
			d.refused(t, w, http.StatusServiceUnavailable, "")
			equal(t, row.after, w.Header().Get("Retry-After"))
			if strings.Contains(w.Body.String(), row.err.Error()) {
				t.Error("the answer tells of our insides")
			}
		})
	}
}

func TestLostAcknowledgementIsNeitherAcceptanceNorRefusal(t *testing.T) {
	d := open(t)
	d.journal.lose = func() error { return errors.New("timeout") }
	if w := d.post(structured, oneEvent); w.Code != http.StatusServiceUnavailable {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	d.journal.lose = nil
	w := d.post(structured, oneEvent)
	if r := decode[ingest.Result](t, w); w.Code != http.StatusAccepted || r.Status != ingest.Duplicate {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
	equal(t, []string{"e-1"}, d.journal.ids())
}

func TestDuplicateThatCannotBeCheckedIsAskedAgain(t *testing.T) {
	d := open(t)
	d.post(structured, oneEvent)
	d.journal.fail = func(call string) error {
		if call == "Find" {
			return errors.New("no responders")
		}
		return nil
	}
	if w := d.post(structured, oneEvent); w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
}

func TestTraceComesFromTheEventElseFromTheRequest(t *testing.T) {
	const (
		ofEvent   = "00-11111111111111111111111111111111-1111111111111111-01"
		ofRequest = "00-22222222222222222222222222222222-2222222222222222-01"
	)
	for _, row := range []struct {
		name    string
		extra   string
		headers []string
		trace   string
	}{
		{"the event's own", `,"traceparent":"` + ofEvent + `"`, []string{"traceparent", ofRequest}, ofEvent[3:35]},
		{"the request's", ``, []string{"traceparent", ofRequest}, ofRequest[3:35]},
		{"the request's, where the event's is none", `,"traceparent":"nonsense"`, []string{"traceparent", ofRequest}, ofRequest[3:35]},
		{"a new one", ``, nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := open(t)
			got := decode[ingest.Result](t, d.post(structured, told("e-1", "joined", "1001", row.extra), row.headers...))
			if row.trace != "" {
				equal(t, row.trace, got.Trace)
			}
			equal(t, got.Trace, d.journal.events[got.ID].Trace)
			spans := d.spans.GetSpans()
			if len(spans) != 1 || spans[0].SpanContext.TraceID().String() != got.Trace {
				t.Errorf("spans %v", spans)
			}
		})
	}
}

func TestRefusedRequestIsAFailedSpan(t *testing.T) {
	for name, body := range map[string]string{"unreadable": `{`, "meaningless": told("e", "promoted", "1", "")} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			d.post(structured, body)
			spans := d.spans.GetSpans()
			if len(spans) != 1 || spans[0].Status.Code != codes.Error {
				t.Errorf("spans %+v", spans)
			}
		})
	}
}

func TestRequestIsOneLineWithoutPersonalValues(t *testing.T) {
	d := open(t)
	w := d.post(structured, told("e-1", "joined", "1001", ""))
	line := d.lastLine(t)
	result := decode[ingest.Result](t, w)
	delete(line, "time")
	delete(line, "seconds")
	equal(t, map[string]any{
		"level": "info", "message": "request received", "service": "ingest", "source": "hr", "format": "structured",
		"bytes": float64(len(oneEvent)), "events": 1.0, "accepted": 1.0, "duplicates": 0.0, "status": 202.0,
		"event": result.ID, "trace": result.Trace,
	}, line)

	d.post(structured, `{"specversion":"1.0","id":"x","source":"/hr","type":"joined","data":{"ann@example.com":{"a":1,"A":2},"x":"ann@example.com"}}`)
	line = d.lastLine(t)
	delete(line, "time")
	delete(line, "seconds")
	delete(line, "bytes")
	equal(t, map[string]any{
		"level": "warn", "message": "request received", "service": "ingest", "source": "hr", "format": "structured",
		"events": 0.0, "status": 400.0, "reason": "duplicate_key", "field": "data",
	}, line)
	for _, personal := range []string{"ann@example.com", "1001", secret, sign(oneEvent)} {
		if strings.Contains(d.log.String(), personal) {
			t.Errorf("the log shows %s", personal)
		}
	}
}

func TestRequestsAreCountedBySource(t *testing.T) {
	d := open(t)
	d.post(structured, oneEvent)
	d.post(structured, oneEvent)
	d.post(structured, `{}`)
	got := d.scrape(t)
	for _, want := range []string{
		`joinery_ingest_events_total{source="hr",status="accepted"} 1`,
		`joinery_ingest_events_total{source="hr",status="duplicate"} 1`,
		`joinery_ingest_refused_total{reason="missing",source="hr"} 1`,
		fmt.Sprintf(`joinery_ingest_received_bytes_total{source="hr"} %d`, 2*len(oneEvent)+2),
		`joinery_ingest_request_seconds_count{source="hr"} 3`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
}

func TestOtherDoorsAcceptThroughTheSamePath(t *testing.T) {
	d := open(t)
	one, err := event.Parse([]byte(oneEvent))
	if err != nil {
		t.Fatal(err)
	}
	results, err := d.Accept(t.Context(), "hr", []event.Event{one})
	if err != nil || len(results) != 1 || results[0].Status != ingest.Accepted {
		t.Fatalf("got %v, %v", results, err)
	}
	if _, err := d.Accept(t.Context(), "nobody", []event.Event{one}); !errors.Is(err, ingest.ErrUnknownSource) {
		t.Errorf("got %v", err)
	}
	one.Type = "promoted"
	_, err = d.Accept(t.Context(), "hr", []event.Event{one})
	if problems := event.ProblemsOf(err); len(problems) != 1 || problems[0].Field != "events[0].type" {
		t.Errorf("got %v", err)
	}
}
